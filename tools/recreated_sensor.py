"""A sensor that deletes its database at its start, as some generators do, and then writes until it is killed.

``python tools/recreated_sensor.py DATABASE LOG LIFE CLOCK``: what was committed is a line each in the log: life, id,
time in seconds, number.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import sys
import time
from pathlib import Path

SECONDS_A_ROW = 5
"""The clock runs faster than the real one, so that windows of a minute close every second."""


def main(database: Path, log: Path, life: int, clock: int) -> None:
    """Write until killed."""
    for file in database.parent.glob(database.name + "*"):
        file.unlink()
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection, log.open("a") as out:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA busy_timeout=5000")
        connection.execute(
            "CREATE TABLE readings (id INTEGER PRIMARY KEY, sensor_id TEXT, timestamp TEXT, pressure REAL)"
        )
        row = 0
        while True:
            batch = []
            for _ in range(random.randrange(1, 12)):
                row, clock = row + 1, clock + SECONDS_A_ROW
                batch.append((row, random.choice("ab"), clock, life * 1_000_000 + row))
            connection.execute("BEGIN IMMEDIATE")
            stored = [(i, s, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(t)), n) for i, s, t, n in batch]
            connection.executemany("INSERT INTO readings VALUES (?, ?, ?, ?)", stored)
            # What may be in the database is in the log: a kill between the two leaves lines too many, not too few.
            out.write("".join(f"{life} {i} {s} {t} {n}\n" for i, s, t, n in batch))
            out.flush()
            connection.execute("COMMIT")
            time.sleep(random.uniform(0, 0.2))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
