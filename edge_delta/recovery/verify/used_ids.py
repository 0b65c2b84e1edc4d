"""Ids that were used again: a ring table's rows stand in the table one after the other, under one id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_delta.delivery.route import Route

_NOW = "\0now"


def time_of(route: Route) -> str | None:
    """The table's column with the time of a row, by which it is told from others under its id; None if it has none."""
    stamp = route.source.timestamp
    if stamp is None or not route.source.keyed_by_rowid:
        return None
    name = route.traits.time or stamp.alias
    return name if name in route.sink.columns() else None


def of_now(ours: pl.DataFrame, theirs: pl.DataFrame, keys: Sequence[str], time: str | None) -> pl.DataFrame:
    """The table's rows without those of an id whose row of now is there too, with its time.

    Args:
        ours: the source's rows as the mode makes them.
        theirs: the table's.
        keys: by what rows are told.
        time: the column with their times.
    """
    if time is None or time in keys or time not in ours.columns or not theirs.select(keys).is_duplicated().any():
        return theirs
    now = ours.select(*keys, pl.col(time).alias(_NOW)).unique(keys)
    beside = theirs.join(now, on=list(keys), how="left", nulls_equal=True, maintain_order="left")
    same = pl.col(time).eq_missing(pl.col(_NOW))
    return beside.filter(same | ~same.any().over(keys)).drop(_NOW)
