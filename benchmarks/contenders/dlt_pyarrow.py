"""dlt's sql_table to Delta tables in a folder, through its pyarrow backend."""

from __future__ import annotations

from benchmarks.contenders.common import contend
from benchmarks.contenders.dlt_pipeline import load


def work(database: str, target: str) -> int:
    """See `contend`."""
    return load(database, target, "pyarrow")


if __name__ == "__main__":
    contend(work)
