"""Purging next to an application of 500 rows per second and a process that delivers, each of them killed at random.

``python -m tools.purging --minutes 5``. First the application writes alone with the process that delivers, so that it
is known how long its commits take by themselves. In the end each row has to be in the tables once, as it was written.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from tests.support.command import EdgeDelta, clean_environment
from tests.support.tables import Place
from tools import purging_writer

if TYPE_CHECKING:
    from tests.support.command import Running

MODES = ("raw", "schematized", "emergency")
_SWEEP = {"SWEEP": "2"}


class Waits(NamedTuple):
    """What commits of the application took, and how long it waited for the lock."""

    commits: int
    longest_ms: float
    refused: int
    waited_ms: float

    def __str__(self) -> str:
        return (
            f"{self.commits:,} commits, the longest {self.longest_ms:.1f} ms; {self.refused:,} found the database "
            f"locked, and the longest wait was {self.waited_ms:.1f} ms"
        )


def waits(log: Path) -> Waits:
    """What a log of the application says."""
    lines = [line.split() for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
    commits, longest, refused, waited = zip(*lines, strict=True) if lines else ((), (), (), ())
    return Waits(
        sum(map(int, commits)),
        max(map(float, longest), default=0.0),
        sum(map(int, refused)),
        max(map(float, waited), default=0.0),
    )


@dataclass
class Purging:
    """One run.

    Args:
        directory: where the device is.
        seed: of all that is random here.
        rate: rows per second.
        keep: what `--keep` says.
        modes: what is delivered.
        kills: whether processes are killed.
    """

    directory: Path
    seed: int
    rate: float = 500
    keep: str = "5s"
    modes: tuple[str, ...] = MODES
    kills: bool = True
    done: Counter[str] = field(default_factory=Counter)
    sizes: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        (self.directory / "device").mkdir()
        self._database = self.directory / "device" / "sensor.db"
        self.place = Place(str(self.directory / "lake" / "readings"))
        flags = {
            "sqlite": self._database,
            "table": "readings",
            "table_path": self.place.base,
            "state_dir": self.directory / "state",
            "node_id": "n1",
            "processing_mode": ",".join(self.modes),
            "interval": 0.5,
        }
        self._edge = EdgeDelta(self.directory, flags, self.place.environment)

    def run(self, *, alone: float, seconds: float) -> str:
        """Go on for so long; what was done, if all is right."""
        before, during = self.directory / "alone.txt", self.directory / "purging.txt"
        writer, running = self._writer(before), None
        try:
            running = self._edge.start(env=_SWEEP)
            time.sleep(alone)
            self._stop(writer)
            writer = self._writer(during)
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                self._purge(dies=self.kills and self._chance.random() < 0.3)
                if self.kills and self._chance.random() < 0.2:
                    self._end(writer)
                    self.done["application killed"] += 1
                    writer = self._writer(during)
                if self.kills and self._chance.random() < 0.2:
                    running.kill()
                    self.done["delivery killed"] += 1
                    running = self._edge.start(env=_SWEEP)
                self.sizes.append(self._database.stat().st_size / 1e6)
            self._stop(writer)
            self._stopped(running)
        finally:
            self._end(writer)
            if running is not None:
                running.kill()
        self._edge.once(env={"SWEEP": "0"}, timeout=300).succeeded()
        return self._checked(waits(before), waits(during))

    def _writer(self, log: Path) -> subprocess.Popen[bytes]:
        words = [str(self._database), str(log), str(self.rate)]
        started = subprocess.Popen(
            [sys.executable, "-I", "-S", purging_writer.__file__, *words], stdout=subprocess.PIPE
        )
        assert started.stdout is not None
        assert started.stdout.readline() == b"ready\n"
        return started

    def _stop(self, writer: subprocess.Popen[bytes]) -> None:
        writer.terminate()
        assert writer.wait(timeout=60) == 0
        self._end(writer)

    @staticmethod
    def _end(writer: subprocess.Popen[bytes]) -> None:
        writer.kill()
        writer.wait()
        if writer.stdout is not None:
            writer.stdout.close()

    def _stopped(self, running: Running) -> None:
        if running.process.poll() is None:
            running.terminate()

    def _purge(self, *, dies: bool, **more: object) -> None:
        words = self._edge.arguments({"keep": self.keep, "json": True, **more}, "purge")
        process = subprocess.Popen(
            [sys.executable, "-m", "edge_delta", *words],
            cwd=self.directory,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if dies:
            time.sleep(self._chance.uniform(0.5, 4))
            process.kill()
            process.communicate()
            self.done["purge killed"] += process.returncode != 0
            return
        told, log = process.communicate(timeout=120)
        assert process.returncode in (0, 1), log
        if not told:
            self.done["purges that had nothing settled yet"] += 1
            return
        [found] = json.loads(told)["tables"]
        self.done["purges"] += 1
        self.done["rows deleted"] += found["rows"]
        self.done["late rows that stayed"] += found["not_delivered"]
        self.done["longest lock, in tenths of a ms"] = max(
            self.done["longest lock, in tenths of a ms"], round(10 * found["longest_ms"])
        )

    # -- what came of it

    def _checked(self, alone: Waits, purging: Waits) -> str:
        in_vain = self.done["purges that had nothing settled yet"]
        assert not in_vain or self.done["purges"], f"no purge next to the run found anything settled: {self.done}"
        self._purge(dies=False, keep="1s")
        rows = self.place.read("_1_schematized").select("reading_id", "temperature").sort("reading_id")
        last = int(rows["reading_id"].max())  # type: ignore[arg-type]
        assert rows["reading_id"].to_list() == list(range(1, last + 1)), "rows are missing, or came twice"
        wanted = pl.Series([purging_writer.temperature(i) for i in range(1, last + 1)])
        assert (rows["temperature"] == wanted).all()
        if "raw" in self.modes:
            assert sorted(self.place.read("_0_raw")["source_rowid"]) == list(range(1, last + 1))
        assert self.done["rows deleted"] > 0, self.done
        sizes = [f"{size:.1f}" for size in self.sizes[:: max(1, len(self.sizes) // 12)]]
        return "\n".join(
            [
                f"{last:,} rows, each in the tables once",
                *(f"{what}: {count:,}" for what, count in sorted(self.done.items())),
                f"commits of the application without purges: {alone}",
                f"commits of the application next to purges: {purging}",
                f"megabytes of the database, from purge to purge: {', '.join(sizes)}",
            ]
        )


def main() -> None:
    """Run for the minutes that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=math.floor(time.time()))
    parser.add_argument("--no-kills", action="store_true", help="for figures: what is killed takes its log with it")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="edge-delta-purging-"))
    sys.stderr.write(f"seed {options.seed}, in {folder}\n")
    purging = Purging(folder, options.seed, kills=not options.no_kills)
    sys.stdout.write(purging.run(alone=20, seconds=60 * options.minutes) + "\n")


if __name__ == "__main__":
    main()
