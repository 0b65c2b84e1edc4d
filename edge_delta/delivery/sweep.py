"""Rows that come below the cursor: ids that were filled in, given by hand, or used again.

Ids that only grow are what a source promises by its cursor; many tables do not keep that promise. So now and then the
rows up to the cursor are counted by ranges of ids. Where the counts are as they were, nothing came. Where not, the
rows of the range are looked for in the table, and those that are not there are delivered, in a commit that leaves the
cursor where it is. What was delivered is decided by the table alone; the counts only say where to look.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from edge_delta.core.events import Event
from edge_delta.core.model import BEFORE_FIRST, Cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from threading import Event as Flag

    from edge_delta.core.model import Step
    from edge_delta.delivery.lane import Lane
    from edge_delta.delivery.route import Route

_ROWS = 50_000
_RANGES = 64
_IN_A_RANGE = 8_192
Counts = tuple[int, int, str]
"""How many rows a range has, a sum over their ids, and their latest time."""
_NOTHING: Counts = (0, 0, "")


class Range(Struct, frozen=True):
    """Ids behind one and up to another, and what was counted there."""

    after: int
    upto: int
    counts: Counts


class Sweeping(Struct):
    """Sweeps all lanes of a source when it is due.

    Args:
        every: seconds between two sweeps.
        load: gives what `save` was given last, perhaps by another process; empty if that is lost.
        save: keeps the counts. Nothing depends on it but the time that the next sweep takes.
    """

    every: float
    load: Callable[[], dict[str, Any]]
    save: Callable[[dict[str, Any]], None]
    _dirty: bool = False

    def changed(self) -> None:
        """The source was written."""
        self._dirty = True

    def due(self) -> bool:
        """Whether there is something to look for by now."""
        if not self._dirty:
            return False
        at = self.load().get("at")
        if at is None and self.every > 0:
            self.save({"at": time.time()})
            return False
        return at is None or time.time() - at >= self.every

    def run(self, lanes: Sequence[Lane], limit: int, stop: Flag) -> Iterator[tuple[Lane, Step]]:
        """Deliver what came below the cursors.

        Args:
            lanes: the lanes.
            limit: the most rows in a commit.
            stop: ends it after the commit in flight.
        """
        kept = self.load()
        for lane in lanes:
            if stop.is_set():
                return
            if not lane.route.traits.replayable or not lane.route.source.keyed_by_rowid:
                continue
            sweep = Sweep(lane.route, lane.cursor(), _ranges(kept.get(lane.name), lane.cursor()))
            for ids in sweep.missing(limit):
                step = lane.deliver_below(ids)
                if step is not None:
                    lane.route.device.log.warning(Event.BELOW_CURSOR, mode=lane.name, rows=step.read)
                    yield lane, step
            kept[lane.name] = [[r.after, r.upto, *r.counts] for r in sweep.now]
        self._dirty = False
        self.save({**kept, "at": time.time()})


class Sweep(Struct):
    """One lane's rows up to its cursor.

    Args:
        route: the lane's route.
        cursor: where it stands.
        before: the ranges as they were counted the last time.
    """

    route: Route
    cursor: Cursor
    before: list[Range]
    now: list[Range] = field(default_factory=list)

    def missing(self, limit: int) -> Iterator[list[int]]:
        """The ids of rows that are in the source and not in the table, some at a time."""
        if self.cursor.rowid == BEFORE_FIRST:
            return
        from edge_delta.delivery.delivered import Delivered  # noqa: PLC0415 - Polars, which an idle run does not need

        delivered = Delivered(self.route, self.cursor)
        begin = self.before[-1].upto if self.before else delivered.begin()
        for known in [*self.before, *self._new(begin)]:
            counts = self.route.source.counts(known.after, known.upto)  # first: what comes now is seen the next time
            if counts != known.counts and counts[0]:
                again = known.counts[0] > 0 and counts[2] != known.counts[2]
                for ids in delivered.missing(known.after, known.upto, rows=_ROWS, by_time=again):
                    yield from (ids[i : i + limit] for i in range(0, len(ids), limit))
            self.now.append(Range(known.after, known.upto, counts))
        while len(self.now) > 2 * _RANGES:
            self.now = [_joined(self.now[i : i + 2]) for i in range(0, len(self.now), 2)]

    def _new(self, begin: int) -> list[Range]:
        """What was delivered in order since the last sweep, in ranges of equal width."""
        first, last, rows = self.route.source.between(begin, self.cursor.rowid)
        if first is None or last is None:
            return []
        width = max(1, (self.cursor.rowid - first) // min(_RANGES, 1 + rows // _IN_A_RANGE) + 1)
        ends = [*range(first + width - 1, self.cursor.rowid, width), self.cursor.rowid]
        return [Range(a, b, _NOTHING) for a, b in zip([begin, *ends], ends, strict=False)]


def _joined(ranges: list[Range]) -> Range:
    counts = [r.counts for r in ranges]
    rows, ids, latest = sum(c[0] for c in counts), sum(c[1] for c in counts), max(c[2] for c in counts)
    return Range(ranges[0].after, ranges[-1].upto, (rows, ids, latest))


def _ranges(kept: Any, cursor: Cursor) -> list[Range]:
    """What was kept, as far as the cursor is."""
    if not isinstance(kept, list):
        return []
    found = [Range(after, upto, (rows, ids, latest)) for after, upto, rows, ids, latest in kept]
    return [one for one in found if one.upto <= cursor.rowid]
