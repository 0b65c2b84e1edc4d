"""pandas reads the table, write_deltalake writes it: what most scripts do."""

from __future__ import annotations

import sqlite3

import pandas as pd
from deltalake import write_deltalake

from benchmarks.contenders.common import contend
from benchmarks.generate import TABLE


def work(database: str, target: str) -> int:
    """See `contend`."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    frame = pd.read_sql_query(f"SELECT * FROM {TABLE}", connection)
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], format="ISO8601", utc=True)
    write_deltalake(target, frame, mode="append")
    return len(frame)


if __name__ == "__main__":
    contend(work)
