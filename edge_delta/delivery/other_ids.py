"""Rows that a table has under ids which they had before: VACUUM gives a table without an INTEGER PRIMARY KEY new ones.

They are told by what is in them. The table is asked for rows of their times, in few stretches, so that one old row
among new ones does not make it read all that lies between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import polars as pl

from edge_delta.core.plan import ROWID
from edge_delta.core.questions import Condition, Question, mine, named
from edge_delta.delivery.alike import pairs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_delta.core.questions import Where
    from edge_delta.delivery.alike import Alike
    from edge_delta.delivery.route import Route

GENERATION = "source_generation"
_STRETCHES = 8
"""A question to the table takes a listing of its files, and a row's time may be anything."""


class Compared(Protocol):
    """What a table holds of a source, by columns that both have."""

    @property
    def route(self) -> Route:
        """The way to the table."""

    @property
    def key(self) -> str:
        """The table's column with the source row's id."""

    @property
    def time(self) -> str | None:
        """The table's column with the reading's time."""

    def alike(self, rows: pl.DataFrame, columns: list[str]) -> Alike:
        """Tells whether a delivered row is one of the source."""


class Pairs(NamedTuple):
    """Rows of a source that a table has, by the id of now, with the one that they had when they were delivered last.

    Attributes:
        equal: those that are as they were.
        alike: those that may be other ones, or were updated since.
        there: how many rows the table has at these times.
    """

    equal: dict[int, int]
    alike: dict[int, int]
    there: int


def under_other_ids(
    delivered: Compared,
    rows: pl.DataFrame,
    columns: list[str],
    generations: pl.Expr,
    moved: Mapping[int, int] | None = None,
) -> Pairs:
    """Which of a source's rows a table has, whatever their ids were.

    Args:
        delivered: what the table has.
        rows: the source's rows as the mode makes them.
        columns: those by which they are compared.
        generations: whether a row of the table is of interest.
        moved: by how much ids of some generations were larger than those that count.
    """
    found, time, own = Pairs({}, {}, 0), delivered.time, delivered.route.source.layout.id_column
    if time is None or time not in columns:
        return found
    columns = [name for name in columns if own is None or name != own.alias or name == time]
    alike = delivered.alike(rows, columns)
    asked = {ROWID: delivered.key, GENERATION: GENERATION, **named(*columns)}
    for some, where in _at_times(rows, time):
        beside = delivered.route.sink.ask(Question((*mine(delivered.route.device.node_id), *where), asked))
        beside = beside.filter(generations).sort(GENERATION, ROWID, descending=True)
        if moved:
            larger = pl.col(GENERATION).replace_strict(moved, default=0, return_dtype=pl.Int64)
            beside = beside.with_columns(pl.col(ROWID) - larger)
        equal, likely = pairs(
            zip(some[ROWID], some.select(columns).rows(), strict=True),
            zip(beside[ROWID], beside.select(columns).rows(), strict=True),
            alike,
        )
        found = Pairs(found.equal | equal, found.alike | likely, found.there + beside.height)
    return found


def _at_times(rows: pl.DataFrame, time: str) -> Iterator[tuple[pl.DataFrame, Where]]:
    """Rows by stretches of their times, with what the table's rows have to be; those without a time last."""
    for first, last in stretches(rows[time].drop_nulls().unique().sort()):
        there = pl.col(time).is_between(pl.lit(first), pl.lit(last))
        yield rows.filter(there), (Condition(time, ">=", first), Condition(time, "<=", last))
    if rows[time].null_count():
        yield rows.filter(pl.col(time).is_null()), (Condition(time, "null"),)


def stretches(times: pl.Series) -> Iterator[tuple[object, object]]:
    """Few stretches in which times lie, without the widest gaps between them.

    Args:
        times: ascending.
    """
    if not times.len():
        return
    cuts = list[int]()
    if times.dtype.is_numeric() or times.dtype.is_temporal():
        gaps = times.to_physical().cast(pl.Float64).diff().fill_null(0)
        cuts = sorted(gaps.arg_sort(descending=True).head(_STRETCHES - 1))
    for start, end in zip([0, *cuts], [*cuts, times.len()], strict=True):
        if start < end:
            yield times[start], times[end - 1]
