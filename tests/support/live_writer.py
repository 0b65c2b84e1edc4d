"""A sensor that inserts readings at a steady rate until its time is over or SIGTERM comes.

``live_writer.py DB TABLE ROWS_A_SECOND SECONDS``. Of its timestamps some equal the one before and some are older.
"""

from __future__ import annotations

import random
import signal
import sqlite3
import sys
import time
from datetime import UTC, datetime, timedelta

_TICK = 0.05


def main() -> None:
    path, table, rate, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
    going = [True]
    signal.signal(signal.SIGTERM, lambda *_: going.clear())
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA busy_timeout=20000").fetchall()
    chance = random.Random(7)
    started, written, last = time.monotonic(), 0, datetime.now(UTC)
    while going and time.monotonic() - started < seconds:
        due = int((time.monotonic() - started) * rate) - written
        rows = []
        for _ in range(due):
            last = _next_time(chance, last)
            rows.append(
                (f"sensor-{chance.randrange(5)}", last.isoformat(), chance.gauss(21, 3), chance.random(), written % 3)
            )
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            f"INSERT INTO {table} (sensor_id, timestamp, temperature, humidity, status_code) VALUES (?, ?, ?, ?, ?)",
            rows,
        )
        connection.execute("COMMIT")
        written += len(rows)
        time.sleep(_TICK)
    sys.stdout.write(f"{written}\n")
    connection.close()


def _next_time(chance: random.Random, last: datetime) -> datetime:
    draw = chance.random()
    if draw < 0.2:
        return last
    if draw < 0.4:
        return datetime.now(UTC) - timedelta(seconds=chance.randrange(1, 86_400))
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
