"""What makes an alert, and its row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct

from edge_delta.core.plan import ROWID
from edge_delta.modes.cooldown import OVER, SILENCED

if TYPE_CHECKING:
    from collections.abc import Mapping

NOTHING = pl.lit(None, dtype=pl.Float64)
_UNITS = ("unit", "units", "uom")


class Trigger(Struct, frozen=True):
    """One rule that makes alerts.

    Attributes:
        alert_type: the rule's name; with the sensor it is what a cooldown counts by.
        severity: the alert's severity.
        fires: true where a row makes an alert.
        message: the alert's text.
        over: true where a row says that it is over.
        value: what was measured.
        limit: what it was measured against.
        column: whose unit it is.
    """

    alert_type: str
    severity: str
    fires: pl.Expr
    message: pl.Expr
    over: pl.Expr
    value: pl.Expr = NOTHING
    limit: pl.Expr = NOTHING
    column: str = ""


class AlertLimits(Struct, frozen=True):
    """Alert strictly below ``min`` and strictly above ``max``."""

    min: float | None = None
    max: float | None = None
    severity: str = "high"


def of_threshold(name: str, threshold: AlertLimits) -> list[Trigger]:
    """The rules of a column's limits."""
    column = pl.col(name)
    found = []
    for side, word, limit in (("high", "above", threshold.max), ("low", "below", threshold.min)):
        if limit is None:
            continue
        fires = column > limit if side == "high" else column < limit
        message = pl.format(f"{name} {{}} is {word} {limit:g}", column)
        value, bound = column.cast(pl.Float64), pl.lit(limit, dtype=pl.Float64)
        found.append(Trigger(f"{name}_{side}", threshold.severity, fires, message, ~fires, value, bound, name))
    return found


def alerts_of(kept: pl.LazyFrame, trigger: Trigger, types: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    """The rows of a rule where it fires."""
    return kept.filter(trigger.fires).select(*_row(trigger, trigger.severity, trigger.message, types))


def ends_of(kept: pl.LazyFrame, trigger: Trigger, types: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    """The rows that may end a group of a rule's alerts."""
    message = pl.lit(f"{trigger.alert_type} is over")
    return kept.filter(trigger.over).select(*_row(trigger, OVER, message, types))


def _row(trigger: Trigger, severity: str, message: pl.Expr, types: Mapping[str, pl.DataType]) -> list[pl.Expr]:
    """An alert's columns, and the row that it is of."""
    return [
        pl.col(ROWID),
        pl.col("sensor_id"),
        pl.col("timestamp"),
        pl.lit(trigger.alert_type).alias("alert_type"),
        pl.lit(severity).alias("severity"),
        message.alias("message"),
        pl.col("reading_id"),
        pl.col("anomaly_type"),
        trigger.value.alias("value"),
        trigger.limit.alias("limit_value"),
        _unit(trigger.column, types).alias("unit"),
        pl.lit(None, dtype=pl.Int64).alias(SILENCED),
    ]


def _unit(column: str, types: Mapping[str, pl.DataType]) -> pl.Expr:
    """The unit as the source has it: in a column for this one's unit, or for that of the whole reading."""
    names = {name.lower(): name for name in types if types[name] == pl.String}
    wanted = (*(f"{column}_{unit}" for unit in _UNITS), *_UNITS) if column else ()
    found = [pl.col(names[name.lower()]) for name in wanted if name.lower() in names]
    return pl.coalesce(found) if found else pl.lit(None, dtype=pl.String)
