"""An application that writes rows one by one, each in a commit of its own, and notes how long each commit took.

``python tools/purging_writer.py DATABASE LOG RATE``: 1,000 rows and gaps among their ids, which are filled in with old
times a second later or after the next start. Ended by SIGTERM it fills the last ones. The log has a line per second:
commits, the longest in ms, how often somebody else had the lock, and the longest wait for it in ms. Where it is refused
it asks again as SQLite's own busy handler does.
"""

from __future__ import annotations

import itertools
import signal
import sqlite3
import sys
import threading
import time
from pathlib import Path

GAP = 97
"""Each id that this divides is left out at first."""
_LATE_SECONDS = 1.0
_DELAYS_MS = (1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50, 100)
"""Those of SQLite's busy handler (``sqliteDefaultBusyCallback`` in its main.c); the last one again and again."""
_COLUMNS = "id INTEGER PRIMARY KEY, sensor_id TEXT, timestamp TEXT, temperature REAL, padding TEXT"
_TABLES = (
    f"CREATE TABLE IF NOT EXISTS readings ({_COLUMNS})",
    "CREATE TABLE IF NOT EXISTS filled (id INTEGER PRIMARY KEY)",
)


def temperature(number: int) -> float:
    """What a row says, by its id."""
    return number * 7919 % 1000 / 10


class Writer:
    """Writes until it is told to stop.

    Args:
        database: the file.
        log: where it notes what commits took.
        rate: rows per second.
    """

    def __init__(self, database: Path, log: Path, rate: float) -> None:
        self._connection = sqlite3.connect(database, isolation_level=None, timeout=0)
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", *_TABLES):
            self._connection.execute(statement)
        self._log = log
        self._pause = 1 / rate
        self._took: list[float] = []
        self._waited: list[float] = []
        [(last,)] = self._connection.execute("SELECT ifnull(max(id), 0) FROM readings")
        filled = {i for (i,) in self._connection.execute("SELECT id FROM filled")}
        self._late = [(i, 0.0) for i in range(GAP, last + 1, GAP) if i not in filled]
        self._next = last + 1

    def run(self, stopped: threading.Event) -> None:
        """Write."""
        due = said = time.monotonic()
        while not stopped.is_set():
            if self._next % GAP == 0:
                self._late.append((self._next, time.monotonic()))
                self._next += 1
            self._commit([self._next])
            self._next += 1
            if self._late and time.monotonic() - self._late[0][1] > _LATE_SECONDS:
                self._commit([self._late.pop(0)[0]], late=True)
            if time.monotonic() - said >= 1:
                said = time.monotonic()
                self._note()
            due = max(due + self._pause, time.monotonic() - 1)
            time.sleep(max(0.0, due - time.monotonic()))
        if self._late:
            self._commit([i for i, _ in self._late], late=True)
        self._note()
        self._connection.close()

    def _commit(self, ids: list[int], *, late: bool = False) -> None:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - (3_600 if late else 0)))
        rows = [(i, f"s{i % 5}", at, temperature(i), "x" * 100) for i in ids]
        began = time.perf_counter()
        self._begin()
        self._connection.executemany("INSERT INTO readings VALUES (?, ?, ?, ?, ?)", rows)
        if late:
            self._connection.executemany("INSERT INTO filled VALUES (?)", [(i,) for i in ids])
        self._connection.execute("COMMIT")
        self._took.append(1_000 * (time.perf_counter() - began))

    def _begin(self) -> None:
        refused = None
        for delay in itertools.chain(_DELAYS_MS, itertools.repeat(_DELAYS_MS[-1])):
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
                refused = refused or time.perf_counter()
                time.sleep(delay / 1_000)
                continue
            if refused is not None:
                self._waited.append(1_000 * (time.perf_counter() - refused))
            return

    def _note(self) -> None:
        took, self._took = self._took, []
        waited, self._waited = self._waited, []
        if took:
            with self._log.open("a") as out:
                out.write(f"{len(took)} {max(took):.1f} {len(waited)} {max(waited, default=0.0):.1f}\n")


def main() -> None:
    """Write until SIGTERM."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    writer = Writer(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    writer.run(stopped)


if __name__ == "__main__":
    main()
