"""A proxy before the S3 server that lets in who has a key which was vended, is still good, and is for that prefix.

Each request's signature is checked with the secret of the key that it names (AWS Signature Version 4), as S3 does it;
then it is signed again as the tests' user for the server behind.
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.support.proxy import Answer, Exchange, Message, Proxy, signed_as_tests

if TYPE_CHECKING:
    import socket

_TOKEN = re.compile(rb"(?<=\r\n)x-amz-security-token:[^\r\n]*\r\n", re.IGNORECASE)
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/[^,]+, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]+)"
)


@dataclass
class Key:
    """What was vended once."""

    prefix: str
    until: float
    access_key_id: str = field(default_factory=lambda: f"ASIA{uuid.uuid4().hex[:16].upper()}")
    secret_access_key: str = field(default_factory=lambda: uuid.uuid4().hex)
    session_token: str = field(default_factory=lambda: uuid.uuid4().hex)
    revoked: bool = False
    used: int = 0


class Gate(Proxy):
    """See above.

    Attributes:
        refusals: why requests were refused, by S3's codes, in their order.
        ends: where a request's method and path fit, the key that it came with ends at once, before the request.
    """

    def __init__(self, port: int) -> None:
        self.keys: dict[str, Key] = {}
        self.refusals: list[str] = []
        self.ends: list[tuple[str, str]] = []
        self._checking = threading.Lock()
        super().__init__(port)

    def vend(self, location: str, until: float) -> Key:
        """A key for what is under ``s3://bucket/path``, until a time in seconds since 1970."""
        key = Key("/" + location.removeprefix("s3://").rstrip("/") + "/", until)
        self.keys[key.access_key_id] = key
        return key

    def revoke(self) -> None:
        """None of the keys is good any more."""
        for key in self.keys.values():
            key.revoked = True

    def _answered(self, client: socket.socket, server: socket.socket, request: Message, exchange: Exchange) -> bool:
        with self._checking:
            refusal = self._refusal(request)
        if refusal is not None:
            self.refusals.append(refusal.code)
            exchange.fault = refusal
            return super()._answered(client, server, request, exchange)
        whole = Message(signed_as_tests(_TOKEN.sub(b"", request.head)), request.body)
        return super()._answered(client, server, whole, exchange)

    def _refusal(self, request: Message) -> Answer | None:
        found = _AUTHORIZATION.match(request.header("authorization"))
        key = self.keys.get(found[1]) if found else None
        if key is None or found is None or key.revoked:
            return Answer(403, "InvalidAccessKeyId")
        method, path = request.first_line[:2]
        if any(re.fullmatch(m, method) and re.search(p, path) for m, p in self.ends):
            self.ends.clear()
            key.until = 0.0
        if request.header("x-amz-security-token") != key.session_token:
            return Answer(403, "InvalidToken")
        if not _signature_fits(request, key, found[2], found[3]):
            return Answer(403, "SignatureDoesNotMatch")
        if time.time() >= key.until:
            return Answer(400, "ExpiredToken")
        if not all(name.startswith(key.prefix) for name in _names(request)):
            return Answer(403, "AccessDenied")
        key.used += 1
        return None


def _names(request: Message) -> list[str]:
    """What a request is about, as ``/bucket/key``."""
    parts = urlsplit(request.first_line[1])
    bucket, _, name = parts.path.lstrip("/").partition("/")
    if name:
        return [unquote(f"/{bucket}/{name}")]
    if "delete" in parse_qs(parts.query, keep_blank_values=True):
        return [f"/{bucket}/{unquote(key)}" for key in re.findall(r"<Key>([^<]*)</Key>", request.body.decode())]
    return [f"/{bucket}/{''.join(parse_qs(parts.query).get('prefix', ['']))}"]


def _signature_fits(request: Message, key: Key, signed: str, signature: str) -> bool:
    method, path = request.first_line[:2]
    again = AWSRequest(method, f"http://{request.header('host')}{path}")
    for name in signed.split(";"):
        again.headers[name] = request.header(name)
    again.context["timestamp"] = request.header("x-amz-date")
    signer = S3SigV4Auth(Credentials(key.access_key_id, key.secret_access_key), "s3", "us-east-1")
    return bool(signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again) == signature)
