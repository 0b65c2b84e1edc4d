"""What all modes share: types, bookkeeping columns, and strict casts."""

from __future__ import annotations

from datetime import UTC as UTC_ZONE
from datetime import datetime
from typing import TYPE_CHECKING, Self

import polars as pl

from edge_delta.core.model import Context, Kind, Layout
from edge_delta.core.plan import ROWID
from edge_delta.core.time_columns import UTC as UTC  # noqa: PLC0414 - the frames' type, for all modes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from edge_delta.core.model import Rejection
    from edge_delta.core.plan import LastValues, Plan, TableQuery

_EXACT_IN_DOUBLE = 2**53

DTYPES = {
    Kind.INTEGER: pl.Int64(),
    Kind.REAL: pl.Float64(),
    Kind.TEXT: pl.String(),
    Kind.BLOB: pl.Binary(),
    Kind.BOOLEAN: pl.Boolean(),
    Kind.TIMESTAMP: UTC,
}
"""The frame's type of each kind of column."""


class Plain:
    """The parts of a mode that most modes have no need for."""

    __slots__ = ()

    @property
    def filled(self) -> frozenset[str]:
        """None."""
        return frozenset()

    @property
    def carried(self) -> frozenset[str]:
        """None."""
        return frozenset()

    def uncarried(self) -> Self:
        """The mode itself."""
        return self

    def keeping_places(self) -> Self:
        """The mode itself."""
        return self

    def problems(self, _layout: Layout) -> list[str]:
        """None."""
        return []

    def redacted(self, rejections: list[Rejection], _layout: Layout) -> list[Rejection]:
        """The rejected rows as they are."""
        return rejections

    def wanted(self, _layout: Layout, _context: Context) -> LastValues | TableQuery | None:
        """Nothing: the mode does not look back."""
        return None

    def remembered(
        self, memory: pl.DataFrame, _batch: pl.DataFrame, _kept: pl.DataFrame, _layout: Layout
    ) -> pl.DataFrame:
        """The memory as it is."""
        return memory

    def of_lives(self, memory: pl.DataFrame, lives: Sequence[int], *, after: int) -> pl.DataFrame:  # noqa: ARG002 - see the port
        """See `Mode.of_lives`: what came of this source."""
        return memory.filter(pl.col("source_generation").is_in(list(lives)))

    def counted_from(self, memory: pl.DataFrame) -> tuple[pl.DataFrame, int | None]:
        """See `Mode.counted_from`."""
        return memory, None

    def forgetful(self) -> Self:
        """The mode itself."""
        return self


def beside(wanted: Mapping[str, str], taken: Iterable[str]) -> dict[str, str]:
    """Names for columns in a table that has some already: where one is taken, ``source_`` goes before it.

    Args:
        wanted: the name that each column would have, by alias.
        taken: the names that the table has.

    Returns:
        The name that each column gets, by alias, in the given order.
    """
    used = {name.lower() for name in taken}
    given = {}
    # Those that keep their names come first, so that no new name takes one of theirs.
    for alias, wish in sorted(wanted.items(), key=lambda item: item[1].lower() in used):
        name = wish
        while name.lower() in used:
            name = f"source_{name}"
        used.add(name.lower())
        given[alias] = name
    return {alias: given[alias] for alias in wanted}


def columns_of(plan: Callable[[pl.LazyFrame, Layout, Context], Plan], layout: Layout) -> pl.Schema:
    """The columns that a mode's plan makes of this source, with their types."""
    nothing = pl.LazyFrame(schema={ROWID: pl.Int64(), **{c.alias: DTYPES[c.kind] for c in layout.columns}})
    nobody = Context("", 0, datetime.fromtimestamp(0, UTC_ZONE))
    return plan(nothing, layout, nobody).frame.collect_schema()


def bookkeeping(context: Context) -> dict[str, pl.Expr]:
    """The columns that every table has: who wrote the row, from which source, and when."""
    return {
        # A literal of a time with a zone is worked out as a column of its own, which takes half a millisecond a batch.
        "databricks_inserted_at": pl.lit(round(context.inserted_at.timestamp() * 1_000_000)).cast(UTC),
        "node_id": pl.lit(context.node_id),
        "source_generation": pl.lit(context.generation, dtype=pl.Int32),
    }


def strict_cast(name: str, source: pl.DataType, target: pl.DataType) -> tuple[pl.Expr, pl.Expr | None]:
    """A column in another type without changing a value, and where that cannot be done.

    Args:
        name: the column.
        source: its type.
        target: the wanted type.

    Returns:
        The cast, null where it would change the value, and an expression that is true there; None if it always works.
    """
    column = pl.col(name)
    if source == target:
        return column, None
    if target == pl.String and source != pl.Binary:
        return column.cast(pl.String), None
    cast = _exact(column, source, target)
    return cast, column.is_not_null() & cast.is_null()


def _exact(column: pl.Expr, source: pl.DataType, target: pl.DataType) -> pl.Expr:
    if source == pl.String and target.is_numeric():
        number = column.str.strip_chars().cast(pl.Float64, strict=False)
        return number if target == pl.Float64 else column.str.strip_chars().cast(target, strict=False)
    if source == pl.Boolean and target.is_numeric():
        return column.cast(target)
    if source.is_integer() and target == pl.Float64:
        return pl.when(column.is_between(-_EXACT_IN_DOUBLE, _EXACT_IN_DOUBLE)).then(column.cast(pl.Float64))
    if source.is_float() and target.is_integer():
        whole = column.cast(target, strict=False)
        return pl.when(whole.cast(pl.Float64) == column).then(whole)
    if source.is_integer() and target.is_integer():
        return column.cast(target, strict=False)
    return pl.lit(None, dtype=target)
