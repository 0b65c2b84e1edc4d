"""A source with several lives, delivered in all modes, and what is true of it: each reading has a number of its own."""

from __future__ import annotations

import random
import re
import shutil
import time
from typing import TYPE_CHECKING, Any

from edge_delta.core import events as telemetry
from edge_delta.recovery.reset import Destination
from edge_delta.settings import load as config
from edge_delta.topology import commands
from tests.support import modes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_delta.settings.sections import Settings
    from tests.support.sqlite import Sensor
    from tests.support.tables import Place

MODES = ["raw", "schematized", "sanitized", "aggregated", "emergency"]
WINDOW = 300
"""Seconds of a window."""
HOT = 35.0
SETTINGS: dict[str, Any] = {
    "aggregate": {
        "window_minutes": WINDOW // 60,
        "allowed_lateness": 0,
        "aggregations": {"temperature": ["mean", "min", "max"], "pressure": ["sum", "min", "max", "p50"]},
    },
    "emergency": {"severity_thresholds": {"temperature": HOT}, "anomaly_flag": False},
}
SCHEMA = "sensor_id TEXT, timestamp TEXT, temperature REAL, humidity REAL, pressure REAL"


class World:
    """A sensor's database, the tables, and all readings that were there when it was delivered.

    Args:
        sensor: the database.
        place: the tables.
        seed: of the times and values.
        key: whether ids are an INTEGER PRIMARY KEY, which VACUUM keeps.
        chosen: the modes.
    """

    def __init__(
        self, sensor: Sensor, place: Place, *, seed: int = 0, key: bool = True, chosen: list[str] | None = None
    ) -> None:
        self.sensor = sensor
        self.place = place
        self.chosen = chosen or MODES
        self.readings: list[tuple[str, int, float, float]] = []
        """Sensor, time in seconds, temperature, and the number, which is its pressure."""
        self._chance = random.Random(seed)
        self._clock = modes.EPOCH
        self._columns = f"id INTEGER PRIMARY KEY, {SCHEMA}" if key else SCHEMA
        self._create()

    def _create(self) -> None:
        self.sensor.run(f"CREATE TABLE stations ({self._columns})")

    @property
    def _backup(self) -> Path:
        return self.sensor.path.with_name("backup.db")

    # -- what the application does

    def add(self, count: int) -> None:
        """Readings 7 seconds apart, some of them late by up to a window."""
        rows: list[tuple[str, int, float, float]] = []
        for _ in range(count):
            self._clock += 7
            late = self._chance.randrange(WINDOW) if self._chance.random() < 0.1 else 0
            number = float(len(self.readings) + len(rows) + 1)
            rows.append(
                (self._chance.choice("abc"), self._clock - late, self._chance.choice([20.0, 21.5, 40.0]), number)
            )
        self.insert(rows)

    def insert(self, rows: list[tuple[str, int, float, float]]) -> None:
        """These readings: sensor, time in seconds, temperature, number."""
        stored = [(s, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(t)), c, n) for s, t, c, n in rows]
        self.sensor.many(
            "INSERT INTO stations (sensor_id, timestamp, temperature, pressure) VALUES (?, ?, ?, ?)", stored
        )
        self.readings += rows

    def deliver(self, *, flush: bool = True, **settings: Any) -> modes.Delivered:
        """One run."""
        return modes.deliver(self.sensor.path, self.place, self.chosen, flush=flush, **SETTINGS | settings)

    def backup(self) -> None:
        """A copy of the database as it is."""
        self.sensor.run("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copyfile(self.sensor.path, self._backup)

    def restore(self) -> None:
        """The copy takes the database's place."""
        path = self._away()
        shutil.copyfile(self._backup, path)
        self.sensor.open(path)

    def recreate(self) -> None:
        """The database is deleted and made again."""
        self.sensor.open(self._away())
        self._create()

    def renumber(self) -> None:
        """The oldest rows are purged, and VACUUM gives the others new ids."""
        self.sensor.run("DELETE FROM stations WHERE rowid <= (SELECT min(rowid) + 12 FROM stations)")
        self.sensor.run("VACUUM")

    def reset(self, share: float | None = None) -> None:
        """Deliver again, from the beginning or from a share of the rows on."""
        [[first, last]] = self.sensor.run("SELECT min(rowid), max(rowid) FROM stations")
        to = Destination() if share is None else Destination(id=int(first + share * (last - first)))
        assert commands.reset(self._settings(), telemetry.configure(), to, agreed=lambda _plans: True)

    def verified(self) -> list[tuple[str, dict[str, int]]]:
        """The modes whose tables `verify` finds different, and in what."""
        reports = commands.verify(self._settings(), telemetry.configure())
        return [(report.mode, dict(report.counts)) for report in reports if not report.equal]

    def _settings(self) -> Settings:
        """Those of the last run."""
        file = str(self.sensor.path.with_name("settings.toml"))
        return config.load({"config": file}, environment={"GPS_FUZZING_SECRET": modes.SECRET})

    def _away(self) -> Path:
        """The database is gone; where it was."""
        path = self.sensor.path
        self.sensor.open(path.with_name("other.db"))
        for file in path.parent.glob(path.name + "*"):
            file.unlink()
        return path

    # -- what is true

    def wanted(self) -> dict[str, list[tuple[Any, ...]]]:
        """The rows of `QUESTIONS`."""
        numbers = sorted((n,) for *_, n in self.readings)
        groups: dict[tuple[int, str], list[tuple[float, float]]] = {}
        for sensor, moment, hot, number in self.readings:
            groups.setdefault((moment // WINDOW * WINDOW, sensor), []).append((hot, number))
        windows = sorted(
            (start, sensor, len(rows), sum(n for _, n in rows), min(n for _, n in rows), max(n for _, n in rows))
            for (start, sensor), rows in groups.items()
        )
        alerts = sorted((sensor, moment, hot) for sensor, moment, hot, _ in self.readings if hot > HOT)
        every: dict[str, list[tuple[Any, ...]]] = {
            "raw": numbers,
            "readings": numbers,
            "sanitized": numbers,
            "windows": windows,
            "alerts": alerts,
        }
        return {name: every[name] for name, mode in VIEWS.items() if mode in self.chosen}


TABLES = {
    "raw": "_0_raw",
    "readings": "_1_schematized",
    "sanitized": "_2_sanitized",
    "windows": "_3_aggregated",
    "alerts": "_4_emergency",
}
"""By what follows ``current_`` in a view's name."""
MADE_FIRST = re.compile(
    rf"CREATE OR REPLACE VIEW (?:superseded|delivered_readings|current_(?:{'|'.join(TABLES)}))\n",
)
"""The statements of sql/03_views.sql that make these views and those that they read."""
VIEWS = dict(zip(("raw", "readings", "sanitized", "windows", "alerts"), MODES, strict=True))
QUESTIONS = {
    "raw": "SELECT pressure FROM current_raw",
    "readings": "SELECT pressure FROM current_readings",
    "sanitized": "SELECT pressure FROM current_sanitized",
    "windows": "SELECT {window_start}, sensor_id, sum(record_count), sum(sum_pressure), min(min_pressure), "
    "max(max_pressure) FROM current_windows GROUP BY window_start, sensor_id",
    "alerts": "SELECT sensor_id, {timestamp}, value FROM current_alerts",
}
"""By view; ``{column}`` is a time in seconds since 1970, in the engine's words."""


def steps(world: World, *names: str) -> None:
    """Deliver; then what the names say, each with rows that come after it and are delivered."""
    world.add(130)
    world.deliver()
    for name in names:
        world.backup()
        world.add(70)
        world.deliver()
        step: Callable[[], None] = getattr(world, name) if name != "reset_half" else lambda: world.reset(0.5)
        step()
        world.deliver()  # what is there before new rows come
        world.add(90)
        world.deliver()


CASES = [
    ("restore",),
    ("reset",),
    ("reset_half",),
    ("renumber",),
    ("recreate",),
    ("restore", "restore"),
    ("reset", "reset"),
    ("restore", "reset"),
    ("reset_half", "restore"),
    ("renumber", "reset"),
    ("renumber", "renumber"),
    ("recreate", "restore"),
    ("recreate", "reset"),
    ("renumber", "restore"),
]
"""What happens to a source, one or two in a row."""
