"""How costs grow: with the table's version, the backlog, the source's size, and the columns.

edge-delta runs as its users run it, as a process of its own; what it cost is read from its log and from the kernel.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import generate, measure
from benchmarks.measure import Failed, Spread

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ROWS_A_COMMIT = 20
PAUSE = 0.01
"""Seconds between the cycles of the running process."""
_INTERVAL = 300.0
_A_DAY = round(86_400 / _INTERVAL)
"""Commits of a day: a window is no longer, and has a compaction in each hundred and the clean-up of once a day."""
_COMMITS_BETWEEN_AGEING = 48
_MAY_PASS = 3
"""Failures in a row that are no fault: a writer that opens the file while it is first read is one."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Window:
    """Commits around one table version.

    Attributes:
        version: the table's version at its end.
        commit: seconds of each commit, as the log says.
        cpu: CPU seconds a commit, of the whole process: reading, committing, upkeep, logging.
        wall: seconds a commit from the insert to the finished cycle, upkeep included.
        upkeep: seconds of each commit's share in the upkeep.
    """

    version: int
    commit: Spread
    cpu: float
    wall: float
    upkeep: float


class Device:
    """A running edge-delta, and the SQLite file that it delivers.

    Args:
        directory: an empty folder for its files.
        table_path: where the tables go; by default into the folder.
        options: more of its flags.
        environment: variables for the object store.
    """

    def __init__(
        self,
        directory: Path,
        table_path: str | None = None,
        options: Sequence[str] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        self.database = directory / "readings.db"
        self._flags = ["--sqlite", str(self.database), "--table-path", table_path or str(directory / "lake/readings")]
        self._flags += ["--state-dir", str(directory / "state"), "--node-id", "bench", *options]
        self._environment = os.environ | {"PYTHONPATH": str(measure.ROOT)} | (environment or {})
        self._directory = directory
        self._process: subprocess.Popen[str] | None = None

    def start(self, interval: float) -> None:
        """Start it with so many seconds between cycles."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edge_delta", *self._flags, "--interval", str(interval), "--fuzz-factor", "0"],
            stderr=subprocess.PIPE,
            text=True,
            cwd=self._directory,
            env=self._environment,
        )

    def events(self) -> Iterator[dict[str, Any]]:
        """Its log, event by event, as it comes."""
        process = self._running()
        assert process.stderr is not None
        for line in process.stderr:
            if not line.startswith("{"):
                continue
            event = json.loads(line)
            if event["event"] == "failed" or event.get("failures", 0) > _MAY_PASS:
                raise Failed(f"edge-delta said: {event}")
            yield event
        raise Failed(f"edge-delta ended with {process.wait()}")

    def cpu(self) -> float:
        """CPU seconds so far (proc(5): utime and stime)."""
        fields = Path(f"/proc/{self._running().pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()
            self._process = None

    def looked(self) -> bool:
        """Whether it has counted all rows in its last look for some below the cursor, which may take several cycles."""
        kept = json.loads((self._directory / "state" / "sweep.json").read_text())
        return all(lane.get("looked") is None for lane in kept.values() if isinstance(lane, dict))

    def once(self) -> None:
        """Deliver everything with one run of its own."""
        flags = [sys.executable, "-m", "edge_delta", *self._flags, "--once"]
        subprocess.run(flags, check=True, cwd=self._directory, env=self._environment, capture_output=True)

    def once_argv(self) -> list[str]:
        """The command of such a run."""
        return [sys.executable, "-m", "edge_delta", *self._flags, "--once"]

    def _running(self) -> subprocess.Popen[str]:
        assert self._process is not None
        return self._process


def commits(
    directory: Path,
    versions: Sequence[int],
    *,
    table_path: str | None = None,
    environment: dict[str, str] | None = None,
) -> list[Window]:
    """Cost per commit of a few rows, in the commits that end at each of these table versions.

    What an hour brings at the default interval is over in a second here. So in a folder the files are made older as
    they would be; and after each day's commits the device is started again, as its first upkeep removes data files that
    are expired. In a bucket they cannot be made older, and the log keeps all of its files.

    Args:
        directory: for a folder with the source, and with the table unless it goes elsewhere.
        versions: the table versions.
        table_path: where the table goes; with ``{node_id}`` in it, so that the device looks after it.
        environment: variables for the object store.
    """
    place = Path(tempfile.mkdtemp(prefix="commits-", dir=directory))
    lake = place / "lake"
    device = Device(place, table_path or str(lake / "{node_id}" / "readings"), environment=environment)
    generate.generate(device.database, _ROWS_A_COMMIT)
    sensor = sqlite3.connect(device.database, isolation_level=None)
    stops = sorted({*versions, *range(_A_DAY, max(versions), _A_DAY)})
    found = []
    try:
        for stop in stops:
            device.start(interval=PAUSE)
            window = _until(device, sensor, stop, lake if table_path is None else None)
            found += [window] if stop in versions else []
            device.stop()
            insert(sensor, _ROWS_A_COMMIT)
        return found
    finally:
        device.stop()
        sensor.close()
        shutil.rmtree(place)


def _until(device: Device, sensor: sqlite3.Connection, stop: int, lake: Path | None) -> Window:
    """Insert and let it commit until the table has this version; what the last commits cost."""
    seconds: deque[float] = deque(maxlen=_A_DAY)
    spent: deque[tuple[float, float, float]] = deque(maxlen=_A_DAY + 1)
    version, done, upkeep, ageing = -1, 0, 0.0, 0.0
    for event in device.events():
        if event["event"] == "batch committed" and "version" in event:
            version = event["version"]
            seconds.append(event["seconds"])
        if event["event"] == "table looked after":
            upkeep += event["seconds"]
        if event["event"] != "cycle finished" or not event.get("rows_written"):
            continue
        spent.append((device.cpu(), time.perf_counter() - ageing, upkeep))
        if version >= stop and len(spent) > 1:
            break
        done += 1
        if lake is not None and done % _COMMITS_BETWEEN_AGEING == 0:
            ageing -= time.perf_counter()
            age(lake)
            ageing += time.perf_counter()
        insert(sensor, _ROWS_A_COMMIT)
    each = [(last - first) / (len(spent) - 1) for first, last in zip(spent[0], spent[-1], strict=True)]
    return Window(version, Spread.of(seconds), *each)


def age(lake: Path) -> None:
    """Give the files of each log the times that they would have at one commit every `_INTERVAL`."""
    for log in lake.rglob("_delta_log"):
        files = [file for file in log.iterdir() if file.name[:20].isdigit()]
        latest = max(int(file.name[:20]) for file in files)
        for file in files:
            then = time.time() - (latest - int(file.name[:20])) * _INTERVAL
            os.utime(file, (then, then))


def insert(sensor: sqlite3.Connection, rows: int) -> None:
    """Append readings, as the sensor's process does."""
    names = list(generate.COLUMNS)[1:]
    [[last]] = sensor.execute(f"SELECT max(id) FROM {generate.TABLE}")
    sensor.execute("BEGIN IMMEDIATE")
    sensor.executemany(
        f"INSERT INTO {generate.TABLE} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",
        generate.readings(rows, first=last),
    )
    sensor.execute("COMMIT")


def idle(directory: Path, database: Path, cycles: int) -> float:
    """CPU seconds of one idle cycle beside a source of this size."""
    place = Path(tempfile.mkdtemp(prefix="idle-", dir=directory))
    device = Device(place)
    device.database.symlink_to(database)
    device.once()
    device.start(interval=0.005)
    try:
        seen, before = 0, 0.0
        for event in device.events():
            if event["event"] != "cycle finished":
                continue
            if event["rows_written"]:
                raise Failed("an idle cycle wrote rows")
            seen += 1
            if seen == cycles // 10 + 2:  # the first ones look at the tables
                before, first = device.cpu(), seen
            if seen >= cycles + cycles // 10 + 2:
                return (device.cpu() - before) / (seen - first)
    finally:
        device.stop()
        shutil.rmtree(place)
    raise Failed("no cycle was seen")


def sweep(directory: Path, database: Path, cycles: int, *, gaps: bool) -> float:
    """CPU seconds of one look for rows below the cursor, in as many cycles as it takes: what these take more with it.

    Args:
        directory: for a folder with a copy of the source.
        database: the source.
        cycles: over how many it is averaged.
        gaps: whether one id in a thousand is missing, so that rows cannot be counted by their pages alone.
    """
    place = Path(tempfile.mkdtemp(prefix="sweep-", dir=directory))
    every = Device(place, options=["--processing-mode", "raw"], environment={"SWEEP": "0"})
    never = Device(place, options=["--processing-mode", "raw"], environment={"SWEEP": "1e9"})
    shutil.copy(database, every.database)
    sensor = sqlite3.connect(every.database, isolation_level=None)
    if gaps:
        sensor.execute(f"DELETE FROM {generate.TABLE} WHERE id % 1000 = 500")
    try:
        every.once()
        return _cycles(every, sensor, cycles) - _cycles(never, sensor, cycles)
    finally:
        sensor.close()
        shutil.rmtree(place)


def _cycles(device: Device, sensor: sqlite3.Connection, cycles: int) -> float:
    """CPU seconds of the cycles until one row is delivered, and the look is over that this brings with it."""
    device.start(interval=0.05)
    try:
        done, before = -1, 0.0
        insert(sensor, 1)
        for event in device.events():
            if event["event"] != "cycle finished" or event.get("rows_written") or not device.looked():
                continue
            done += 1  # an idle cycle: the one before is over, and its sweep
            if done == 0:
                before = device.cpu()
            if done == cycles:
                return (device.cpu() - before) / cycles
            insert(sensor, 1)
    finally:
        device.stop()
    raise Failed("no cycle was seen")


def nothing_to_do(directory: Path, database: Path, times: int) -> tuple[list[measure.Run], list[measure.Run]]:
    """`--once` on an up-to-date source, and ``import polars``, in turn."""
    place = Path(tempfile.mkdtemp(prefix="once-", dir=directory))
    device = Device(place)
    device.database.symlink_to(database)
    device.once()
    commands = {"once": device.once_argv(), "polars": [sys.executable, "-c", "import polars"]}
    try:
        found = measure.in_turn(list(commands), times, lambda name: measure.run(commands[name], directory=place))
    finally:
        shutil.rmtree(place)
    return found["once"], found["polars"]
