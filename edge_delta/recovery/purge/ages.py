"""How old rows are, by their own time or, where that says nothing, by those of their neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct

from edge_delta.core import time_columns
from edge_delta.core.plan import ROWID
from edge_delta.core.time_formats import PLAUSIBLE_SINCE, moment

if TYPE_CHECKING:
    from edge_delta.core.model import Batch

_AHEAD = 86_400_000_000
"""Microseconds by which a clock may be ahead before its times say nothing any more."""


class Ages(Struct, frozen=True):
    """Which rows of a batch are old enough.

    Attributes:
        old: their ids.
        young: ids of rows that are not, by their own time.
        unknown: ids of rows without a time that says something, and without neighbours that have one.
    """

    old: frozenset[int]
    young: frozenset[int]
    unknown: frozenset[int]


def ages(batch: Batch, before: int | None, now: int) -> Ages:
    """How old the rows of a batch are.

    A time that cannot be read, from before 2000 or more than a day ahead says nothing: then a row is as old as the
    younger one of its neighbours, in the order of ids.

    Args:
        batch: the rows.
        before: microseconds since 1970; older rows are old enough, None if all are.
        now: the clock, in the same.
    """
    ids = [*batch.frame[ROWID], *(r.rowid for r in batch.rejected)]
    stamp = batch.layout.timestamp
    if before is None or stamp is None:
        return Ages(frozenset(ids), frozenset(), frozenset())
    own = time_columns.parse(batch.frame[stamp.alias], stamp.time).cast(pl.Int64)
    others = [moment(r.cells.get(stamp.alias), stamp.time) for r in batch.rejected]
    times = [*own, *(None if one is None else round(one.timestamp() * 1_000_000) for one in others)]
    time, first, last = pl.col("time"), round(PLAUSIBLE_SINCE.timestamp() * 1_000_000), now + _AHEAD
    rows = (
        pl.DataFrame({"id": ids, "time": times}, schema={"id": pl.Int64(), "time": pl.Int64()})
        .sort("id")
        .with_columns(pl.when(time.is_between(first, last)).then(time).alias("time"))
        .with_columns(pl.coalesce("time", pl.max_horizontal(time.forward_fill(), time.backward_fill())).alias("taken"))
    )
    young = rows.filter(pl.col("time") >= before)["id"]
    unknown = rows.filter(pl.col("taken").is_null())["id"]
    return Ages(frozenset(rows.filter(pl.col("taken") < before)["id"]), frozenset(young), frozenset(unknown))
