"""A metadata service on loopback, as a machine in AWS has one, that knows nothing and counts who asks."""

from __future__ import annotations

import http.server
import threading
from typing import Self


class Metadata:
    """What the AWS SDK asks where the environment does not tell it."""

    def __init__(self) -> None:
        asked: list[str] = []

        class Service(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_error(404)

            do_PUT = do_GET  # noqa: N815 - as http.server calls it

            def log_message(self, *_: object) -> None:
                pass

        self.asked = asked
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)

    @property
    def environment(self) -> dict[str, str]:
        """What leads the SDK here."""
        return {
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{self._server.server_port}",
            "AWS_METADATA_ENDPOINT": f"http://127.0.0.1:{self._server.server_port}",
            "HOME": "/nonexistent",
        }

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
