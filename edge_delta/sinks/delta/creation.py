"""How a Delta table begins: with its columns, and the properties by which any writer keeps its log short."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from deltalake import DeltaTable

from edge_delta.sinks.delta.types import to_delta

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

_COMMITS_PER_CHECKPOINT = 20


def create(uri: str, options: Mapping[str, str], schema: pl.Schema, *, append_only: bool, retention: timedelta) -> None:
    """Make a table, unless there is one: the loser of a race between two devices takes the winner's.

    Args:
        uri: its address.
        options: storage options for delta-rs.
        schema: its columns, all nullable.
        append_only: whether it refuses deletes and updates.
        retention: how long older versions can be read.
    """
    kept = f"interval {round(retention / timedelta(hours=1))} hours"
    properties = {
        "delta.checkpointInterval": str(_COMMITS_PER_CHECKPOINT),
        "delta.logRetentionDuration": kept,
        "delta.deletedFileRetentionDuration": kept,
    }
    if append_only:
        properties["delta.appendOnly"] = "true"
    DeltaTable.create(
        uri, to_delta(schema), mode="ignore", configuration=properties, storage_options=dict(options) or None
    )
