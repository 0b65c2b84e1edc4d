"""SQLite files as the sensor writes them: always from another process."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).parent

READINGS = (
    "id INTEGER PRIMARY KEY{autoincrement}, sensor_id TEXT, timestamp TEXT, temperature REAL, humidity REAL, "
    "status_code INTEGER"
)


class Sensor:
    """A process with one connection to one SQLite file. It stays open, as a sensor's does, until `close` or `kill`."""

    def __init__(self, path: Path, *, wal: bool = True) -> None:
        self.path = path
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(HERE / "sensor_process.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.open(path, wal=wal)

    def open(self, path: Path, *, wal: bool = True) -> None:
        """Close the file and open another one."""
        self.path = path
        self._ask("open", str(path))
        self.run(f"PRAGMA journal_mode={'WAL' if wal else 'DELETE'}")

    def run(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self._ask("run", sql, parameters)
        return rows

    def many(self, sql: str, rows: list[tuple[Any, ...]]) -> None:
        """One transaction."""
        self._ask("many", sql, rows)

    def create(self, table: str = "readings", *, autoincrement: bool = False) -> None:
        columns = READINGS.format(autoincrement=" AUTOINCREMENT" if autoincrement else "")
        self.run(f"CREATE TABLE {table} ({columns})")

    def add(self, count: int, table: str = "readings", *, start: int = 0, seed: int = 0) -> None:
        """Insert readings; those with the same ``start`` have the same times, those with the same ``seed`` the same
        values.
        """
        self.run(
            f"INSERT INTO {table} (sensor_id, timestamp, temperature, humidity, status_code) "
            f"WITH RECURSIVE n(i) AS (SELECT {start} UNION ALL SELECT i + 1 FROM n LIMIT {count}) "
            "SELECT 'sensor-' || (i % 5), strftime('%Y-%m-%dT%H:%M:%f+00:00', 1767225600 + i, 'unixepoch'), "
            f"20 + ((i * 7919 + {seed} * 31) % 1000) / 97.0, (i + {seed}) % 101 / 100.0, i % 3 FROM n"
        )

    def rows(self, table: str = "readings", columns: str = "*") -> list[tuple[Any, ...]]:
        return self.run(f"SELECT {columns} FROM {table} ORDER BY 1")

    def _ask(self, verb: str, *arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump((verb, arguments), self._process.stdin)
        self._process.stdin.flush()
        fine, answer = pickle.load(self._process.stdout)
        if not fine:
            raise RuntimeError(answer)
        return answer

    def unlink(self) -> None:
        """Delete the file and those beside it; the process keeps what it has open."""
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink()

    def close(self) -> None:
        """Close the connection properly, which checkpoints the WAL, and end the process."""
        if self._process.poll() is None:
            self._ask("close")
        self._end()

    def kill(self) -> None:
        """End the process as a crash does: -wal and -shm stay."""
        self._process.kill()
        self._end()

    def _end(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait(timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LiveWriter:
    """A process that inserts readings at a rate (see `live_writer`)."""

    def __init__(self, path: Path, table: str = "readings", *, rate: float = 200, seconds: float = 600) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(HERE / "live_writer.py"), str(path), table, str(rate), str(seconds)],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._patience = seconds + 120

    def wait(self) -> int:
        """Wait until its time is over; the number of rows that it wrote."""
        written = int(self._process.communicate(timeout=self._patience)[0])
        assert self._process.returncode == 0
        return written

    def stop(self) -> int:
        """End it; the number of rows that it wrote."""
        self._process.terminate()
        return self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()
