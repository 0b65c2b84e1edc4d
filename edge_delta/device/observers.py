"""What others see of a running process: the mirror in the state directory, metrics, and the service manager."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from edge_delta.core.errors import EdgeDeltaError
from edge_delta.core.observing import Observer
from edge_delta.device.mirror import Mirror
from edge_delta.settings.declaration import differing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_delta.core.errors import TransientError
    from edge_delta.core.events import Log
    from edge_delta.core.model import Cursor, Inventory, Step, Waiting
    from edge_delta.core.ports import Source
    from edge_delta.core.swept import Swept
    from edge_delta.device.heartbeat import Heartbeat
    from edge_delta.device.state import StateDirectory
    from edge_delta.settings.sections import Settings


class Observers(Observer):
    """All observers of one process, as one.

    Args:
        mirror: is always kept.
    """

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        self._all: list[Observer] = [mirror]

    def add(self, observer: Observer) -> None:
        """One more that hears of everything."""
        self._all.append(observer)

    def set_to(self, before: Settings, after: Settings) -> None:
        """Other settings are in force."""
        self.mirror.set_to(after)
        self.settings_changed(differing(before, after))

    def opened(self, source: Source, node_id: str) -> None:
        """See `Observer.opened`."""
        for observer in self._all:
            observer.opened(source, node_id)

    def settled(self, step: Step, waiting: Waiting) -> None:
        """See `Observer.settled`."""
        for observer in self._all:
            observer.settled(step, waiting)

    def looked_after(self, mode: str, found: Inventory) -> None:
        """See `Observer.looked_after`."""
        for observer in self._all:
            observer.looked_after(mode, found)

    def swept(self, swept: Swept) -> None:
        """See `Observer.swept`."""
        for observer in self._all:
            observer.swept(swept)

    def updated(self, mode: str, cursor: Cursor) -> None:
        """See `Observer.updated`."""
        for observer in self._all:
            observer.updated(mode, cursor)

    def held(self, mode: str, rows: int) -> None:
        """See `Observer.held`."""
        for observer in self._all:
            observer.held(mode, rows)

    def cycled(self, pause: float | None) -> None:
        """See `Observer.cycled`."""
        for observer in self._all:
            observer.cycled(pause)

    def alive(self) -> None:
        """See `Observer.alive`."""
        for observer in self._all:
            observer.alive()

    def failed(self, error: TransientError, failures: int, pause: float) -> None:
        """See `Observer.failed`."""
        for observer in self._all:
            observer.failed(error, failures, pause)

    def recovered(self) -> None:
        """See `Observer.recovered`."""
        for observer in self._all:
            observer.recovered()

    def settings_changed(self, keys: Sequence[str]) -> None:
        """See `Observer.settings_changed`."""
        for observer in self._all:
            observer.settings_changed(keys)


@contextlib.contextmanager
def beating(settings: Settings, state: StateDirectory, log: Log) -> Iterator[Heartbeat | None]:
    """Write a heartbeat while the process works, if the settings ask for one.

    Args:
        settings: those of the process.
        state: its state directory.
        log: where it is said that it cannot be written.
    """
    if not settings.heartbeat:
        yield None
        return
    from edge_delta.device.heartbeat import Heartbeat  # noqa: PLC0415 - it is seldom on

    heartbeat = Heartbeat(settings, state, log)
    with heartbeat.beating():
        yield heartbeat


@contextlib.contextmanager
def observed(settings: Settings, state: StateDirectory, log: Log) -> Iterator[Observers]:
    """Be seen while the process works.

    Raises:
        ConfigurationError: if metrics cannot be served where the settings say.
    """
    observers = Observers(Mirror(state, settings, log))
    with contextlib.ExitStack() as until:
        if settings.with_metrics:
            from edge_delta.device.metrics import Metrics  # noqa: PLC0415 - its packages are heavy, and it is seldom on

            observers.add(until.enter_context(Metrics(settings).served(log)))
        if os.environ.get("NOTIFY_SOCKET"):
            from edge_delta.device.systemd import ServiceManager  # noqa: PLC0415 - sockets, only under systemd

            observers.add(until.enter_context(ServiceManager(os.environ["NOTIFY_SOCKET"])))
        if sys.stderr.isatty():
            from edge_delta.device.progress import Bar  # noqa: PLC0415 - only for a terminal

            observers.add(Bar())
        if not settings.once:
            from edge_delta.device.thrift import Thrift  # noqa: PLC0415 - only where there is a next cycle

            observers.add(Thrift())
            observers.mirror.started()
        try:
            yield observers
        except EdgeDeltaError as error:
            observers.mirror.stopped(error)
            raise
        observers.mirror.stopped()
