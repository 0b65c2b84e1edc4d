"""A year of a device in some minutes: the clock is moved, nothing else.

``python -m tools.year --days 365 --commits 20`` lets a device with the settings' defaults deliver some rows, moves the
clock on by its interval, and so on; compaction, retention, the log and checkpoints age by the clock alone
(``tools/year_clock.c``: for the device's process also files are as old as the clock says). At 288 commits a day, one
each 300 s, a year is more than an hour of processor time; with fewer a day, the interval and the commits between two
compactions are scaled with them, and the days stay days.

Each line is a time of the year: what a commit cost since the last line, what the process holds, and what the table's
files come to, counted from outside.
"""

from __future__ import annotations

import argparse
import io
import json
import mmap
import os
import re
import struct
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import botocore.session

from edge_delta.cli.main import JEMALLOC
from edge_delta.core import events as telemetry
from edge_delta.device.observers import observed
from edge_delta.device.state import StateDirectory
from edge_delta.settings import load as config
from edge_delta.topology.build import build
from edge_delta.topology.lanes import Session, open_source
from tests.conftest import lake_at
from tests.support.command import clean_environment, parse_events
from tests.support.proxy import Message, Proxy, signed_again
from tests.support.sqlite import Sensor
from tests.support.tables import Place
from tests.support.weed import ACCESS_KEY, BUCKET, SECRET_KEY, Weed

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

_DAY = 86_400
_COMMITS_A_DAY = 288
_COMMITS_BETWEEN_COMPACTIONS = 100
_COMMITS_BETWEEN_SWEEPS = 12
_ROWS = 20
_SUFFIX = "_1_schematized"
_HEAD = struct.Struct("<qq")
_STEP = struct.Struct("<qq")
_MOST_STEPS = 120_000
_TIME = re.compile(rb"(?<=<LastModified>)[^<]+")
_HEADER = re.compile(rb"(?<=\r\nLast-Modified: )[^\r\n]+", re.IGNORECASE)


@dataclass(frozen=True)
class Moment:
    """A time of the year.

    Attributes:
        day: since the beginning.
        commits: made since the last one.
        cpu_ms: of the process for each of them, with all that it did besides.
        resident_mb: what the process holds.
        upkeeps: how often the table was looked after since the last one.
        live: data files that the table has.
        files: data files that are there, with those that the retention keeps.
        bytes: theirs.
        log: files in the log.
        log_bytes: theirs.
    """

    day: float
    commits: int
    cpu_ms: float
    resident_mb: float
    upkeeps: int
    live: int = 0
    files: int = 0
    bytes: int = 0
    log: int = 0
    log_bytes: int = 0

    def __str__(self) -> str:
        return (
            f"day {self.day:6.1f}: {self.cpu_ms:6.1f} ms a commit, {self.resident_mb:4.0f} MB resident, "
            f"{self.upkeeps:3} upkeeps; {self.live:4} live of {self.files:5} files, {self.bytes / 1e6:7.2f} MB; "
            f"log {self.log:5} files, {self.log_bytes / 1e6:6.2f} MB"
        )


class Clock:
    """The moved clock's file, see ``year_clock.c``."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_HEAD.size + _STEP.size * _MOST_STEPS))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    def forward(self, ahead: float) -> None:
        """From now on it is ahead by so many seconds."""
        steps = _HEAD.unpack_from(self._map)[0]
        # The kernel gives files a time that is up to a tick old.
        _STEP.pack_into(self._map, _HEAD.size + _STEP.size * steps, real_time_ns(), round(ahead * 1e9))
        _HEAD.pack_into(self._map, 0, steps + 1, 0)

    def shown(self, real: datetime) -> datetime:
        """What it showed at a real time, which may be rounded down to a second."""
        ns = round((real.timestamp() + 0.999) * 1e9)
        low, high = 0, _HEAD.unpack_from(self._map)[0]
        while low < high:
            middle = (low + high) // 2
            if _STEP.unpack_from(self._map, _HEAD.size + _STEP.size * middle)[0] <= ns:
                low = middle + 1
            else:
                high = middle
        ahead = _STEP.unpack_from(self._map, _HEAD.size + _STEP.size * (low - 1))[1] if low else 0
        return real + timedelta(microseconds=ahead // 1000)


_BOOT_NS = time.time_ns() - time.monotonic_ns()
"""Between the machine's monotonic time and its clock; taken before the clock is moved."""


def real_time_ns() -> int:
    """The machine's time, in a process whose clock is moved too."""
    return _BOOT_NS + time.monotonic_ns()


class Tide(Proxy):
    """Between a device whose clock is moved and a server whose clock is not: requests are signed again for the server's
    time, and objects have the age that the device's clock gives them.

    Args:
        port: the server's.
        clock: the device's clock.
    """

    def __init__(self, port: int, clock: Clock) -> None:
        self._clock = clock
        super().__init__(port)

    def _read(self, source: socket.socket, *, head_only: bool = False, paced: bool = False) -> Message | None:
        message = super()._read(source, head_only=head_only, paced=paced)
        if message is None or message.head.startswith(b"HTTP/"):
            return message
        return Message(signed_again(message.head, datetime.now(UTC)), message.body)

    def _send(self, to: socket.socket, data: bytes) -> None:
        head, end, body = data.partition(b"\r\n\r\n")
        head = _HEADER.sub(self._header, head)
        if b"<ListBucketResult" in body[:500]:
            body = _TIME.sub(self._listed, body)
        super()._send(to, head + end + body)

    def _header(self, found: re.Match[bytes]) -> bytes:
        time = datetime.strptime(found[0].decode(), "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
        return f"{self._clock.shown(time):%a, %d %b %Y %H:%M:%S} GMT".encode()

    def _listed(self, found: re.Match[bytes]) -> bytes:
        shown = self._clock.shown(datetime.fromisoformat(found[0].decode()))
        text = f"{shown:%Y-%m-%dT%H:%M:%S}".encode()
        return text + found[0][len(text) :]  # an answer's length is told in its head


# -- the device


def device(directory: Path, place: Place, days: float, commits: int, *, lines: int) -> None:
    """Deliver, move the clock on, and so on; a line of JSON for each moment. Runs with the clock loaded."""
    settings = config.load(
        {
            "sqlite": str(directory / "sensor.db"),
            "table_path": place.base,
            "state_dir": str(directory / "state"),
            "node_id": "n1",
            "interval": _DAY / commits,
            "config": str(_settings(directory, commits)),
        },
        environment=place.environment,
    )
    clock, stop, said = Clock(Path(os.environ["YEAR_CLOCK"])), threading.Event(), io.StringIO()
    log, state = telemetry.configure(stream=said), StateDirectory(settings.state_dir)
    with Sensor(settings.sqlite) as sensor, state.locked(), observed(settings, state, log) as observers:
        sensor.create()
        sensor.add(_ROWS)
        state.witness_key()
        session = Session(open_source(settings), "n1", log, stop.wait)
        engine = build(settings, session, state, observers, {})
        steps, each, spent, before = round(days * commits), max(1, round(days * commits / lines)), 0.0, 0
        for step in range(1, steps + 1):
            started = time.process_time()
            engine.cycle(stop)
            spent += time.process_time() - started
            if step % each == 0 or step == steps:
                upkeeps = sum(e["event"] == "table looked after" for e in parse_events(said.getvalue()))
                said.seek(0)
                said.truncate()
                number = step - before
                moment = Moment(step / commits, number, spent / number * 1e3, _resident(), upkeeps)
                sys.stdout.write(json.dumps(asdict(moment)) + "\n")
                sys.stdout.flush()
                spent, before = 0.0, step
            clock.forward(step * _DAY / commits)
            sensor.add(_ROWS, start=step * _ROWS)


def _settings(directory: Path, commits: int) -> Path:
    """Maintenance as often a day, and a sweep after as many commits, as by default; nothing else is set."""
    file = directory / "settings.toml"
    every = max(2, round(_COMMITS_BETWEEN_COMPACTIONS * commits / _COMMITS_A_DAY))
    sweep = _COMMITS_BETWEEN_SWEEPS * _DAY / commits
    file.write_text(f"sweep = {sweep}\n[maintenance]\nevery_commits = {every}\nkeeper = true\n")
    return file


def _resident() -> float:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE / 1e6


# -- around it


class Year:
    """Runs a device through its days.

    Args:
        directory: where clock, database, state and tables are.
        place: where the tables are; none for a folder.
        entering: what the device's process does first, such as entering a group with limits.
    """

    def __init__(self, directory: Path, place: Place | None = None, entering: Callable[[], None] | None = None) -> None:
        self._directory = directory
        self._entering = entering
        self._place = place or Place(str(directory / "lake" / "readings"))

    def run(self, days: float, commits: int, *, lines: int = 30) -> Iterator[Moment]:
        """The moments of so many days."""
        arguments = [str(self._directory), self._place.base, str(days), str(commits), str(lines)]
        environment = clean_environment() | dict(self._place.environment)
        # The allocators as the console script has them: else the device's memory is another one.
        environment |= JEMALLOC | {
            "MALLOC_ARENA_MAX": "1",
            "LD_PRELOAD": str(_compiled(self._directory)),
            "YEAR_CLOCK": str(self._directory / "clock"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        Clock(self._directory / "clock")
        process = subprocess.Popen(
            [sys.executable, "-m", "tools.year", "--device", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=self._entering,  # noqa: PLW1509 - only where there is no other thread
        )
        assert process.stdout is not None
        with process, process.stdout:
            for line in process.stdout:
                yield Moment(**(json.loads(line) | self._counted()))
        if process.returncode:
            raise RuntimeError(f"the device ended with {process.returncode}")

    def _counted(self) -> dict[str, int]:
        """What is there, counted from outside."""
        found = [("_delta_log/" in name, size) for name, size in self._listed()]
        data, log = ([size for in_log, size in found if in_log is wanted] for wanted in (False, True))
        live = len(self._place.table(_SUFFIX).file_uris())
        return {"live": live, "files": len(data), "bytes": sum(data), "log": len(log), "log_bytes": sum(log)}

    def _listed(self) -> Iterator[tuple[str, int]]:
        uri = self._place.uri(_SUFFIX)
        if self._place.url is None:
            for path in Path(uri).rglob("*"):
                if path.is_file():
                    yield str(path.relative_to(uri)), path.stat().st_size
            return
        client = botocore.session.get_session().create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=f"http://127.0.0.1:{self._place.environment['YEAR_SERVER']}",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )
        prefix = uri.removeprefix(f"s3://{BUCKET}/") + "/"
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
            for one in page.get("Contents", ()):
                yield one["Key"].removeprefix(prefix), one["Size"]


def _compiled(directory: Path) -> Path:
    library = directory / "year_clock.so"
    if not library.exists():
        source = Path(__file__).with_name("year_clock.c")
        command = [sys.executable, "-m", "ziglang", "cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(source)]
        subprocess.run(command, check=True)
    return library


def main() -> None:
    """Print the moments."""
    if sys.argv[1:2] == ["--device"]:
        where, base, days, commits, lines = sys.argv[2:]
        environment = {k: v for k, v in os.environ.items() if k.startswith("AWS_")}
        device(Path(where), Place(base, environment), float(days), int(commits), lines=int(lines))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=float, default=365)
    parser.add_argument("--commits", type=int, default=20, help="commits a day; by default the product makes 288")
    parser.add_argument("--store", action="store_true", help="on S3 instead of in a folder")
    parser.add_argument("--lines", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        if not options.store:
            _show(Year(directory), options)
            return
        weed = Weed(directory)
        try:
            with Tide(weed.port, Clock(directory / "clock")) as tide:
                place = lake_at(tide.url)
                place = Place(place.base, {**place.environment, "YEAR_SERVER": str(weed.port)}, place.url)
                _show(Year(directory, place), options)
        finally:
            weed.stop()


def _show(year: Year, options: argparse.Namespace) -> None:
    for moment in year.run(options.days, options.commits, lines=options.lines):
        sys.stdout.write(f"{moment}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
