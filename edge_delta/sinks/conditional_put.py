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
from urllib.parse import quote

from edge_delta.core.errors import UnsafeStore
from edge_delta.sinks import address as storage

if TYPE_CHECKING:
    import urllib.request
    from collections.abc import Mapping

NAME = "_edge_delta_check"
_BODY = b"edge-delta check\n"
_EXISTS = frozenset({409, 412})
"""Precondition Failed, and what S3 answers where another conditional request is under way."""
_NOT_IMPLEMENTED = 501

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
            # The first request may have made the object.
            if not (_refused(uri, options) or _refused(uri, options)):
                raise unsafe(uri)
        _tried.add((endpoint, uri))


def unsafe(uri: str) -> UnsafeStore:
    """The error for a store that does not keep the promise."""
    return UnsafeStore(
        f"the store of {uri} ignores If-None-Match, so two writers can overwrite each other's commits",
        "Use a store that honours conditional puts (AWS, SeaweedFS, MinIO, Ceph of a recent version)",
    )


def _refused(uri: str, options: Mapping[str, str]) -> bool:
    """Whether the object was there and stayed as it was; without it, it is made."""
    import urllib.error  # noqa: PLC0415 - with HTTP and TLS a sixth of an idle run, and only where a store is tried
    import urllib.request  # noqa: PLC0415 - as above

    try:
        # S310: the address has the endpoint's scheme, which is HTTP or HTTPS.
        with urllib.request.urlopen(_signed(uri, options), timeout=_seconds(options)):  # noqa: S310
            return False
    except urllib.error.HTTPError as error:
        with error:
            if error.code in _EXISTS:
                return True
            answer = error.read(2_000).decode(errors="replace")
        if error.code == _NOT_IMPLEMENTED:
            raise unsafe(uri) from error
        raise storage.unavailable(uri, OSError(f"{error.code} {error.reason}: {answer}")) from error


def _signed(uri: str, options: Mapping[str, str]) -> urllib.request.Request:
    """The request, signed (AWS Signature Version 4) by whatever tells who this device is."""
    import urllib.request  # noqa: PLC0415 - as above

    import botocore.session  # noqa: PLC0415 - 0.1 s of CPU, and only where there is something to write to such a store
    from botocore.auth import S3SigV4Auth  # noqa: PLC0415 - as above
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415 - as above

    session = botocore.session.get_session()
    if "aws_access_key_id" in options:
        session.set_credentials(options["aws_access_key_id"], options["aws_secret_access_key"])
    credentials = session.get_credentials()
    if credentials is None:
        raise storage.no_credentials(uri)
    request = AWSRequest("PUT", _url(uri, options), {"If-None-Match": "*", "Content-Length": str(len(_BODY))}, _BODY)
    S3SigV4Auth(credentials.get_frozen_credentials(), "s3", options["aws_region"]).add_auth(request)
    return urllib.request.Request(request.url, _BODY, dict(request.headers.items()), method="PUT")  # noqa: S310


def _url(uri: str, options: Mapping[str, str]) -> str:
    """Where the object is; with the bucket in the host name, the endpoint has it already, as for delta-rs."""
    bucket, _, path = uri.removeprefix("s3://").partition("/")
    key = f"{path}/{NAME}" if "aws_virtual_hosted_style_request" in options else f"{bucket}/{path}/{NAME}"
    return f"{options['aws_endpoint_url'].rstrip('/')}/{quote(key, safe='/~')}"


def _seconds(options: Mapping[str, str]) -> float:
    return float(options.get("timeout", "30s").removesuffix("s"))
