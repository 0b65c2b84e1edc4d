"""polars reads the table through connectorx and writes it with write_delta."""

from __future__ import annotations

import polars as pl

from benchmarks.contenders.common import contend
from benchmarks.generate import TABLE


def work(database: str, target: str) -> int:
    """See `contend`."""
    frame = pl.read_database_uri(f"SELECT * FROM {TABLE}", f"sqlite://{database}", engine="connectorx")
    frame = frame.with_columns(pl.col("timestamp").str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_zone="UTC"))
    frame.write_delta(target, mode="append")
    return frame.height


if __name__ == "__main__":
    contend(work)
