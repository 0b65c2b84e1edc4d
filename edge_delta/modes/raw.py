"""raw: every source column, value for value, typed by its declaration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from edge_delta.modes.base import ROWID, Layout, Plan, bookkeeping

if TYPE_CHECKING:
    from edge_delta.config import Settings
    from edge_delta.model import Context


class Raw:
    """The source's columns in their order, then the row's id and the bookkeeping columns."""

    name = "raw"

    def plan(self, frame: pl.LazyFrame, layout: Layout, context: Context) -> Plan:
        """See `Mode.plan`. A source column that has the name of one of ours gets the prefix ``source_``."""
        ours = {"source_rowid": pl.col(ROWID), **bookkeeping(context)}
        theirs = [
            pl.col(c.alias).alias(f"source_{c.alias}" if c.alias.lower() in ours else c.alias) for c in layout.columns
        ]
        return Plan(frame.select(pl.col(ROWID), *theirs, **ours))


def build(_settings: Settings) -> Raw:
    """Raw has no settings."""
    return Raw()
