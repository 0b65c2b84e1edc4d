"""Serves metrics and the health over HTTP."""

from __future__ import annotations

import http.server
import json
from typing import TYPE_CHECKING, Any

from edge_delta.device.health import examine_all, worst

if TYPE_CHECKING:
    from pathlib import Path

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Server(http.server.ThreadingHTTPServer):
    """The server.

    Args:
        place: the address and the port.
        state_dir: the state directory that is looked at.
        text: gives all metrics.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, place: tuple[str, int], state_dir: Path, text: Any) -> None:
        self.state_dir, self.text = state_dir, text
        super().__init__(place, _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    """GET /metrics and GET /health."""

    server: Server
    timeout = 10

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self._answer(200, CONTENT_TYPE, self.server.text())
        elif self.path == "/health":
            found = examine_all(self.server.state_dir)
            ok, whole = all(one.ok for one in found.values()), worst(found)
            waiting = sum(one.rows_waiting for one in found.values())
            body = {"ok": ok, "verdict": whole.verdict if whole is not None else None, "rows_waiting": waiting}
            self._answer(200 if ok else 503, "application/json", json.dumps(body).encode())
        else:
            self._answer(404, "text/plain", b"there are /metrics and /health\n")

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The log is for what the device does."""
