"""run > cycle > drain > step: the clock, catching up, one bounded batch = one commit.

What takes long is done in *turns*, each of them one batch at most: a generator, which goes on when its caller wants it
to. So several sources in one process (`edge_delta.delivery.turns`) do not wait for each other's backlogs.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from edge_delta.core.errors import FilesUnreadable, SourceUnavailable
from edge_delta.core.events import Event, Log
from edge_delta.core.retry import Outage, Persistence
from edge_delta.core.swept import Swept
from edge_delta.delivery.drains import Drains
from edge_delta.delivery.left_behind import LeftBehind
from edge_delta.delivery.pace import Pace, Tally
from edge_delta.delivery.positions import Positions
from edge_delta.delivery.reports import Reports
from edge_delta.delivery.settling import Settling
from edge_delta.delivery.sweep import Sweeping
from edge_delta.delivery.unwell import Unwell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from threading import Event as Flag

    from edge_delta.core.errors import TransientError
    from edge_delta.core.observing import Observer
    from edge_delta.delivery.lane import Lane
    from edge_delta.delivery.prefetch import ReadAhead
    from edge_delta.delivery.prepared import Prepared

T = TypeVar("T")


def _done(turns: Iterator[None]) -> None:
    list(turns)


_LOOK_EVERY = 2.0
"""Seconds between looks at the settings file."""


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
        self._left = LeftBehind(self._source, self._sweeping.load, self._sweeping.save, log)
        self._outage = Outage(log, observer)
        self._unwell = Unwell(log, observer)
        self._reports = Reports(log, observer, self._outage)
        self._drains = Drains(
            reader,
            self._lanes,
            pace,
            reports=self._reports,
            unwell=self._unwell,
            sweeping=self._sweeping,
            settling=self._settling,
            changed=self.take_over_settings,
        )
        self._behind = True
        self._news = False  # whether rows came during the last cycle that only urgent lanes have seen
        self._positions = Positions(self._reports.unsaid)

    @property
    def behind(self) -> bool:
        """Whether the last cycle left something that was there when it began."""
        return self._behind

    def run(self, stop: Flag) -> None:
        """A cycle every interval, until told to stop. Urgent lanes do not wait for it."""
        while not stop.is_set():
            self._persist(self.cycle, stop, for_seconds=None)
            self._wait(stop)
        self._persist(lambda _stop: self._left.read_to_its_end(self.turns, self._lanes), stop, for_seconds=0)
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
        left: TransientError | None = None
        try:
            self._persist(self._all_of_it, stop, for_seconds=self._pace.retry_for)
        except FilesUnreadable as error:
            left = error
        if flush and not stop.is_set():
            self._persist(lambda _stop: self._finish(flush=True), stop, for_seconds=self._pace.retry_for)
        self._persist(self._settle, stop, for_seconds=self._pace.retry_for)
        self._sweeping.finish(self._lanes)
        if left is not None:
            raise left
        self._cycled(None)

    def _all_of_it(self, stop: Flag) -> None:
        """A cycle, of which no part of the source may be left out."""
        _done(self.turns(stop, once=True))
        if not stop.is_set():
            self._refuse_a_part()

    def _refuse_a_part(self) -> None:
        if (error := self._source.unreadable()) is not None:
            raise error

    # -- in turn with other sources

    @property
    def urgent(self) -> float | None:
        """Seconds between looks at the source, where a new row counts at once."""
        return min((lane.urgent for lane in self._lanes if lane.urgent is not None), default=None)

    def pause(self) -> float:
        """Seconds until the next cycle, which is told to those who hear of it."""
        pause = self._until_next()
        self._cycled(pause)
        return pause

    def one_run(self, stop: Flag, *, flush: bool = False) -> Iterator[None]:
        """What `once` does, in turns; nothing is tried again."""
        self._settling.off = flush
        yield from self.turns(stop, once=True)
        if flush and not stop.is_set():
            self._finish(flush=True)
        self._settle(stop)
        self._sweeping.finish(self._lanes)
        self._refuse_a_part()
        self._cycled(None)

    def end(self, stop: Flag) -> None:
        """What `run` does last."""
        self._left.read_to_its_end(self.turns, self._lanes)
        self._finish(quick=True)
        self._settle(stop)
        self._sweeping.finish(self._lanes)

    def failed(self, error: TransientError) -> float:
        """Forget what is cached after a failure; the seconds to wait before the next try."""
        pause = self._outage.pause()
        self._outage.failed(error, pause)
        self._forget(error)
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

    def _forget(self, error: TransientError) -> None:
        self._behind = True
        self._left.note(self._lanes)
        # What a file has that was deleted or replaced is nowhere else: it stays open unless it is to blame.
        if isinstance(error, SourceUnavailable) and self._left.given_up():
            self._reader.reopen()
        else:
            self._reader.renew()
        self._unwell.clear(self._lanes)
        for lane in self._lanes:
            lane.forget()

    def _wait(self, stop: Flag) -> None:
        """Until the next cycle is due, with an eye on the settings and on what is urgent."""
        pause = self._until_next()
        due = time.monotonic() + pause
        self._cycled(pause)
        while (left := due - time.monotonic()) > 0 and not stop.is_set():
            stop.wait(min(left, _LOOK_EVERY, *(lane.urgent or _LOOK_EVERY for lane in self._lanes)))
            if self._persist(lambda _stop: self.take_over_settings(), stop, for_seconds=None):
                return
            self._persist(lambda flag: _done(self.hurry(flag)), stop, for_seconds=None)
            self._observer.alive()

    def _until_next(self) -> float:
        """Seconds until the next cycle, or until tables are tried again that did not answer."""
        pause, again = self._pace.pause(), self._unwell.again_at
        return pause if again is None else min(pause, max(0.0, again - time.monotonic()))

    def _cycled(self, pause: float | None) -> None:
        if not self._behind:
            self._observer.cycled(pause)

    def hurry(self, stop: Flag) -> Iterator[None]:
        """Deliver what is new in the urgent lanes, in turns, and see what is new where rows are held back."""
        for _ in self._urgent(stop):
            self._behind = True  # the other lanes have not seen it
            yield
        self._unwell.end(self._lanes, raises=False)

    def _urgent(self, stop: Flag) -> Iterator[None]:
        urgent = [lane for lane in self._unwell.well(self._lanes) if lane.urgent is not None]
        if stop.is_set() or not (urgent or self._settling.holds):
            return
        changed = self._source.changed()
        self._news = self._news or changed
        if changed and self._settling.holds:
            self._drains.look()
        if urgent and (changed or self._settling.ripe()):
            yield from self._drains.some(urgent, stop)

    def take_over_settings(self) -> bool:
        """Go on with changed settings, if there are some."""
        changed = self._reload(self._lanes)
        if changed is None:
            return False
        for lane in self._lanes:
            self._reports.aside(lane)
        lanes, self._pace = changed
        self._unwell.clear(self._lanes)
        self._lanes, self._behind = list(lanes), True
        self._drains.lanes, self._drains.pace = self._lanes, self._pace
        return True

    def cycle(self, stop: Flag) -> None:
        """Deliver what was there when the cycle began; costs nothing that grows if nothing is new."""
        _done(self.turns(stop))

    def turns(self, stop: Flag, *, once: bool = False) -> Iterator[None]:
        """A cycle in turns, each one batch at most.

        Args:
            stop: ends it after the batch in flight.
            once: whether there is no other one, so that nothing is more urgent than the rest, and nothing tried again.
        """
        self.take_over_settings()
        self._left.tell(self._lanes)
        moved = self._source.moved()
        aside = moved or self._source.gone() is not None
        if not (self._source.changed() or aside or self._behind or self._drains.held or self._news):
            self._reports.told.nothing_waits(lane.name for lane in self._lanes)
            yield from self._sweep(stop)
            self._over()
            return
        self._behind, self._news = True, False
        held = self._settling.off
        self._settling.off = held or moved  # a file that goes is read to its end
        yield from self._drain_all(stop, once=once)
        self._settling.off = held
        if moved and not stop.is_set():
            yield from self._replaced(stop, once=once)
        if (gone := self._source.gone()) is not None:
            self._unwell.end(self._lanes, raises=True)
            raise gone
        self._sweeping.changed()
        if not stop.is_set():
            yield from self._sweep(stop)
            self._over()
        self._unwell.end(self._lanes, raises=once)
        self._left.over()
        in_part = not once and self._unwell.part_of_source(self._source.unreadable(), self._until_next())
        self._behind = in_part or stop.is_set() or len(self._unwell.well(self._lanes)) < len(self._lanes)

    def _replaced(self, stop: Flag, *, once: bool) -> Iterator[None]:
        """The old file was read to its end through the open connection; what has its name now comes next."""
        self._unwell.end(self._lanes, raises=True)
        self._finish()
        self._log.warning(Event.SOURCE_REPLACED)
        self._reader.reopen()
        yield from self._drain_all(stop, once=once)

    def _sweep(self, stop: Flag) -> Iterator[None]:
        """Deliver what was updated, and what came below the cursors if it is time to look."""
        if len(self._unwell.well(self._lanes)) < len(self._lanes):
            return  # a sweep counts for all lanes
        for lane, step in self._sweeping.updates(self._lanes, self._pace.batch_rows, stop):
            self._reports.settled(lane, step)
            yield
        if self._sweeping.due(self._lanes):
            for found in self._sweeping.run(self._lanes, self._pace.batch_rows, stop):
                if isinstance(found, Swept):
                    self._observer.swept(found)
                else:
                    self._reports.settled(*found)
                    yield

    def _drain_all(self, stop: Flag, *, once: bool) -> Iterator[None]:
        while True:
            lanes = self._unwell.begin(self._lanes)
            yield from self._drains.all(lanes, stop, None if once else lambda: self._urgent(stop))
            if not self._drains.replaced:  # the settings changed on the way
                return

    def _over(self) -> None:
        """A cycle is over."""
        for lane in self._unwell.well(self._lanes):
            with self._unwell.apart(lane, alone=len(self._lanes) == 1):
                lane.cycle_over()
                self._reports.aside(lane)
        self._positions.now_and_then(self._unwell.well(self._lanes))

    def _finish(self, *, quick: bool = False, flush: bool = False) -> None:
        """Write what waits for more rows; a flush is told as a cycle by itself."""
        for lane in self._lanes:
            started = time.perf_counter()
            lane.finish(quick=quick)
            if (written := self._reports.aside(lane)) and flush:
                self._drains.ended(lane, Tally(rows_written=written), time.perf_counter() - started)

    def _settle(self, _stop: Flag) -> None:
        """Commit cursors that are ahead of their tables."""
        for lane in self._lanes:
            lane.settle()
