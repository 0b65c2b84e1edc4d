"""What all modes share: the plan they return, rules that reject rows, and strict casts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import polars as pl

if TYPE_CHECKING:
    from edge_delta.model import Column, Context

ROWID = "_rowid"
RULE = "_rule"
UTC = pl.Datetime("us", "UTC")
_EXACT_IN_DOUBLE = 2**53


@dataclass(frozen=True, slots=True)
class Layout:
    """The source's columns as a mode needs to know them.

    Attributes:
        columns: all of them.
        timestamp: the one with the reading's time.
        id_column: the one that is the rowid under another name.
    """

    columns: tuple[Column, ...]
    timestamp: Column | None
    id_column: Column | None


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
            that the row breaks, null for rows to keep.
        rules: the rules.
        selects: whether the mode leaves out rows on purpose, without rejecting them.
    """

    frame: pl.LazyFrame
    rules: tuple[Rule, ...] = ()


class Mode(Protocol):
    """A processing mode."""

    name: str

    def plan(self, frame: pl.LazyFrame, layout: Layout, context: Context) -> Plan:
        """The batch as the mode's table holds it. Collects nothing and works on a frame without rows."""


def first_broken(rules: tuple[Rule, ...]) -> pl.Expr:
    """The index of the first rule that a row breaks, null if it breaks none."""
    hits = [pl.when(rule.broken).then(pl.lit(i, dtype=pl.Int32)) for i, rule in enumerate(rules)]
    return pl.coalesce(hits).alias(RULE) if hits else pl.lit(None, dtype=pl.Int32).alias(RULE)


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
