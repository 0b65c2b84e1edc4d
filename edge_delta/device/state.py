"""The state directory: who this device is, who is running, and a mirror of the cursor for people.

Nothing here decides where to resume; the Delta log does. Losing the directory loses nothing, if the node id is set.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from edge_delta.core.errors import AlreadyRunning, ConfigurationError, NodeUnknown
from edge_delta.core.machine import is_locked, take_lock
from edge_delta.core.model import BEFORE_FIRST
from edge_delta.core.reach import is_there

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MIRROR = "last_upload.json"
_SWEEP = "sweep.json"
_WITNESS_KEY = "witness.key"
_KEY_BYTES = 32
_NODE_ID = "node_id"
_LOCK = "lock"
_DEPTH = 2
"""Directories between that of one source and that of the process."""
_LEAST_ROOM = 65_536
"""Bytes below which a file system counts as full: the mirror or a page of SQLite's log may just fit."""


_SOURCES, _OF_ONE = "sources", ".source"


def directory_of(root: Path, label: str, table: str) -> Path:
    """The state directory of one of several sources, within that of their process.

    Args:
        root: the directory of the process.
        label: what the source is called.
        table: its table.
    """
    return root / _SOURCES / label / (quote(table, safe=" ") + _OF_ONE)


def process_directory(path: Path) -> Path:
    """The state directory of the process, for its own or that of one of its sources."""
    of_one = path.suffix == _OF_ONE and len(path.parents) > _DEPTH and path.parents[1].name == _SOURCES
    return path.parents[_DEPTH] if of_one else path


def directories_of_sources(root: Path) -> list[Path]:
    """The directories of several sources that the process had when it ran last; none where it has a single one."""
    listed = read_mirror(root).get("sources")
    return [root / name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []


def named(directory: Path) -> tuple[str, str]:
    """What the source of a directory is called, and its table; see `directory_of`."""
    return directory.parent.name, unquote(directory.name.removesuffix(_OF_ONE))


def kept_tables(root: Path, label: str) -> list[str]:
    """The tables of a source that the process had when it ran last."""
    return [table for source, table in map(named, directories_of_sources(root)) if source == label]


def kept_node_id(path: Path) -> str | None:
    """The id that a state directory keeps, None if there is none; nothing is made."""
    try:
        return (process_directory(path) / _NODE_ID).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def read_mirror(path: Path) -> dict[str, Any]:
    """What `last_upload.json` in this directory says, empty if there is none or it is torn."""
    try:
        content = json.loads((path / MIRROR).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return _sound(content) if isinstance(content, dict) else {}


def _sound(content: dict[str, Any]) -> dict[str, Any]:
    """The mirror without what only an editor or a failing disk can have written."""
    texts = ("trying_since", "last_cycle", "source_table", "timestamp_col")
    sound = {key: value for key, value in content.items() if key not in texts or isinstance(value, str)}
    if not isinstance(sound.get("last_error"), dict):
        sound.pop("last_error", None)
    tables = sound.get("tables")
    if tables is not None:
        sound["tables"] = {k: t for k, t in tables.items() if isinstance(t, dict)} if isinstance(tables, dict) else {}
    return sound


def settled_id(mirror: Mapping[str, Any]) -> int | None:
    """The last id that nothing depends on any more; None where it is not known, and nothing may be purged.

    Args:
        mirror: what `last_upload.json` says.
    """
    delivered = [mirror.get("tables", {}).get(mode, {}) for mode in mirror.get("modes", ())]
    ids = [table.get("settled_id") for table in delivered]
    known = [number for number in ids if isinstance(number, int) and number != BEFORE_FIRST]
    if not known or len(known) < len(ids) or len({table.get("generation") for table in delivered}) > 1:
        return None
    return min(known)


def is_full(path: Path) -> bool:
    """Whether the file system of a path has no room left, so that neither this program nor the sensor can write there.

    One that is mounted read-only is never full: some of them say so although they are only packed tightly.
    """
    try:
        existing = next((p for p in (path, *path.absolute().parents) if is_there(p)), None)
        if existing is None:
            return False
        space = os.statvfs(existing)
    except OSError:  # of a disk that does not answer nothing is known
        return False
    return not space.f_flag & os.ST_RDONLY and space.f_bavail * space.f_frsize < _LEAST_ROOM


def is_held(path: Path) -> bool:
    """Whether a process holds the directory's lock, without touching it; see `edge_delta.core.machine.is_locked`."""
    return is_locked(process_directory(path) / _LOCK)


def kept_witness_key(path: Path) -> bytes:
    """The key that a state directory keeps to tell rows again; empty if there is none."""
    try:
        kept = bytes.fromhex((process_directory(path) / _WITNESS_KEY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return b""
    return kept if len(kept) == _KEY_BYTES else b""


def _closed_to_others(path: Path) -> None:
    """Take write permission from others on a directory that is ours: they could put links where files are written."""
    found = path.stat()
    if found.st_uid == os.getuid() and found.st_mode & 0o022:
        path.chmod(0o700)


class StateDirectory:
    """Files of one device, readable by their owner alone.

    Args:
        path: the directory; made if it is not there.

    Raises:
        ConfigurationError: if it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._process = process_directory(path)
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _closed_to_others(path)
        except OSError as error:
            raise ConfigurationError(
                f"the state directory {path} cannot be made: {error.strerror}",
                f"Give user {os.geteuid()} permission to write in its folder, or check --state-dir",
            ) from error

    # -- one process at a time

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory's lock.

        Raises:
            AlreadyRunning: if another process holds it, with its name.
        """
        try:
            descriptor = os.open(self._process / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"the state directory {self.path} cannot be written: {error.strerror}",
                f"Give user {os.getuid()} write permission on it, or check --state-dir",
            ) from error
        try:
            try:
                take_lock(descriptor)
            except BlockingIOError:
                holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
                raise AlreadyRunning(
                    f"{holder} works with the state directory {self._process}",
                    "Stop it first, or set another --state-dir",
                ) from None
            with contextlib.suppress(OSError):  # a full disk must not stop a delivery
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"process {os.getpid()} on {os.uname().nodename}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    # -- who this device is

    def node_id(self, configured: str | None, *, new_node: bool, target_exists: Callable[[], bool]) -> str:
        """This device's id: the setting, or the one kept here, or a new one.

        A device that forgot who it was would deliver everything again under another name. So a new id is made only
        where there is no target table yet, or on request.

        Args:
            configured: the setting.
            new_node: whether to make a new one although the table exists.
            target_exists: asks whether there is a target table.

        Raises:
            NodeUnknown: if no id is known and the table exists.
            ConfigurationError: if one is kept and cannot be read, or a new one cannot be kept.
        """
        if configured is not None:
            return configured
        if kept := self._kept_id():
            return kept
        if not new_node and target_exists():
            raise NodeUnknown(
                f"the target table exists, but {self.path} does not say which device this is",
                "Set NODE_ID to this device's id, or pass --new-node if it never delivered before",
            )
        made = f"node-{os.urandom(6).hex()}"
        try:
            self._write(_NODE_ID, made + "\n", shared=True)
        except OSError as error:
            raise ConfigurationError(
                f"the state directory {self.path} cannot be written: {error.strerror}",
                "Set NODE_ID, or free some space",
            ) from error
        return made

    def _kept_id(self) -> str | None:
        file = self._process / _NODE_ID
        try:
            return file.read_text(encoding="utf-8").strip() or None
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:  # a new id would deliver everything again
            raise ConfigurationError(
                f"{file} cannot be read: {error}", "Set NODE_ID to this device's id, which is in the table's rows"
            ) from error

    def witness_key(self) -> bytes:
        """The key that rows are told again by, made at the first start.

        Without it, after the directory was lost, rows are told by those in the tables; so nothing depends on that it
        can be kept.
        """
        kept = kept_witness_key(self.path)
        if kept:
            return kept
        made = os.urandom(_KEY_BYTES)
        with contextlib.suppress(OSError):
            self._write(_WITNESS_KEY, made.hex() + "\n", shared=True)
        return made

    def sweep(self) -> dict[str, Any]:
        """What the last sweep counted, empty if there was none or it is lost."""
        with contextlib.suppress(OSError, ValueError):
            kept = json.loads((self.path / _SWEEP).read_text(encoding="utf-8"))
            if isinstance(kept, dict):
                return kept
        return {}

    def write_sweep(self, kept: Mapping[str, Any]) -> None:
        """Keep what a sweep counted; that it cannot be kept costs time alone."""
        with contextlib.suppress(OSError):
            self._write(_SWEEP, json.dumps(kept) + "\n", lasting=False)

    # -- small texts

    def kept(self, name: str) -> str | None:
        """A text that was kept under a name, None if there is none."""
        try:
            return (self.path / name).read_text(encoding="utf-8").strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    def keep(self, name: str, text: str) -> None:
        """Keep a text under a name; where that cannot be done, it is asked for again at the next start."""
        with contextlib.suppress(OSError):
            self._write(name, text + "\n")

    # -- the mirror

    def mirror(self) -> dict[str, Any]:
        """What `last_upload.json` says, empty if there is none or it is torn."""
        return read_mirror(self.path)

    def decided(self, versions: Mapping[str, int | None]) -> None:
        """A person decided what is to become of the tables: what was done to them before is not asked about again.

        Args:
            versions: each mode's table as it is now.
        """
        content = self.mirror()
        for mode, version in versions.items():
            if mode in content.get("tables", {}) and version is not None:
                content["tables"][mode]["version"] = version
        if content:
            self.write_mirror(content)

    def write_mirror(self, content: Mapping[str, Any], *, lasting: bool = True) -> None:
        """Replace `last_upload.json` in one step.

        Args:
            content: what it is to say.
            lasting: whether to wait until the disk has it; not worth the wear where only a cycle's time changed.

        Raises:
            OSError: if the directory cannot be written; nothing depends on it.
        """
        self._write(MIRROR, json.dumps(content, indent=2, ensure_ascii=False) + "\n", lasting=lasting)

    def _write(self, name: str, text: str, *, lasting: bool = True, shared: bool = False) -> None:
        folder = self._process if shared else self.path
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = folder / f".{name}.new"  # one process at a time holds the lock
        temporary.unlink(missing_ok=True)  # of a crash, or a link that someone else put there
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                if lasting:
                    os.fsync(file.fileno())
            Path(temporary).replace(folder / name)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
