"""The functions of windows, in parts that can be merged: what a window comes to depends on its groups, not its rows.

A window's rows come in batches. What is kept of each batch is one row a group with *parts*: counts, sums, sums of
squared deviations (Chan, Golub, LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances",
1979), extremes, and the first and last value with their place. Parts of parts are parts again, and merging them gives
what one aggregation over all rows gives, but for the last bits of sums of doubles. Quantiles have no such parts: they
need all values (see `edge_delta.delivery.quantiles`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from edge_delta.core.plan import ROWID

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TIME = "timestamp"
QUANTILES = {"median": 0.5, "p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
"""Functions that need all values, with the share of them that lies below. They interpolate (PERCENTILE_CONT)."""
PREFIX = {"mean": "avg"}
"""Output columns are named by the function, but for these."""
FOR_ALL_TYPES = ("min", "max", "count", "first", "last")
"""Functions of columns that are no numbers, too."""
_PARTS = {
    "mean": ("n", "f"),
    "sum": ("n", "s", "f"),
    "count": ("n",),
    "std": ("n", "f", "q"),
    "min": ("min",),
    "max": ("max",),
    "first": ("first", "first_time", "first_row"),
    "last": ("last", "last_time", "last_row"),
}
"""n: values; s: their sum in their own kind; f: their sum as doubles; q: squared deviations from their mean."""
_IN_ORDER = [TIME, ROWID]
_LARGEST_SUM = 9.2e18
"""Sums of whole numbers wrap around in 64 bits; as doubles they do not, and are right to the twelfth digit."""


def output(function: str, column: str) -> str:
    """The name of the column that a function of a column comes to."""
    return f"{PREFIX.get(function, function)}_{column}"


def parts_of(functions: Iterable[str]) -> tuple[str, ...]:
    """The parts that these functions of one column need."""
    return tuple(dict.fromkeys(part for function in functions for part in _PARTS.get(function, ())))


def part_name(column: str, part: str) -> str:
    """The name of a part; no source column can have it."""
    return f"{column}\x1f{part}"


# -- of rows


def part(column: str, kind: str, dtype: pl.DataType) -> pl.Expr:
    """A part of some rows' values, within a group."""
    values = pl.col(column)
    ordered = values.sort_by(_IN_ORDER)
    present = ordered.is_not_null()
    made = {
        "n": values.count().cast(pl.Int64),
        # Polars adds 32-bit integers up in 32 bits, and they wrap around.
        "s": (values.cast(pl.Int64) if dtype.is_integer() else values).sum(),
        "f": values.cast(pl.Float64).sum(),
        "q": (values.cast(pl.Float64).var(ddof=0) * values.count()).fill_null(0.0),
        "min": values.min(),
        "max": values.max(),
        "first": ordered.filter(present).first(),
        "first_time": pl.col(TIME).sort_by(_IN_ORDER).filter(present).first(),
        "first_row": pl.col(ROWID).sort_by(_IN_ORDER).filter(present).first(),
        "last": ordered.filter(present).last(),
        "last_time": pl.col(TIME).sort_by(_IN_ORDER).filter(present).last(),
        "last_row": pl.col(ROWID).sort_by(_IN_ORDER).filter(present).last(),
    }[kind]
    return made.alias(part_name(column, kind))


# -- of parts


def merged(column: str, kind: str) -> pl.Expr:
    """A part of some parts, within a group."""

    def of(name: str) -> pl.Expr:
        return pl.col(part_name(column, name))

    made = {
        "n": of("n").sum(),
        "s": of("s").sum(),
        "f": of("f").sum(),
        "q": _deviations(of("n"), of("f"), of("q")),
        "min": of("min").min(),
        "max": of("max").max(),
    }
    if kind in made:
        return made[kind].alias(part_name(column, kind))
    side = kind.partition("_")[0]
    place = [of(f"{side}_time"), of(f"{side}_row")]
    present = of(f"{side}_row").sort_by(place).is_not_null()
    values = of(kind).sort_by(place).filter(present)
    return (values.first() if side == "first" else values.last()).alias(part_name(column, kind))


def _deviations(n: pl.Expr, f: pl.Expr, q: pl.Expr) -> pl.Expr:
    apart = n * (f / n - f.sum() / n.sum()) ** 2
    return q.sum() + pl.when(n > 0).then(apart).otherwise(0.0).sum()


def finished(column: str, function: str, types: Mapping[str, pl.DataType]) -> pl.Expr:
    """What a function comes to. As in SQL, NULL is passed over, ``sum`` of nothing is NULL, ``std`` is the sample's.

    A sum of whole numbers that 64 bits do not hold is NULL; the number of values and their mean are there.
    """

    def of(name: str) -> pl.Expr:
        return pl.col(part_name(column, name))

    whole = types.get(part_name(column, "s"), pl.Null()).is_integer()
    holds = of("f").abs() < _LARGEST_SUM if whole else pl.lit(value=True)
    made = {
        "mean": pl.when(of("n") > 0).then(of("f") / of("n")),
        "sum": pl.when(of("n") > 0, holds).then(of("s")),
        "std": pl.when(of("n") > 1).then((of("q") / (of("n") - 1)).sqrt()),
        "count": of("n"),
    }.get(function, of(function))
    return made.alias(output(function, column))


def quantile(column: str, function: str) -> pl.Expr:
    """A quantile of all values of a group."""
    share = pl.col(column).median() if function == "median" else pl.col(column).quantile(QUANTILES[function], "linear")
    return share.alias(output(function, column))
