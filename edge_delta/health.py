"""Whether rows are delivered: the state directory's mirror and one look at SQLite, nothing else.

It works while another process runs, takes no lock, and needs no settings but the state directory, so that a container's
health check can call it without the flags of the main process.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_delta.errors import EdgeDeltaError
from edge_delta.model import BEFORE_FIRST
from edge_delta.state import is_held, read_mirror

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_delta.source.glance import Behind

DEFAULT_ALLOWED = 960.0


class Verdict(StrEnum):
    """What is the matter."""

    UP_TO_DATE = "up to date"
    DELIVERING = "delivering"
    BEHIND = "behind"
    STORAGE = "storage unavailable"
    SOURCE = "source unavailable"
    STOPPED = "stopped"
    FAILED = "stopped with an error"
    NEVER = "never started"


@dataclass(frozen=True, slots=True)
class Health:
    """What one look found.

    Attributes:
        mirror: what `last_upload.json` says.
        running: whether a process holds the state directory.
        behind: what waits, by mode.
        unreadable: why SQLite cannot be read now.
        waited: seconds since the last commit or cycle that came to its end, or since it began to try.
        allowed: how many of them are allowed while rows wait.
    """

    mirror: Mapping[str, Any]
    running: bool
    behind: Mapping[str, Behind]
    unreadable: str | None
    waited: float
    allowed: float

    @property
    def rows_waiting(self) -> int:
        """Rows behind the cursor that is furthest back."""
        return max((b.rows for b in self.behind.values()), default=0)

    @property
    def lag_seconds(self) -> float | None:
        """The age of the oldest row that waits; 0 if none does, None if its time cannot be read."""
        if not self.rows_waiting:
            return 0.0
        oldest = [b.oldest for b in self.behind.values() if b.oldest is not None]
        return max(0.0, (now() - min(oldest)).total_seconds()) if oldest else None

    @property
    def ok(self) -> bool:
        """False where rows wait, or cannot be looked for, and nothing was delivered for longer than allowed."""
        return not (self.rows_waiting or self.unreadable) or self.waited <= self.allowed

    @property
    def error(self) -> Mapping[str, Any] | None:
        """The last error, if it is not over."""
        found = self.mirror.get("last_error")
        return found if isinstance(found, dict) and not found.get("over_at") else None

    @property
    def verdict(self) -> Verdict:
        """What is the matter, if anything."""
        if not self.mirror.get("source"):
            return Verdict.NEVER
        if not self.running:
            failed = self.error is not None and (self.mirror.get("stopped") or {}).get("exit_code", 1)
            return Verdict.FAILED if failed else Verdict.STOPPED
        if self.unreadable or (self.error or {}).get("kind") == "SourceUnavailable":
            return Verdict.SOURCE
        if self.error is not None:
            return Verdict.STORAGE
        if not self.rows_waiting:
            return Verdict.UP_TO_DATE
        return Verdict.DELIVERING if self.ok else Verdict.BEHIND

    def line(self) -> str:
        """All of it in one line."""
        rows = self.rows_waiting
        waiting = self.unreadable or (f"{rows:,} rows wait" if rows else "nothing waits")
        since = f"; nothing was delivered for {duration(self.waited)}, allowed {duration(self.allowed)}"
        why = f": {self.error['error']}" if self.error else ""
        return f"{self.verdict}; {waiting}{since if rows or self.unreadable else ''}{why}"


def now() -> datetime:
    """The clock, UTC."""
    return datetime.now(UTC)


def duration(seconds: float) -> str:
    """Seconds for people."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def examine(state_dir: Path, *, allowed: float | None = None) -> Health:
    """Look once.

    Args:
        state_dir: the state directory.
        allowed: seconds that rows may wait without a delivery; by default what the process was set to.
    """
    mirror = read_mirror(state_dir)
    behind: dict[str, Behind] = {}
    unreadable = None
    if mirror.get("source"):
        try:
            behind = _behind(mirror)
        except EdgeDeltaError as error:
            unreadable = str(error)
    limit = allowed or float(mirror.get("health_after") or DEFAULT_ALLOWED)
    return Health(mirror, is_held(state_dir), behind, unreadable, _waited(mirror), limit)


def _behind(mirror: Mapping[str, Any]) -> dict[str, Behind]:
    from edge_delta.source.glance import glance  # noqa: PLC0415 - not where there is nothing to look at

    tables = mirror.get("tables", {})
    modes = mirror.get("modes") or list(tables)
    cursors = {mode: int(tables.get(mode, {}).get("last_id", BEFORE_FIRST)) for mode in modes}
    found = glance(
        Path(mirror["source"]), mirror.get("source_table"), mirror.get("timestamp_col"), set(cursors.values())
    )
    return {mode: found[cursor] for mode, cursor in cursors.items()}


def _waited(mirror: Mapping[str, Any]) -> float:
    times = [mirror.get("last_cycle"), mirror.get("trying_since")]
    times += [table.get("committed_at") for table in mirror.get("tables", {}).values()]
    latest = max((datetime.fromisoformat(t) for t in times if t), default=None)
    return max(0.0, (now() - latest).total_seconds()) if latest is not None else 0.0


def state_dir_of(flag: str | None, settings_file: str | None) -> Path:
    """The state directory, with the precedence of all settings, without reading the others."""
    chosen: object = flag or os.environ.get("STATE_DIR")
    file = Path(settings_file or os.environ.get("EDGE_DELTA_CONFIG") or "config.toml")
    if not chosen and file.is_file():
        import tomli  # noqa: PLC0415 - only where there is a file

        with contextlib.suppress(OSError, ValueError):
            chosen = tomli.loads(file.read_text(encoding="utf-8")).get("state_dir")
    return Path(str(chosen or "state")).expanduser()
