"""What is new in the log of a Delta table, asked for commit by commit: ``GET`` of the version after the last one taken.

What counts is the protocol's ``dataChange``: files that a compaction adds hold rows that were there before
(https://github.com/delta-io/delta/blob/master/PROTOCOL.md, "Add File and Remove File").
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NAMES = re.compile(r"(\d{20})\.(json|(?:[0-9a-f-]+\.)?checkpoint(?:\.[0-9a-z.-]+)?)")
_MARK = 12
_NODE = "node_id"
_SHORTENED = 32
"""Spark cuts texts in a log's statistics at so many characters: a longer one may be only the beginning of a name."""


class Unreachable(Exception):
    """A device's files cannot be read just now; the others go on."""


class Files(Protocol):
    """A folder or a store, by addresses below one root."""

    def get(self, path: str) -> bytes | None:
        """What a file holds; None if there is none.

        Raises:
            Unreachable: if that cannot be told.
        """

    def names(self, folder: str) -> list[str]:
        """The names in a folder; none where it is not there.

        Raises:
            Unreachable: if that cannot be told.
        """


@dataclass(frozen=True)
class File:
    """A data file of a table.

    Attributes:
        path: below the table's folder.
        size: in bytes.
        parts: values of partition columns, which do not stand in the file.
        nodes: whose rows it has, as far as its statistics tell.
    """

    path: str
    size: int
    parts: tuple[tuple[str, str | None], ...] = ()
    nodes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Commit:
    """What one commit did.

    Attributes:
        version: the table's version that it made.
        mark: tells it from another commit of that version, in a table that was created again.
        time: when it was made by its writer's clock, milliseconds.
        operation: what its writer calls it.
        parameters: what its writer says of the operation.
        metadata: what its writer was asked to note (``userMetadata``).
        added: files whose rows are new.
        removed: paths of files whose rows are gone.
        moved_in: files that hold rows which were there before.
        moved_out: paths of files whose rows are in another file now.
        reader_version: the protocol's, where it is set.
        schema: the table's columns as JSON, where they are set.
    """

    version: int
    mark: str
    time: int = 0
    operation: str = ""
    parameters: Any = None
    metadata: str | None = None
    added: tuple[File, ...] = ()
    removed: tuple[str, ...] = ()
    moved_in: tuple[File, ...] = ()
    moved_out: tuple[str, ...] = ()
    reader_version: int | None = None
    schema: str | None = None


def mark_of(text: bytes) -> str:
    """What tells a commit from another one of the same version."""
    return hashlib.sha256(text).hexdigest()[:_MARK]


def time_of(text: bytes) -> int:
    """When a commit was made by its writer's clock, milliseconds; 0 if it does not say."""
    said = next((line for line in text.splitlines() if line.startswith(b'{"commitInfo"')), b"")
    return int(json.loads(said)["commitInfo"].get("timestamp") or 0) if said else 0


def parsed(version: int, text: bytes) -> Commit:
    """A commit out of its file.

    Raises:
        ValueError: if it is no commit, or has a file whose rows cannot be read from it alone.
    """
    info: dict[str, Any] = {}
    files: dict[tuple[str, bool], list[Any]] = {(kind, new): [] for kind in ("add", "remove") for new in (True, False)}
    reader = schema = None
    for line in text.splitlines():
        action: dict[str, Any] = json.loads(line) if line.strip() else {}
        for kind in ("add", "remove"):
            if kind in action:
                said = action[kind]
                files[kind, bool(said.get("dataChange", True))].append(said)
        info = action.get("commitInfo", info)
        reader = action["protocol"].get("minReaderVersion", 1) if "protocol" in action else reader
        schema = action["metaData"].get("schemaString") if "metaData" in action else schema
    return Commit(
        version,
        mark_of(text),
        int(info.get("timestamp") or 0),
        str(info.get("operation") or ""),
        info.get("operationParameters"),
        info.get("userMetadata"),
        tuple(_file(said) for said in files["add", True]),
        tuple(unquote(said["path"]) for said in files["remove", True]),
        tuple(_file(said) for said in files["add", False]),
        tuple(unquote(said["path"]) for said in files["remove", False]),
        reader,
        schema,
    )


def _file(said: Mapping[str, Any]) -> File:
    path = unquote(said["path"])
    if said.get("deletionVector"):
        raise ValueError(f"{path} has a deletion vector")
    if "://" in path or path.startswith("/"):
        raise ValueError(f"{path} lies outside of its table")
    parts = said.get("partitionValues") or {}
    return File(path, int(said["size"]), tuple(sorted(parts.items())), _nodes(said.get("stats"), parts.get(_NODE)))


def _nodes(stats: str | None, part: str | None) -> frozenset[str]:
    """Whose rows a file has."""
    limits = json.loads(stats) if stats else {}
    found = {part, *(limits.get(side, {}).get(_NODE) for side in ("minValues", "maxValues"))}
    return frozenset(node for node in found if node and len(node) < _SHORTENED)


@dataclass(frozen=True)
class Listing:
    """What lies in a table's log.

    Attributes:
        tip: the table's version; None if there is no table.
        oldest: the oldest commit that is still there; None if there is only a checkpoint.
    """

    tip: int | None
    oldest: int | None


class Log:
    """The log of one table.

    Args:
        files: where it lies.
        table: the table's folder below their root.
    """

    def __init__(self, files: Files, table: str) -> None:
        self._files = files
        self.table = table

    def text(self, version: int) -> bytes | None:
        """A commit's file; None if there is none."""
        return self._files.get(f"{self.table}/_delta_log/{version:020}.json")

    def commit(self, version: int) -> Commit | None:
        """A commit; None if there is none.

        Raises:
            ValueError: see `parsed`.
        """
        text = self.text(version)
        return None if text is None else parsed(version, text)

    def after(self, version: int) -> Iterator[Commit]:
        """The commits after a version, one after the other without a gap."""
        while (commit := self.commit(version + 1)) is not None:
            yield commit
            version += 1

    def has_checkpoint(self) -> bool:
        """Whether there was ever a checkpoint, by one request."""
        return self._files.get(f"{self.table}/_delta_log/_last_checkpoint") is not None

    def listing(self) -> Listing:
        """What is there. It is a listing, which costs a store more than some ``GET``."""
        found = [m for name in self._files.names(f"{self.table}/_delta_log") if (m := _NAMES.match(name))]
        commits = [int(m[1]) for m in found if m[2] == "json"]
        return Listing(
            max((int(m[1]) for m in found), default=None),
            min(commits, default=None),
        )
