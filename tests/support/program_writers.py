"""Databases written as five kinds of program write theirs: ``program_writers.py FOLDER SECONDS``.

Each has its own database in the folder, and a file of the rows that it ever committed, a line each: the key and the
time, by which a row is told. It stops when its time is over, or at the end of its standard input. Imports nothing but
the standard library.
"""

from __future__ import annotations

import json
import random
import sqlite3
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

KEPT = 60.0
"""Seconds that a row stays at least before a program purges it."""
_TICK = 0.25


def iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")


class Writer:
    """One program. What it does four times a second is `tick`, in one transaction."""

    name = ""
    schema: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        self.random = random.Random(self.name)
        path = folder / self.name / "source.db"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.database = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)
        self.database.execute("PRAGMA journal_mode=WAL")
        self.database.execute("PRAGMA synchronous=NORMAL")
        for sql in self.schema:
            self.database.execute(sql)
        self.ever = (folder / self.name / "rows.jsonl").open("a", encoding="utf-8")
        self.fresh: list[tuple[int, Any]] = []

    def step(self, now: float) -> None:
        self.fresh = []
        self.database.execute("BEGIN IMMEDIATE")
        self.tick(now)
        self.database.execute("COMMIT")
        for row in self.fresh:
            self.ever.write(json.dumps(row) + "\n")
        self.ever.flush()

    def tick(self, now: float) -> None:
        raise NotImplementedError

    def insert(self, table: str, key: str, time_column: str, row: dict[str, Any], *, how: str = "INSERT") -> int:
        marks = ", ".join("?" * len(row))
        done = self.database.execute(f"{how} INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))
        key_of = int(row.get(key, done.lastrowid or 0))
        self.fresh.append((key_of, row[time_column]))
        return key_of


class States(Writer):
    """Home Assistant's recorder: a state that does not change has its last row updated; old rows are purged."""

    name = "states"
    schema = (
        (
            "CREATE TABLE IF NOT EXISTS states (state_id INTEGER NOT NULL PRIMARY KEY, entity_id CHAR(0), "
            "state VARCHAR(255), "
            "attributes CHAR(0), event_id SMALLINT, last_changed CHAR(0), last_changed_ts FLOAT, "
            "last_reported_ts FLOAT, "
            "last_updated CHAR(0), last_updated_ts FLOAT, old_state_id INTEGER, attributes_id INTEGER, "
            "context_id CHAR(0), "
            "origin_idx SMALLINT, context_id_bin BLOB, metadata_id INTEGER)"
        ),
        "CREATE INDEX IF NOT EXISTS ix_states_last_updated_ts ON states (last_updated_ts)",
        "CREATE INDEX IF NOT EXISTS ix_states_old_state_id ON states (old_state_id)",
    )

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.last: dict[int, tuple[int, str]] = {}

    def tick(self, now: float) -> None:
        for entity in range(1, 9):
            state = str(self.random.randrange(3))
            before = self.last.get(entity)
            if before is not None and before[1] == state:
                self.database.execute("UPDATE states SET last_reported_ts = ? WHERE state_id = ?", (now, before[0]))
                continue
            row = {"state": state, "last_updated_ts": now, "last_reported_ts": now, "origin_idx": 0}
            row |= {"old_state_id": before[0] if before else None, "metadata_id": entity}
            row |= {"context_id_bin": self.random.randbytes(16), "attributes_id": entity}
            self.last[entity] = self.insert("states", "state_id", "last_updated_ts", row), state
        if self.random.random() < 0.02:  # the nightly purge
            old = "SELECT state_id FROM states WHERE last_updated_ts < ?"
            self.database.execute(f"UPDATE states SET old_state_id = NULL WHERE old_state_id IN ({old})", (now - KEPT,))
            self.database.execute("DELETE FROM states WHERE last_updated_ts < ?", (now - KEPT,))


class Statistics(Writer):
    """Home Assistant's statistics: a row for each meter and period; a corrected meter has its later sums moved."""

    name = "statistics"
    schema = (
        (
            "CREATE TABLE IF NOT EXISTS statistics (id INTEGER NOT NULL PRIMARY KEY, created DATETIME, "
            "created_ts FLOAT, "
            "metadata_id INTEGER, start DATETIME, start_ts FLOAT, mean FLOAT, mean_weight FLOAT, min FLOAT, max FLOAT, "
            "last_reset DATETIME, last_reset_ts FLOAT, state FLOAT, sum FLOAT)"
        ),
        "CREATE UNIQUE INDEX IF NOT EXISTS ix_statistics_statistic_id_start_ts ON statistics (metadata_id, start_ts)",
    )

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.period = 0
        self.begin = time.time()

    def tick(self, now: float) -> None:
        while self.begin + 2 * (self.period + 1) <= now:  # five minutes take two seconds here
            start = self.begin + 2 * self.period
            for meter in range(1, 5):
                value = self.random.random() * 30
                row = {"created_ts": now, "metadata_id": meter, "start_ts": start, "mean": value, "min": value - 1}
                row |= {"max": value + 1, "state": value, "sum": float(self.period)}
                self.insert("statistics", "id", "start_ts", row)
            self.period += 1
        if self.random.random() < 0.03:
            self.database.execute("UPDATE statistics SET sum = sum + 1 WHERE start_ts >= ?", (now - 20,))


class Archive(Writer):
    """WeeWX: the time is the primary key. After an outage the newest record comes first, and then the missing ones."""

    name = "archive"
    schema = (
        (
            "CREATE TABLE IF NOT EXISTS archive (dateTime INTEGER NOT NULL UNIQUE PRIMARY KEY, "
            "usUnits INTEGER NOT NULL, "
            "interval INTEGER NOT NULL, barometer REAL, outTemp REAL, outHumidity REAL, windSpeed REAL, rain REAL)"
        ),
    )

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.next = int(time.time()) // 60 * 60 - 400_000
        self.missing: list[int] = []

    def tick(self, _now: float) -> None:
        if self.missing and self.random.random() < 0.5:  # the logger's memory is read again
            filled, self.missing = self.missing[:5], self.missing[5:]
            for record in filled:
                self.record(record)
            return
        if not self.missing and self.random.random() < 0.05:
            outage = self.random.randrange(1, 20)
            self.missing = [self.next + 60 * i for i in range(outage)]
            self.next += 60 * outage
        self.record(self.next)
        self.next += 60

    def record(self, when: int) -> None:
        row = {"dateTime": when, "usUnits": 1, "interval": 1, "outTemp": self.random.random() * 40}
        row |= {"outHumidity": 50.0, "barometer": 1013.0, "windSpeed": self.random.random() * 20, "rain": 0.0}
        self.insert("archive", "dateTime", "dateTime", row, how="INSERT OR REPLACE")


class Ring(Writer):
    """A table of 100 slots, which are written one after the other and again."""

    name = "ring"
    schema = ("CREATE TABLE IF NOT EXISTS ring (slot INTEGER PRIMARY KEY, at TEXT NOT NULL, value REAL)",)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.slot = 0

    def tick(self, now: float) -> None:
        row = {"slot": self.slot % 100 + 1, "at": iso(now), "value": self.random.random()}
        self.insert("ring", "slot", "at", row, how="INSERT OR REPLACE")
        self.slot += 1


class Sessions(Writer):
    """Charging sessions: a row when one begins, completed when it ends."""

    name = "sessions"
    schema = (
        (
            "CREATE TABLE IF NOT EXISTS sessions (id INTEGER PRIMARY KEY AUTOINCREMENT, started TEXT NOT NULL, "
            "ended TEXT, "
            "kwh REAL, connector TEXT)"
        ),
    )

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.open: list[int] = []

    def tick(self, now: float) -> None:
        if self.random.random() < 0.6:
            row = {"started": iso(now), "connector": f"c{self.random.randrange(4)}"}
            self.open.append(self.insert("sessions", "id", "started", row))
        elif self.open:
            done = self.open.pop(self.random.randrange(len(self.open)))
            values = (iso(now), self.random.random() * 50, done)
            self.database.execute("UPDATE sessions SET ended = ?, kwh = ? WHERE id = ?", values)


WRITERS = (States, Statistics, Archive, Ring, Sessions)


def write(writer: Writer, until: float, stop: threading.Event) -> None:
    while time.time() < until and not stop.wait(_TICK):
        writer.step(time.time())


def main() -> None:
    folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
    stop, until = threading.Event(), time.time() + seconds
    threads = [threading.Thread(target=write, args=(one(folder), until, stop)) for one in WRITERS]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
