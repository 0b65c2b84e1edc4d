"""Deterministic SQLite databases to measure with.

::

    python -m benchmarks.generate readings.db --rows 1000000
    python -m benchmarks.generate moving.db --rows 1000000 --moving
    python -m benchmarks.generate wide.db --rows 10000 --columns 1000
    python -m benchmarks.generate blobs.db --rows 20000 --blob-bytes 65536

The same arguments give the same rows on every machine. Databases are left as a closed writer leaves them: in WAL mode
and without a ``-wal`` file.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TABLE = "sensor_readings"
SEED = 20_260_501
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
SENSORS = 50
COLUMNS = {
    "id": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "timestamp": "TEXT NOT NULL",
    "sensor_id": "TEXT NOT NULL",
    "temperature": "REAL",
    "humidity": "REAL",
    "pressure": "REAL",
    "vibration": "REAL",
    "voltage": "REAL",
    "status_code": "INTEGER",
    "anomaly_flag": "INTEGER",
    "anomaly_type": "TEXT",
    "firmware_version": "TEXT",
    "model": "TEXT",
    "manufacturer": "TEXT",
    "location": "TEXT",
    "latitude": "REAL",
    "longitude": "REAL",
    "synced": "INTEGER DEFAULT 0",
}
"""Name and declaration of the sensor table's columns: 217 bytes a row on disk."""

_ANOMALIES = ("spike", "trend", "pattern", "missing_data", "noise")
_FIRMWARE = ("1.2.0", "1.2.1", "1.3.0", "2.0.0-beta")
_MODELS = ("TempSensor Pro", "EnvMonitor 3000", "WeatherStation X2")
_MAKERS = ("SensorTech", "EnvMonitors Inc.", "DataSense GmbH")
_SITES = (
    ("Amsterdam Noord, North Holland, Netherlands", 52.3909, 4.9226),
    ("Rotterdam Haven, South Holland, Netherlands", 51.9490, 4.1453),
    ("Eindhoven Strijp, North Brabant, Netherlands", 51.4476, 5.4571),
    ("Groningen Centrum, Groningen, Netherlands", 53.2194, 6.5665),
)
_ROWS_A_TRANSACTION = 2_000


def readings(rows: int, *, first: int = 0, moving: bool = False) -> Iterator[tuple[object, ...]]:
    """Rows of the sensor table without their id, the same for the same arguments.

    Args:
        rows: how many.
        first: where in the endless series of readings to begin.
        moving: whether each reading has a place of its own, within a kilometre of its sensor's, to six decimals.
    """
    noise, away = random.Random(SEED + first), random.Random(SEED + first + 1)
    normal, chance = noise.gauss, noise.random
    for number in range(first, first + rows):
        sensor = number % SENSORS
        place, latitude, longitude = _SITES[sensor % len(_SITES)]
        time = FIRST + timedelta(microseconds=number * 250_137)
        odd = chance() < 0.02
        yield (
            time.isoformat(timespec="microseconds"),
            f"sensor-{sensor:08d}",
            normal(21.0, 4.0) + (25.0 if odd else 0.0),
            normal(55.0, 9.0),
            normal(1013.2, 6.0),
            abs(normal(0.0, 0.4)),
            normal(12.0, 0.2),
            0 if not odd else 1 + sensor % 3,
            int(odd),
            _ANOMALIES[number % len(_ANOMALIES)] if odd else None,
            _FIRMWARE[sensor % len(_FIRMWARE)],
            _MODELS[sensor % len(_MODELS)],
            _MAKERS[sensor % len(_MAKERS)],
            place,
            latitude + sensor * 1e-4 if not moving else round(latitude + sensor * 1e-4 + away.uniform(-0.01, 0.01), 6),
            longitude + sensor * 1e-4
            if not moving
            else round(longitude + sensor * 1e-4 + away.uniform(-0.01, 0.01), 6),
            0,
        )


def wide(rows: int, columns: int) -> Iterator[tuple[object, ...]]:
    """Rows of ``columns`` measurements behind a time."""
    noise = random.Random(SEED)
    for number in range(rows):
        time = (FIRST + timedelta(seconds=number)).isoformat(timespec="microseconds")
        yield (time, *(noise.random() for _ in range(columns - 2)))


def blobs(rows: int, size: int) -> Iterator[tuple[object, ...]]:
    """Rows with one blob that does not compress."""
    noise = random.Random(SEED)
    for number in range(rows):
        time = (FIRST + timedelta(seconds=number)).isoformat(timespec="microseconds")
        yield time, f"camera-{number % 4}", noise.randbytes(size)


def fill(path: Path, declarations: dict[str, str], rows: Iterable[tuple[object, ...]]) -> None:
    """Make the table if it is not there, and append the rows to it."""
    listed = ", ".join(f"{name} {declared}" for name, declared in declarations.items())
    marks = ", ".join("?" * (len(declarations) - 1))
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} ({listed})")
        into = f"INSERT INTO {TABLE} ({', '.join(list(declarations)[1:])}) VALUES ({marks})"
        pending = iter(rows)
        while some := list(islice(pending, _ROWS_A_TRANSACTION)):
            connection.execute("BEGIN")
            connection.executemany(into, some)
            connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def generate(
    path: Path, rows: int, *, columns: int | None = None, blob_bytes: int | None = None, moving: bool = False
) -> None:
    """A new database of that many rows.

    Args:
        path: the file; what is there is replaced.
        rows: how many rows.
        columns: a table of this many columns of measurements instead of the sensor table.
        blob_bytes: a table with a blob of this size in each row instead of the sensor table.
        moving: see `readings`.
    """
    for old in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        old.unlink(missing_ok=True)
    head = {"id": "INTEGER PRIMARY KEY AUTOINCREMENT", "timestamp": "TEXT NOT NULL"}
    if columns is not None:
        fill(path, head | {f"m{i:04d}": "REAL" for i in range(columns - 2)}, wide(rows, columns))
    elif blob_bytes is not None:
        fill(path, head | {"sensor_id": "TEXT", "image": "BLOB"}, blobs(rows, blob_bytes))
    else:
        fill(path, COLUMNS, readings(rows, moving=moving))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make a database to measure with.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--rows", type=int, required=True)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--columns", type=int, help="this many columns of measurements")
    kind.add_argument("--blob-bytes", type=int, help="a blob of this size in each row")
    kind.add_argument("--moving", action="store_true", help="each reading of the sensor table has a place of its own")
    options = parser.parse_args()
    chosen = {"columns": options.columns, "blob_bytes": options.blob_bytes, "moving": options.moving}
    generate(options.path, options.rows, **chosen)


if __name__ == "__main__":
    main()
