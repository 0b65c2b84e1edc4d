"""Names in an object store, through delta-rs; imported where it is asked for, because pyarrow is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import FileInfo, FileSelector, FileType, PyFileSystem

from edge_delta.sinks.address import errors

if TYPE_CHECKING:
    from collections.abc import Mapping


def folders_in(uri: str, options: Mapping[str, str]) -> list[str]:
    """The next parts of the names that begin with an address."""
    found = DeltaStorageHandler(uri, dict(options)).get_file_info_selector(FileSelector("/", allow_not_found=True))
    return sorted(each.base_name for each in found if each.type is FileType.Directory)


class StoreObjects:
    """See `edge_delta.sinks.objects.Objects`: any store that delta-rs can reach, by listing whole folders."""

    def __init__(self, uri: str, options: Mapping[str, str]) -> None:
        self._uri = uri
        self._files = PyFileSystem(DeltaStorageHandler(uri, dict(options)))

    def folders(self, path: str) -> list[str]:
        """The names of the folders in a folder."""
        return sorted(each.base_name for each in self._listed(path) if each.type is FileType.Directory)

    def after(self, path: str, name: str) -> list[str]:
        """The names of the files in a folder that sort behind a name."""
        names = (each.base_name for each in self._listed(path) if each.type is FileType.File)
        return sorted(found for found in names if found > name)

    def _listed(self, path: str) -> list[FileInfo]:
        with errors(self._uri, "list"):
            return self._files.get_file_info(FileSelector(path or "/", allow_not_found=True))  # type: ignore[no-any-return]

    def read(self, path: str) -> bytes | None:
        """What an object holds; None if there is none."""
        with errors(self._uri, "read"):
            try:
                with self._files.open_input_file(path) as file:
                    return file.read()  # type: ignore[no-any-return]
            except FileNotFoundError:
                return None
