"""The request of `edge_delta.sinks.conditional_put`: what it imports is a sixth of an idle run."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest

from edge_delta.sinks import address as storage
from edge_delta.sinks.conditional_put import NAME
from edge_delta.sinks.credentials import session_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_BODY = b"edge-delta check\n"
_EXISTS = frozenset({409, 412})
"""Precondition Failed, and what S3 answers where another conditional request is under way."""
_NOT_IMPLEMENTED = 501


def is_refused(uri: str, options: Mapping[str, str]) -> bool:
    """Whether the object was there and stayed as it was; without it, it is made."""
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
            return False  # as if it had passed over the header
        raise storage.unavailable(uri, OSError(f"{error.code} {error.reason}: {answer}")) from error


def _signed(uri: str, options: Mapping[str, str]) -> urllib.request.Request:
    """The request, signed (AWS Signature Version 4) by whatever tells who this device is."""
    credentials = session_of(uri, options).get_credentials()
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
