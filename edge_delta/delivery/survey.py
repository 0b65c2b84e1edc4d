"""Where rows may have come below a cursor, told by counting: nothing is read but keys, and some times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from edge_delta.core.counting import NONE, Counts
from edge_delta.core.model import BEFORE_FIRST
from edge_delta.delivery.ledger import RANGES, Ledger, Range

if TYPE_CHECKING:
    from edge_delta.core.counting import Census, Times
    from edge_delta.core.model import Cursor

_IN_A_RANGE = 8_192
COMPARED_ROWS = 50_000
"""So many rows that came in order since the last sweep are compared with the table whatever was counted: ids that were
used again before anything was known of their times cannot be told otherwise."""


class Suspect(Struct, frozen=True):
    """A range to look at row by row.

    Attributes:
        after: the key that it is behind.
        upto: its last key.
        by_time: whether times of rows that were there before are known to have changed.
        grown: by how many rows it has more than were known; None where nothing was known.
    """

    after: int
    upto: int
    by_time: bool = False
    grown: int | None = None

    @property
    def is_new(self) -> bool:
        """Whether it lies behind what was counted before."""
        return self.grown is None


class Shared(Struct):
    """A census whose answers all lanes of one sweep share.

    Args:
        census: counts the source's rows.
    """

    census: Census
    _counts: dict[tuple[int, int], Counts] = field(default_factory=dict)
    _total: int | None = None

    def counts(self, after: int, upto: int) -> Counts:
        """See `Census.counts`."""
        if (after, upto) not in self._counts:
            self._counts[after, upto] = self.census.counts(after, upto)
        return self._counts[after, upto]

    def first_of_all(self, upto: int) -> int | None:
        """The lowest id, if each one from there up to another has a row; None if not, or if there is none."""
        first, _ = self.census.ends(BEFORE_FIRST, upto)
        if first is None:
            return None
        behind = self.census.behind(upto)  # before the total, so that a row which comes now makes a difference
        if self._total is None:
            self._total = self.census.total()
        return first if self._total - behind == upto - first + 1 else None


class Survey(Struct):
    """One lane's rows up to its cursor, beside what is known of them.

    Args:
        shared: counts the source's rows.
        known: what is known.
        cursor: where the lane stands.
        begin: the key behind which the lane's table has rows, where nothing is known.
        horizon: how far all lanes have come; ranges end there, so that they are the same for all.
        compares: whether to compare rows that came in order as well, as far as they are few.
    """

    shared: Shared
    known: Ledger
    cursor: Cursor
    begin: int
    horizon: int
    compares: bool = True
    now: Ledger = field(default_factory=Ledger)
    in_order: bool = False
    _dense_from: int | None = None

    def suspects(self) -> list[Suspect]:
        """The ranges to look at; then `now` says what was counted, for the next time."""
        start, end = self.known.upto(self.begin), self.cursor.rowid
        horizon = max(start, min(self.horizon, end))
        bounds = self._bounds(start, horizon)
        self._dense_from = self._where_dense(start)
        first = self._dense_from
        if first is None:
            first, _ = self.shared.census.ends(BEFORE_FIRST, end)
        found = [suspect for one in self.known.ranges if (suspect := self._again(one)) is not None]
        new = [self._counted(a, b) for a, b in bounds]
        tail = self._counts(horizon, end) if end > horizon else NONE
        whole = Counts(sum(r.counts.rows for r in new) + tail.rows, sum(r.counts.ids for r in new) + tail.ids)
        self.in_order = self.known.in_order(self.cursor, whole)
        if not self.in_order or (self.compares and whole.rows <= COMPARED_ROWS):
            found += [Suspect(r.after, r.upto) for r in new if r.counts.rows]
            found += [Suspect(horizon, end)] if tail.rows else []
        self.now.ranges += new
        self.now.cursor, self.now.tail = self.cursor, tail
        self.now.first = BEFORE_FIRST if first is None else first
        return found

    def _bounds(self, start: int, end: int) -> list[tuple[int, int]]:
        """What lies between two keys in ranges of equal width."""
        first, _ = self.shared.census.ends(start, end)
        if first is None:
            return []
        width = max(1, (end - first) // min(RANGES, 1 + (end - first) // _IN_A_RANGE) + 1)
        ends = [*range(first + width - 1, end, width), end]
        return list(zip([start, *ends], ends, strict=False))

    def _where_dense(self, start: int) -> int | None:
        """The lowest id, if it is sure without counting by ranges that no row has an id that had none before."""
        known = self.known
        if not all(one.dense(known.first) for one in known.ranges):
            return None
        first = self.shared.first_of_all(self.cursor.rowid)
        if first is None or first < known.first:
            return None
        sure = known.in_order(self.cursor, _every_id(max(start, first - 1), self.cursor.rowid))
        return first if sure else None

    def _counts(self, after: int, upto: int) -> Counts:
        if self._dense_from is None:
            return self.shared.counts(after, upto)
        return _every_id(max(after, self._dense_from - 1), upto)

    def _counted(self, after: int, upto: int) -> Range:
        counts = self._counts(after, upto)
        return Range(after, upto, counts, self._times(after, upto, counts))

    def _times(self, after: int, upto: int, counts: Counts) -> Times:
        return self.shared.census.times(after, upto, counts.rows)

    def _again(self, known: Range) -> Suspect | None:
        """A range that was counted before."""
        again = self._counted(known.after, known.upto)
        self.now.ranges.append(again)
        counts = again.counts
        if not counts.rows:
            return None
        sampled = [i for i, _ in known.times.samples]
        there = self.shared.census.stamps(sampled) if sampled else []
        by_time = known.counts.rows > 0 and known.times.changed(again.times, there)
        if not by_time and (counts == known.counts or self._dense_from is not None):
            return None
        return Suspect(known.after, known.upto, by_time, counts.rows - known.counts.rows)


def _every_id(after: int, upto: int) -> Counts:
    """The counts of a range in which each id has a row."""
    rows = max(0, upto - after)
    return Counts(rows, (after + 1 + upto) * rows // 2)
