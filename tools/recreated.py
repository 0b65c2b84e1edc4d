"""The original generator's way: its database is deleted at each of its starts, and both sides are killed at random.

``python -m tools.recreated --minutes 10``. Then the windows of every generation must equal one aggregation of the rows
that were ever settled, but for those that are told as lost.
"""

from __future__ import annotations

import argparse
import math
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from tests.support import modes
from tests.support.ask import verified
from tests.support.command import EdgeDelta
from tests.support.tables import Place
from tools import recreated_sensor

if TYPE_CHECKING:
    from tests.support.command import Running

SETTINGS = {
    "processing_mode": ["raw", "schematized", "aggregated"],
    "interval": 0.1,
    "aggregate": {
        "window_minutes": 1,
        "allowed_lateness": 0,
        "aggregations": {"pressure": ["sum", "min", "max"]},
    },
}
_NOT_YET = ("Start the sensor's process first", "there is no database at")
_WINDOW = 60
_LIFE = 1_000_000


def _too_early(log: str) -> bool:
    """Whether a process ended because the sensor's table was not there yet."""
    return any(why in log for why in _NOT_YET)


@dataclass
class Recreated:
    """One run.

    Args:
        directory: where the device is.
        seed: of all that is random here; what the sensor writes is another matter.
        emit: when windows are written.
    """

    directory: Path
    seed: int
    emit: str = "closed"
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._life = 0
        (self.directory / "device").mkdir()
        self._database = self.directory / "device" / "sensor.db"
        self._log = self.directory / "rows.txt"
        self._log.touch()
        self._config = self.directory / "settings.toml"
        aggregate = {**SETTINGS["aggregate"], "emit": self.emit}  # type: ignore[dict-item]
        self._config.write_text(modes.toml(SETTINGS | {"aggregate": aggregate}), encoding="utf-8")
        self.place = Place(str(self.directory / "lake" / "readings"))
        flags = {
            "config": self._config,
            "sqlite": self._database,
            "table_path": self.place.base,
            "state_dir": self.directory / "state",
            "node_id": "n1",
        }
        self._edge = EdgeDelta(self.directory, flags, self.place.environment)

    def run(self, *, seconds: float) -> str:
        """Go on for so long; what was done, if all is right."""
        sensor = self._sensor()
        running = self._started()
        # Whether a mode without a table is new or was killed too early, nobody can tell.
        running.wait_until(lambda: self.place.exists("_3_aggregated"), what="the windows", timeout=60)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(self._chance.expovariate(0.7))
            if self._chance.random() < 0.5:
                sensor.kill()
                sensor.wait()
                self.done["sensor killed, its database made again"] += 1
                if self._chance.random() < 0.5:
                    time.sleep(self._chance.uniform(0, 1))
                sensor = self._sensor()
            else:
                if running.process.poll() is not None:
                    assert _too_early(running.text()), running.text()
                    self.done["edge-delta started before the sensor's table was there"] += 1
                elif self._chance.random() < 0.7:
                    running.kill()
                    self.done["edge-delta killed"] += 1
                else:
                    code = running.terminate()
                    late = code == 128 + signal.SIGTERM  # out of its grace, on a busy machine
                    ended = code == 0 or late or not running.text()  # nothing said: it was not up yet
                    assert ended or _too_early(running.text()), running.text()
                    self.done["edge-delta stopped" if not late else "edge-delta stopped, out of its grace"] += 1
                running.log.unlink()
                running = self._started()
        sensor.kill()
        sensor.wait()
        running.terminate()
        self._edge.once(flush=True, retry_for=30, timeout=300).succeeded()
        return self._checked()

    def _sensor(self) -> subprocess.Popen[bytes]:
        last = self._log.read_text(encoding="utf-8").splitlines()[-1:]
        clock = int(last[0].split()[3]) if last else modes.EPOCH
        self._life += 1
        words = [str(self._database), str(self._log), str(self._life), str(clock)]
        started = subprocess.Popen([sys.executable, recreated_sensor.__file__, *words])
        while not self._database.exists():
            time.sleep(0.02)
        return started

    def _started(self) -> Running:
        return self._edge.start()

    # -- what came of it

    def _checked(self) -> str:
        written = self._rows()
        raw = modes.read(self.place, "_0_raw").with_columns(life=pl.col("pressure").cast(pl.Int64) // _LIFE)
        windows = modes.read(self.place, "_3_aggregated").with_columns(
            life=pl.col("min_pressure").cast(pl.Int64) // _LIFE
        )
        self._assert_lives_are_generations(raw, windows)
        extra = raw.join(written, left_on=["life", "source_rowid"], right_on=["life", "id"], how="anti")
        assert not extra.height, extra
        assert not raw.select(pl.struct("life", "source_rowid").is_duplicated().any()).item()
        short = self._assert_windows_are_right(windows, written, raw)
        lost = self._lost()
        in_windows = int(windows["record_count"].sum())
        assert short <= lost <= written.height - in_windows, f"{short=} {lost=} {written.height=} {in_windows=}"
        told = f"{raw.height} rows settled in {self._life} lives, {in_windows} in windows, {lost} told as lost"
        return "\n".join([*(f"{what}: {count}" for what, count in sorted(self.done.items())), told])

    def _rows(self) -> pl.DataFrame:
        lines = [line.split() for line in self._log.read_text(encoding="utf-8").splitlines()]
        rows = [(int(life), int(i), sensor, int(t), float(n)) for life, i, sensor, t, n in lines]
        return pl.DataFrame(rows, schema=["life", "id", "sensor_id", "time", "number"], orient="row")

    def _assert_lives_are_generations(self, raw: pl.DataFrame, windows: pl.DataFrame) -> None:
        both = pl.concat([frame.select("life", "source_generation") for frame in (raw, windows)]).unique()
        assert not both["life"].is_duplicated().any(), both.sort("life")
        assert not both["source_generation"].is_duplicated().any(), both.sort("life")

    def _assert_windows_are_right(self, windows: pl.DataFrame, written: pl.DataFrame, raw: pl.DataFrame) -> int:
        """Each window is one aggregation of its rows; how many settled rows are in none."""
        key = ["life", "window", "sensor_id"]
        windows = windows.with_columns(window=pl.col("window_start") // 1_000_000)
        assert not windows.select(pl.struct(key).is_duplicated().any()).item()
        rows = written.with_columns(window=pl.col("time") // _WINDOW * _WINDOW)
        inside = rows.join(windows, on=key).filter(pl.col("id") <= pl.col("last_reading_id"))
        batch = inside.group_by(key).agg(pl.len().alias("n"), pl.col("number").sum().alias("sum"))
        wrong = windows.join(batch, on=key, how="left").filter(
            (pl.col("n") != pl.col("record_count")) | (pl.col("sum") != pl.col("sum_pressure"))
        )
        assert not wrong.height, wrong
        settled = rows.join(raw, left_on=["life", "id"], right_on=["life", "source_rowid"], how="semi")
        missing = settled.join(windows.select(*key, "last_reading_id"), on=key, how="left").filter(
            pl.col("last_reading_id").is_null() | (pl.col("id") > pl.col("last_reading_id"))
        )
        return missing.height

    def _lost(self) -> int:
        every = ",".join(SETTINGS["processing_mode"])  # type: ignore[arg-type]
        found = verified(self._database, self.place, self.directory, node_id="n1", config=self._config, mode=every)
        [table] = [t for t in found["tables"] if t["mode"] == "aggregated"]
        return int(table["counts"].get("lost", 0))


def main() -> None:
    """Run for the minutes that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=math.floor(time.time()))
    parser.add_argument("--emit", choices=["closed", "early"], default="closed")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="edge-delta-recreated-"))
    sys.stderr.write(f"seed {options.seed}, in {folder}\n")
    sys.stdout.write(Recreated(folder, options.seed, options.emit).run(seconds=60 * options.minutes) + "\n")


if __name__ == "__main__":
    main()
