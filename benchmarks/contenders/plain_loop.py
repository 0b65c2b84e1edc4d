"""A plain loop: fetchmany from the standard library's sqlite3, and write_deltalake for each batch."""

from __future__ import annotations

import sqlite3

import pyarrow as pa
from deltalake import write_deltalake

from benchmarks.contenders.common import contend
from benchmarks.generate import TABLE

_ROWS_A_BATCH = 131_072
_TYPES = {"INTEGER": pa.int64(), "REAL": pa.float64(), "TEXT": pa.string(), "BLOB": pa.binary()}


def work(database: str, target: str) -> int:
    """See `contend`."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    described = connection.execute(f"PRAGMA table_info({TABLE})").fetchall()
    schema = pa.schema([(name, _TYPES[declared.split()[0]]) for _, name, declared, *_ in described])
    cursor = connection.execute(f"SELECT * FROM {TABLE} ORDER BY id")
    rows = 0
    while batch := cursor.fetchmany(_ROWS_A_BATCH):
        columns = [pa.array(values, field.type) for values, field in zip(zip(*batch, strict=True), schema, strict=True)]
        write_deltalake(target, pa.Table.from_arrays(columns, schema=schema), mode="append")
        rows += len(batch)
    return rows


if __name__ == "__main__":
    contend(work)
