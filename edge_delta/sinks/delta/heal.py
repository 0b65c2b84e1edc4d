"""What a power cut leaves of a table in a folder, and how it goes on.

ext4 keeps the order of renames but not of contents, so after a pulled plug there may be commits and checkpoints of no
bytes, a ``_last_checkpoint`` that names one, and commits whose data files are short. None of that was reported as
delivered (see `edge_delta.sinks.delta.durable`), so what is torn is set aside, and the cursor of what stands says where
to go on. A live writer leaves nothing of the kind: commits appear whole, by a rename.

What is set aside goes to ``_torn`` in the table's folder, which readers and vacuum pass by.
"""

from __future__ import annotations

import json
import os
import re
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from msgspec import MsgspecError, Struct, field
from msgspec.json import Decoder

from edge_delta.core.errors import TableDamaged
from edge_delta.sinks.delta.disk import sync_all

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

TORN = "_torn"
_COMMIT = r"(\d{20})\.json"
_CHECKPOINT = r"(\d{20})\.checkpoint(\.[0-9a-f.-]+)?\.parquet"
_MAGIC = b"PAR1"
_SMALLEST = 12
"""Bytes of a Parquet file with nothing in it: the magic number twice, and a length."""
_TEMPORARY_SECONDS = 3600.0
_OURS = "edge-delta/"


class _Add(Struct, rename="camel"):
    path: str
    size: Any = None
    data_change: Any = True


class _Remove(Struct, rename="camel"):
    path: str
    data_change: Any = True


class _Transaction(Struct, rename="camel"):
    app_id: str


class _Anything(Struct):
    """An object, whatever is in it."""


class _Action(Struct, rename="camel"):
    """A line of a commit (Delta protocol, "Actions") as far as healing has to know it; the rest is not even decoded."""

    add: _Add | None = None
    remove: _Remove | None = None
    txn: _Transaction | None = None
    meta_data: _Anything | None = None


class _Commit(Struct):
    """A commit as far as healing has to know it."""

    path: Path
    adds: list[_Add] = field(default_factory=list)
    removes: set[str] = field(default_factory=set)
    apps: set[str] = field(default_factory=set)
    changes_data: bool = False
    readable: bool = True

    @property
    def ours(self) -> bool:
        """Whether the device that wrote it goes on by the log's cursor, or no row depends on it."""
        return any(app.startswith(_OURS) for app in self.apps) or not self.changes_data


def heal(root: Path) -> list[str]:
    """Heal what a power cut left of a table.

    Args:
        root: the table's folder.

    Returns:
        What was found, a sentence each; nothing where the table is whole or is not there.

    Raises:
        TableDamaged: if commits that others made would go with what is torn, or the log's beginning is not there.
    """
    folder = root / "_delta_log"
    try:
        names = sorted(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    commits = {int(m[1]): folder / name for name in names if (m := re.fullmatch(_COMMIT, name))}
    checkpoints: dict[int, list[Path]] = {}
    for name in names:
        if m := re.fullmatch(_CHECKPOINT, name):
            checkpoints.setdefault(int(m[1]), []).append(folder / name)
    found = _torn_checkpoints(root, commits, checkpoints)
    found += _torn_commits(root, commits, checkpoints)
    found += _hint(folder, checkpoints)
    found += _temporary(folder, names)
    if found:
        sync_all((folder, root))
    return found


def _torn_checkpoints(root: Path, commits: dict[int, Path], checkpoints: dict[int, list[Path]]) -> list[str]:
    """Set the newest checkpoints aside until one is whole."""
    found = []
    for version in sorted(checkpoints, reverse=True):
        if all(is_whole_parquet(path) for path in checkpoints[version]):
            break
        lower = [v for v in checkpoints if v < version]
        if not lower and 0 not in commits:
            raise TableDamaged(
                f"the only checkpoint of table {root}, of version {version}, is torn, and the log's beginning is gone",
                "Restore the table from a copy, or set another table_path",
            )
        _aside(root, checkpoints.pop(version))
        found.append(f"checkpoint {version} was torn")
    return found


def _torn_commits(root: Path, commits: dict[int, Path], checkpoints: dict[int, list[Path]]) -> list[str]:
    """Set the commits from the first torn one on aside, or empty those that only joined files."""
    if not commits:
        return []
    last = max(commits)
    first = _first_to_read(commits, checkpoints)
    if first > 0 and first - 1 not in checkpoints:
        raise TableDamaged(
            f"the log of table {root} begins at version {first}, and no checkpoint goes before it",
            "Restore the table from a copy, or set another table_path",
        )
    read: dict[int, _Commit] = {}
    torn, gone = [], set[str]()
    for version in range(last, first - 1, -1):
        path = commits.get(version)
        commit = _read(path) if path is not None else None
        if commit is None or not commit.readable or not _data_is_whole(root, commit, gone):
            torn.append(version)
        if commit is not None:
            read[version] = commit
            gone |= commit.removes
    if not torn:
        return []
    if all(v in read and read[v].readable and not read[v].changes_data for v in torn):
        for version in torn:
            _empty(read[version].path)
        return [f"a compaction, version {version}, was torn" for version in reversed(torn)]
    return _cut(root, min(torn), read, checkpoints)


def _cut(root: Path, version: int, read: dict[int, _Commit], checkpoints: dict[int, list[Path]]) -> list[str]:
    """Set everything from a version on aside."""
    after = [read[v] for v in sorted(read) if v >= version]
    foreign = [c for c in after if c.readable and not c.ours]
    if foreign:
        raise TableDamaged(
            f"commit {version} of table {root} is torn, and {len(foreign)} by others came after it",
            f"Stop all writers; to go on without them, move commits from {foreign[0].path.name} on out of _delta_log, "
            "or restore the table from a copy",
        )
    for number in sorted(v for v in checkpoints if v >= version):
        _aside(root, checkpoints.pop(number))
    # The last first: should this be cut off too, the log never has a gap.
    _aside(root, [commit.path for commit in reversed(after)])
    count = len(after)
    return [f"{count} {'commit' if count == 1 else 'commits'} from version {version} on were torn"]


def _first_to_read(commits: dict[int, Path], checkpoints: dict[int, list[Path]]) -> int:
    """The version to begin at: behind the last checkpoint but one, if commits lead from there to the last one.

    What a checkpoint names may be torn where files are not synced, so the commits before the last one are read too.
    """
    whole = sorted(v for v in checkpoints if all(is_whole_parquet(path) for path in checkpoints[v]))
    if not whole:
        return min(commits)
    for start in (whole[-2] if len(whole) > 1 else -1, whole[-1]):
        if all(v in commits for v in range(start + 1, whole[-1] + 1)):
            return start + 1
    return whole[-1] + 1


def _read(path: Path) -> _Commit:
    commit = _Commit(path)
    try:
        actions = _decoder().decode_lines(path.read_bytes())
    except (OSError, MsgspecError):
        commit.readable = False
        return commit
    commit.readable = bool(actions)
    for action in actions:
        if action.add is not None:
            commit.adds.append(action.add)
        if action.remove is not None:
            commit.removes.add(action.remove.path)
        if action.txn is not None:
            commit.apps.add(action.txn.app_id)
        changed = action.add or action.remove
        # A schema or a property matters as much as rows do.
        commit.changes_data |= bool(changed and changed.data_change) or action.meta_data is not None
    return commit


@cache
def _decoder() -> Decoder[_Action]:
    return Decoder(_Action)


def _data_is_whole(root: Path, commit: _Commit, gone: set[str]) -> bool:
    """Whether the files that a commit added are there in full, leaving out those that later commits removed."""
    folder = os.fspath(root)
    for add in commit.adds:
        path = unquote(add.path) if "%" in add.path else add.path
        if add.path in gone or "://" in path:
            continue
        if not is_whole_parquet(os.path.join(folder, path), add.size):  # noqa: PTH118 - maybe 100,000 of them
            return False
    return True


def is_whole_parquet(path: Path | str, size: int | None = None) -> bool:
    """Whether a file begins and ends as Parquet files do, and has that many bytes."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        there = os.fstat(file).st_size
        if there < _SMALLEST or (size is not None and there != size):
            return False
        return os.pread(file, len(_MAGIC), there - len(_MAGIC)) == _MAGIC == os.pread(file, len(_MAGIC), 0)
    except OSError:
        return False
    finally:
        os.close(file)


def _hint(folder: Path, checkpoints: dict[int, list[Path]]) -> list[str]:
    """Take a hint away that names a checkpoint which is not there; readers then list the log."""
    hint = folder / "_last_checkpoint"
    try:
        named = int(json.loads(hint.read_bytes())["version"])
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError):
        named = -1
    if named in checkpoints:
        return []
    hint.unlink()
    return ["_last_checkpoint named a checkpoint that is not there"]


def _temporary(folder: Path, names: Iterable[str]) -> list[str]:
    """Take away what writers left half-written in the log; a writer at work is not older than an hour."""
    old = [folder / name for name in names if is_temporary(name) and _age(folder / name) > _TEMPORARY_SECONDS]
    for path in old:
        path.unlink(missing_ok=True)
    return [f"{len(old)} temporary files were left in the log"] if old else []


def temporary_files(root: Path, age: timedelta) -> list[Path]:
    """What of a table in a folder was never renamed, or was set aside by `heal`, and is older than an age.

    delta-rs's own listing leaves files called ``…#1`` out.
    """
    return [
        path
        for folder, _, names in os.walk(root)
        for name in names
        if (is_temporary(name) or Path(folder).name == TORN) and _age(path := Path(folder) / name) > age.total_seconds()
    ]


def is_temporary(name: str) -> bool:
    """Whether a file is one that delta-rs renames when it is whole: ``….tmp``, and ``…#1`` of its object store."""
    return name.endswith(".tmp") or re.search(r"#\d+$", name) is not None


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _aside(root: Path, paths: Iterable[Path]) -> None:
    place = root / TORN
    place.mkdir(exist_ok=True)
    for path in paths:
        path.replace(place / f"{path.name}.{time.time_ns()}")


def _empty(commit: Path) -> None:
    """Put a commit that does nothing in the place of one, in one step."""
    whole = commit.with_name(f"_{commit.name}.tmp")
    info = {"commitInfo": {"timestamp": int(time.time() * 1000), "operation": "HEALED", "operationParameters": {}}}
    whole.write_text(json.dumps(info) + "\n")
    sync_all([whole])
    whole.replace(commit)
