"""Where rows may have come below a cursor, told by counting: nothing is read but keys, and some times."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct, field

from edge_delta.core.counting import MOST_SUMMED, NONE, Counts
from edge_delta.core.model import BEFORE_FIRST
from edge_delta.delivery.ledger import RANGES, Ledger, Range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_delta.core.counting import Census, Times
    from edge_delta.core.model import Cursor

_IN_A_RANGE = 8_192
LOOK_SECONDS = 0.5
"""CPU time for counting what was counted before; what is left is counted in the next cycles, as much in each."""
_SEEN_AT_ONCE = 4_000_000
"""Up to so many rows are counted all at once where each id has a row, which takes half as long as by ranges."""
_SUMMED_AT_FIRST = 100_000
"""The most rows whose times are all looked at in a first sweep, which follows a backlog and has nothing to compare."""
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
        key: of the row that it has more, where that is one and the sum of the keys tells it.
        full: whether each of its ids had a row, so that one can only have come under a used id.
    """

    after: int
    upto: int
    by_time: bool = False
    grown: int | None = None
    key: int | None = None
    full: bool = False

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
    _times: dict[object, Sequence[Times]] = field(default_factory=dict)
    _total: int | None = None
    _seconds: float = 0.0

    @property
    def long_enough(self) -> bool:
        """Whether a look has counted for as long as it may, see `LOOK_SECONDS`."""
        return self._seconds >= LOOK_SECONDS

    def counts(self, after: int, upto: int) -> Counts:
        """See `Census.counts`."""
        if (after, upto) not in self._counts:
            began = time.thread_time()
            self._counts[after, upto] = self.census.counts(after, upto)
            self._seconds += time.thread_time() - began
        return self._counts[after, upto]

    def times(self, ranges: Sequence[tuple[int, int, Counts]], first: int | None, *, most: int) -> Sequence[Times]:
        """See `Census.times`."""
        asked = (tuple(ranges), first, most)
        if asked not in self._times:
            self._times[asked] = self.census.times(ranges, first, most=most)
        return self._times[asked]

    def has_each(self, first: int, upto: int) -> bool:
        """Whether each id from the lowest of all up to another has a row."""
        behind = self.census.behind(upto)  # before the total, so that a row which comes now makes a difference
        if self._total is None:
            self._total = self.census.total()
        return self._total - behind == upto - first + 1


class Survey(Struct):
    """One lane's rows up to its cursor, beside what is known of them.

    Args:
        shared: counts the source's rows.
        known: what is known.
        cursor: where the lane stands.
        begin: the key behind which the lane's table has rows, where nothing is known.
        horizon: how far all lanes have come; ranges end there, so that they are the same for all.
        compares: whether to compare rows that came in order as well, as far as they are few.

    Attributes:
        whole: whether this look came to the end of what is known, see `LOOK_SECONDS`.
    """

    shared: Shared
    known: Ledger
    cursor: Cursor
    begin: int
    horizon: int
    compares: bool = True
    now: Ledger = field(default_factory=Ledger)
    in_order: bool = False
    whole: bool = True
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
        self.now.first = BEFORE_FIRST if first is None else first
        due = self._due()
        again = self._counted([(one.after, one.upto) for one in due])
        found = self._changed(due, again)
        new = self._counted(bounds)
        tail = self._counts(horizon, end) if end > horizon else NONE
        whole = Counts(sum(r.counts.rows for r in new) + tail.rows, sum(r.counts.ids for r in new) + tail.ids)
        self.in_order = self.known.in_order(self.cursor, whole)
        if not self.in_order or (self.compares and whole.rows <= COMPARED_ROWS):
            found += [Suspect(r.after, r.upto, full=r.dense(self.now.first)) for r in new if r.counts.rows]
            found += [Suspect(horizon, end)] if tail.rows else []
        counted = {one.after: one for one in again}
        self.now.ranges = [*(counted.get(one.after, one) for one in self.known.ranges), *new]
        self.now.cursor, self.now.tail = self.cursor, tail
        return found

    def _due(self) -> list[Range]:
        """The known ranges that this look gets to: those that no earlier look of the same round has counted."""
        known, found = self.known, list[Range]()
        for one in known.ranges:
            if known.looked is not None and one.upto <= known.looked:
                continue
            if found and self.shared.long_enough:
                self.whole = False
                break
            self._counts(one.after, one.upto)
            found.append(one)
        self.now.looked = found[-1].upto if found else known.looked
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
        known, upto = self.known, self.cursor.rowid
        if sum(one.counts.rows for one in known.ranges) > _SEEN_AT_ONCE:
            return None
        if not all(one.dense(known.first) for one in known.ranges):
            return None
        first, _ = self.shared.census.ends(BEFORE_FIRST, upto)
        if first is None or first < known.first:
            return None
        if not known.in_order(self.cursor, _every_id(max(start, first - 1), upto)):
            return None
        just_read = not self.compares and not known.ranges  # a row of each id, so there is none to count
        return first if just_read or self.shared.has_each(first, upto) else None

    def _counts(self, after: int, upto: int) -> Counts:
        if self._dense_from is None:
            return self.shared.counts(after, upto)
        return _every_id(max(after, self._dense_from - 1), upto)

    def _counted(self, bounds: list[tuple[int, int]]) -> list[Range]:
        counted = [(after, upto, self._counts(after, upto)) for after, upto in bounds]
        most = MOST_SUMMED if self.compares else _SUMMED_AT_FIRST
        times = self.shared.times(counted, self._dense_from, most=most) if counted else []
        return [Range(*one, its) for one, its in zip(counted, times, strict=True)]

    def _changed(self, before: list[Range], again: list[Range]) -> list[Suspect]:
        """Of ranges that were counted before, those that are not as they were."""
        sampled = [i for known in before for i, _ in known.times.samples]
        there = dict(self.shared.census.stamps(sampled)) if sampled else {}
        found = []
        for known, now in zip(before, again, strict=True):
            if not now.counts.rows:
                continue
            still = [(i, there[i]) for i, _ in known.times.samples if i in there]
            same = now.counts == known.counts
            by_time = known.counts.rows > 0 and known.times.changed(now.times, still, same=same)
            # Where each id has a row, some were purged, and one that is left may be another than it was.
            if by_time or (not same and (self._dense_from is None or known.times.sum is not None)):
                grown, full = now.counts.rows - known.counts.rows, known.dense(self.known.first)
                found.append(Suspect(known.after, known.upto, by_time, grown, full=full))
        return found


def _every_id(after: int, upto: int) -> Counts:
    """The counts of a range in which each id has a row."""
    rows = max(0, upto - after)
    return Counts(rows, (after + 1 + upto) * rows // 2)
