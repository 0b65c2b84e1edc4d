"""Trying again: growing, jittered pauses, one line in the log when it begins and one when it is over."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from edge_delta.core.errors import TransientError
from edge_delta.core.events import Event, Log
from edge_delta.core.observing import SilentObserver

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event as Flag

    import tenacity

    from edge_delta.core.observing import Observer

T = TypeVar("T")
OnFailure: TypeAlias = "Callable[[TransientError], None]"

_FIRST_PAUSE = 1.0
LONGEST_PAUSE = 300.0
"""Seconds between two tries at most."""
_SAY_EVERY = 300.0
_FIRST_TURN = 0.5
_LONGEST_TURN = 15.0
_TURNS = 8
_CROWDED_FOR = 300.0


def between(low: float, high: float) -> float:
    """A number by chance, so that a fleet does not act in step."""
    import random  # noqa: PLC0415 - a single run that meets no fault has no use for it

    return random.uniform(low, high)  # noqa: S311 - no secret


class Outage:
    """Says once that something is unavailable, repeats it at a limited rate, and says when it is over.

    Args:
        log: where it is said.
        observer: told of every failure, and when it is over.
    """

    def __init__(self, log: Log, observer: Observer | None = None) -> None:
        self._log = log
        self._observer = observer or SilentObserver()
        self._since: float | None = None
        self._said = 0.0
        self.failures = 0

    def failed(self, error: TransientError, pause: float) -> None:
        """One more failure; the next try comes after ``pause`` seconds."""
        now = time.monotonic()
        self.failures += 1
        self._observer.failed(error, self.failures, pause)
        if self._since is None:
            self._since = now
        elif now - self._said < _SAY_EVERY:
            return
        self._said = now
        self._log.warning(Event.UNAVAILABLE, error=str(error), failures=self.failures, pause=round(pause, 1))

    def pause(self) -> float:
        """Seconds to wait before the next try: growing with the failures since the last success, with jitter.

        On the jitter: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
        """
        longest = min(LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self.failures, 16))
        return between(longest / 10, longest)

    def over(self) -> None:
        """It works."""
        if self._since is not None:
            seconds = round(time.monotonic() - self._since, 1)
            self._log.info(Event.RECOVERED, after_seconds=seconds, failures=self.failures)
            self._observer.recovered()
        self._since, self.failures = None, 0


class Turns:
    """Pauses between tries to commit to a table that others write too, so that they come one after the other.

    The pauses grow while tries are lost and shrink with each commit, but they do not end with it: a table that was
    crowded a moment ago still is.

    Args:
        wait: waits for so many seconds, and returns whether it was told to stop.
    """

    def __init__(self, wait: Callable[[float], bool]) -> None:
        self._wait = wait
        self._longest = 0.0
        self._lost = 0
        self._last_lost = 0.0

    def await_ours(self) -> None:
        """Before a commit."""
        if self._longest and time.monotonic() - self._last_lost > _CROWDED_FOR:
            self._longest = 0.0
        if self._longest:
            self._pause()

    def lost(self) -> bool:
        """All tries of a commit were lost. Waits; returns whether to try again."""
        self._lost += 1
        self._last_lost = time.monotonic()
        self._longest = min(_LONGEST_TURN, max(_FIRST_TURN, self._longest * 2))
        if self._lost < _TURNS and not self._pause():
            return True
        self._lost = 0
        return False

    def won(self) -> None:
        """The commit stands."""
        self._lost = 0
        self._longest = self._longest * 0.75 if self._longest > _FIRST_TURN else 0.0

    def _pause(self) -> bool:
        return self._wait(between(0, self._longest))


class Persistence:
    """Calls that go on after transient errors.

    Args:
        outage: what is said meanwhile, and how long the pauses are.
        stop: ends the waiting.
        for_seconds: how long to keep trying, None for ever.
    """

    def __init__(self, outage: Outage, stop: Flag, *, for_seconds: float | None) -> None:
        self._outage = outage
        self._stop = stop
        self._for_seconds = for_seconds

    def call(self, function: Callable[[], T], *, on_failure: OnFailure = lambda _error: None) -> T | None:
        """The function's result, or None if told to stop before it had one.

        Args:
            function: what to call.
            on_failure: called after each failure with it, to drop what is cached.

        Raises:
            TransientError: if it still fails after ``for_seconds``.
        """
        try:
            result = function()
        except TransientError as error:
            return self._retry(error, function, on_failure)
        self._outage.over()
        return result

    def _retry(self, first: TransientError, function: Callable[[], T], on_failure: OnFailure) -> T | None:
        import tenacity  # noqa: PLC0415 - only when something failed

        def before_sleep(state: tenacity.RetryCallState) -> None:
            raised = state.outcome.exception() if state.outcome is not None else first
            error = raised if isinstance(raised, TransientError) else first
            pause = state.next_action.sleep if state.next_action is not None else 0.0
            self._outage.failed(error, pause)
            on_failure(error)

        limit = [] if self._for_seconds is None else [tenacity.stop_after_delay(self._for_seconds)]
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TransientError),
            wait=lambda _state: self._outage.pause(),
            stop=tenacity.stop_any(tenacity.stop_when_event_set(self._stop), *limit),
            sleep=tenacity.sleep_using_event(self._stop),
            before_sleep=before_sleep,
            reraise=True,
        )
        pending = [first]

        def attempt() -> T:
            if pending:
                raise pending.pop()
            return function()

        try:
            result = retrying(attempt)
        except TransientError:
            if self._stop.is_set():
                return None
            raise
        self._outage.over()
        return result
