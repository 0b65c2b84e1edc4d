"""Settings that change while the process runs.

The file is looked at by its content: an editor replaces it, a bind mount keeps its inode, and some file systems keep
its time.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

from edge_delta import config
from edge_delta.errors import ConfigurationError
from edge_delta.telemetry import Event

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import structlog

    from edge_delta.config import Settings

LOOK_EVERY = 2.0
"""Seconds between two looks."""

FIXED = ("sqlite", "sqlite_table_name", "timestamp_col", "table_path", "state_dir", "node_id", "once", "storage")
"""Settings that take a restart: they say what the process is about."""


class SettingsWatch:
    """Looks for changes of the settings file.

    Args:
        settings: the running settings.
        flags: the command line, which goes before the file at every reading.
        log: where events go.
    """

    def __init__(self, settings: Settings, flags: Mapping[str, Any], log: structlog.stdlib.BoundLogger) -> None:
        self._settings = settings
        self._flags = flags
        self._log = log
        self._file = config.file_of(flags)
        self._seen = _content(self._file)
        self._next = time.monotonic() + LOOK_EVERY

    def poll(self) -> tuple[Settings, Settings] | None:
        """The running and the changed settings, if there is a valid change; looks at most every `LOOK_EVERY` s."""
        if self._file is None or time.monotonic() < self._next:
            return None
        self._next = time.monotonic() + LOOK_EVERY
        content = _content(self._file)
        if content is None or content == self._seen:
            return None  # a file that is being replaced is not there for a moment
        self._seen = content
        try:
            found = config.load(self._flags)
        except ConfigurationError as error:
            self._log.error(Event.SETTINGS_INVALID, error=str(error))
            return None
        return self._taken_over(found)

    def _taken_over(self, found: Settings) -> tuple[Settings, Settings] | None:
        before = self._settings
        stuck = [key for key in FIXED if getattr(found, key) != getattr(before, key)]
        if stuck:
            self._log.warning(Event.NEEDS_RESTART, keys=stuck)
        after = found.model_copy(update={key: getattr(before, key) for key in FIXED})
        changed = [key for key in type(after).model_fields if getattr(after, key) != getattr(before, key)]
        for key in changed:
            self._log.info(Event.SETTINGS_CHANGED, key=key, old=_shown(before, key), new=_shown(after, key))
        self._settings = after
        return (before, after) if changed else None


def _content(file: Path | None) -> bytes | None:
    try:
        return hashlib.blake2b(file.read_bytes()).digest() if file is not None else None
    except OSError:
        return None


def _shown(settings: Settings, key: str) -> object:
    return settings.model_dump(mode="json", include={key})[key]
