"""Settings that change while the process runs.

The file is looked at by its content: an editor replaces it, a bind mount keeps its inode, and some file systems keep
its time.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from edge_delta.core.digests import blake2b
from edge_delta.core.errors import ConfigurationError
from edge_delta.core.events import Event, Log
from edge_delta.settings import load as config
from edge_delta.settings.declaration import changed as with_changes
from edge_delta.settings.declaration import differing, fields, masked
from edge_delta.settings.sections import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

LOOK_EVERY = 2.0
"""Seconds between two looks."""

FIXED = tuple(field.name for field in fields(Settings) if field.fixed)
"""Settings that take a restart: they say what the process is about."""


class _Asked:
    """How often the settings were to be read again (SIGHUP), which a process is told as a whole."""

    times = 0


def read_again() -> None:
    """Let every watch read its file at its next look, whatever is in it; may be called by a signal's handler."""
    _Asked.times += 1


class SettingsWatch:
    """Looks for changes of the settings file.

    Args:
        settings: the running settings.
        flags: the command line, which goes before the file at every reading.
        log: where events go.
        check: raises `ConfigurationError` for settings that cannot work with the source.
    """

    def __init__(
        self,
        settings: Settings,
        flags: Mapping[str, Any],
        log: Log,
        *,
        check: Callable[[Settings], object] = lambda _settings: None,
    ) -> None:
        self._running = self._wanted = settings
        self._flags = flags
        self._log = log
        self._check = check
        file = config.file_of(flags)
        # The first look reads the file in any case: it may have changed since the settings were read.
        self._file = FileWatch(file) if file is not None else None
        self._next = time.monotonic() + LOOK_EVERY

    def poll(self) -> tuple[Settings, Settings] | None:
        """The running and the wanted settings as long as they differ; looks at most every `LOOK_EVERY` s."""
        if self._file is not None and (time.monotonic() >= self._next or self._file.asked):
            self._next = time.monotonic() + LOOK_EVERY
            self._look(self._file)
        return (self._running, self._wanted) if self._wanted is not self._running else None

    def taken_over(self) -> None:
        """The wanted settings are the running ones now. Until this is said, `poll` goes on naming them."""
        self._running = self._wanted

    def _look(self, file: FileWatch) -> None:
        if not file.changed():
            return
        try:
            found = config.load(self._flags)
            self._wanted = wanted_of(self._running, found, self._log, self._check)
        except ConfigurationError as error:
            self._log.error(Event.SETTINGS_INVALID, error=str(error))


def wanted_of(before: Settings, found: Settings, log: Log, check: Callable[[Settings], object]) -> Settings:
    """What settings that were read anew come to while the process runs; the log has what is another.

    Args:
        before: the running settings; they themselves are returned where nothing changes.
        found: the new ones.
        log: where it is said.
        check: raises `ConfigurationError` for settings that cannot work with the source.

    Raises:
        ConfigurationError: if they cannot.
    """
    wanted = with_changes(found, **{key: getattr(before, key) for key in FIXED})
    check(wanted)
    stuck = [key for key in FIXED if getattr(found, key) != getattr(before, key)]
    if stuck:
        log.warning(Event.NEEDS_RESTART, keys=stuck)
    changed = differing(before, wanted)
    for key in changed:
        log.info(Event.SETTINGS_CHANGED, key=key, old=_shown(before, key), new=_shown(wanted, key))
    return wanted if changed else before


class FileWatch:
    """Tells when a file has another content than at the last look, which is so at the first, or is to be read again.

    Args:
        file: the file; None for none.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._seen: bytes | None = None
        self._asked = _Asked.times

    @property
    def asked(self) -> bool:
        """Whether it is to be read whatever is in it."""
        return self._asked != _Asked.times

    def changed(self) -> bool:
        """Whether it has."""
        content = _content(self._file)
        if content is None or (content == self._seen and not self.asked):
            return False  # a file that is being replaced is not there for a moment
        self._seen, self._asked = content, _Asked.times
        return True


def _content(file: Path | None) -> bytes | None:
    try:
        return blake2b(file.read_bytes()).digest() if file is not None else None
    except OSError:
        return None


def _shown(settings: Settings, key: str) -> object:
    return masked(settings, all_of_it=True)[key]
