"""The table of what was delivered again: which rows of which generation a ``reset`` took the place of.

Nobody writes it but ``reset``. Readers leave out what it names (`sql/03_views.sql`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from edge_delta.core.questions import Condition, mine, rejected_by

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_delta.core.model import Context
    from edge_delta.core.questions import Where

SCHEMA = pl.Schema(
    {
        "node_id": pl.String(),
        "source_table": pl.String(),
        "mode": pl.String(),
        "source_generation": pl.Int32(),
        "after_id": pl.Int64(),
        "upto_id": pl.Int64(),
        "by_generation": pl.Int32(),
        "other_ids": pl.Boolean(),
        "databricks_inserted_at": pl.Datetime("us", "UTC"),
    }
)
"""Rows of ``source_generation`` behind ``after_id`` and up to ``upto_id`` come again as ``by_generation``: under the
same ids, unless ``other_ids``."""


def as_frame(rows: Iterable[tuple[int, int, int, bool]], context: Context, *, mode: str) -> pl.DataFrame:
    """What a generation takes the place of.

    Args:
        rows: generation, the ids behind and up to which, and whether they have other ids by now.
        context: the generation that takes the place, and when.
        mode: whose table.
    """
    ours = (context.node_id, context.source_table, mode)
    found = [(*ours, g, after, upto, context.generation, ids, context.inserted_at) for g, after, upto, ids in rows]
    return pl.DataFrame(found, schema=SCHEMA, orient="row")


def of_generation(context: Context, mode: str) -> Where:
    """What a generation takes the place of in a mode's table."""
    own = (*mine(context.node_id), *rejected_by(context.source_table, mode))
    return (*own, Condition("by_generation", "=", context.generation))
