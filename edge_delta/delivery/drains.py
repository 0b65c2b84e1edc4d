"""What lanes have waiting, delivered in rounds of one batch a lane: read once for all that stand at the same row.

Lanes that stand apart come one after the other, those with least to do first, so that one that is far behind holds
nobody: while it catches up, the others are brought up to date again whenever their interval is over, and what is urgent
goes between any two batches. One batch is in memory for all lanes of a round, besides what is read ahead.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edge_delta.core.model import Cursor, Waiting
from edge_delta.delivery.pace import Tally
from edge_delta.delivery.prefetch import stand_together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from threading import Event as Flag

    from edge_delta.delivery.lane import Lane
    from edge_delta.delivery.pace import Pace
    from edge_delta.delivery.prefetch import ReadAhead
    from edge_delta.delivery.prepared import Prepared
    from edge_delta.delivery.reports import Reports
    from edge_delta.delivery.settling import Settling
    from edge_delta.delivery.sweep import Sweeping
    from edge_delta.delivery.unwell import Unwell


class Drain:
    """What one lane had waiting when this began.

    Args:
        lane: the lane.
        waiting: what it has waiting.
    """

    def __init__(self, lane: Lane, waiting: Waiting) -> None:
        self.lane = lane
        self.waiting = waiting
        self.tally = Tally()
        self.started = time.perf_counter()
        self.over = not waiting.rows
        self.finished = False

    def place(self) -> tuple[int, int]:
        """Where its lane stands."""
        cursor = self.lane.cursor()
        return cursor.generation, cursor.rowid

    def stands_with(self, other: Drain) -> bool:
        """Whether both take the same batch next."""
        same = self.waiting.last_rowid == other.waiting.last_rowid
        return same and stand_together(self.lane.cursor(), other.lane.cursor())


class Drains:
    """Delivers what is waiting.

    Args:
        reader: reads for all lanes.
        lanes: all lanes of the source.
        pace: how much at a time, and after what time lanes begin again that wait for one which is behind.
        reports: what is told.
        unwell: keeps lanes apart whose tables do not answer.
        sweeping: hears that lanes begin.
        settling: holds rows back that are too new.
        changed: takes over settings that were changed; whether there were any, and with them other lanes.

    Attributes:
        held: the most rows that were left because they are held back.
        replaced: whether the lanes were replaced by others on the way.
    """

    def __init__(  # noqa: PLR0913 - the parts of an engine meet here, each named
        self,
        reader: ReadAhead[Prepared],
        lanes: Sequence[Lane],
        pace: Pace,
        *,
        reports: Reports,
        unwell: Unwell,
        sweeping: Sweeping,
        settling: Settling,
        changed: Callable[[], bool],
    ) -> None:
        self.lanes = lanes
        self.pace = pace
        self._reader = reader
        self._source = reader.source
        self._reports = reports
        self._unwell = unwell
        self._sweeping = sweeping
        self._settling = settling
        self._changed = changed
        self.held = 0
        self.replaced = False

    def all(self, lanes: Sequence[Lane], stop: Flag, urgent: Callable[[], Iterator[None]] | None) -> Iterator[None]:
        """Bring the lanes up to date, in turns.

        Args:
            lanes: those that are to be tried now.
            stop: ends it after the batch in flight.
            urgent: delivers what is new and urgent, between two batches; None in a single run, where nothing is.
        """
        self.held, self.replaced = 0, False
        drains = self._begun(lanes)
        # Alerts would be late if they waited for the others' writing: where they have more than a batch to do, they do
        # without the one reading for all.
        ahead = [d for d in drains if urgent and d.lane.urgent is not None and d.waiting.rows > self.pace.batch_rows]
        yield from self._rounds(ahead, stop)
        done = [drain.lane for drain in drains if drain.over]
        due = time.monotonic() + self.pace.pause() if urgent is not None else 0.0
        for group in _groups([drain for drain in drains if drain not in ahead]):
            for _ in self._rounds(group, stop):
                yield
                if urgent is None or self.replaced or stop.is_set():
                    continue
                yield from urgent()
                if done and time.monotonic() >= due:
                    yield from self._once_more(done, stop)
                    due = time.monotonic() + self.pace.pause()
            done += [drain.lane for drain in group]
        self._reader.leave()

    def some(self, lanes: Sequence[Lane], stop: Flag) -> Iterator[None]:
        """Bring some lanes up to date, perhaps while `all` is at work on others."""
        for group in _groups(self._begun(lanes)):
            yield from self._rounds(group, stop)

    def _once_more(self, lanes: Sequence[Lane], stop: Flag) -> Iterator[None]:
        """A cycle of lanes that wait for one which is behind."""
        for lane in self._unwell.well(lanes):
            with self._apart(lane):
                lane.cycle_over()
        yield from self.some(self._unwell.well(lanes), stop)

    def look(self) -> None:
        """See up to where there are rows, by which they are told from newer ones later."""
        cursor = max((lane.cursor() for lane in self.lanes), key=lambda c: (c.generation, c.rowid))
        self._settling.look(self._source.waiting(Cursor()).last_rowid, cursor.generation)

    def ended(self, lane: Lane, tally: Tally, seconds: float) -> None:
        """What a lane had waiting is delivered."""
        left = self._source.waiting(lane.cursor()).rows
        if self._settling.holds:
            self.held = max(self.held, left)
            self._reports.observer.held(lane.name, left)
            self._settling.keep()
        self._reports.told.cycle_ends(lane.name, tally, left, seconds)

    def _apart(self, lane: Lane) -> AbstractContextManager[None]:
        return self._unwell.apart(lane, alone=len(self.lanes) == 1)

    # -- beginning

    def _begun(self, lanes: Sequence[Lane]) -> list[Drain]:
        """What each lane has waiting, up to the same row, so that they stand at the same row again in the end."""
        if len(lanes) > 1:  # a later one may see that the source is another, and rows of an earlier one are of it then
            for lane in lanes:
                with self._apart(lane):
                    lane.check_source()
        known: dict[int, Waiting] = {}
        drains: list[Drain] = []
        for lane in self._unwell.well(lanes):
            with self._apart(lane):
                drains.append(self._drain(lane, known))
        return drains

    def _drain(self, lane: Lane, known: dict[int, Waiting]) -> Drain:
        lane.check_source()
        self._reports.aside(lane)
        self._sweeping.begins(lane)
        cursor = lane.cursor()
        if cursor.rowid not in known:
            known[cursor.rowid] = _not_beyond(known.values(), self._source.waiting(cursor))
        waiting = known[cursor.rowid]
        if self._settling.holds:
            self.look()
            waiting = self._settling.limit(waiting)
        drain = Drain(lane, waiting)
        self._reports.told.cycle_begins(lane.name, waiting, self.pace.batch_rows)
        if drain.over:
            self._finish(drain)
        return drain

    # -- batch by batch

    def _rounds(self, drains: Sequence[Drain], stop: Flag) -> Iterator[None]:
        """A batch for each, again and again."""
        left = [drain for drain in drains if not drain.over]
        while left:
            for place, drain in enumerate(left):
                self.replaced = self.replaced or (not stop.is_set() and self._changed())
                if stop.is_set() or self.replaced:
                    for one in left:
                        self._finish(one)
                    return
                if self._step(drain, left[place + 1 :]):
                    yield
            left = [drain for drain in left if not drain.over]

    def _step(self, drain: Drain, following: Sequence[Drain]) -> bool:
        """Deliver a lane's next batch; whether there was one."""
        lane, waiting, step = drain.lane, drain.waiting, None
        drain.over = True
        with self._apart(lane):
            step = lane.step(
                limit=self.pace.batch_rows,
                upto=waiting.last_rowid,
                held=self._settling.holds,
                kept=bool(following) and drain.stands_with(following[0]),
            )
            if step is not None:
                drain.tally.add(step)
                self._reports.aside(lane)
                self._reports.settled(lane, step, waiting)
                drain.over = waiting.last_rowid is not None and step.cursor.rowid >= waiting.last_rowid
            if drain.over:
                self._finish(drain)
        return step is not None

    def _finish(self, drain: Drain) -> None:
        if not drain.finished:
            drain.finished = True
            self.ended(drain.lane, drain.tally, time.perf_counter() - drain.started)


def _not_beyond(known: Iterable[Waiting], waiting: Waiting) -> Waiting:
    """What waits, without rows that came after it was asked what waits elsewhere."""
    ends = [w.last_rowid for w in known if w.last_rowid is not None]
    if not ends or waiting.first_rowid is None or waiting.last_rowid is None:
        return waiting
    return Waiting(waiting.first_rowid, ends[0]) if waiting.first_rowid <= ends[0] else Waiting(None, None)


def _groups(drains: Sequence[Drain]) -> list[list[Drain]]:
    """Those that take the same batches, the urgent ones first in each; the groups with least to do come first."""
    groups: list[list[Drain]] = []
    ordered = sorted((d for d in drains if not d.over), key=Drain.place, reverse=True)
    for drain in ordered:
        if groups and groups[-1][0].stands_with(drain):
            groups[-1].append(drain)
        else:
            groups.append([drain])
    return [sorted(group, key=lambda drain: drain.lane.urgent is None) for group in groups]
