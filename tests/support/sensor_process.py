"""The sensor's process: runs SQL on SQLite for a test that must not load a second SQLite library.

Requests and answers are pickles on stdin and stdout. Run as a script, it needs the standard library alone.
"""

from __future__ import annotations

import pickle
import sqlite3
import sys
from typing import Any

_PRAGMAS = ("busy_timeout=20000", "synchronous=NORMAL")


class Session:
    """What a sensor can be asked; the standard library alone, so that it starts quickly."""

    _open: sqlite3.Connection | None = None

    @property
    def connection(self) -> sqlite3.Connection:
        """The open file."""
        if self._open is None:
            raise RuntimeError("no file is open")
        return self._open

    def open(self, path: str) -> None:
        self.close()
        self._open = sqlite3.connect(path, isolation_level=None)
        self.connection.text_factory = _text
        for pragma in _PRAGMAS:
            self.connection.execute(f"PRAGMA {pragma}").fetchall()

    def run(self, sql: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, parameters).fetchall()

    def many(self, sql: str, rows: list[tuple[Any, ...]]) -> None:
        self.connection.execute("BEGIN")
        self.connection.executemany(sql, rows)
        self.connection.execute("COMMIT")

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open = None


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def main() -> None:
    session = Session()
    while True:
        try:
            verb, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = (True, getattr(session, verb)(*arguments))
        except Exception as error:  # noqa: BLE001 - handed back to the test
            answer = (False, f"{type(error).__name__}: {error}")
        pickle.dump(answer, sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
