"""A proxy on loopback between edge-delta and the S3 server that counts requests and breaks those that a plan names.

Everything is forwarded byte for byte, the Host header included, because S3 signatures cover it. Only "Expect:
100-continue" is answered here, and kept from the server, which would answer it as well. A `careless` one takes
If-None-Match out of requests and signs them again, so that the server behind it passes over conditions.
"""

from __future__ import annotations

import contextlib
import math
import re
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.support.weed import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from datetime import datetime

_CHUNK = 65_536
_NO_BODY = (204, 304)
_EXPECT = re.compile(rb"(?<=\r\n)expect:[^\r\n]*\r\n", re.IGNORECASE)


@dataclass(frozen=True)
class DropBefore:
    """The connection ends before the server hears of the request."""


@dataclass(frozen=True)
class DropAnswer:
    """The server does what was asked, and the connection ends instead of the answer."""


@dataclass(frozen=True)
class Answer:
    """The proxy answers itself, as a server in trouble would."""

    status: int
    code: str = "InternalError"


@dataclass(frozen=True)
class Stall:
    """Nothing happens for a while, then the connection ends. The server does not hear of the request."""

    seconds: float


@dataclass(frozen=True)
class CutBody:
    """Only the answer's first bytes of body arrive, then the connection ends."""

    keep: int


@dataclass(frozen=True)
class Hold:
    """The server hears of the request only when the event comes, or after five minutes."""

    until: threading.Event


Fault = DropBefore | DropAnswer | Answer | Stall | CutBody | Hold


@dataclass
class Rule:
    """Which requests a fault hits.

    Args:
        fault: what happens.
        method: the HTTP method, as a regular expression.
        path: searched in path and query.
        times: how many requests are hit, None for all.
        skip: how many matching requests go through first.
    """

    fault: Fault
    method: str = ".*"
    path: str = ""
    times: int | None = 1
    skip: int = 0
    hits: int = 0

    def matches(self, method: str, path: str) -> bool:
        if not (re.fullmatch(self.method, method) and re.search(self.path, path)):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.hits += 1
        return True


@dataclass
class Exchange:
    """One request that passed or was broken; answered at a moment of the monotonic clock."""

    method: str
    path: str
    status: int | None = None
    fault: Fault | None = None
    sent: int = 0
    received: int = 0
    answered: float = math.inf


@dataclass
class Message:
    """A request or an answer: its first line, its header lines, its body."""

    head: bytes
    body: bytes

    @property
    def first_line(self) -> list[str]:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")

    def header(self, name: str) -> str:
        return _header(self.head, name)


class Proxy:
    """A thread a connection, because tests have few of them.

    Args:
        port: the server's port on loopback.
        tls: what it shows to its clients, None for plain HTTP. The server behind it is spoken to in plain HTTP.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.target = ("127.0.0.1", port)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._scheme = "http" if tls is None else "https"
        if tls is not None:
            self._listener = tls.wrap_socket(self._listener, server_side=True, do_handshake_on_connect=False)
        self.rules: list[Rule] = []
        self.exchanges: list[Exchange] = []
        self.bytes_per_second: float | None = None
        self.down = False
        self.careless = False
        self.chaos: Callable[[str, str], Fault | None] = lambda _method, _path: None
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def plan(self, fault: Fault, **which: object) -> Rule:
        """Break requests from now on; see `Rule`."""
        rule = Rule(fault, **which)  # type: ignore[arg-type]
        with self._lock:
            self.rules.append(rule)
        return rule

    def clear(self) -> None:
        """Break nothing any more."""
        with self._lock:
            self.rules.clear()
        self.down = False

    def requests(self, method: str = ".*", path: str = "") -> list[Exchange]:
        """The requests so far, by method and part of the path."""
        with self._lock:
            return [e for e in self.exchanges if re.fullmatch(method, e.method) and re.search(path, e.path)]

    def cut_all(self) -> None:
        """End every connection there is."""
        with self._lock:
            there = list(self._open)
        for one in there:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- one connection

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with self._kept(client), contextlib.suppress(OSError):
            if self.down:
                return
            with self._kept(socket.create_connection(self.target)) as server:
                while self._one(client, server):
                    pass

    @contextlib.contextmanager
    def _kept(self, one: socket.socket) -> Iterator[socket.socket]:
        with self._lock:
            self._open.add(one)
        try:
            with contextlib.closing(one):
                yield one
        finally:
            with self._lock:
                self._open.discard(one)

    def _one(self, client: socket.socket, server: socket.socket) -> bool:
        """One request and its answer; whether the connection goes on."""
        request = self._read(client, paced=True)
        if request is None or self.down:
            return False
        method, path = request.first_line[:2]
        exchange = Exchange(method, path, sent=len(request.head) + len(request.body))
        with self._lock:
            exchange.fault = next((r.fault for r in self.rules if r.matches(method, path)), None)
            exchange.fault = exchange.fault or self.chaos(method, path)
            self.exchanges.append(exchange)
        return self._answered(client, server, request, exchange)

    def _answered(self, client: socket.socket, server: socket.socket, request: Message, exchange: Exchange) -> bool:
        fault = exchange.fault
        if isinstance(fault, DropBefore):
            return False
        if isinstance(fault, Stall):
            time.sleep(fault.seconds)
            return False
        if isinstance(fault, Answer):
            exchange.status = fault.status
            self._send(client, _refusal(fault))
            return True
        if isinstance(fault, Hold):
            fault.until.wait(300)
        head = _unconditional(request.head) if self.careless else request.head
        server.sendall(head + request.body)
        answer = self._read(server, head_only=exchange.method == "HEAD")
        if answer is None:
            return False
        exchange.status, exchange.answered = int(answer.first_line[1]), time.monotonic()
        if isinstance(fault, DropAnswer):
            return False
        body = answer.body[: fault.keep] if isinstance(fault, CutBody) else answer.body
        exchange.received = len(answer.head) + len(body)
        self._send(client, answer.head + body)
        return not isinstance(fault, CutBody)

    def _send(self, to: socket.socket, data: bytes) -> None:
        for start in range(0, len(data), _CHUNK):
            part = data[start : start + _CHUNK]
            self._pace(len(part))
            to.sendall(part)

    def _pace(self, size: int) -> None:
        if self.bytes_per_second is not None:
            time.sleep(size / self.bytes_per_second)

    # -- HTTP/1.1, as far as S3 clients use it (RFC 9112, 6.3)

    def _read(self, source: socket.socket, *, head_only: bool = False, paced: bool = False) -> Message | None:
        buffer = b""
        while b"\r\n\r\n" not in buffer:
            part = source.recv(_CHUNK)
            if not part:
                return None
            buffer += part
        head, _, rest = buffer.partition(b"\r\n\r\n")
        head += b"\r\n\r\n"
        if _header(head, "expect").lower() == "100-continue":
            source.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = _EXPECT.sub(b"", head)
        first = head.split(b" ", 2)
        if head_only or (first[0].startswith(b"HTTP/") and int(first[1][:3]) in _NO_BODY):
            return Message(head, b"")
        if "chunked" in _header(head, "transfer-encoding").lower():
            return Message(head, self._chunked(source, rest))
        return Message(head, self._sized(source, rest, int(_header(head, "content-length") or 0), paced=paced))

    def _sized(self, source: socket.socket, body: bytes, size: int, *, paced: bool) -> bytes:
        parts, there = [body], len(body)
        while there < size:
            part = source.recv(min(_CHUNK, size - there))
            if not part:
                raise ConnectionError
            if paced:
                self._pace(len(part))
            parts.append(part)
            there += len(part)
        return b"".join(parts)

    def _chunked(self, source: socket.socket, body: bytes) -> bytes:
        """The body as it is on the wire, chunk sizes included, up to the empty chunk that ends it."""
        while not (body == b"0\r\n\r\n" or body.endswith(b"\r\n0\r\n\r\n")):
            part = source.recv(_CHUNK)
            if not part:
                raise ConnectionError
            body += part
        return body


def _header(head: bytes, name: str) -> str:
    found = re.search(rb"\r\n" + re.escape(name.encode()) + rb":[ \t]*([^\r\n]*)", head, re.IGNORECASE)
    return found[1].decode("latin-1").strip() if found else ""


_CONDITION = re.compile(rb"(?<=\r\n)if-none-match:[^\r\n]*\r\n", re.IGNORECASE)
_AUTHORIZATION = re.compile(rb"(?<=\r\n)authorization:[^\r\n]*\r\n", re.IGNORECASE)
_SIGNED = re.compile(rb"\r\n(x-amz-[a-z0-9-]+|content-type): *([^\r\n]*)", re.IGNORECASE)


_DATE = re.compile(rb"(?<=\r\nx-amz-date: )[^\r\n]+", re.IGNORECASE)


def _unconditional(head: bytes) -> bytes:
    """The request without If-None-Match, signed again as the tests' user."""
    bare = _CONDITION.sub(b"", head)
    return head if bare == head else _signed(bare)


def signed_again(head: bytes, at: datetime) -> bytes:
    """The request as if it had been sent at another time, signed as the tests' user."""
    return _signed(_DATE.sub(f"{at:%Y%m%dT%H%M%SZ}".encode(), head))


def signed_as_tests(bare: bytes) -> bytes:
    """The request, signed as the tests' user."""
    return _signed(bare)


def _signed(bare: bytes) -> bytes:
    method, path = (word.decode("latin-1") for word in bare.split(b" ", 2)[:2])
    request = AWSRequest(method, f"http://{_header(bare, 'host')}{path}")
    for name, value in _SIGNED.findall(bare):
        request.headers[name.decode()] = value.decode("latin-1")
    request.context["timestamp"] = _header(bare, "x-amz-date")
    signer = S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", "us-east-1")
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    signed = signer.signed_headers(signer.headers_to_sign(request))
    line = f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, SignedHeaders={signed}, Signature={signature}"
    first, rest = _AUTHORIZATION.sub(b"", bare).split(b"\r\n", 1)
    return first + b"\r\nAuthorization: " + line.encode() + b"\r\n" + rest


def _refusal(fault: Answer) -> bytes:
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{fault.code}</Code></Error>'.encode()
    head = (
        f"HTTP/1.1 {fault.status} {fault.code}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
