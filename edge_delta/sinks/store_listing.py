"""Names in an object store, through delta-rs; imported where it is asked for, because pyarrow is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import FileSelector, FileType

if TYPE_CHECKING:
    from collections.abc import Mapping


def folders_in(uri: str, options: Mapping[str, str]) -> list[str]:
    """The next parts of the names that begin with an address."""
    found = DeltaStorageHandler(uri, dict(options)).get_file_info_selector(FileSelector("/", allow_not_found=True))
    return sorted(each.base_name for each in found if each.type is FileType.Directory)
