"""The main job inside the test's own process: quick, and with the same parts as the command.

The sensor still writes from another process: two SQLite libraries in one process break each other's locks.
"""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_delta.core import events as telemetry
from edge_delta.settings import load as config
from edge_delta.topology import build as app
from tests.support.command import parse_events

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.tables import Place


@dataclass
class Delivered:
    complete: bool
    events: list[dict[str, Any]]

    def named(self, event: str) -> list[dict[str, Any]]:
        return [e for e in self.events if e["event"] == event]


def deliver(
    sqlite: Path, place: Place, *, env: dict[str, str] | None = None, flush: bool = False, **flags: Any
) -> Delivered:
    """One run with ``--once`` into a folder."""
    values = {
        "sqlite": str(sqlite),
        "table_path": place.base,
        "state_dir": str(sqlite.parent / "state"),
        "node_id": "n1",
        "once": True,
        "retry_for": 0.5,
    }
    settings = config.load(values | flags, environment=env or {})
    stream = io.StringIO()
    complete = app.run(settings, telemetry.configure(stream=stream), threading.Event(), flags={"flush": flush})
    return Delivered(complete, parse_events(stream.getvalue()))
