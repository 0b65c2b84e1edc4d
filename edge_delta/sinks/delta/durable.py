"""What is reported as delivered is on the disk: fsync for tables in folders.

delta-rs writes files and never asks the disk to keep them. A kernel writes them out after some thirty seconds, so a
pulled plug would take back commits that were reported. Here each commit's data files, the commit itself and the
directories that name them are synced before `DeltaSink.append` returns. One more rule makes healing exact: a commit
that is synced has only synced ones before it, also those of other writers, so that whatever comes after a torn commit
was reported by nobody (see `edge_delta.sinks.delta.heal`).

Checkpoints are written here too, after the sync, and not by delta-rs within its commit: a checkpoint may only name
what is on the disk.
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from edge_delta.core.events import Event
from edge_delta.sinks.address import is_folder
from edge_delta.sinks.delta.disk import is_young, require_folders, sync, sync_file_system, written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deltalake import DeltaTable

    from edge_delta.core.events import Log


_SECONDS_PER_CHECKPOINT = 60.0
_MOST_COMMITS_PER_CHECKPOINT = 200
"""A checkpoint has every live file; with commits each second, one each 20 commits would be most of what is written."""

_LARGE_LOG = 8_000_000
"""Bytes of commits since the last checkpoint that each start would have to read: then one is due at once."""
_MANY_FILES = 256
"""A commit of more files than these, such as a RESTORE or a compaction, is synced with all else on the file system."""


class Disk:
    """Puts one table's files on the disk.

    Args:
        root: the table's folder.
        sync: whether files are synced; without it a power cut may take back what was reported.
        log: where it is said what a power cut left; None leaves everything as it is.
    """

    def __init__(self, root: Path, *, sync: bool = True, log: Log | None = None) -> None:
        self._root = root
        self._log_folder = root / "_delta_log"
        self._sync = sync
        self._events = log
        self._healed = log is None
        self._synced: int | None = None
        self._directories: set[Path] = set()
        self._interval: int | None = None
        self._large = False
        self._last: tuple[int, ...] | None = None

    def prepare(self) -> None:
        """Before the table is opened: heal what a power cut left, once a process.

        Raises:
            TableDamaged: if that cannot be done without losing what others wrote.
        """
        if self._healed:
            return
        from edge_delta.sinks.delta.heal import heal  # noqa: PLC0415 - once a process

        for fact in heal(self._root):
            if self._events is not None:
                self._events.warning(Event.TABLE_HEALED, table=str(self._root), found=fact)
        self._healed = True

    def same(self, version: int) -> bool:
        """Whether the commit that we know as the last one is still that file: another table may have its place."""
        return self._last in (None, self._stamp(version))

    def _stamp(self, version: int) -> tuple[int, ...] | None:
        try:
            found = self._commit(version).stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def opened(self, version: int) -> None:
        """After the table was opened: a process that was killed may have committed what it did not sync."""
        if not self._sync:
            self._last = self._stamp(version)
            return
        if self._synced is None:
            self._synced = version
            while self._synced >= 0 and is_young(self._commit(self._synced)):
                self._synced -= 1
        self.committed(version)

    def created(self) -> None:
        """After the table was made: the folders above it name it."""
        if not self._sync:
            return
        for folder in (self._root, *self._root.parents):
            with contextlib.suppress(PermissionError):  # then it was there before
                sync(folder)
            if not is_young(folder):
                break

    def committed(self, version: int) -> None:
        """Put everything up to a version on the disk.

        Raises:
            DiskFailed: if the disk did not take it.
            OSError: if it is full, or not there any more.
        """
        self._last = self._stamp(version)
        if not self._sync:
            return
        first = version if self._synced is None else self._synced + 1
        if first > version:
            return
        folders = {self._log_folder}
        for number in range(first, version + 1):
            commit = self._commit(number)
            paths = written(commit)
            at_once = len(paths) > _MANY_FILES and sync_file_system(self._root)
            for path in paths if not at_once else ():
                with contextlib.suppress(FileNotFoundError):  # joined and vacuumed since
                    sync(self._root / path)
                folders.update(self._between((self._root / path).parent))
            with contextlib.suppress(FileNotFoundError):  # cleaned up since, behind a checkpoint
                sync(commit)
        for folder in folders:
            sync(folder)
        self._synced = version

    def _between(self, folder: Path) -> Iterator[Path]:
        """A data file's folder, and those between it and the table's that this process has not synced yet."""
        yield folder
        while folder != self._root and self._root in folder.parents and folder not in self._directories:
            self._directories.add(folder)
            folder = folder.parent
            yield folder

    def checkpoint(self, table: DeltaTable) -> None:
        """Write a checkpoint if one is due. A failure leaves it to the next commit: the commits stand without it."""
        if self._interval is None:
            self._interval = int(table.metadata().configuration.get("delta.checkpointInterval") or 100)
            self._large = self._log_since_checkpoint(table.version()) > _LARGE_LOG
        version = table.version()
        if not self._large and (version % self._interval or not self._checkpoint_due(version)):
            return
        self._large = False
        with contextlib.suppress(Exception):
            self.write_checkpoint(table)

    def _log_since_checkpoint(self, version: int) -> int:
        """Bytes of the commits that a start reads besides the last checkpoint."""
        last = self._last_checkpoint()
        first = max(-1 if last is None else last[1], version - _MOST_COMMITS_PER_CHECKPOINT) + 1
        stamps = (self._stamp(number) for number in range(first, version + 1))
        return sum(stamp[2] for stamp in stamps if stamp is not None)

    def _last_checkpoint(self) -> tuple[float, int] | None:
        """When the last checkpoint was written, by the clock, and its version; None if there is none."""
        hint = self._log_folder / "_last_checkpoint"
        try:
            return hint.stat().st_mtime, int(json.loads(hint.read_bytes())["version"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _checkpoint_due(self, version: int) -> bool:
        last = self._last_checkpoint()
        if last is None:
            return True
        return (
            not 0 <= time.time() - last[0] < _SECONDS_PER_CHECKPOINT
            or version - last[1] >= _MOST_COMMITS_PER_CHECKPOINT
        )

    def write_checkpoint(self, table: DeltaTable) -> None:
        """Write a checkpoint now, and put it on the disk."""
        table.create_checkpoint()
        if self._sync:
            for path in self._log_folder.glob(f"{table.version():020}.checkpoint*.parquet"):
                sync(path)
            sync(self._log_folder / "_last_checkpoint")
            sync(self._log_folder)

    def _commit(self, version: int) -> Path:
        return self._log_folder / f"{version:020}.json"


def disk_of(uri: str, *, sync: bool = True, log: Log | None = None) -> Disk | None:
    """The disk of a table in a folder, None for one in a store; see `Disk`."""
    return Disk(folder_of(uri), sync=sync, log=log) if is_folder(uri) else None


def require_folders_to(uri: str) -> None:
    """Where there is no table at an address: nothing is in the way of one, see `require_folders`."""
    if is_folder(uri):
        require_folders(folder_of(uri))


def folder_of(uri: str) -> Path:
    """The path of a table in a folder."""
    return Path(unquote(uri.removeprefix("file://"))) if uri.startswith("file://") else Path(uri)
