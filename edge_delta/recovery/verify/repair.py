"""The rows that a verification names as missing, delivered once: only where nothing else speaks against it.

A row that is missing and in the source below the cursor is what a look for late rows finds too, and it goes the same
way: into a commit that leaves the cursor where it is. What a kill leaves is named as missing the next time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.core.events import Event

if TYPE_CHECKING:
    from edge_delta.delivery.lane import Lane
    from edge_delta.recovery.verify.report import Verification

NOTE = {"edge_delta_operation": "verify --repair"}
"""What is recorded with the commits of a repair."""
_BESIDE = frozenset({"missing", "cell", "twice", "lost"})
"""What says nothing against it: each is about rows of its own, and the source and the table belong together."""


class Repair(Struct, frozen=True):
    """What can be done about one mode's table.

    Args:
        lane: the mode's lane; its sinks record `NOTE`.
        report: what the verification found.
    """

    lane: Lane
    report: Verification

    def refusal(self) -> str | None:
        """Why missing rows are not delivered; None if they can be, or if none is missing."""
        if not self.lane.route.traits.replayable and self.report.counts:
            return f"what {self.lane.name} makes of rows depends on others: edge-delta reset makes all of it again"
        return self._doubt() if self.report.counts["missing"] else None

    def _doubt(self) -> str | None:
        """What makes it unsure which rows are missing, or what is to be made of them."""
        report, route = self.report, self.lane.route
        if not route.source.keyed_by_rowid:
            return "the rows of this source have no ids by which they could be told"
        others = sorted(kind for kind in report.counts if kind not in _BESIDE)
        if others:
            return f"{', '.join(others)}: the source and the table may not belong together; find out first"
        if len(report.missing) != report.counts["missing"]:
            return "which rows are missing is known by their number alone; if nothing was delivered, run edge-delta"
        if route.mode().wanted(route.source.layout, route.context(0)) is not None:
            return "forward_fill makes rows of those before them, which a single row cannot be made of any more"
        return None

    def run(self, limit: int) -> int:
        """Deliver them; how many rows there were.

        Args:
            limit: the most rows in a commit.
        """
        if self.refusal() is not None:
            return 0
        ids, delivered = sorted(set(self.report.missing)), 0
        for start in range(0, len(ids), limit):
            self.lane.check_source()
            batch = self.lane.route.source.read_ids(ids[start : start + limit])
            if batch is None:  # deleted meanwhile
                continue
            step = self.lane.deliver_below(batch)
            delivered += batch.rows
            version = step.commit.version if step.commit is not None else None
            self.lane.route.device.log.warning(
                Event.REPAIRED, mode=self.lane.name, table=step.table, rows=batch.rows, version=version
            )
        self.lane.settle()  # where all of them were rejected
        return delivered
