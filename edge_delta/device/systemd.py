"""The service manager's side: sd_notify(3) over the socket that systemd names, a few bytes a message."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING, Self

from edge_delta.core.observing import SilentObserver

if TYPE_CHECKING:
    from edge_delta.core.errors import TransientError
    from edge_delta.core.model import Step, Waiting

_SAY_EVERY = 5.0


class ServiceManager(SilentObserver):
    """Tells systemd that the process is ready, alive, and what it does.

    It is said to be alive by the engine's own thread only: after a batch, while it waits, and after a failure. So a
    thread that hangs in a call is noticed, and a store that does not answer is not mistaken for that.

    Args:
        address: the value of NOTIFY_SOCKET.
    """

    def __init__(self, address: str) -> None:
        # A leading @ stands for the abstract namespace (unix(7)).
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._said = 0.0

    def __enter__(self) -> Self:
        # Ready without a first delivery: a device that boots without a network is not a failed service.
        self._send("READY=1", "STATUS=starting")
        return self

    def __exit__(self, *_: object) -> None:
        self._send("STOPPING=1")
        self._socket.close()

    def settled(self, step: Step, waiting: Waiting) -> None:
        """One batch was settled."""
        self._alive(f"STATUS=delivering {step.mode}: up to id {step.cursor.rowid}, {waiting.rows} rows wait")

    def cycled(self, pause: float | None) -> None:
        """All that was there is delivered."""
        self._send("WATCHDOG=1", "STATUS=up to date" + (f"; next cycle in {pause:.0f} s" if pause is not None else ""))

    def alive(self) -> None:
        """The engine waits for the next cycle."""
        self._alive()

    def failed(self, error: TransientError, failures: int, pause: float) -> None:
        """Something is unavailable."""
        self._send("WATCHDOG=1", f"STATUS=waiting {pause:.0f} s after failure {failures}: {error}")

    def _alive(self, *more: str) -> None:
        if time.monotonic() - self._said >= _SAY_EVERY:
            self._send("WATCHDOG=1", *more)

    def _send(self, *lines: str) -> None:
        self._said = time.monotonic()
        with contextlib.suppress(OSError):  # nothing depends on being heard
            self._socket.sendto("\n".join(lines).encode(), self._address)
