"""What a table is asked, without the SQL of the engine that answers: `edge_delta.sinks.delta.sql` makes that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct, field

from edge_delta.core.model import BEFORE_FIRST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Sign = Literal["=", ">", ">=", "<", "<=", "in", "null", "null or >="]


class Condition(Struct, frozen=True):
    """A condition on one column; for ``in`` the value is a tuple of values."""

    column: str
    sign: Sign
    value: object = None


Where = tuple[Condition, ...]
"""Conditions that all hold."""


def mine(node_id: str, generation: int | None = None) -> Where:
    """This device's rows, of one generation or of all."""
    own = Condition("node_id", "=", node_id)
    return (own,) if generation is None else (own, Condition("source_generation", "=", generation))


def rejected_by(source_table: str, mode: str) -> Where:
    """Rows of the rejected table that one mode rejected of one source table."""
    return (Condition("source_table", "=", source_table), Condition("mode", "=", mode))


def between(column: str, after: int, upto: int) -> Where:
    """Values behind one and up to another; behind `BEFORE_FIRST` are all."""
    low = () if after == BEFORE_FIRST else (Condition(column, ">", after),)
    return (*low, Condition(column, "<=", upto))


def within(column: str, first: int, last: int) -> Where:
    """Values from one to another."""
    return (Condition(column, ">=", first), Condition(column, "<=", last))


def among(column: str, values: Iterable[object]) -> Where:
    """One of the values, with their bounds: by those, files are passed over."""
    listed = tuple(sorted(values))  # type: ignore[type-var]
    return (
        Condition(column, ">=", listed[0]),
        Condition(column, "<=", listed[-1]),
        Condition(column, "in", listed),
    )


class Moment(Struct, frozen=True, order=True):
    """A time by its microseconds since 1970, UTC: Python has none before the year 1, and a window may begin there."""

    micros: int


def moments(column: str, micros: Iterable[int]) -> Where:
    """As `among`, of times by their microseconds."""
    return among(column, map(Moment, micros))


class Total(Struct, frozen=True):
    """One number of a group of rows: a function of a column, or how many rows there are (``count`` of none)."""

    function: Literal["count", "min", "max", "sum"]
    column: str | None = None


class Question(Struct, frozen=True):
    """Rows of a table, or totals of groups of them.

    Attributes:
        where: which rows.
        columns: the column by the name that it has in the answer; None for all as they are.
        totals: the totals by their names in the answer; then ``columns`` are what the groups are made by.
        repeated: whether only groups with more than one row count.
        distinct: whether equal rows come once.
        order: names in the answer that it is ordered by.
    """

    where: Where = ()
    columns: Mapping[str, str] | None = None
    totals: Mapping[str, Total] = field(default_factory=dict)
    repeated: bool = False
    distinct: bool = False
    order: tuple[str, ...] = ()


def named(*columns: str) -> dict[str, str]:
    """Columns under their own names."""
    return {name: name for name in columns}


COUNT = Total("count")
"""How many rows."""
