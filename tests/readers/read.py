"""Reads tables with one reader, and prints their rows as JSON: ``python read.py READER FOLDER SUFFIX ...``.

It runs under the interpreter of the reader's own environment, so it imports nothing of this project. Times become
microseconds since 1970, bytes hexadecimal, so that what all readers say can be compared.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, date, datetime
from typing import Any


def daft(uri: str) -> list[dict[str, Any]]:
    import daft

    return daft.read_deltalake(uri).to_arrow().to_pylist()


def pyarrow14(uri: str) -> list[dict[str, Any]]:
    """The files that an old delta-rs finds in the log, read by pyarrow 14, which knows no `string_view`."""
    import pyarrow as pa
    from deltalake import DeltaTable
    from pyarrow import dataset

    assert pa.__version__.startswith("14.")
    return dataset.dataset(DeltaTable(uri).file_uris(), format="parquet").to_table().to_pylist()


def clickhouse(uri: str) -> list[dict[str, Any]]:
    import chdb

    return chdb.query(f"SELECT * FROM deltaLakeLocal('{uri}')", "ArrowTable").to_pylist()


def duckdb(uri: str) -> list[dict[str, Any]]:
    import duckdb

    from tests.support.tables import extension

    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as c:
        c.execute(f"LOAD '{extension('delta')}'")
        return c.execute(f"SELECT * FROM delta_scan('{uri}')").to_arrow_table().to_pylist()


def polars(uri: str) -> list[dict[str, Any]]:
    import polars as pl

    return pl.read_delta(uri).to_dicts()


def plain(value: Any) -> Any:
    """A value as every reader has it."""
    if isinstance(value, datetime):
        value = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        since = value - datetime(1970, 1, 1, tzinfo=UTC)
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value


if __name__ == "__main__":
    reader, base, *suffixes = sys.argv[1:]
    read = globals()[reader]
    found = {s: [{k: plain(v) for k, v in sorted(row.items())} for row in read(base + s)] for s in suffixes}
    print(json.dumps(found), flush=True)
    os._exit(0)  # old pyarrow and deltalake in one process may abort while they are taken down
