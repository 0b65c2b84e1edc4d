"""What no comparison row by row can see: rows that no cursor answers for, and rows that came more than once.

A table may agree with its source in every row up to its cursor and be wrong all the same: because the cursor went back
with a commit that another one replaced, because a generation brought all rows once more, or because nothing of the
source is in it. "Equal" is said only where every row of the source is accounted for in a table that this device's
cursor is in, so each of these is a difference with a name of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct

from edge_delta.core.model import BEFORE_FIRST, Cursor, Mark
from edge_delta.core.questions import COUNT, Condition, Question, among, mine, within
from edge_delta.delivery.delivered import Delivered, begin
from edge_delta.recovery.verify import superseded
from edge_delta.recovery.verify.base import GONE, Compared, begins
from edge_delta.recovery.verify.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from typing import Any

    from edge_delta.core.ports import Sink
    from edge_delta.core.questions import Where
    from edge_delta.recovery.verify.report import Verification

_SAMPLE = 20
_ALIKE = 0.5
"""The share of looked-at rows that two nodes must have in common to be taken for one source: some readings of two
devices may well be equal, most are not."""
_OURS = frozenset({"node_id", "source_generation", "databricks_inserted_at"})


class Elsewhere(Struct, frozen=True):
    """What is known beside the table that is verified.

    Attributes:
        mirror: what the state directory said before the table was opened.
        others: the sinks of the other modes' tables; called only if some rows went to those.
    """

    mirror: Mapping[str, Any]
    others: Callable[[], Sequence[Sink]]


class Accounts(Struct, frozen=True):
    """The second half of a verification.

    Args:
        parts: what is compared.
        report: what the first half found.
        elsewhere: what is known beside the table.
        started: when the first half began.
    """

    parts: Compared
    report: Verification
    elsewhere: Elsewhere
    started: datetime

    def settle(self) -> None:
        """Say what is not accounted for."""
        cursor = self.parts.sink.committed()
        if cursor is None:
            self._without_cursor()
            return
        self._behind_what_was_said(cursor)
        self._again(cursor)
        self._under_another_name(cursor)
        self._all_rejected()
        if self.parts.source.keyed_by_rowid and "another source" not in self.report.counts:
            self._gone_before_delivery(cursor)
            self._before_the_beginning(cursor)

    # -- the cursor

    def _without_cursor(self) -> None:
        parts = self.parts
        rows = self._rows_in_source(BEFORE_FIRST, None)
        there = self._count(mine(parts.node_id)) if parts.sink.exists() else 0
        if there:
            self.report.found(
                "no cursor",
                there,
                f"{there} rows of node {parts.node_id} are in the table, but no cursor of table {parts.source.table}",
            )
        if rows:
            self.report.found(
                "missing", rows, f"nothing of table {parts.source.table} was delivered, which has {rows} rows"
            )

    def _behind_what_was_said(self, cursor: Cursor) -> None:
        """A commit that was answered and is not in the log any more."""
        said = self.elsewhere.mirror
        table = said.get("tables", {}).get(self.parts.name, {})
        ours = said.get("node_id") == self.parts.node_id and said.get("source_table") == self.parts.source.table
        if not ours or table.get("table") != self.parts.sink.uri or table.get("generation") != cursor.generation:
            return
        last = table.get("committed_id")
        if isinstance(last, int) and last > cursor.rowid:
            rows = self._rows_in_source(cursor.rowid, last)
            self.report.found(
                "commit gone",
                max(rows, 1),
                f"rows up to id {last} were committed, but the table's log ends at {cursor.rowid}: "
                "another commit replaced it, or an older copy of the table was put there",
            )

    # -- more than once

    def _again(self, cursor: Cursor) -> None:
        """Rows that several generations have, unless `reset` was told to deliver them again.

        Which those are is recorded; without a record, all before its generation may be.
        """
        recorded = superseded.record(self.parts)
        after = -1 if recorded and self.parts.source.keyed_by_rowid else cursor.marks.get(Mark.AGAIN, -1)
        generations = [number for number in self.parts.generations() if number > after]
        if len(generations) < 2:  # noqa: PLR2004 - what came once cannot be there again
            return
        rows, pairs = Repeats(self.parts, after, recorded).found()
        if rows:
            named_pairs = ", ".join(f"{a} and {b}" for a, b in pairs[:3])
            self.report.found(
                "repeated",
                rows,
                f"{rows} rows are there again in another generation ({named_pairs}): the source was taken for another "
                "one, or two databases use this node id",
            )

    def _under_another_name(self, cursor: Cursor) -> None:
        """The last rows, looked for among the other devices' rows of the table."""
        parts, key = self.parts, self.parts.traits.key
        if not parts.traits.replayable or cursor.rowid == BEFORE_FIRST:
            return
        near = within(key, cursor.rowid - _SAMPLE + 1, cursor.rowid)
        ours = parts.sink.ask(Question((*parts.mine(cursor.generation), *near)))
        if ours.height < 2:  # noqa: PLR2004 - a single row may well be equal by chance
            return
        found = parts.sink.ask(Question(among(key, set(ours[key]))))
        names = [n for n in ours.columns if n not in _OURS and not parts.not_compared(n)]
        known = set(ours.select(names).hash_rows())
        others = found.filter(pl.col("node_id") != parts.node_id)
        alike = others.filter(others.select(names).hash_rows().is_in(list(known)))
        for node, rows in alike.group_by("node_id").len().sort("node_id").iter_rows():
            if rows >= _ALIKE * ours.height:
                self.report.found(
                    "another node", rows, f"{rows} of {ours.height} rows looked at are also there under node {node}"
                )

    # -- the rest

    def _all_rejected(self) -> None:
        for generation in dict.fromkeys(one.generation for one in self.report.ranges):
            ranges = [one for one in self.report.ranges if one.generation == generation]
            read, rejected = sum(one.read for one in ranges), sum(one.rejected for one in ranges)
            if rejected and rejected >= read:
                self.report.found(
                    "all rejected",
                    rejected,
                    f"all {read} rows of generation {generation} were rejected; {self.parts.rejects.uri} says why",
                )

    def _gone_before_delivery(self, cursor: Cursor) -> None:
        """Ids between the cursor and the first row that waits, where the source leaves no ids out otherwise."""
        source = self.parts.source
        waiting = source.waiting(cursor)
        if waiting.first_rowid is None or waiting.last_rowid is None:
            return
        behind = (
            "of a source from which none was delivered"
            if (none := cursor.rowid == BEFORE_FIRST)
            else f"behind id {cursor.rowid}"
        )
        self.report.notes.append(f"{waiting.rows} rows wait {behind}")
        gap = waiting.first_rowid - cursor.rowid - 1
        if none or gap <= 0:
            return
        first, last, rows = source.between(BEFORE_FIRST, cursor.rowid)
        dense = rows == (last - first + 1 if first is not None and last is not None else 0)
        if dense and self._rows_in_source(cursor.rowid, None) == waiting.rows:
            self.report.found(
                "lost",
                gap,
                f"ids {cursor.rowid + 1} to {waiting.first_rowid - 1} {GONE}",
            )
        else:
            self.report.notes.append(f"ids {cursor.rowid + 1} to {waiting.first_rowid - 1} are in no table")

    def _before_the_beginning(self, cursor: Cursor) -> None:
        """Rows that came to this table in an earlier generation, or went to other modes' tables."""
        start = begins(cursor)
        if start == BEFORE_FIRST or not self._rows_in_source(BEFORE_FIRST, start):
            return
        after = self._went_elsewhere(cursor, start)
        if after == start or self.parts.traits.windowed or self.parts.traits.selective:
            return
        source = self.parts.source
        if source.layout.id_column is None and source.timestamp is None:  # VACUUM may have given them other ids
            earlier = (*mine(self.parts.node_id), Condition("source_generation", "<", cursor.generation))
            missing = self._rows_in_source(after, start) - self._count(earlier)
        else:
            missing = self._in_no_generation(cursor, after, start)
        if missing > 0:
            self.report.found("missing", missing, f"of the rows up to id {start}, {missing} are in no generation")

    def _went_elsewhere(self, cursor: Cursor, start: int) -> int:
        """The last id of rows that only another mode's table has, because that mode was the one of its time."""
        replayable = self.parts.traits.replayable
        since = begin(self.parts.sink, cursor) if replayable else start
        if not self._rows_in_source(BEFORE_FIRST, since):
            return BEFORE_FIRST
        for other in self.elsewhere.others():
            stands = other.committed()
            if stands is None or (stands.generation, stands.rowid) < (cursor.generation, start):
                continue
            if not replayable or begin(other, stands) < since:
                self.report.notes.append(f"rows up to id {since} went to {other.uri}, which is verified with its mode")
                return since
        return BEFORE_FIRST

    def _in_no_generation(self, cursor: Cursor, after: int, upto: int) -> int:
        """How many of the source's rows between two ids are neither in the table, with their time, nor rejected."""
        missing = Delivered(self.parts.route, cursor).missing(after, upto, rows=self.parts.rows, by_time=False)
        found = [rowid for ids in missing for rowid in ids]
        self.report.missing += found
        return len(found)

    def _count(self, where: Where) -> int:
        return int(self.parts.sink.ask(Question(where, totals={"n": COUNT}))["n"][0])

    def _rows_in_source(self, after: int, upto: int | None) -> int:
        """How many rows the source has behind an id, up to another."""
        last = self.parts.source.waiting(Cursor(rowid=after)).last_rowid if upto is None else upto
        return 0 if last is None else self.parts.source.between(after, last)[2]
