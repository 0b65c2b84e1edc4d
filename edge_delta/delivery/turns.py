"""Several sources in one process, each with an engine of its own: in turn, one batch each, the urgent ones in between.

What goes wrong with one of them is its own: what may pass is tried again after a pause while the others go on, and what
does not ends this source alone.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from edge_delta.core.errors import REPORT, EdgeDeltaError, TransientError, failure
from edge_delta.core.events import Event
from edge_delta.core.retry import Outage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from threading import Event as Flag

    from edge_delta.core.events import Log
    from edge_delta.core.observing import Observer

LOOK_EVERY = 2.0
"""Seconds between looks at what may have changed, such as the settings."""


class Worker(Protocol):
    """What takes turns: `edge_delta.delivery.engine.Engine` is one."""

    @property
    def urgent(self) -> float | None:
        """Seconds between looks at the source, where a new row counts at once."""

    @property
    def behind(self) -> bool:
        """Whether the last cycle left something that was there when it began."""

    def turns(self, stop: Flag) -> Iterator[None]:
        """A cycle."""

    def hurry(self, stop: Flag) -> Iterator[None]:
        """What is urgent of a cycle."""

    def one_run(self, stop: Flag, *, flush: bool = False) -> Iterator[None]:
        """A cycle, and what is to be done where it is the only one."""

    def take_over_settings(self) -> bool:
        """Go on with changed settings, if there are some."""

    def pause(self) -> float:
        """Seconds until the next cycle."""

    def failed(self, error: TransientError) -> float:
        """Forget what is cached; the seconds to wait before the next try."""

    def in_order(self) -> None:
        """A cycle came to its end."""

    def end(self, stop: Flag) -> None:
        """The process ends."""


class Share:
    """One source among others, and what has become of it.

    Args:
        key: what it is called.
        load: builds its engine, once that can be done.
        log: where its events go.
        observer: hears of its failures.
        ended: is told when it is over, and by which error if by one.

    Attributes:
        error: what ended it; None while it goes on, and where it ended as it should.
        failing: the error that is tried again after, None if there is none.
        due: when it goes on, by the monotonic clock.
    """

    def __init__(
        self,
        key: str,
        load: Callable[[], Worker],
        *,
        log: Log,
        observer: Observer,
        ended: Callable[[EdgeDeltaError | None], None] = lambda _error: None,
    ) -> None:
        self.key = key
        self._load = load
        self._log = log
        self._observer = observer
        self._ended = ended
        self._outage = Outage(log, observer)
        self._engine: Worker | None = None
        self._work: Iterator[None] | None = None
        self._hurries = False
        self._failed_at: float | None = None
        self.error: EdgeDeltaError | None = None
        self.failing: TransientError | None = None
        self.over = False
        self.due = 0.0

    @property
    def urgent(self) -> float | None:
        """Seconds between looks where a new row counts at once, None for other sources."""
        return self._engine.urgent if self._engine is not None and self.failing is None else None

    @property
    def at_work(self) -> bool:
        """Whether a round of it is under way."""
        return self._work is not None and not self.over

    @property
    def behind(self) -> bool:
        """Whether something was left that was there when its last round began."""
        return self._engine is None or self._engine.behind

    def begin(self, work: Callable[[Worker], Iterator[None]], *, hurries: bool = False) -> None:
        """A round of it begins with its next turn, or only what is urgent of one."""
        self._work, self._hurries = self._with_engine(work), hurries

    def _with_engine(self, work: Callable[[Worker], Iterator[None]]) -> Iterator[None]:
        if self._engine is None:
            self._engine = self._load()
            self._outage.over()
            yield
        yield from work(self._engine)
        self._engine.in_order()

    def turn(self, give_up_after: float | None) -> bool:
        """One batch of it, or one try.

        Args:
            give_up_after: seconds after the first of some failures in a row; None to try for ever.

        Returns:
            Whether its round is done with it, as it should be.
        """
        if self._work is None or self.over:
            return False
        try:
            next(self._work)
        except StopIteration:
            self._work, self.failing, self._failed_at = None, None, None
            return not self._hurries
        except TransientError as error:
            self._again(error, give_up_after)
        except EdgeDeltaError as error:
            self.end(error)
        except Exception as error:  # noqa: BLE001 - a mistake of ours with one source is none with the others
            self.end(EdgeDeltaError(f"{failure(error)}", REPORT))
        return False

    def _again(self, error: TransientError, give_up_after: float | None) -> None:
        now = time.monotonic()
        self._work, self.failing = None, error
        self._failed_at = now if self._failed_at is None else self._failed_at
        if give_up_after is not None and now - self._failed_at >= give_up_after:
            self.end(error)
            return
        if self._engine is not None:
            pause = self._engine.failed(error)
        else:
            pause = self._outage.pause()
            self._outage.failed(error, pause)
        self.due = now + (pause if give_up_after is None else min(pause, self._failed_at + give_up_after - now))

    def end(self, error: EdgeDeltaError | None = None) -> None:
        """It is over; the others go on."""
        self.over, self.error, self._work = True, error, None
        if error is not None:
            self._log.error(Event.FAILED, error=str(error), exit_code=error.exit_code)
        self._ended(error)

    def pause(self) -> None:
        """Its round is over: it waits for the next one."""
        if self._engine is not None:
            self.due = time.monotonic() + self._engine.pause()

    def look(self) -> None:
        """Take over settings that were changed."""
        if self._engine is not None and not self.at_work and self.failing is None:
            try:
                if self._engine.take_over_settings():
                    self.due = 0.0
            except TransientError as error:
                self._again(error, None)
            except EdgeDeltaError as error:
                self.end(error)

    def finish(self, stop: Flag) -> None:
        """Its process ends: what waits for more rows is written, and cursors are committed that are ahead."""
        while self.at_work:  # it comes to its end soon: the process is told to stop
            self.turn(None)
        if self.over:
            return
        if self._engine is not None and self.failing is None:
            try:
                self._engine.end(stop)
            except TransientError as error:
                self._log.warning(Event.UNAVAILABLE, error=str(error), failures=1, pause=0)
            except EdgeDeltaError as error:
                self.end(error)
                return
        self.end()


class Turns:
    """Gives turns.

    Args:
        tick: is called every `LOOK_EVERY` seconds; it may add and end sources.
    """

    def __init__(self, tick: Callable[[], None] = lambda: None) -> None:
        self._shares: list[Share] = []
        self._tick = tick
        self._next_look = 0.0

    @property
    def shares(self) -> Sequence[Share]:
        """The sources."""
        return tuple(self._shares)

    def add(self, share: Share) -> None:
        """One more source."""
        self._shares.append(share)

    def remove(self, key: str, stop: Flag) -> None:
        """It is no source any more."""
        for share in [share for share in self._shares if share.key == key]:
            self._shares.remove(share)
            share.finish(stop)

    def once(self, stop: Flag, *, retry_for: float, flush: bool = False) -> None:
        """Deliver what is there in each, then return.

        Args:
            stop: ends it after the batch in flight.
            retry_for: seconds after which a source is given up that stays unavailable.
            flush: see `Engine.once`.
        """
        while not stop.is_set() and (left := [share for share in self._shares if not share.over]):
            now = time.monotonic()
            ready = [share for share in left if share.due <= now]
            for share in ready:
                if not share.at_work:
                    share.begin(lambda engine: engine.one_run(stop, flush=flush))
            for share in self._round(ready, stop, retry_for):
                share.end()
            if not ready:
                stop.wait(min(share.due for share in left) - now)
        for share in self._shares:
            while share.at_work:
                share.turn(0)
            if not share.over:
                share.end()

    def run(self, stop: Flag) -> None:
        """Cycles of each, until told to stop or until every source has ended by an error."""
        while not stop.is_set() and (left := [share for share in self._shares if not share.over]):
            now = time.monotonic()
            for share in left:
                if share.due <= now and not share.at_work:
                    share.begin(lambda engine: engine.turns(stop))
            ready = [share for share in left if share.at_work]
            for share in self._round(ready, stop, None):
                if share.failing is None and not share.over:  # as what was urgent since may have come to
                    share.pause()
            if not ready:
                self._wait(left, stop)
            self._look(left)
        for share in self._shares:
            share.finish(stop)

    def _round(self, ready: Sequence[Share], stop: Flag, give_up_after: float | None) -> list[Share]:
        """A turn for each, and one for the urgent ones before each of the others; those whose round is over."""
        done: list[Share] = []
        others = [share for share in ready if share.urgent is None]
        each: Sequence[Share | None] = others or [None]
        for share in each:
            for one in [one for one in self._shares if one.urgent is not None]:  # also one that is loaded by now
                if one not in ready or give_up_after is None:
                    self._hurry(one, stop)
                if not stop.is_set() and one.turn(give_up_after):
                    done.append(one)
            if share is not None and not stop.is_set() and share.turn(give_up_after):
                done.append(share)
        return done

    def _hurry(self, share: Share, stop: Flag) -> None:
        """An urgent source that waits for its next cycle looks for what is new."""
        if not share.at_work and not share.over:
            share.begin(lambda engine: engine.hurry(stop), hurries=True)

    def _wait(self, left: Sequence[Share], stop: Flag) -> None:
        now = time.monotonic()
        pauses = [LOOK_EVERY, *(share.due - now for share in left)]
        pauses += [share.urgent for share in left if share.urgent is not None]
        if (pause := min(pauses)) > 0:
            stop.wait(pause)
        for share in [share for share in left if share.urgent is not None]:
            self._hurry(share, stop)

    def _look(self, left: Sequence[Share]) -> None:
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_EVERY
        for share in left:
            share.look()
        self._tick()
