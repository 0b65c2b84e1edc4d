"""Partitions of a table, where its owner wants some: by device, or by date.

The date is a column of its own, ``partition_date``, because a generated column would lock delta-rs and old readers out.
It is made from the time of what a row is about; a raw table, which has the source's own columns, and the rejected one
take the time of arrival.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from edge_delta.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deltalake import DeltaTable

DATE = "partition_date"
_TIMES = ("window_start", "timestamp", "databricks_inserted_at")


def columns_of(partition_by: str | None) -> list[str]:
    """The partition columns of a new table by the setting."""
    return [] if partition_by is None else [DATE if partition_by == "date" else partition_by]


def dated(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """The frame with the date, if it is one of the partition columns."""
    if DATE not in columns or DATE in frame.columns:
        return frame
    time = next((name for name in _TIMES if isinstance(frame.schema.get(name), pl.Datetime)), None)
    made = pl.lit(None, dtype=pl.Date) if time is None else pl.col(time).dt.date()
    return frame.with_columns(made.alias(DATE))


def refuse_another_layout(table: DeltaTable, partition_by: str | None, uri: str) -> None:
    """See that a table is partitioned as the settings say; if they say nothing, any layout will do.

    Raises:
        ConfigurationError: if not: a table cannot be partitioned otherwise without writing all of it again.
    """
    there, wanted = table.metadata().partition_columns, columns_of(partition_by)
    if wanted in ([], there):
        return
    known = {DATE: "date", "node_id": "node_id"}
    [first] = there if len(there) == 1 else [""]
    cure = f'Set partition_by = "{known[first]}"' if first in known else "Remove partition_by from the settings"
    raise ConfigurationError(
        f"table {uri} is partitioned by {', '.join(there) or 'nothing'}, and maintenance.partition_by asks for "
        f"{wanted[0]}",
        f"{cure}, or set another table_path",
    )
