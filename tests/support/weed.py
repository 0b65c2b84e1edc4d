"""A real S3 server: SeaweedFS in one process, on loopback, its data thrown away at the end."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from edge_delta.demo import local_s3

if TYPE_CHECKING:
    from pathlib import Path

ACCESS_KEY, SECRET_KEY = "tests", "tests-only-no-secret"
BUCKET = "lake"
_STARTS = 3
_SECONDS = 20.0


class Weed:
    """``weed mini`` with one bucket.

    Args:
        directory: where its data and log are.
        config: its identities and their policies; by default one that may do everything.

    Raises:
        RuntimeError: if it does not answer in time, with the end of its log.
    """

    def __init__(self, directory: Path, config: Path | None = None) -> None:
        self._directory = directory
        self._config = config
        for attempt in range(_STARTS):
            self._log = directory / f"weed-{attempt}.log"
            self._process = self._start(directory / f"data-{attempt}")
            if self._answers():
                return
            self.stop()
        tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-30:])
        raise RuntimeError(f"weed mini did not start; its log ends with:\n{tail}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _start(self, data: Path) -> subprocess.Popen[bytes]:
        data.mkdir()
        self.port, command = local_s3.command(data, BUCKET)
        command.append("-s3.autoCreateBucket=false")
        if self._config is not None:
            command.append(f"-s3.config={self._config}")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        environment |= {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        with self._log.open("wb") as log:
            return subprocess.Popen(command, env=environment, cwd=data, stdout=log, stderr=log)

    def _answers(self) -> bool:
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if b"running and ready" in self._log.read_bytes() and self._status() == 403:
                return True
            time.sleep(0.05)
        return False

    def _status(self) -> int:
        try:
            with urllib.request.urlopen(f"{self.url}/{BUCKET}", timeout=2) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    def stop(self) -> None:
        """Its data is thrown away, so it need not flush anything."""
        self._process.kill()
        self._process.wait(10)
