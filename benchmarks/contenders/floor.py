"""The floor: SQLite alone visits every value, in one thread; nothing is written."""

from __future__ import annotations

import sqlite3

from benchmarks.contenders.common import contend
from benchmarks.generate import TABLE


def work(database: str, _target: str) -> int:
    """See `contend`."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({TABLE})")]
    largest = ", ".join(f"max({name})" for name in columns)
    count, *_ = connection.execute(f"SELECT count(*), {largest} FROM {TABLE}").fetchone()
    return int(count)


if __name__ == "__main__":
    contend(work)
