"""Where tables lie, for the runner with delta-rs: folders, and stores through the client inside delta-rs."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import FileSelector

from edge_delta.core.errors import EdgeDeltaError, TransientError
from edge_delta.gather.folder import FolderFiles
from edge_delta.gather.logs import File, Unreachable
from edge_delta.gather.takings import FilesGone, Refused
from edge_delta.sinks import address as storage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_AT_ONCE = 4_000_000
"""A file of so many bytes is read whole, in one request."""


@contextlib.contextmanager
def _reached() -> Iterator[None]:
    """Do something with the store.

    Raises:
        Unreachable: if it does not answer, or refuses.
        FileNotFoundError: if what is asked for is not there.
    """
    try:
        yield
    except EdgeDeltaError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise error.__cause__ from None
        raise Unreachable(str(error)) from error


class StoreFiles:
    """Files below a prefix of a store; see `edge_delta.gather.logs.Files`.

    Args:
        root: the prefix.
        options: storage options for delta-rs.
    """

    def __init__(self, root: str, options: Mapping[str, str]) -> None:
        self.root = root
        with storage.errors(root, "open"):
            self._handler = DeltaStorageHandler(root, dict(options))

    def get(self, path: str) -> bytes | None:
        """What an object holds; None if there is none."""
        try:
            with _reached(), storage.errors(f"{self.root}/{path}", "read"):
                return bytes(self._handler.open_input_file(path).read())
        except FileNotFoundError:
            return None

    def open(self, path: str) -> Any:
        """An object to be read in parts.

        Raises:
            FilesGone: if there is none.
        """
        try:
            with _reached(), storage.errors(f"{self.root}/{path}", "read"):
                return self._handler.open_input_file(path)
        except FileNotFoundError as error:
            raise FilesGone(path) from error

    def names(self, folder: str) -> list[str]:
        """The last parts of the names below a prefix."""
        with _reached(), storage.errors(f"{self.root}/{folder}", "list"):
            found = self._handler.get_file_info_selector(FileSelector(folder, allow_not_found=True))
        return [each.base_name for each in found]


def files_at(root: str, options: Mapping[str, str]) -> FolderFiles | StoreFiles:
    """The files below an address."""
    return FolderFiles(root.removeprefix("file://")) if storage.is_folder(root) else StoreFiles(root, options)


def opened(uri: str, options: Mapping[str, str]) -> DeltaTable | None:
    """A table; None if there is none.

    Raises:
        EdgeDeltaError: if it cannot be opened.
    """
    if storage.is_folder(uri) and not Path(uri.removeprefix("file://")).exists():
        return None  # delta-rs would take it for a store that does not answer
    with storage.errors(uri, "open"):
        try:
            return DeltaTable(uri, storage_options=dict(options) or None)
        except TableNotFoundError:
            return None


class TableReader:
    """The devices' tables, read by delta-rs.

    Args:
        root: the address that their folders are below.
        options: storage options for delta-rs.
        files: the same as files.
    """

    def __init__(self, root: str, options: Mapping[str, str], files: FolderFiles | StoreFiles) -> None:
        self._root = root
        self._options = dict(options)
        self._files = files

    def live(self, table: str, version: int | None) -> tuple[int, list[File]]:
        """A version of a table, the newest for None, and the files that it consists of.

        Raises:
            Refused: if it cannot be read.
            Unreachable: if the store does not answer.
        """
        uri = f"{self._root}/{table}"
        try:
            with storage.errors(uri, "open"):
                opened = DeltaTable(uri, version=version, storage_options=self._options or None)
                actions = pa.table(opened.get_add_actions())
        except TableNotFoundError as error:
            raise Refused("its table is not there") from error
        except TransientError as error:
            raise Unreachable(str(error)) from error
        except EdgeDeltaError as error:
            raise Refused(f"its table cannot be read: {error.fact}") from error
        there = [name for name in ("path", "size_bytes", "partition") if name in actions.column_names]
        return opened.version(), [_file(action) for action in actions.select(there).to_pylist()]

    def held(self, table: str, file: File) -> bytes | None:
        """What a small object holds, in one request; None for a large one, and for a file, which is opened again.

        Raises:
            FilesGone: if it is not there.
        """
        path = f"{table}/{file.path}"
        if isinstance(self._files, FolderFiles):
            if not Path(self._files.root, path).exists():
                raise FilesGone(path)
            return None
        opened = self._files.open(path)
        with _reached():
            return bytes(opened.read()) if file.size <= _AT_ONCE else None

    def parquet(self, table: str, file: File, held: bytes | None) -> pq.ParquetFile:
        """A data file, to be read in parts; close it.

        Raises:
            FilesGone: if it is not there.
        """
        path = f"{table}/{file.path}"
        if held is not None:
            return pq.ParquetFile(io.BytesIO(held))
        if isinstance(self._files, FolderFiles):
            try:
                return pq.ParquetFile(str(Path(self._files.root, path)))
            except FileNotFoundError as error:
                raise FilesGone(path) from error
        return pq.ParquetFile(self._files.open(path))


def _file(action: Mapping[str, Any]) -> File:
    """A live file, as delta-rs tells of it."""
    texts = ((name, None if value is None else str(value)) for name, value in (action.get("partition") or {}).items())
    return File(unquote(action["path"]), int(action["size_bytes"]), tuple(sorted(texts)))
