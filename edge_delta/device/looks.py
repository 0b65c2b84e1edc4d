"""Looks at the state directory and the databases that hold nobody up, however long one of them takes.

A database on a file system that hangs, or one that is locked, must not keep metrics from being served and written: who
asks is given what was seen last, with when that was.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.device.health import examine_all
from edge_delta.device.state import kept_node_id, read_mirror

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_delta.device.health import Health

PATIENCE = 2.0
"""Seconds that somebody waits for a look; a locked database is given up within one of them."""
STALE = 60.0
"""Seconds after which nobody may call healthy what was seen."""


class Seen(Struct, frozen=True):
    """What a look found.

    Attributes:
        sources: by what they are called, see `edge_delta.device.health.examine_all`.
        node_id: of the device; empty as long as it is not known.
        at: when it ended, in seconds since the epoch.
    """

    sources: Mapping[str, Health]
    node_id: str
    at: float

    @property
    def stale(self) -> bool:
        """Whether it was too long ago to say how things stand."""
        return time.time() - self.at > STALE


class Looks:
    """Looks when somebody asks, in a thread of their own, one at a time.

    Args:
        state_dir: the state directory of the process.
        node_id: the device, where the settings name it.
    """

    def __init__(self, state_dir: Path, node_id: str | None) -> None:
        self._state_dir, self._node_id = state_dir, node_id
        self._one = threading.Lock()
        self._over = threading.Event()
        self._over.set()
        self._seen: Seen | None = None

    def latest(self) -> Seen | None:
        """What a look finds now, or found last; None before the first has come to its end."""
        with self._one:
            over = self._over
            if over.is_set():
                over = self._over = threading.Event()
                threading.Thread(target=self._look, args=[over], name="look", daemon=True).start()
        over.wait(PATIENCE)
        return self._seen

    def _look(self, over: threading.Event) -> None:
        try:
            found = examine_all(self._state_dir)
            node_id = self._node_id or kept_node_id(self._state_dir) or read_mirror(self._state_dir).get("node_id")
            self._seen = Seen(found, str(node_id or ""), time.time())
        finally:
            over.set()
