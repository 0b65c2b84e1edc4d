"""Names and small objects in a folder or a store, for who looks at the logs of many tables and opens none of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar

from edge_delta.sinks import address as storage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")


class Objects(Protocol):
    """What lies under an address; names in it have no slash at the beginning. Several threads may ask at once.

    All of them raise EdgeDeltaError if the store does not answer or refuses.
    """

    def folders(self, path: str) -> list[str]:
        """The names of the folders in a folder; none if there is no such folder."""

    def after(self, path: str, name: str) -> list[str]:
        """The names of the files in a folder that sort behind a name."""

    def read(self, path: str) -> bytes | None:
        """What an object holds; None if there is none."""


def objects_at(uri: str, options: Mapping[str, str]) -> Objects:
    """The objects under an address.

    Args:
        uri: the address, a folder or ``s3://bucket/path`` or ``abfss://…``.
        options: storage options for delta-rs.
    """
    if storage.is_folder(uri):
        return _Folder(Path(uri.removeprefix("file://")))
    if uri.startswith("s3://"):
        from edge_delta.sinks.s3_objects import S3Objects  # noqa: PLC0415 - botocore and urllib3

        return S3Objects(uri, options)
    from edge_delta.sinks.store_listing import StoreObjects  # noqa: PLC0415 - pyarrow

    return StoreObjects(uri, options)


def put(uri: str, options: Mapping[str, str], content: bytes) -> None:
    """Write a small object in the place of what is there.

    Args:
        uri: its address.
        options: storage options for delta-rs, through whose client it goes, with the same credentials.
        content: what it is to hold.

    Raises:
        EdgeDeltaError: if the store does not take it.
    """
    folder, _, name = uri.rpartition("/")
    with storage.errors(uri, "put"):
        if storage.is_folder(uri):
            place = Path(folder.removeprefix("file://"))
            place.mkdir(parents=True, exist_ok=True)
            (place / f".{name}.new").write_bytes(content)
            (place / f".{name}.new").replace(place / name)
            return
        from deltalake._internal import DeltaFileSystemHandler  # noqa: PLC0415 - deltalake.fs imports pyarrow

        stream: BinaryIO = DeltaFileSystemHandler(folder, dict(options)).open_output_stream(name, {})  # type: ignore[assignment] # its stub lacks close
        stream.write(content)
        stream.close()


class _Folder:
    """See `Objects`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folders(self, path: str) -> list[str]:
        def names(at: Path) -> list[str]:
            with os.scandir(at) as found:
                return sorted(entry.name for entry in found if entry.is_dir())

        return self._asked("list", path, names) or []

    def after(self, path: str, name: str) -> list[str]:
        return self._asked("list", path, lambda at: sorted(f.name for f in at.iterdir() if f.name > name)) or []

    def read(self, path: str) -> bytes | None:
        return self._asked("read", path, Path.read_bytes)

    def _asked(self, operation: str, path: str, work: Callable[[Path], T]) -> T | None:
        with storage.errors(str(self._root), operation):
            try:
                return work(self._root / path)
            except (FileNotFoundError, NotADirectoryError):
                return None
