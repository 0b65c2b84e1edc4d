"""Serves metrics, the health and the status page over HTTP."""

from __future__ import annotations

import http.server
import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edge_delta.device import page
from edge_delta.device.health import Verdict, worst

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_delta.device.looks import Looks

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_HTML = "text/html; charset=utf-8"


class Server(http.server.ThreadingHTTPServer):
    """The server.

    Args:
        place: the address and the port.
        looks: at the state directory and the databases.
        text: gives all metrics.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, place: tuple[str, int], looks: Looks, text: Any) -> None:
        self.looks, self.text, self.page = looks, text, page.Page(looks)
        super().__init__(place, _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    """GET /metrics, GET /health, and the page at /."""

    server: Server
    timeout = 10

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self._answer(200, CONTENT_TYPE, self.server.text())
        elif self.path == "/health":
            ok, body = self._health()
            self._answer(200 if ok else 503, "application/json", json.dumps(body).encode())
        elif self.path == "/":
            self._answer(200, _HTML, self.server.page.whole(), page.HEADERS)
        elif self.path == f"/?{page.PART}":
            self._answer(200, _HTML, self.server.page.part(), page.HEADERS)
        else:
            self._answer(404, "text/plain", b"there are /, /metrics and /health\n")

    def _health(self) -> tuple[bool, dict[str, Any]]:
        """Whether it delivers; of what cannot be looked at for a while nobody knows."""
        seen = self.server.looks.latest()
        if seen is None or seen.stale:
            return False, {"ok": False, "verdict": Verdict.SOURCE, "rows_waiting": None}
        ok, whole = all(one.ok for one in seen.sources.values()), worst(seen.sources)
        waiting = sum(one.rows_waiting for one in seen.sources.values())
        return ok, {"ok": ok, "verdict": whole.verdict if whole is not None else None, "rows_waiting": waiting}

    def _answer(self, status: int, kind: str, body: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The log is for what the device does."""
