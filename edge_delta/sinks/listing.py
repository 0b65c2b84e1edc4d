"""What lies in a folder or under a prefix, one level deep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge_delta.sinks.address import errors, is_folder

if TYPE_CHECKING:
    from collections.abc import Mapping


def folders_in(uri: str, options: Mapping[str, str]) -> list[str]:
    """The names of the folders in a folder, or of the next parts of names in a store; in one request for each thousand.

    Args:
        uri: where to look; it need not be there.
        options: storage options for delta-rs.

    Raises:
        EdgeDeltaError: if it cannot be listed.
    """
    with errors(uri, "list"):
        if is_folder(uri):
            place = Path(uri.removeprefix("file://"))
            return sorted(child.name for child in place.iterdir() if child.is_dir()) if place.exists() else []
        from edge_delta.sinks import store_listing  # noqa: PLC0415 - pyarrow

        return store_listing.folders_in(uri, options)
