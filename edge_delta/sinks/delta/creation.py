"""How a Delta table begins: with its columns, and the properties by which any writer keeps its log short."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl
from deltalake import DeltaTable

from edge_delta.sinks.delta.types import to_delta

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_COMMITS_PER_CHECKPOINT = 20
_SKIPPED_BY = re.compile(
    r"(?:\w*_)?(?:id|rowid|time|timestamp|date|ts|at|generation|start|end)", re.IGNORECASE | re.ASCII
)
"""Names of columns by which queries leave files out: ids and times."""
_PLAIN = re.compile(r"\w+", re.ASCII)


def statistics_columns(schema: pl.Schema, more: Sequence[str] = ()) -> list[str]:
    """The columns whose minimum and maximum go into the log (Delta's ``delta.dataSkippingStatsColumns``).

    Every opened table holds them for every file: with 4 columns instead of 22, a table of 100,000 files needs two
    thirds of the memory and a third of the processor time to open. Measurements of one file have about the range of
    the next, so hardly a query skips by them; and without the property only the first 32 columns have any, those of
    ours in a wide raw table not among them.

    Args:
        schema: the table's columns.
        more: other names, in any case.
    """
    named = {name.lower() for name in more}
    return [
        name
        for name, dtype in schema.items()
        if _PLAIN.fullmatch(name)
        and (dtype.is_temporal() or _SKIPPED_BY.fullmatch(name) or name.lower() in named)
        and dtype != pl.Binary
    ]


def durable_properties(schema: pl.Schema, retention: timedelta, statistics: Sequence[str] = ()) -> dict[str, str]:
    """The properties by which a table stays small, for new tables and for ``maintain --upgrade``; see `create`."""
    kept = f"interval {round(retention / timedelta(hours=1))} hours"
    properties = {
        "delta.checkpointInterval": str(_COMMITS_PER_CHECKPOINT),
        "delta.logRetentionDuration": kept,
        "delta.deletedFileRetentionDuration": kept,
    }
    if columns := statistics_columns(schema, statistics):
        properties["delta.dataSkippingStatsColumns"] = ",".join(columns)
    return properties


def create(  # noqa: PLR0913 - what a table is made with
    uri: str,
    options: Mapping[str, str],
    schema: pl.Schema,
    *,
    append_only: bool,
    retention: timedelta,
    statistics: Sequence[str] = (),
    partition_by: Sequence[str] = (),
) -> None:
    """Make a table, unless there is one: the loser of a race between two devices takes the winner's.

    Args:
        uri: its address.
        options: storage options for delta-rs.
        schema: its columns, all nullable.
        append_only: whether it refuses deletes and updates.
        retention: how long older versions can be read.
        statistics: columns that have statistics besides ids and times.
        partition_by: the partition columns.
    """
    # A partition's value stands beside its files; Spark refuses statistics of it.
    kept = pl.Schema({name: dtype for name, dtype in schema.items() if name not in partition_by})
    properties = durable_properties(kept, retention, statistics)
    if append_only:
        properties["delta.appendOnly"] = "true"
    DeltaTable.create(
        uri,
        to_delta(schema),
        mode="ignore",
        partition_by=list(partition_by) or None,
        configuration=properties,
        storage_options=dict(options) or None,
    )
