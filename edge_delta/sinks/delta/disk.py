"""What a folder's tables ask of the disk under them: that files and directories are on it."""

from __future__ import annotations

import errno
import os
import stat
import time
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import unquote

from msgspec import Struct
from msgspec.json import Decoder

from edge_delta.core import machine
from edge_delta.core.errors import DiskFailed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_YOUNG_SECONDS = 600.0
"""Files older than this were written out by the kernel long ago (Linux: ``dirty_expire_centisecs``, 30 s)."""


class _Added(Struct):
    path: str


class _Action(Struct):
    add: _Added


def written(commit: Path) -> list[str]:
    """The data files that a commit added, relative to the table (Delta protocol, "Add File"); none if it is gone."""
    try:
        lines = commit.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    decode = _decoder().decode
    added = (decode(line).add for line in lines if line.startswith(b'{"add"'))
    return [path for add in added if "://" not in (path := unquote(add.path))]


@cache
def _decoder() -> Decoder[_Action]:
    return Decoder(_Action)


def sync_file_system(path: Path) -> bool:
    """Put all that was written to the file system of a path on the disk; False where that is not possible."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return machine.sync_file_system(descriptor)
    finally:
        os.close(descriptor)


def sync_all(paths: Iterable[Path]) -> None:
    """Put files or directories on the disk, see `Disk.committed`."""
    for path in paths:
        sync(path)


def require_folders(path: Path) -> None:
    """Whether a folder is there or could be made: else what is in its way would pass for a table that nobody made yet.

    Raises:
        OSError: if a part of the path is no folder, or cannot be looked at.
    """
    for place in (path, *path.parents):
        try:
            mode = place.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        if not stat.S_ISDIR(mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
        return


def is_young(path: Path) -> bool:
    """Whether the kernel may not have written it out yet; also where the clock says nonsense."""
    try:
        return time.time() - path.stat().st_mtime < _YOUNG_SECONDS
    except OSError:
        return False


def sync(path: Path) -> None:
    """Put a file or a directory on the disk.

    Raises:
        DiskFailed: if the disk did not take it.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        machine.sync(descriptor)
    except OSError as error:
        if error.errno == errno.EIO:  # asked again, the kernel would say that all is well
            raise DiskFailed(
                f"the disk did not store {path}: {error.strerror}", "Look for disk errors in dmesg, then start again"
            ) from error
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):  # some file systems have no fsync of folders
            raise
    finally:
        os.close(descriptor)
