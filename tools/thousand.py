"""A thousand devices by the real command, gathered while they go on: every row of every mode once.

Each device is a database of its own, a process of `edge-delta run --once` for each delivery, and tables of its own.
While they deliver, `edge-delta gather` is started again and again, and killed at some moment mostly. One device in ten
gains a column, one in ten joins its files, one in fifty has rows that are rejected and windows that are corrected, one
in a hundred goes back to an earlier version of its table, and one table is deleted. At the end the fleet's tables have
to hold what the devices' databases and tables hold, each row once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from tests.support.command import EdgeDelta, clean_environment, started
from tests.support.gathering import assert_same, compacted
from tests.support.sqlite import Sensor
from tests.support.tables import Place
from tools.figures import with_figures

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGE = Path(__file__).parent.parent / "docs" / "fleets.md"
READINGS, WINDOWS, REJECTED = "_1_schematized", "_3_aggregated", "_rejected"
ROWS = 40
_COLUMN, _JOINED, _ODD, _RESTORED = 10, 10, 50, 100
_SETTINGS = """processing_mode = ["schematized", "aggregated"]
[aggregate]
window_minutes = 1
allowed_lateness = 0
aggregations = { temperature = ["mean"] }
"""


class Fleet:
    """The devices.

    Args:
        root: where everything is.
        count: how many.
        workers: how many deliver at once.
        settings: the devices' settings file.
        store: where the tables are, if it is not below the root.

    Attributes:
        odd: one device in so many has rows that are rejected, and windows that are corrected.
    """

    odd = _ODD

    def __init__(
        self, root: Path, count: int, workers: int, *, settings: str = _SETTINGS, store: Place | None = None
    ) -> None:
        self.root = root
        self.numbers = range(count)
        self.store = store or Place(str(root))
        self._workers = workers
        self._sensors = threading.local()
        self._open: list[Sensor] = []
        (root / "config.toml").write_text(settings, encoding="utf-8")

    def name(self, number: int) -> str:
        """A device's id."""
        return f"device-{number:04}"

    def place(self, number: int) -> Place:
        """A device's tables."""
        return self._at(f"lake/{self.name(number)}/readings")

    @property
    def tables(self) -> str:
        """The devices' `table_path`."""
        return self._at("lake/{node_id}/readings").base

    @property
    def fleet(self) -> Place:
        """The fleet's tables."""
        return self._at("fleet/readings")

    def _at(self, path: str) -> Place:
        return replace(self.store, base=f"{self.store.base}/{path}")

    def each(self, work: Any, numbers: Iterable[int]) -> float:
        """Do something with devices, some at once; seconds."""
        begun = time.perf_counter()
        with ThreadPoolExecutor(self._workers) as pool:
            list(pool.map(work, numbers))
        for sensor in self._open:
            sensor.close()
        self._open.clear()
        self._sensors = threading.local()
        return time.perf_counter() - begun

    def sensor(self, number: int) -> Sensor:
        """The device's database, open in the process of this thread."""
        folder = self.root / "devices" / self.name(number)
        new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        sensor: Sensor | None = getattr(self._sensors, "one", None)
        if sensor is None:
            sensor = self._sensors.one = Sensor(folder / "sensor.db")
            self._open.append(sensor)
        else:
            sensor.open(folder / "sensor.db")
        if new:
            sensor.create()
        return sensor

    def deliver(self, number: int, turn: int) -> None:
        """New rows, and one run of the real command."""
        sensor = self.sensor(number)
        if turn and number % _COLUMN == 1:
            there = [row[1] for row in sensor.run("PRAGMA table_info(readings)")]
            if "rain" not in there:
                sensor.run("ALTER TABLE readings ADD COLUMN rain REAL DEFAULT 1.5")
        sensor.add(ROWS, start=turn * ROWS, seed=number)
        if number % self.odd == 2:
            sensor.run("INSERT INTO readings (sensor_id, timestamp, temperature) VALUES ('sensor-1', 'no time', 1.0)")
            at = "strftime('%Y-%m-%dT%H:%M:%f+00:00', 1767225601, 'unixepoch')"
            sensor.run(f"INSERT INTO readings (sensor_id, timestamp, temperature) VALUES ('sensor-1', {at}, 99.0)")
        if turn and number % _JOINED == 3:
            compacted(self.place(number))
        self.device(number).once().succeeded()

    def device(self, number: int) -> EdgeDelta:
        """The command with a device's settings."""
        folder = self.root / "devices" / self.name(number)
        flags = {
            "config": self.root / "config.toml",
            "sqlite": folder / "sensor.db",
            "table_path": self.tables,
            "state_dir": folder / "state",
            "node_id": self.name(number),
        }
        return EdgeDelta(folder, flags, self.store.environment)

    def restore(self, number: int) -> None:
        """Go back by one version."""
        table = self.place(number).table(READINGS)
        table.alter.set_table_properties({"delta.appendOnly": "false"})
        table = self.place(number).table(READINGS)
        table.restore(table.version() - 2)

    # -- gathering

    @property
    def words(self) -> list[str]:
        """The command."""
        flags = {
            "config": self.root / "config.toml",
            "table_path": self.tables,
            "into": self.fleet.base,
            "state_dir": self.root / "state",
            "json": True,
        }
        return EdgeDelta(self.root, flags).arguments({}, "gather")

    def gathered(self) -> dict[str, Any]:
        """A whole round: what it came to, seconds, CPU seconds and peak memory in MB."""
        begun = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-m", "edge_delta", *self.words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.root,
            env=clean_environment(),
        ) as process:
            with ThreadPoolExecutor(2) as pool:
                out, err = pool.map(lambda stream: stream.read(), (process.stdout, process.stderr))
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, err[-2_000:]
        cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
        return {"s": time.perf_counter() - begun, "cpu": cpu, "peak": peak, "modes": json.loads(out)}

    def killed(self, until: threading.Event, chance: random.Random) -> Counter[str]:
        """Gather again and again, and kill it mostly, until an event; how often each happened."""
        found: Counter[str] = Counter()
        with (self.root / "killed.log").open("wb") as log:
            while not until.is_set():
                process = started(self.words, cwd=self.root, env=clean_environment(), stderr=log.fileno())
                deadline = time.monotonic() + chance.choice([chance.uniform(0.3, 6), chance.uniform(0.3, 30), 300])
                while process.poll() is None and time.monotonic() < deadline and not until.is_set():
                    time.sleep(0.05)
                if process.poll() is None:
                    process.kill()
                    found["killed"] += 1
                else:
                    assert process.poll() == 0, (self.root / "killed.log").read_text()[-2_000:]
                    found["to its end"] += 1
                process.wait(10)
        return found

    # -- what has to be there

    def check(self, turns: dict[int, int], gone: int) -> dict[str, int]:
        """Every row of every mode once; how many."""
        odd = {number: turns[number] for number in self.numbers if number % _ODD == 2}
        readings = self.fleet.read(READINGS)
        counts = readings.group_by("node_id").agg(pl.len(), pl.col("reading_id").n_unique().alias("ids"))
        for node, rows, ids in counts.rows():
            number = int(node.rpartition("-")[2])
            wanted = turns[number] * ROWS + odd.get(number, 0)
            assert rows == ids == wanted, (node, rows, ids, wanted)
        assert counts.height == len(self.numbers)
        left = [n for n in self.numbers if n != gone and n % _RESTORED != 4]
        names = [self.name(n) for n in left]
        found = {"readings": readings.height}
        for what, suffix in (("readings", READINGS), ("windows", WINDOWS), ("rejected", REJECTED)):
            theirs = [self.place(n).read(suffix) for n in left if self.place(n).exists(suffix)]
            ours = self.fleet.read(suffix)
            assert_same(ours.filter(pl.col("node_id").is_in(names)), pl.concat(theirs, how="diagonal"))
            names_row = ("node_id", "source_generation", "window_start", "sensor_id", "reading_id")
            key = [name for name in names_row if name in ours.columns]
            assert what == "rejected" or not ours.select(key).is_duplicated().any(), what
            found[what] = ours.height
        rejected = self.fleet.read(REJECTED).filter(mode="schematized")
        assert rejected.height == sum(odd.values())
        return found


def run(root: Path, count: int, workers: int, seed: int) -> list[str]:
    """All of it; what it came to, as lines of a table."""
    fleet, chance, lines = Fleet(root, count, workers), random.Random(seed), []

    def row(what: str, done: dict[str, Any]) -> None:
        rows = sum(mode["rows"] for mode in done["modes"])
        lines.append(f"| {what} | {rows:,} | {done['s']:.1f} | {done['cpu']:.1f} | {done['peak']:.0f} |")
        sys.stdout.write(lines[-1] + "\n")
        sys.stdout.flush()

    seconds = fleet.each(lambda number: fleet.deliver(number, 0), fleet.numbers)
    sys.stdout.write(f"{count} devices with a commit to each table, in {seconds:.0f} s\n")
    row(f"the first, {count:,} devices", fleet.gathered())
    row("nothing new", fleet.gathered())
    ends, outcome = threading.Event(), Counter[str]()
    killer = threading.Thread(target=lambda: outcome.update(fleet.killed(ends, chance)))
    killer.start()
    try:
        seconds = fleet.each(lambda number: fleet.deliver(number, 1), fleet.numbers)
    finally:
        ends.set()
        killer.join()
    sys.stdout.write(f"a second delivery of each in {seconds:.0f} s, beside rounds: {dict(outcome)}\n")
    row(f"what {outcome['killed']} killed rounds left", fleet.gathered())
    turns = dict.fromkeys(fleet.numbers, 2)
    restored = [number for number in fleet.numbers if number % _RESTORED == 4]
    for number in restored:
        fleet.restore(number)
    gone = count - 1
    shutil.rmtree(fleet.place(gone).uri(READINGS))
    again = [number for number in fleet.numbers if number % _COLUMN in (1, 2, 5) and number != gone]
    fleet.each(lambda number: fleet.deliver(number, 2), again)
    turns |= dict.fromkeys(again, 3)
    done = fleet.gathered()
    row(f"{len(again)} devices' news, {len(restored)} restored, one deleted", done)
    told = {about["state"]: about["device"] for mode in done["modes"] for about in mode["devices"] if about["told"]}
    assert told.get("deleted") == fleet.name(gone), told
    kept = fleet.check(turns, gone)
    sys.stdout.write(f"each once: {kept}\n")
    assert sum(mode["rows"] for mode in fleet.gathered()["modes"]) == 0
    ended = f"Rounds beside the second delivery: {outcome['killed']} killed, {outcome['to its end']} to their end."
    counts = f"{kept['readings']:,} readings, {kept['windows']:,} windows and {kept['rejected']:,} rejected rows"
    held = f"At the end {counts} were there, each once."
    return [
        "| round | rows | wall s | CPU s | peak MB |",
        "| --- | ---: | ---: | ---: | ---: |",
        *lines,
        "",
        f"{ended} {held}",
    ]


def main() -> None:
    """Run it, and write the figures into the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=1_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--write", action="store_true", help="write the figures into docs/fleets.md")
    options = parser.parse_args()
    sys.stdout.write(f"seed {options.seed}\n")
    with tempfile.TemporaryDirectory() as folder:
        lines = run(Path(folder), options.devices, options.workers, options.seed)
    if options.write:
        text = with_figures(PAGE.read_text(encoding="utf-8"), "thousand", "\n".join(lines))
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
