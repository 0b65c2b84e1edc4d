"""What others see of a running process: the mirror in the state directory, metrics, and the service manager."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from edge_delta.core.errors import EdgeDeltaError
from edge_delta.device.mirror import Mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_delta.core.events import Log, Observer
    from edge_delta.core.model import Waiting
    from edge_delta.delivery.lane import Lane, Step
    from edge_delta.device.state import StateDirectory
    from edge_delta.settings.sections import Settings
    from edge_delta.source import SQLiteSource


class Presence:
    """The observers of one process.

    Args:
        mirror: is always kept.
    """

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        self.observers: list[Observer] = [mirror]
        self.listeners: list[Callable[[Lane, Step, Waiting], None]] = [mirror.record]

    def about(self, source: SQLiteSource, node_id: str) -> None:
        """What is known once the source is open."""
        self.mirror.about(source, node_id)

    def changed(self, settings: Settings) -> None:
        """Other settings are in force."""
        self.mirror.set_to(settings)


@contextlib.contextmanager
def presence(settings: Settings, state: StateDirectory, log: Log) -> Iterator[Presence]:
    """Be seen while the process works.

    Raises:
        ConfigurationError: if metrics cannot be served where the settings say.
    """
    seen = Presence(Mirror(state, settings, log))
    with contextlib.ExitStack() as until:
        if settings.metrics_port or settings.metrics_file:
            from edge_delta.device.metrics import Metrics  # noqa: PLC0415 - off by default

            metrics = until.enter_context(Metrics(settings, log).served())
            seen.observers.append(metrics)
            seen.listeners.append(metrics.settled)
        if os.environ.get("NOTIFY_SOCKET"):
            from edge_delta.device.systemd import ServiceManager  # noqa: PLC0415

            manager = until.enter_context(ServiceManager(os.environ["NOTIFY_SOCKET"]))
            seen.observers.append(manager)
            seen.listeners.append(manager.settled)
        if not settings.once:
            seen.mirror.started()
        try:
            yield seen
        except EdgeDeltaError as error:
            seen.mirror.stopped(error)
            raise
        seen.mirror.stopped()
