"""The folder of a family: which files are there, told for a cycle's price of one `stat` where nothing changed."""

from __future__ import annotations

import os
import re
import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeVar

from edge_delta.core.errors import ConfigurationError, EdgeDeltaError, SourceUnavailable
from edge_delta.core.patterns import JOKERS
from edge_delta.core.reach import is_there
from edge_delta.source import headers
from edge_delta.source.family.stretches import Stat

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_delta.core.errors import EdgeDeltaError

T = TypeVar("T")

_BESIDE = ("-wal", "-shm", "-journal")
_MAGIC = b"SQLite format 3\x00"
_TICK = 2_000_000_000
"""Nanoseconds within which two changes of a folder may have one time, whatever its file system's clock is."""
_PAGE_SIZE, _PAGES, _CHANGED, _VALID_FOR = 16, 28, 24, 92  # https://sqlite.org/fileformat2.html, 1.3


def natural(name: str) -> list[tuple[int, int, str]]:
    """A name as people order it: 9 before 10."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def newest(pattern: Path, opened: Callable[[Path], T]) -> T:
    """The last database that a pattern means and that can be read, in the order of names, as it is opened.

    Args:
        pattern: the files.
        opened: opens one.

    Raises:
        SourceUnavailable: if there is none.
        EdgeDeltaError: if none can be read; it says why the last one cannot.
    """
    first: EdgeDeltaError | None = None
    for name in sorted(Folder(pattern).names(), key=natural, reverse=True):
        path = pattern.with_name(name)
        try:
            if headers.read(path).startswith(_MAGIC):
                return opened(path)
        except (SourceUnavailable, ConfigurationError) as error:  # removed in between, locked or damaged
            first = first or error
    raise first or SourceUnavailable(
        f"there is no database at {pattern}", "Check sqlite, or wait for who makes the first file"
    )


class Folder:
    """The files that a pattern means.

    Args:
        pattern: a path whose last part has ``*``, ``?`` or ``[``.

    Raises:
        ConfigurationError: if another part of it has.
    """

    def __init__(self, pattern: Path) -> None:
        if JOKERS.search(str(pattern.parent)) and not is_there(pattern.parent):
            raise ConfigurationError(
                f"{pattern} has a pattern in the folder's name; only the file's name may have one",
                "Name each folder as a source of its own in [[sources]]",
            )
        self.path = pattern.parent
        self._wanted = pattern.name
        self._seen: tuple[int, int] | None = None
        self._sure = False

    def names(self) -> dict[str, int]:
        """The names of the files that are there now, each with its inode.

        Raises:
            SourceUnavailable: if the folder cannot be read now.
        """
        try:
            with os.scandir(self.path) as entries:
                return {e.name: e.inode() for e in entries if self._means(e.name)}
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> EdgeDeltaError:
        if isinstance(error, PermissionError):
            return ConfigurationError(
                f"folder {self.path} cannot be read: user {os.geteuid()} may not list or enter it",
                "Give that user permission to read and enter it, or run this as a user who may",
            )
        return SourceUnavailable(
            f"folder {self.path} cannot be read: {error.strerror}", "Check --sqlite, or that the folder is mounted"
        )

    def _means(self, name: str) -> bool:
        return not name.endswith(_BESIDE) and fnmatchcase(name, self._wanted)

    def forget(self) -> None:
        """Let the next look be the first one."""
        self._seen = None

    def changed(self) -> bool:
        """Whether files may have come or gone since the last call that said so.

        Raises:
            SourceUnavailable: if the folder is not there.
        """
        try:
            stat = self.path.stat()
        except OSError as error:
            raise self._unreadable(error) from error
        now = (stat.st_ino, stat.st_mtime_ns)
        if now == self._seen and self._sure:
            return False
        self._seen, self._sure = now, time.time_ns() - stat.st_mtime_ns > _TICK
        return True

    def stat(self, name: str) -> Stat | None:
        """What the file system says of a file; None if it is gone."""
        path = str(self.path / name)
        try:
            own = os.stat(path)  # noqa: PTH116 - a path object for each of 10,000 files costs more than the look
        except OSError:
            return None
        try:
            log = os.stat(path + "-wal")  # noqa: PTH116 - as above
        except OSError:
            return Stat(own.st_ino, own.st_size, own.st_mtime_ns)
        return Stat(own.st_ino, own.st_size + log.st_size, max(own.st_mtime_ns, log.st_mtime_ns))

    def is_database(self, name: str) -> bool | None:
        """Whether a file is a SQLite database; None while that cannot be said, such as of one that is being copied."""
        path = self.path / name
        header = headers.read(path)
        if not header:
            return None
        if not header.startswith(_MAGIC):
            return False
        page = int.from_bytes(header[_PAGE_SIZE : _PAGE_SIZE + 2])
        pages = int.from_bytes(header[_PAGES : _PAGES + 4])
        sure = header[_CHANGED : _CHANGED + 4] == header[_VALID_FOR : _VALID_FOR + 4]
        whole = pages * (65_536 if page == 1 else page)
        return None if sure and path.stat().st_size < whole else True
