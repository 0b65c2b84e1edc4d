"""What lies in a folder or under a prefix, one level deep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge_delta.sinks.address import is_folder, unavailable

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
    if is_folder(uri):
        place = Path(uri.removeprefix("file://"))
        try:
            return sorted(child.name for child in place.iterdir() if child.is_dir()) if place.exists() else []
        except OSError as error:
            raise unavailable(uri, error) from error
    from edge_delta.sinks import store_listing  # noqa: PLC0415 - pyarrow

    try:
        return store_listing.folders_in(uri, options)
    except Exception as error:
        raise unavailable(uri, error) from error
