"""The rejected table: rows that a mode's table cannot hold, whole and with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from edge_delta.core.cells import as_json, shown

if TYPE_CHECKING:
    from edge_delta.core.model import Context, Rejection

SCHEMA = pl.Schema(
    {
        "node_id": pl.String(),
        "source_table": pl.String(),
        "source_generation": pl.Int32(),
        "reading_id": pl.Int64(),
        "mode": pl.String(),
        "rule": pl.String(),
        "column_name": pl.String(),
        "value": pl.String(),
        "reason": pl.String(),
        "row": pl.String(),
        "databricks_inserted_at": pl.Datetime("us", "UTC"),
        "replayed_at": pl.Datetime("us", "UTC"),
    }
)
"""``row`` is the source row as JSON without loss; ``value`` may be shortened. ``replayed_at`` is when the row passed
after all, NULL while it did not."""


def as_frame(rejections: list[Rejection], context: Context, *, mode: str, source_table: str) -> pl.DataFrame:
    """Rejections as rows of the rejected table."""
    return pl.DataFrame(
        {
            "node_id": [context.node_id] * len(rejections),
            "source_table": source_table,
            "source_generation": context.generation,
            "reading_id": [r.rowid for r in rejections],
            "mode": mode,
            "rule": [r.rule for r in rejections],
            "column_name": [r.column for r in rejections],
            "value": [shown(r.cells.get(r.column)) for r in rejections],
            "reason": [r.reason for r in rejections],
            "row": [as_json(r.cells) for r in rejections],
            "databricks_inserted_at": context.inserted_at,
            "replayed_at": None,
        },
        schema=SCHEMA,
    )
