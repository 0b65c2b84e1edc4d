"""What all modes share: the plan they return, rules that reject rows, and strict casts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC as UTC_ZONE
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, Self

import polars as pl

from edge_delta.core.model import Context, Kind, Layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edge_delta.core.model import Column, Rejection

ROWID = "_rowid"
RULE = "_rule"
UTC = pl.Datetime("us", "UTC")
_EXACT_IN_DOUBLE = 2**53

DTYPES = {
    Kind.INTEGER: pl.Int64(),
    Kind.REAL: pl.Float64(),
    Kind.TEXT: pl.String(),
    Kind.BLOB: pl.Binary(),
    Kind.BOOLEAN: pl.Boolean(),
}
"""The frame's type of each kind of column."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that rejects rows.

    Attributes:
        name: the rule's name, as in the rejected table.
        column: the frame's column that it looks at.
        reason: in words.
        broken: true where a row breaks it; null counts as not broken.
    """

    name: str
    column: str
    reason: str
    broken: pl.Expr


@dataclass(frozen=True, slots=True)
class Plan:
    """What a mode makes of a batch.

    Attributes:
        frame: the target columns and ``_rowid``; where there are rules also ``_rule``, the index of the first rule
            that the row breaks, null for rows to keep. Rows and their order are the batch's.
        rules: the rules.
        select: what becomes of the rows that are kept, for modes whose tables hold something else than readings.
    """

    frame: pl.LazyFrame
    rules: tuple[Rule, ...] = ()
    select: Callable[[pl.LazyFrame], pl.LazyFrame] | None = None

    def but(self, *rules: Rule) -> Plan:
        """The plan with more rules, which look at its frame's columns and come after those it has."""
        if not rules:
            return self
        mark = first_broken(rules) + pl.lit(len(self.rules), dtype=pl.Int32)
        if self.rules:
            mark = pl.coalesce(pl.col(RULE), mark)
        return replace(self, frame=self.frame.with_columns(mark.alias(RULE)), rules=(*self.rules, *rules))

    @property
    def marks(self) -> tuple[str, ...]:
        """The helping column of a plan with rules."""
        return (RULE,) if self.rules else ()

    def changed(self, frame: pl.LazyFrame) -> Plan:
        """The same rules over another frame with the same rows."""
        return replace(self, frame=frame)


@dataclass(frozen=True, slots=True)
class LastValues:
    """A request for what was before the batch: each sensor's last value within limits, by column.

    Attributes:
        sensor: the column with the sensor's name, None for one sensor.
        columns: the source column by the name that the mode has for it.
        limits: lower and upper limit by that name, None for no limit.
        dtypes: the type by that name.
    """

    sensor: Column | None
    columns: Mapping[str, Column]
    limits: Mapping[str, tuple[float | None, float | None]]
    dtypes: Mapping[str, pl.DataType]


@dataclass(frozen=True, slots=True)
class TableQuery:
    """A request for what the mode's own table holds.

    Attributes:
        sql: a query over the table, which it calls ``t``.
        schema: the result's columns and types, also where there is no table yet.
    """

    sql: str
    schema: Mapping[str, pl.DataType]


class Mode(Protocol):
    """A processing mode. What it is whatever its settings are stands in `edge_delta.modes.traits`."""

    @property
    def name(self) -> str:
        """The mode's name."""

    @property
    def filled(self) -> frozenset[str]:
        """The columns in which it may put a value where the source has none."""

    @property
    def draws_places(self) -> bool:
        """Whether it displaces coordinates at random, so that no second run gives the same."""

    def plan(self, frame: pl.LazyFrame, layout: Layout, context: Context) -> Plan:
        """The batch as the mode's table holds it. Collects nothing and works on a frame without rows."""

    def problems(self, layout: Layout) -> list[str]:
        """What in the mode's settings cannot work with this source."""

    def redacted(self, rejections: list[Rejection], layout: Layout) -> list[Rejection]:
        """Rejected rows without what the mode's table does not show."""

    # A mode that looks back behind the batch has a memory, which can be had again from the source or the table.

    def wanted(self, layout: Layout, context: Context) -> LastValues | TableQuery | None:
        """What to fetch before the first batch; None if this mode, as it is set, does not look back."""

    def remembered(self, memory: pl.DataFrame, batch: pl.DataFrame, kept: pl.DataFrame, layout: Layout) -> pl.DataFrame:
        """The memory after a batch: of the same form, and not larger than one row a sensor (and rule)."""

    def forgetful(self) -> Mode:
        """The same mode without what depends on rows of its table that came before."""


class Plain:
    """The parts of a mode that most modes have no need for."""

    __slots__ = ()

    @property
    def filled(self) -> frozenset[str]:
        """None."""
        return frozenset()

    @property
    def draws_places(self) -> bool:
        """No."""
        return False

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

    def forgetful(self) -> Self:
        """The mode itself."""
        return self


def first_broken(rules: tuple[Rule, ...]) -> pl.Expr:
    """The index of the first rule that a row breaks, null if it breaks none."""
    hits = [pl.when(rule.broken).then(pl.lit(i, dtype=pl.Int32)) for i, rule in enumerate(rules)]
    return pl.coalesce(hits).alias(RULE) if hits else pl.lit(None, dtype=pl.Int32).alias(RULE)


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
        "databricks_inserted_at": pl.lit(context.inserted_at, dtype=UTC),
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
