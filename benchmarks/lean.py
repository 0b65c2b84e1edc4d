"""What the program holds and takes: memory that it idles with after a backlog, CPU on one core, and what extras cost.

Beside it, where one is named, an older checkout with an environment of its own: ``--before FOLDER``.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from benchmarks import growth, measure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OURS, BEFORE, FLOOR = "edge_delta", "before", "floor"
_INTERVAL = 3600
"""Seconds between cycles: after the first, the process waits."""
_SETTLES = 5.0
"""Seconds after that cycle until the memory is looked at."""
_KIB = 1024


@dataclass(frozen=True, slots=True)
class Checkout:
    """A folder of the project's sources, and the interpreter that has its packages."""

    folder: Path
    python: str

    @classmethod
    def of(cls, folder: Path) -> Checkout:
        """One with its own .venv."""
        return cls(folder, str(folder / ".venv" / "bin" / "python"))

    @property
    def environment(self) -> dict[str, str]:
        """What its process is started with."""
        return {"PYTHONPATH": str(self.folder)}

    def named(self) -> str:
        """Its commit and the day of it."""
        said = subprocess.run(
            ["git", "-C", str(self.folder), "log", "-1", "--format=%cs, commit %h"],
            capture_output=True,
            text=True,
            check=True,
        )
        return said.stdout.strip()


HERE = Checkout(measure.ROOT, sys.executable)


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Let what is started meanwhile run on one core."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def on_one_core(name: str, database: Path, directory: Path, before: Checkout | None) -> measure.Run:
    """The floor, edge-delta or the older one, on one core."""
    checkout = before if name == BEFORE and before is not None else HERE
    with one_core():
        return measure.contender(
            FLOOR if name == FLOOR else OURS,
            database,
            directory,
            environment=checkout.environment,
            python=checkout.python,
        )


def idle_memory(checkout: Checkout, database: Path, directory: Path) -> dict[str, float]:
    """What a process holds that delivered this backlog and waits: bytes, and threads.

    Raises:
        measure.Failed: if it delivers nothing.
    """
    place = Path(tempfile.mkdtemp(prefix="memory-", dir=directory))
    words = ["--sqlite", database, "--table-path", place / "lake" / "readings", "--state-dir", place / "state"]
    words += ["--node-id", "bench", "--processing-mode", "schematized", "--interval", _INTERVAL]
    try:
        with (place / "log").open("w+b") as log:
            process = subprocess.Popen(
                [checkout.python, "-m", "edge_delta", "run", *map(str, words)],
                env=os.environ | checkout.environment,
                cwd=place,
                stderr=log,
            )
            try:
                _until_it_waits(process, place / "log")
                time.sleep(_SETTLES)
                return _held(process.pid)
            finally:
                process.terminate()
                process.wait()
    finally:
        shutil.rmtree(place)


def _until_it_waits(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        if re.search('"event": ?"cycle finished"', log.read_text(errors="replace")):
            return
        time.sleep(0.1)
    raise measure.Failed(f"no cycle was finished:\n{log.read_text(errors='replace')[-2000:]}")


def _held(pid: int) -> dict[str, float]:
    """Memory and threads of a process (proc(5): status, smaps_rollup)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    said = dict(re.findall(r"^(\w+):\s+(\d+)", status, re.MULTILINE))
    return {
        "peak": int(said["VmHWM"]) * _KIB,
        "resident": int(said["VmRSS"]) * _KIB,
        "anonymous": int(said["RssAnon"]) * _KIB,
        "threads": int(said["Threads"]),
    }


# -- what extras cost

STARTS = ("nothing more", "metrics_file", "otlp", "databricks")


class Starts:
    """Runs that have nothing to do, each with something more.

    Args:
        directory: for a folder with the source and its table.
        database: the source.
    """

    def __init__(self, directory: Path, database: Path) -> None:
        self._place = Path(tempfile.mkdtemp(prefix="starts-", dir=directory))
        self._device = growth.Device(self._place)
        self._device.database.symlink_to(database)
        self._device.once()

    def run(self, name: str) -> measure.Run:
        """One start; for ``databricks`` the import that a query of a warehouse begins with."""
        if name == "databricks":
            return measure.run([sys.executable, "-c", "import databricks.sql"], directory=self._place)
        with _collector() as address:
            more = {
                "metrics_file": {"METRICS_FILE": str(self._place / "edge.prom")},
                "otlp": {"OTEL_EXPORTER_OTLP_ENDPOINT": address},
            }
            return measure.run(self._device.once_argv(), directory=self._place, environment=more.get(name))

    def close(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self._place)


class _Takes(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """Take what comes."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def _collector() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Takes) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def installed() -> dict[str, dict[str, float]]:
    """Packages and bytes that an installation brings, and what each extra adds to it."""
    plain = _needed("edge-delta", ())
    found = {"nothing more": _sum(plain)}
    for extra in ("otlp", "databricks"):
        found[extra] = _sum(_needed("edge-delta", (extra,)) - plain)
    return found


def _needed(name: str, extras: Sequence[str], seen: set[tuple[str, str]] | None = None) -> set[str]:
    """The names of what a package needs, itself not included, as far as it is installed here."""
    seen = set() if seen is None else seen
    found: set[str] = set()
    for text in importlib.metadata.requires(name) or ():
        needed = Requirement(text)
        wanted = needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras or ("",))
        if not wanted or (needed.name, str(needed.extras)) in seen:
            continue
        seen.add((needed.name, str(needed.extras)))
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            importlib.metadata.version(needed.name)
            found |= {_plain(needed.name)} | _needed(needed.name, ("", *needed.extras), seen)
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _sum(names: set[str]) -> dict[str, float]:
    files = [file for name in names for file in importlib.metadata.files(name) or ()]
    sources = [Path(str(file.locate())) for file in files if file.suffix != ".pyc"]
    return {"packages": len(names), "bytes": sum(path.stat().st_size for path in sources if path.is_file())}
