"""What the file system says about a database: mounts, other names of the file, and the files that lie beside it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from edge_delta.core.errors import ConfigurationError, EdgeDeltaError, SourceUnavailable
from edge_delta.core.machine import mount_points

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


_AT_REST_SECONDS = 3


def is_mount_point(path: Path) -> bool:
    """Whether this very file is a mount of its own, as far as the system tells."""
    return str(path.resolve()) in mount_points()


def other_name(path: Path, stat: os.stat_result) -> EdgeDeltaError:
    """Why a WAL database with several names and no -wal file beside this one is not read.

    SQLite finds the log by the name under which a file was opened. Who writes through another name has it there, and
    neither its rows nor its checkpoints would be seen here (https://sqlite.org/howtocorrupt.html, 2.5).
    """
    fact = f"{path} is in WAL mode and has {stat.st_nlink} names (hard links), but no -wal file beside this one"
    for sibling in path.resolve().parent.iterdir():
        if sibling.name.endswith("-wal"):
            owner = sibling.with_name(sibling.name.removesuffix("-wal"))
            if owner.exists() and os.path.samestat(owner.stat(), stat):
                return ConfigurationError(f"{fact}: it is written as {owner}", f"Set --sqlite to {owner}")
    return SourceUnavailable(
        f"{fact}: rows that are written through another name would stay invisible",
        "Set --sqlite to the name that the application uses; if this is it, it is read once the application opens it",
    )


def cannot_be_read(path: Path, beside: Callable[[str], Path], message: str) -> SourceUnavailable:
    """SQLite's refusal to read, with what the files beside the database say about it.

    Args:
        path: the database.
        beside: the file beside it with a suffix.
        message: SQLite's own words.
    """
    folder = beside("").parent
    hidden = [
        file for file in map(beside, ("", "-wal", "-shm", "-journal")) if file.exists() and not os.access(file, os.R_OK)
    ]
    if hidden:
        return _not_allowed(path, hidden)
    read_only = not os.access(folder, os.W_OK) or "readonly" in message
    journal, log = beside("-journal"), beside("-wal")
    if read_only and _size(journal):
        return SourceUnavailable(
            f"{path} cannot be read: its application stopped in the middle of a change, and {journal.name} has to be "
            f"rolled back first, which cannot be done where {folder} is read-only",
            "Start the application, or open the database once with sqlite3 as a user who may write",
        )
    if log.exists() and not beside("-shm").exists():
        return SourceUnavailable(
            f"{path} cannot be read: there is {log.name} without {beside('-shm').name}, and that cannot be made where "
            f"{folder} is read-only",
            f"Start the application, or let edge-delta write in {folder}; do not copy or delete {log.name} by itself",
        )
    return SourceUnavailable(f"{path} cannot be read: {message}")


def _not_allowed(path: Path, hidden: list[Path]) -> SourceUnavailable:
    """SQLite gives the files beside a database its permissions of then: who changes those has to change all three."""
    modes = ", ".join(
        f"{file.name} (mode {file.stat().st_mode & 0o777:o}, of user {file.stat().st_uid})" for file in hidden
    )
    return SourceUnavailable(
        f"{path} cannot be read: user {os.geteuid()} may not read {modes}",
        f"chmod o+r {path} {path}-wal {path}-shm, all that are there (new ones get the database's mode), or run as the "
        "user or in the group that may",
    )


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def at_rest(stat: os.stat_result) -> bool:
    """Whether a file's signature tells whether it is written; within one tick of the clock no time does."""
    return time.time() - stat.st_mtime > _AT_REST_SECONDS


def signature(stat: os.stat_result, *, written: bool) -> tuple[int, int, int, int, bool]:
    """What is another one where a file was written.

    Args:
        stat: of the file.
        written: whether there is a -wal file beside it.
    """
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size, written
