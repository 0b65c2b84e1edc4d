"""DuckDB's sqlite extension to one Parquet file with zstd: no Delta table, no cursor, no types but SQLite's."""

from __future__ import annotations

from pathlib import Path

import duckdb
import duckdb_extension_sqlite_scanner

from benchmarks.contenders.common import contend
from benchmarks.generate import TABLE


def work(database: str, target: str) -> int:
    """See `contend`."""
    Path(target).mkdir(parents=True, exist_ok=True)
    [extension] = Path(duckdb_extension_sqlite_scanner.__file__).parent.rglob("*.duckdb_extension")
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    connection.execute(f"LOAD '{extension}'")
    copied = connection.execute(
        f"COPY (SELECT * FROM sqlite_scan('{database}', '{TABLE}')) TO '{target}/readings.parquet' "
        "(FORMAT parquet, COMPRESSION zstd)"
    ).fetchone()
    if copied is None:
        msg = "DuckDB does not say how many rows it copied"
        raise RuntimeError(msg)
    return int(copied[0])


if __name__ == "__main__":
    contend(work)
