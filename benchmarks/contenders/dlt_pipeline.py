"""The dlt pipeline of both backends."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"

import dlt
from dlt.destinations import filesystem
from dlt.sources.sql_database import sql_table

from benchmarks.generate import TABLE

_ROWS_A_CHUNK = 100_000


def load(database: str, target: str, backend: str, backend_options: dict[str, str] | None = None) -> int:
    """Run the pipeline once; returns the rows that it says it brought over."""
    pipeline = dlt.pipeline(
        "benchmark",
        destination=filesystem(bucket_url=Path(target).as_uri()),
        dataset_name="lake",
        pipelines_dir=str(Path(target).with_name("pipelines")),
    )
    source = sql_table(
        credentials=f"sqlite:///{database}",
        table=TABLE,
        backend=backend,
        chunk_size=_ROWS_A_CHUNK,
        backend_kwargs=backend_options or {},
    )
    pipeline.run(source, table_format="delta", write_disposition="append")
    return int(pipeline.last_trace.last_normalize_info.row_counts[TABLE])
