"""run > cycle > drain > step: the clock, catching up, one bounded batch = one commit.

What takes long is done in *turns*, each of them one batch at most: a generator, which goes on when its caller wants it
to. So several sources in one process (`edge_delta.delivery.turns`) do not wait for each other's backlogs.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from edge_delta.core.counting import Swept
from edge_delta.core.events import Event, Log
from edge_delta.core.model import Cursor, Waiting
from edge_delta.core.retry import Outage, Persistence
from edge_delta.delivery.pace import Pace, Tally
from edge_delta.delivery.settling import Settling
from edge_delta.delivery.sweep import Sweeping
from edge_delta.delivery.told import Told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from threading import Event as Flag

    from edge_delta.core.errors import TransientError
    from edge_delta.core.model import Step
    from edge_delta.core.ports import Observer
    from edge_delta.delivery.lane import Lane
    from edge_delta.delivery.prefetch import ReadAhead
    from edge_delta.delivery.prepared import Prepared

T = TypeVar("T")


def _done(turns: Iterator[None]) -> None:
    list(turns)


_LOOK_EVERY = 2.0
"""Seconds between looks at the settings file."""
_POSITION_EVERY = 3_600.0
"""Seconds after which a mode that passed over all rows, as alerts do for weeks, commits how far it has come: rows up to
there may be purged, and who starts after a kill need not read them again."""


class Engine:
    """Brings all lanes up to date with the source, once or again and again.

    Args:
        reader: where rows come from.
        lanes: the modes' ways.
        pace: when and how much.
        log: where events go.
        observer: hears of batches, cycles and failures.
        sweeping: looks for rows that came below the cursors.
        settling: holds rows back that are too new.
        reload: looks for changed settings; gives the lanes and the pace that are to take over, or None.
    """

    def __init__(  # noqa: PLR0913 - six parts meet here, each named
        self,
        reader: ReadAhead[Prepared],
        lanes: Sequence[Lane],
        pace: Pace,
        *,
        log: Log,
        observer: Observer,
        sweeping: Sweeping | None = None,
        settling: Settling | None = None,
        reload: Callable[[Sequence[Lane]], tuple[Sequence[Lane], Pace] | None] = lambda _lanes: None,
    ) -> None:
        self._reader = reader
        self._source = reader.source
        self._lanes = list(lanes)
        self._pace = pace
        self._log = log
        self._observer = observer
        self._reload = reload
        self._sweeping = sweeping or Sweeping(float("inf"), dict, lambda _kept: None)
        self._settling = settling or Settling(0)
        self._held = 0
        self._outage = Outage(log, observer)
        self._told = Told(log)
        self._behind = True
        self._positions_at = time.monotonic()

    @property
    def behind(self) -> bool:
        """Whether the last cycle left something that was there when it began."""
        return self._behind

    def run(self, stop: Flag) -> None:
        """A cycle every interval, until told to stop. Urgent lanes do not wait for it."""
        while not stop.is_set():
            self._persist(self.cycle, stop, for_seconds=None)
            self._wait(stop)
        self._persist(lambda _stop: self._finish(quick=True), stop, for_seconds=0)
        self._persist(self._settle, stop, for_seconds=0)
        self._sweeping.finish(self._lanes)

    def once(self, stop: Flag, *, flush: bool = False) -> None:
        """Deliver what is there now, then return.

        Args:
            stop: ends it after the batch in flight.
            flush: whether open windows are written too, and rows that would be held back.

        Raises:
            TransientError: if something stayed unavailable for longer than ``retry_for``.
        """
        self._settling.off = flush
        self._persist(self.cycle, stop, for_seconds=self._pace.retry_for)
        if flush and not stop.is_set():
            self._persist(lambda _stop: self._finish(flush=True), stop, for_seconds=self._pace.retry_for)
        self._persist(self._settle, stop, for_seconds=self._pace.retry_for)
        self._sweeping.finish(self._lanes)
        self._cycled(None)

    # -- in turn with other sources

    @property
    def urgent(self) -> float | None:
        """Seconds between looks at the source, where a new row counts at once."""
        return min((lane.urgent for lane in self._lanes if lane.urgent is not None), default=None)

    def pause(self) -> float:
        """Seconds until the next cycle, which is told to those who hear of it."""
        pause = self._pace.pause()
        self._cycled(pause)
        return pause

    def one_run(self, stop: Flag, *, flush: bool = False) -> Iterator[None]:
        """What `once` does, in turns; nothing is tried again."""
        self._settling.off = flush
        yield from self.turns(stop)
        if flush and not stop.is_set():
            self._finish(flush=True)
        self._settle(stop)
        self._sweeping.finish(self._lanes)
        self._cycled(None)

    def end(self, stop: Flag) -> None:
        """What `run` does last."""
        self._finish(quick=True)
        self._settle(stop)
        self._sweeping.finish(self._lanes)

    def failed(self, error: TransientError) -> float:
        """Forget what is cached after a failure; the seconds to wait before the next try."""
        pause = self._outage.pause()
        self._outage.failed(error, pause)
        self._forget()
        return pause

    def in_order(self) -> None:
        """A cycle came to its end."""
        self._reader.rest()
        self._outage.over()

    # -- by itself

    def _persist(self, work: Callable[[Flag], T], stop: Flag, *, for_seconds: float | None) -> T | None:
        """Work, tried again while it fails for a reason that may pass."""
        persistence = Persistence(self._outage, stop, for_seconds=for_seconds)
        return persistence.call(lambda: work(stop), on_failure=self._forget)

    def _forget(self) -> None:
        self._behind = True
        self._reader.reopen()
        for lane in self._lanes:
            lane.forget()

    def _wait(self, stop: Flag) -> None:
        """Until the next cycle is due, with an eye on the settings and on what is urgent."""
        pause = self._pace.pause()
        due = time.monotonic() + pause
        self._cycled(pause)
        while (left := due - time.monotonic()) > 0 and not stop.is_set():
            stop.wait(min(left, _LOOK_EVERY, *(lane.urgent or _LOOK_EVERY for lane in self._lanes)))
            if self._persist(lambda _stop: self.take_over_settings(), stop, for_seconds=None):
                return
            self._persist(lambda flag: _done(self.hurry(flag)), stop, for_seconds=None)
            self._observer.alive()

    def _cycled(self, pause: float | None) -> None:
        if not self._behind:
            self._observer.cycled(pause)

    def hurry(self, stop: Flag) -> Iterator[None]:
        """Deliver what is new in the urgent lanes, in turns, and see what is new where rows are held back."""
        urgent = [lane for lane in self._lanes if lane.urgent is not None]
        if stop.is_set() or not (urgent or self._settling.holds):
            return
        changed = self._source.changed()
        if changed and self._settling.holds:
            self._look()
            self._held = self._held or 1  # the next cycle is not idle
        if urgent and (changed or self._settling.ripe()):
            self._behind = True  # the other lanes have not seen it
            yield from self._drain_all(urgent, stop)

    def _look(self) -> None:
        """See up to where there are rows, by which they are told from newer ones later."""
        cursor = max((lane.cursor() for lane in self._lanes), key=lambda c: (c.generation, c.rowid))
        self._settling.look(self._source.waiting(Cursor()).last_rowid, cursor.generation)

    def take_over_settings(self) -> bool:
        """Go on with changed settings, if there are some."""
        changed = self._reload(self._lanes)
        if changed is None:
            return False
        for lane in self._lanes:
            self._tell_aside(lane)
        lanes, self._pace = changed
        self._lanes, self._behind = list(lanes), True
        return True

    def cycle(self, stop: Flag) -> None:
        """Deliver what was there when the cycle began; costs nothing that grows if nothing is new."""
        _done(self.turns(stop))

    def turns(self, stop: Flag) -> Iterator[None]:
        """A cycle in turns, each one batch at most."""
        self.take_over_settings()
        moved = self._source.moved()
        if not (self._source.changed() or moved or self._behind or self._held):
            self._idle()
            yield from self._sweep(stop)
            self._over()
            return
        self._behind = True
        held = self._settling.off
        self._settling.off = held or moved  # a file that goes is read to its end
        yield from self._drain_all(self._lanes, stop)
        self._settling.off = held
        if moved and not stop.is_set():
            # The old file was read to its end through the open connection; what has its name now comes next.
            self._finish()
            self._log.warning(Event.SOURCE_REPLACED)
            self._reader.reopen()
            yield from self._drain_all(self._lanes, stop)
        self._sweeping.changed()
        if not stop.is_set():
            yield from self._sweep(stop)
            self._over()
        self._behind = stop.is_set()

    def _sweep(self, stop: Flag) -> Iterator[None]:
        """Deliver what was updated, and what came below the cursors if it is time to look."""
        for lane, step in self._sweeping.updates(self._lanes, self._pace.batch_rows, stop):
            self._settled(lane, step, Waiting(None, None))
            yield
        if self._sweeping.due():
            for found in self._sweeping.run(self._lanes, self._pace.batch_rows, stop):
                if isinstance(found, Swept):
                    self._observer.swept(found)
                else:
                    self._settled(*found, Waiting(None, None))
                    yield

    def _idle(self) -> None:
        for lane in self._lanes:
            self._log.info(Event.CYCLE_STARTED, mode=lane.name, rows_waiting=0, will_fetch=0)
            self._log.info(Event.CYCLE_FINISHED, mode=lane.name, rows_written=0, rows_rejected=0, rows_left=0)

    def _drain_all(self, lanes: Sequence[Lane], stop: Flag) -> Iterator[None]:
        if len(lanes) > 1:  # a later one may see that the source is another, and rows of an earlier one are of it then
            for lane in lanes:
                lane.check_source()
        self._held = 0
        for lane in list(lanes):
            yield from self._drain(lane, stop)
            if lane not in self._lanes:  # the settings changed on the way
                yield from self._drain_all(self._lanes, stop)
                return

    def _drain(self, lane: Lane, stop: Flag) -> Iterator[None]:
        """Deliver what one lane had waiting when this began."""
        started = time.perf_counter()
        lane.check_source()
        self._tell_aside(lane)
        self._sweeping.begins(lane)
        waiting = self._source.waiting(lane.cursor())
        if self._settling.holds:
            self._look()
            waiting = self._settling.limit(waiting)
        self._told.cycle_begins(lane.name, waiting, self._pace.batch_rows)
        tally = Tally()
        while waiting.rows and not stop.is_set() and not self.take_over_settings():
            step = lane.step(limit=self._pace.batch_rows, upto=waiting.last_rowid, held=self._settling.holds)
            if step is None:
                break
            tally.add(step)
            self._tell_aside(lane)
            self._settled(lane, step, waiting)
            yield
        self._finished(lane, tally, time.perf_counter() - started)

    def _finished(self, lane: Lane, tally: Tally, seconds: float) -> None:
        left = self._source.waiting(lane.cursor()).rows
        if self._settling.holds:
            self._held = max(self._held, left)
            self._observer.held(lane.name, left)
            self._settling.keep()
        self._told.cycle_ends(lane.name, tally, left, seconds)

    def _settled(self, lane: Lane, step: Step, waiting: Waiting) -> None:
        self._outage.over()
        self._told.step(step)
        self._observer.settled(step, Waiting(step.cursor.rowid + 1, waiting.last_rowid))
        if step.commit is not None and (found := lane.look_after()) is not None:
            self._observer.looked_after(lane.name, found)

    def _over(self) -> None:
        """A cycle is over."""
        for lane in self._lanes:
            lane.cycle_over()
            self._tell_aside(lane)
        self._settle_now_and_then()

    def _finish(self, *, quick: bool = False, flush: bool = False) -> None:
        """Write what waits for more rows; a flush is told as a cycle by itself."""
        for lane in self._lanes:
            started = time.perf_counter()
            lane.finish(quick=quick)
            if (written := self._tell_aside(lane)) and flush:
                self._finished(lane, Tally(rows_written=written), time.perf_counter() - started)

    def _tell_aside(self, lane: Lane) -> int:
        """Tell what was seen and committed beside batches; how many rows that was."""
        for cursor in lane.ignored_updates():
            self._observer.updated(lane.name, cursor)
        for step in (steps := lane.aside()):
            self._settled(lane, step, Waiting(None, None))
        return sum(step.written for step in steps)

    def _settle_now_and_then(self) -> None:
        """Commit the cursors of modes that select rows, once an hour."""
        if time.monotonic() - self._positions_at < _POSITION_EVERY:
            return
        for lane in self._lanes:
            if lane.route.traits.selective:
                lane.settle()
        self._positions_at = time.monotonic()

    def _settle(self, _stop: Flag) -> None:
        """Commit cursors that are ahead of their tables."""
        for lane in self._lanes:
            lane.settle()
