"""Whether a store keeps its promise of the conditional put, which every commit leans on.

delta-rs commits with ``PUT`` and ``If-None-Match: *`` (RFC 9110, 13.1.2): a version that another writer has made in the
meantime is refused with 412. A store that passes over the header answers 200 and replaces the other writer's commit,
whose rows are then gone without a word. So it is tried, before the first row is written, on an object of ours beside
the data, ``<table>/_edge_delta_check``: it always holds the same bytes and is never deleted, so that one request
answers the question, and two the first time. Readers and VACUUM pass over names that begin with an underscore.

Only stores behind an endpoint of their own are tried. Amazon's S3 is known to keep the promise (since August 2024), and
so are Azure's and a folder's file system.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from edge_delta.core.errors import UnsafeStore
from edge_delta.sinks import address as storage

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "_edge_delta_check"
"""What the object is called."""
_tried: set[tuple[str, str]] = set()
_one_at_a_time = threading.Lock()


def require(uri: str, options: Mapping[str, str]) -> None:
    """Try the store of a table, once in a process and table.

    Args:
        uri: the table's address.
        options: its storage options, see `edge_delta.sinks.store_options`.

    Raises:
        UnsafeStore: if it ignores the condition, or does not know it.
        StorageUnavailable: if it does not answer or refuses.
    """
    endpoint = options.get("aws_endpoint_url")
    if endpoint is None or not uri.startswith("s3://"):
        return
    with _one_at_a_time:
        if (endpoint, uri) in _tried:
            return
        with storage.errors(uri, "try"):
            from edge_delta.sinks.conditional_request import is_refused  # noqa: PLC0415 - HTTP, TLS and botocore

            # The first request may have made the object.
            if not (is_refused(uri, options) or is_refused(uri, options)):
                raise unsafe(uri)
        _tried.add((endpoint, uri))


def unsafe(uri: str) -> UnsafeStore:
    """The error for a store that does not keep the promise."""
    return UnsafeStore(
        f"the store of {uri} ignores If-None-Match, so two writers can overwrite each other's commits",
        "Use a store that honours conditional puts (AWS, SeaweedFS, MinIO, Ceph of a recent version)",
    )
