"""The main job inside the test's own process, as long as a history needs it, and killed when the history says so."""

from __future__ import annotations

import io
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from edge_delta.core import events as telemetry
from edge_delta.device.observers import observed
from edge_delta.device.state import StateDirectory
from edge_delta.settings import load as config
from edge_delta.topology import build, commands
from edge_delta.topology.lanes import Session, open_source
from tests.support.command import parse_events

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_delta.core.ports import Sink
    from edge_delta.recovery.verify import Verification


class Killed(BaseException):
    """The process ends here, without a word and without cleaning up."""


class Mortal:
    """A table, before or behind whose next commit but some the process is killed."""

    def __init__(self, sink: Sink, killer: Killer) -> None:
        self._sink, self._killer = sink, killer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sink, name)

    def append(self, *args: Any, **kwargs: Any) -> Any:
        self._killer.reached("before a commit")
        commit = self._sink.append(*args, **kwargs)
        self._killer.reached("after a commit")
        return commit


class Killer:
    """Kills at a point, the next time or some times later."""

    def __init__(self) -> None:
        self._point, self._left = "", 0

    def arm(self, point: str, left: int) -> None:
        self._point, self._left = point, left

    def reached(self, point: str) -> None:
        if point == self._point:
            self._left -= 1
            if self._left < 0:
                self._point = ""
                raise Killed


class Process:
    """edge-delta with its settings: each `deliver` is a cycle, of one process or of a new one each time.

    Args:
        values: the settings as the command line has them.
        once: whether each cycle is a process of its own.
        clock: the seconds by which rows are held back.
    """

    def __init__(self, values: dict[str, Any], *, once: bool, clock: Callable[[], float] | None = None) -> None:
        self.values = values
        self.once, self._clock = once, clock
        self.killer = Killer()
        self.log = io.StringIO()
        self._stack: ExitStack | None = None

    @property
    def lives(self) -> bool:
        """Whether it has the database open."""
        return self._stack is not None

    def _settings(self, **more: Any) -> Any:
        values = {**self.values, **more}
        environment = {"SWEEP": values.pop("sweep")}
        return config.load(values, environment=environment)

    def deliver(self) -> None:
        """Bring the tables up to date.

        Raises:
            EdgeDeltaError: if it stops; then it has ended.
            Killed: if it was to be killed; then it is dead.
        """
        try:
            if self._stack is None:
                self._start()
            if self.once:
                self._engine.once(threading.Event())
                self._end()
            else:
                self._engine._persist(self._engine.cycle, threading.Event(), for_seconds=5)  # as `run` does
        except BaseException:
            self._end()
            raise

    def _start(self) -> None:
        settings = self._settings()
        log = telemetry.configure(stream=self.log)
        state = StateDirectory(settings.state_dir)
        self._stack = ExitStack()
        self._stack.enter_context(state.locked())
        observers = self._stack.enter_context(observed(settings, state, log))
        state.witness_key()
        source = open_source(settings)
        self._stack.callback(source.reopen)
        session = Session(source, settings.node_id, log, opened=lambda sink: Mortal(sink, self.killer))  # type: ignore[arg-type,return-value]
        self._stack.callback(session.reader.reopen)
        self._engine = build.build(settings, session, state, observers, {})
        if self._clock is not None:
            self._engine._settling.clock = self._clock

    def _end(self) -> None:
        if self._stack is not None:
            self._stack.close()
        self._stack = None

    def stop(self) -> None:
        """End it as a signal does."""
        if self._stack is not None:
            try:
                stopped = threading.Event()
                stopped.set()
                self._engine.run(stopped)
            finally:
                self._end()

    def kill(self) -> None:
        """End it without a word."""
        self._end()

    def finish(self) -> None:
        """The last run: sweep, and write open windows."""
        self.stop()
        settings = self._settings(sweep="0", once=True)
        done = build.run(settings, telemetry.configure(stream=self.log), threading.Event(), flags={"flush": True})
        assert done, "a single run left something undelivered"

    def verify(self) -> list[Verification]:
        return commands.verify(self._settings(), telemetry.configure(stream=io.StringIO()))

    def events(self) -> list[dict[str, Any]]:
        """All that it said so far."""
        return parse_events(self.log.getvalue())
