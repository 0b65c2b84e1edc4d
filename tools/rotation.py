"""A folder of files that rotate: many finished ones, a new one each second, late rows, renames, removals, and kills.

``python -m tools.rotation --files 10000 --seconds 300``. In the end each row has to be in the table once. Then it is
measured what an idle cycle costs beside that many files, and how large the logs are.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from deltalake import DeltaTable

from tests.support.command import EdgeDelta, eventually
from tests.support.tables import Place

if TYPE_CHECKING:
    from tests.support.command import Running

_ROWS = 20
_KILLED_AFTER = 7.0
_CYCLES = 20
_TICK = os.sysconf("SC_CLK_TCK")


class Rotation:
    """The application, and the process that delivers.

    Args:
        place: an empty folder.
        seed: of what happens by chance.
        files: finished files that are there at first.
    """

    def __init__(self, place: Path, seed: int, files: int) -> None:
        self.folder = place / "data"
        self.folder.mkdir()
        self.chance = random.Random(seed)
        self.table = Place(str(place / "lake" / "readings"))
        self.written = 0
        self.made = 0
        self.delivered_first = files
        self.removed: list[bytes] = []
        self.kills = 0
        self.command = EdgeDelta(
            place,
            {
                "sqlite": str(self.folder / "readings-*.db"),
                "table_path": self.table.base,
                "state_dir": str(place / "state"),
                "node_id": "rotating",
                "processing_mode": "raw",
                "interval": "1",
                "fuzz_factor": "0",
            },
            {"EDGE_DELTA_WITNESS_KEY": "kept beside the state directory, which is lost"},
        )
        self._template = place / "template"
        with closing(sqlite3.connect(self._template)) as database:
            database.execute("CREATE TABLE readings (id INTEGER PRIMARY KEY, timestamp INTEGER, value REAL)")
            database.commit()
        for _ in range(files):
            self.rotate()

    # -- the application

    def rotate(self) -> Path:
        """Begin a new file."""
        self.made += 1
        path = self.folder / f"readings-{self.made}.db"
        shutil.copyfile(self._template, path.with_suffix(".new"))
        path.with_suffix(".new").rename(path)
        self.write(path, _ROWS)
        return path

    def write(self, path: Path, rows: int) -> None:
        """Add rows, each with a time of its own."""
        at = 1_767_225_600_000 + self.written * 1_000
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA synchronous=OFF")
            values = [(at + 1_000 * i, self.chance.random()) for i in range(rows)]
            database.executemany("INSERT INTO readings (timestamp, value) VALUES (?, ?)", values)
            database.commit()
        self.written += rows

    def happen(self, second: int) -> None:
        """What happens in one second."""
        newest = self.rotate()
        self.write(newest, 3)
        if second % 3 == 0 and self.made > 2:
            late = self.folder / f"readings-{self.made - 1}.db"
            self.write(late, 2)
        old = self.folder / f"readings-{self.chance.randint(1, max(1, self.delivered_first))}.db"
        if old.exists() and second % 2:
            self.removed.append(old.read_bytes())
            old.unlink()
        elif old.exists():
            old.rename(old.with_name(old.name.replace("readings-", "readings-was-")))
        if second % 5 == 4 and self.removed:
            (self.folder / f"readings-back-{second}.db").write_bytes(self.chance.choice(self.removed))

    # -- the process that delivers

    def run(self, seconds: int) -> str:
        """All of it.

        Returns:
            What it came to, in words.
        """
        began = time.monotonic()
        self._deliver(900)
        first = time.monotonic() - began
        running, killed_at = self.command.start(), time.monotonic()
        for second in range(seconds):
            self.happen(second)
            if time.monotonic() - killed_at > self.chance.uniform(0.5, 1.5) * _KILLED_AFTER:
                running.kill()
                self.kills += 1
                running, killed_at = self.command.start(), time.monotonic()
            time.sleep(max(0.0, began + first + second + 1 - time.monotonic()))
        running.kill()
        self._deliver(300)
        self._compare()
        shutil.rmtree(self.command.directory / "state")
        again = time.monotonic()
        self._deliver(300)
        again = time.monotonic() - again
        self._compare()
        return (
            f"{self.made:,} files, {self.written:,} rows, {self.kills} kills: each row is there once, also after the "
            f"loss of the state directory; the first files took {first:.1f} s, a start without it {again:.1f} s; "
            f"{self._idle()}; {self._logs()}"
        )

    def _deliver(self, timeout: float) -> None:
        done = self.command.once(timeout=timeout)
        if done.code:
            raise AssertionError(done.stderr[-2000:])

    def _compare(self) -> None:
        times = Counter(self.table.read("_0_raw")["timestamp"].to_list())
        wanted = range(1_767_225_600_000, 1_767_225_600_000 + self.written * 1_000, 1_000)
        missing, twice = [t for t in wanted if not times[t]], [t for t, n in times.items() if n > 1]
        if missing or twice or len(times) != self.written:
            message = f"{len(missing)} rows are missing, {len(twice)} are there again"
            raise AssertionError(message)

    def _idle(self) -> str:
        running = self.command.start(interval="0.5", fresh=True)
        eventually(lambda: len(running.named("cycle finished")) > 3, timeout=120)
        cycles, cpu = len(running.named("cycle finished")), _cpu(running)
        eventually(lambda: len(running.named("cycle finished")) > cycles + _CYCLES, timeout=120)
        each = (_cpu(running) - cpu) / (len(running.named("cycle finished")) - cycles)
        peak = running.peak_megabytes()
        running.kill()
        return f"an idle cycle takes {each * 1000:.1f} ms of CPU, and the process {peak:.0f} MiB at most"

    def _logs(self) -> str:
        parts = []
        for suffix in ("_0_raw", "_files"):
            files = [f for f in Path(self.table.uri(suffix), "_delta_log").iterdir() if f.is_file()]
            size = sum(f.stat().st_size for f in files)
            version = DeltaTable(self.table.uri(suffix)).version()
            parts.append(f"{suffix}: {version} commits, {len(files)} files of log with {size / 1e6:.2f} MB")
        return ", ".join(parts)


def _cpu(running: Running) -> float:
    fields = Path(f"/proc/{running.process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def main() -> None:
    """Do it in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=20261127)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        sys.stdout.write(Rotation(Path(place), options.seed, options.files).run(options.seconds) + "\n")


if __name__ == "__main__":
    main()
