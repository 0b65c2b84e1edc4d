"""The first bytes of database files, read without dropping the locks that this process has on them.

When a process closes any descriptor of a file, it loses all POSIX locks that it has on it
(https://sqlite.org/howtocorrupt.html, 2.2). SQLite minds that within its library. Whoever opens the file besides would
let the application take the -wal file away when it closes, and our connection would see no new row ever again.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from edge_delta.core.errors import ConfigurationError, SourceUnavailable
from edge_delta.core.machine import opened
from edge_delta.core.reach import refuse_barred

if TYPE_CHECKING:
    from pathlib import Path

BYTES = 100
"""The length of the header (https://sqlite.org/fileformat2.html, 1.3)."""
_WAL_VERSION_OFFSET = 18  # https://sqlite.org/fileformat2.html, 1.3.3: 2 at this offset means WAL
OPENING = threading.RLock()
"""Held while a file is read here or opened by SQLite: the one must not end while the other begins."""
_held: dict[tuple[int, int], tuple[int, bytes]] = {}
_left: dict[tuple[int, int], list[int]] = {}  # descriptors that are closed once no connection has locks any more


def read(path: Path) -> bytes:
    """A file's header; as it was when the last connection to it was opened, as long as there is one.

    Raises:
        ConfigurationError: if this user may not read it.
        SourceUnavailable: if it cannot be read now.
    """
    try:
        with OPENING:
            stat = path.stat()
            if (stat.st_dev, stat.st_ino) in _held:
                return _held[stat.st_dev, stat.st_ino][1]
            with path.open("rb") as database:
                return database.read(BYTES)
    except PermissionError as error:
        refuse_barred(path)
        raise ConfigurationError(
            f"{path} may not be read by user {os.getuid()}", "Give that user read permission on it"
        ) from error
    except OSError as error:
        raise SourceUnavailable(f"{path} cannot be read: {error.strerror}", "Check the disk and --sqlite") from error


def in_wal_mode(header: bytes) -> bool:
    """Whether the file's journal is a -wal file."""
    return len(header) > _WAL_VERSION_OFFSET and header[_WAL_VERSION_OFFSET] == 2  # noqa: PLR2004


def hold(file: tuple[int, int], header: bytes) -> None:
    """A connection to a file was opened that takes locks on it."""
    with OPENING:
        _held[file] = _held.get(file, (0, header))[0] + 1, header


def release(file: tuple[int, int]) -> None:
    """Such a connection was closed."""
    with OPENING:
        count, header = _held.pop(file, (1, b""))
        if count > 1:
            _held[file] = count - 1, header
        else:
            for descriptor in _left.pop(file, []):
                os.close(descriptor)


class Descriptor:
    """A file by what is open, whatever name it has, if any.

    Args:
        number: the descriptor.
        path: a path to what it has open.
    """

    def __init__(self, number: int, path: Path) -> None:
        self._number = number
        self._path = path

    def stat(self) -> os.stat_result:
        """As of a path."""
        return os.fstat(self._number)

    @property
    def uri(self) -> str:
        """For SQLite, of a file that nobody writes."""
        return f"file:{self._path}?vfs=descriptor&mode=ro&immutable=1"

    def close(self) -> None:
        """Close it, or leave that to the last connection which has locks on the file."""
        with OPENING:
            stat = self.stat()
            file = stat.st_dev, stat.st_ino
            if file in _held:
                _left.setdefault(file, []).append(self._number)
            else:
                os.close(self._number)


def descriptor(path: Path, file: tuple[int, int]) -> Descriptor | None:
    """A file's descriptor; None if its name has another file by now, or the system has no names for descriptors."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    name = opened(number)
    found = Descriptor(number, name or path)
    if name is not None and (found.stat().st_dev, found.stat().st_ino) == file:
        return found
    found.close()
    return None
