"""Whether rows were delivered: asked of the tables, or counted where these do not have rows."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

import polars as pl
from msgspec import Struct, field

from edge_delta.core.cells import as_json
from edge_delta.core.counting import MOST_SUMMED, NONE, Counts
from edge_delta.core.plan import ROWID
from edge_delta.core.questions import Question, among, mine, named, rejected_by, within
from edge_delta.delivery import fitting, versions
from edge_delta.delivery.delivered import KNOWN, Delivered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_delta.core.counting import Census
    from edge_delta.core.model import Batch, Cursor, Rejection
    from edge_delta.delivery.ledger import Ledger, Range
    from edge_delta.delivery.route import Route

TOO_LARGE = "too_large"
"""The rule of rows that are rejected unread: what is in them is nowhere but in the source."""


class Proof(Protocol):
    """Tells which rows were delivered."""

    def delivered(self, batch: Batch) -> set[int]:
        """The ids of those rows of a batch that were."""

    def bound(self, after: int) -> int | None:
        """The last id that may be looked at together with the one after another; None if that does not matter."""

    def went(self, counts: Counts, first: int) -> None:
        """Rows were deleted: how many, the sum of their ids, and an id of their range."""


class InTables(Struct, frozen=True):
    """By the tables that have a row for each row of the source: all of them have it, from where they begin.

    Args:
        ends: each route with its cursor.
    """

    ends: Sequence[tuple[Route, Cursor]]

    def delivered(self, batch: Batch) -> set[int]:
        """See `Proof.delivered`."""
        ids = {*batch.frame[ROWID], *(r.rowid for r in batch.rejected)}
        every, some = set(ids), set[int]()
        for route, stands in self.ends:
            found = _of_route(route, stands, batch)
            begin = Delivered(route, stands).begin()
            every &= found | {i for i in ids if i <= begin}  # it goes on from another mode's table
            some |= found
        return every & some

    def bound(self, after: int) -> int | None:  # noqa: ARG002 - a proof by counts asks for it
        """See `Proof.bound`."""
        return None

    def went(self, counts: Counts, first: int) -> None:
        """See `Proof.went`; the tables are as they were."""


def _of_route(route: Route, stands: Cursor, batch: Batch) -> set[int]:
    delivered = Delivered(route, stands)
    mode = route.mode()
    plan = mode.uncarried().plan(batch.frame.lazy(), batch.layout, route.context(stands.generation))
    rows, broken = fitting.kept_rows(fitting.fitted(plan, route.sink.columns()), batch.frame)
    where = within(delivered.key, batch.first_rowid, batch.cursor.rowid)
    found = set[int]()
    if rows.height:
        beside = delivered.beside(rows, delivered.kept_columns(rows), where)
        found = {*beside.filter(pl.col(KNOWN) & delivered.inside())[ROWID]}
    if route.versioned and found:
        found -= versions.changed(rows, versions.last_of(route, sorted(found)), mode, route)
    left = {*batch.frame[ROWID]} - found
    refused = [r for r in (*batch.rejected, *broken) if r.rule != TOO_LARGE]
    left -= {r.rowid for r in refused}
    # The table's own conditions refuse rows as well, and rules may have changed since.
    refused += fitting.rejections(batch.frame.filter(pl.col(ROWID).is_in(list(left))), lambda _row: ("", "", ""))
    return found | _rejected(route, refused)


def _rejected(route: Route, rows: list[Rejection]) -> set[int]:
    """Those of some rows that the rejected table has, cell for cell."""
    rejects = route.tables.rejects
    if not rows or not rejects.exists():
        return set()
    shown = route.mode().redacted(rows, route.source.layout)
    own = (*mine(route.device.node_id), *rejected_by(route.source.table, route.name))
    found = rejects.ask(Question((*own, *among("reading_id", {r.rowid for r in rows})), named("reading_id", "row")))
    there = Counter(zip(found["reading_id"], found["row"], strict=True))
    return {r.rowid for r in shown if there[r.rowid, as_json(r.cells)]}


class ByCounts(Struct):
    """Where no table has rows: by what was counted of the source when the last sweep had delivered all of it.

    A range has just the rows that went by if there are as many with the same sum of ids, and no time has changed: that
    of the rows behind the last sweep is in the cursor's tally, which is in the table's log.

    Args:
        census: counts the rows of the source.
        known: each lane's ledger, with where its table begins and where it stands now.
    """

    census: Census
    known: Sequence[tuple[Ledger, int, Cursor]]
    _gone: dict[int, Counts] = field(default_factory=dict)

    def delivered(self, batch: Batch) -> set[int]:
        """See `Proof.delivered`."""
        ids = {*batch.frame[ROWID], *(r.rowid for r in batch.rejected if r.rule != TOO_LARGE)}
        for ledger, begin, cursor in self.known:
            ids &= self._of_lane(ledger, begin, cursor, ids)
        return ids

    def _of_lane(self, ledger: Ledger, begin: int, cursor: Cursor, ids: set[int]) -> set[int]:
        found = set[int]()
        for known in ledger.ranges:
            there = {i for i in ids if known.after < i <= known.upto}
            if there and self._counted(known.after, known.upto) == known.counts and not self._used_again(known):
                found |= there
        start = ledger.upto(begin)
        there = {i for i in ids if start < i <= cursor.rowid}
        if there and ledger.in_order(cursor, self._counted(start, cursor.rowid)):
            found |= there
        return found

    def _used_again(self, known: Range) -> bool:
        whole = not any(known.after < first <= known.upto for first in self._gone)
        most = MOST_SUMMED if whole and known.times.sum is not None else 0
        [now] = self.census.times([(known.after, known.upto, known.counts)], None, most=most)
        there = self.census.stamps([i for i, _ in known.times.samples]) if known.times.samples else []
        return known.times.changed(now, there, same=whole)

    def bound(self, after: int) -> int | None:
        """See `Proof.bound`: what is deleted is of one range."""
        ends = [known.upto for ledger, _, _ in self.known for known in ledger.ranges if known.upto > after]
        return min(ends, default=None)

    def _counted(self, after: int, upto: int) -> Counts:
        """The rows of a range, with those that were deleted out of it."""
        now = self.census.counts(after, upto)
        gone = [counts for first, counts in self._gone.items() if after < first <= upto]
        return Counts(now.rows + sum(c.rows for c in gone), now.ids + sum(c.ids for c in gone))

    def went(self, counts: Counts, first: int) -> None:
        """See `Proof.went`."""
        before = self._gone.get(first, NONE)
        self._gone[first] = Counts(before.rows + counts.rows, before.ids + counts.ids)
