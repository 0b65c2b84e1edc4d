"""A sensor's process for the demonstration: writes readings into a SQLite file in WAL mode until its stdin closes.

It always runs as a process of its own (``python -m edge_delta.demo.sample FILE``), because it uses the standard
library's ``sqlite3``: a second SQLite library in the process that reads the file would break its locks.
"""

from __future__ import annotations

import argparse
import json
import random
import select
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta

_TABLE = """
CREATE TABLE IF NOT EXISTS sensor_readings (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  timestamp TEXT NOT NULL,
  sensor_id TEXT NOT NULL,
  temperature REAL,
  humidity REAL,
  pressure REAL,
  vibration REAL,
  voltage REAL,
  status_code INTEGER,
  anomaly_flag INTEGER,
  anomaly_type TEXT,
  firmware_version TEXT,
  model TEXT,
  manufacturer TEXT,
  location TEXT,
  latitude REAL,
  longitude REAL,
  synced INTEGER DEFAULT 0
)
"""
_INSERT = f"INSERT INTO sensor_readings VALUES (NULL{', ?' * 17})"
_SENSORS = 8
_ANOMALIES = 0.01
_LATE = 0.02
_COMMITS_PER_SECOND = 20

Row = tuple[str | float | int | None, ...]


def reading(chance: random.Random, time: datetime) -> Row:
    """One reading. A few carry an older time, as readings do that were late on their way."""
    number = chance.randrange(_SENSORS)
    anomaly = chance.random() < _ANOMALIES
    if chance.random() < _LATE:
        time -= timedelta(minutes=chance.uniform(1, 30))
    return (
        time.isoformat(timespec="milliseconds"),
        f"sensor-{number + 1:02}",
        round(chance.gauss(45 if anomaly else 21, 1.5), 2),
        round(chance.uniform(35, 60), 1),
        round(chance.gauss(1013, 4), 2),
        round(chance.expovariate(20), 4),
        round(chance.gauss(3.3, 0.02), 3),
        1 if anomaly else 0,
        int(anomaly),
        "temperature" if anomaly else None,
        "2.4.1",
        "ENV-200",
        "Acme Sensors",
        f"hall {number % 3 + 1}",
        round(52.52 + number * 0.0004, 6),
        round(13.405 + number * 0.0007, 6),
        0,
    )


def write(path: str, *, rows: int, rate: int) -> None:
    """Write ``rows`` readings at once, then ``rate`` a second until stdin closes.

    A line of JSON on stdout says how many readings there are, after the first ones and at the end.
    """
    chance = random.Random(7)  # noqa: S311 - the same readings every time
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(_TABLE)
        begin = datetime.now(UTC) - timedelta(seconds=rows / rate)
        with connection:
            connection.executemany(_INSERT, (reading(chance, begin + timedelta(seconds=i / rate)) for i in range(rows)))
        _report(connection)
        while not select.select([sys.stdin], [], [], 1 / _COMMITS_PER_SECOND)[0]:
            now = datetime.now(UTC)
            with connection:
                connection.executemany(
                    _INSERT, [reading(chance, now) for _ in range(max(1, rate // _COMMITS_PER_SECOND))]
                )
        _report(connection)


def _report(connection: sqlite3.Connection) -> None:
    [count] = connection.execute("SELECT count(*) FROM sensor_readings").fetchone()
    sys.stdout.write(json.dumps({"rows": count}) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Parse the command line and write."""
    parser = argparse.ArgumentParser(prog="python -m edge_delta.demo.sample", description=__doc__)
    parser.add_argument("database")
    parser.add_argument("--rows", type=int, default=20_000, help="readings that are there at the start")
    parser.add_argument("--rate", type=int, default=200, help="readings a second")
    options = parser.parse_args()
    write(options.database, rows=options.rows, rate=options.rate)


if __name__ == "__main__":
    main()
