"""What a table has to do with frames: the one module of the sink that imports Polars with all that goes with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from deltalake import QueryBuilder

from edge_delta.sinks.delta import constraints, sql
from edge_delta.sinks.delta.creation import create
from edge_delta.sinks.delta.parquet import plain_arrow, writer_properties
from edge_delta.sinks.delta.partitions import columns_of, dated
from edge_delta.sinks.delta.types import fitted, to_polars

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from edge_delta.core.questions import Question

__all__ = [
    "answer",
    "columns_of",
    "create",
    "dated",
    "fitted",
    "plain_arrow",
    "refused",
    "to_polars",
    "writer_properties",
]


def answer(table: DeltaTable, question: Question) -> pl.DataFrame:
    """What a table answers."""
    return pl.DataFrame(QueryBuilder().register(sql.TABLE, table).execute(sql.statement(question)).read_all())


def refused(table: DeltaTable, frame: pl.DataFrame, uri: str) -> dict[int, tuple[str, str]]:
    """The rows that a table's own conditions refuse, see `constraints.refused`."""
    having = constraints.conditions(table)
    return constraints.refused(fitted(frame, table.schema(), uri)[0], having) if having else {}
