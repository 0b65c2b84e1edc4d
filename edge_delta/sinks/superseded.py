"""The table of what was delivered again: which rows of which generation a ``reset`` took the place of.

Nobody writes it but ``reset``. Readers leave out what it names (`sql/03_views.sql`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from edge_delta.core.questions import Condition, Question, mine, rejected_by

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_delta.core.model import Context
    from edge_delta.core.ports import Sink
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


def read(sink: Sink, where: Where) -> pl.DataFrame:
    """A part of the table, in its shape."""
    return sink.ask(Question(where)).select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


def cut(sink: Sink, where: Where, ends: tuple[int, int | None], *, first: int | None) -> pl.DataFrame:
    """What the table has, less those rows that do not come again.

    Args:
        sink: the table.
        where: what to look at.
        ends: the last id of the rows that were to come again, and of those that do; None if none does.
        first: where those have other ids by now, the one that the first of them had.
    """
    last, upto = ends
    there = read(sink, where)
    if upto is None:
        return there.clear()
    # Of rows whose ids were others already no fewer ids lie between two of them than there are now.
    same, fewer = pl.col("upto_id").clip(upper_bound=upto), pl.col("upto_id") - (last - min(upto, last))
    known = there.with_columns(pl.when("other_ids").then(fewer).otherwise(same).alias("upto_id"))
    if first is not None:
        known = known.with_columns(
            pl.col("after_id").clip(lower_bound=first - 1), pl.lit(value=True).alias("other_ids")
        )
    return known.filter(pl.col("after_id") < pl.col("upto_id"))


def of_generation(context: Context, mode: str) -> Where:
    """What a generation takes the place of in a mode's table."""
    own = (*mine(context.node_id), *rejected_by(context.source_table, mode))
    return (*own, Condition("by_generation", "=", context.generation))
