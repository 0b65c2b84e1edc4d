"""Requests to a workspace, and what it means if there is no answer."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec import Struct

from edge_delta.core.errors import ConfigurationError, StorageUnavailable
from edge_delta.sinks.address import plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message

_MOST = 1_000_000
_LOCAL = ("127.0.0.1", "localhost", "::1")


class Answer(Struct, frozen=True):
    """What a workspace answered.

    Attributes:
        status: the HTTP status.
        content: the JSON object; empty if it is none.
        at: what time it was there at the latest, seconds since 1970: a device's own clock may be wrong.
    """

    status: int
    content: dict[str, Any]
    at: float

    @property
    def good(self) -> bool:
        """Whether it was done."""
        return self.status == 200 and bool(self.content)  # noqa: PLR2004 - OK

    @property
    def code(self) -> str:
        """What went wrong, as a word; empty if it is not said."""
        return str(self.content.get("error_code") or self.content.get("error") or "")

    @property
    def message(self) -> str:
        """What went wrong, in the workspace's words."""
        return plain(Exception(self.content.get("message") or self.content.get("error_description") or self.code))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A token must not go where somebody else points."""

    def redirect_request(self, *_: Any) -> None:
        """None is followed."""


def checked(url: str) -> str:
    """An address that secrets may be sent to, without a slash at its end.

    Raises:
        ConfigurationError: if it is none.
    """
    whole = url if "://" in url else f"https://{url}"
    parts = urlsplit(whole)
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL)):
        raise ConfigurationError(
            f"the workspace's address {url!r} does not begin with https://",
            "Set workspace in [unity_catalog] or DATABRICKS_HOST, such as https://dbc-a1b2c3d4-e5f6.cloud.databricks.com",
        )
    return whole.rstrip("/")


def ask(url: str, headers: Mapping[str, str], body: bytes | None, seconds: float) -> Answer:
    """One request: GET, or POST with a body.

    Raises:
        StorageUnavailable: if there is no answer, or none that passes for one: it may come later.
    """
    host = urlsplit(url).netloc
    # S310: `checked` saw the scheme.
    request = urllib.request.Request(url, body, {"Accept": "application/json", **headers})  # noqa: S310
    try:
        try:
            with urllib.request.build_opener(_NoRedirects).open(request, timeout=seconds) as answer:
                found = _answer(answer.status, answer.headers, answer.read(_MOST))
        except urllib.error.HTTPError as error:
            with error:
                found = _answer(error.code, error.headers, error.read(_MOST))
    except (OSError, HTTPException) as error:
        raise unreachable(host, plain(error)) from error
    if found.status in (408, 425, 429) or found.status >= 500 or not (found.good or found.code):  # noqa: PLR2004
        raise unreachable(host, f"{found.status} {found.code} {found.message}".strip())
    return found


def unreachable(host: str, why: str) -> StorageUnavailable:
    """The error for a workspace that gives no answer to go on with."""
    return StorageUnavailable(
        f"Unity Catalog at {host} cannot be reached: {why}", "Check workspace in [unity_catalog] and the network"
    )


def _answer(status: int, headers: Message, body: bytes) -> Answer:
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    try:
        at = parsedate_to_datetime(headers.get("Date", "")).timestamp() + 1  # of a second, it says the beginning
    except ValueError:
        at = time.time()
    return Answer(status, content if isinstance(content, dict) else {}, at)
