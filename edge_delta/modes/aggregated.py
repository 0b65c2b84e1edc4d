"""aggregated: event-time windows. When they are written and corrected is `edge_delta.delivery.windows`' business."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from edge_delta.core.plan import ROWID, Plan, Rule
from edge_delta.core.questions import Total
from edge_delta.modes import schematized
from edge_delta.modes.base import Plain, bookkeeping, columns_of
from edge_delta.modes.schematized import STANDARD, Schematized

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_delta.core.model import Context, Layout, Rejection
    from edge_delta.settings.sections import Settings

WINDOW = "window_start"
WINDOW_END = "window_end"
FIRST_ID, LAST_ID, COUNT = "first_reading_id", "last_reading_id", "record_count"
SPAN = {"n": Total("sum", COUNT), "first": Total("min", FIRST_ID), "last": Total("max", LAST_ID)}
"""Of a window in the table: how many rows it was made of, and where they lay in the source."""
_MINUTES_AN_HOUR, _MINUTES_A_DAY = 60, 1440
_IN_ORDER = ["timestamp", ROWID]


def _in_order(column: pl.Expr) -> pl.Expr:
    return column.sort_by(_IN_ORDER).filter(column.sort_by(_IN_ORDER).is_not_null())


_FUNCTIONS: dict[str, tuple[str, Callable[[pl.Expr], pl.Expr]]] = {
    "mean": ("avg", pl.Expr.mean),
    "min": ("min", pl.Expr.min),
    "max": ("max", pl.Expr.max),
    "sum": ("sum", lambda c: pl.when(c.count() > 0).then(c.sum())),
    "count": ("count", lambda c: c.count().cast(pl.Int64)),
    "first": ("first", lambda c: _in_order(c).first()),
    "last": ("last", lambda c: _in_order(c).last()),
    "median": ("median", pl.Expr.median),
    "std": ("std", pl.Expr.std),
    "p50": ("p50", lambda c: c.quantile(0.50, "linear")),
    "p90": ("p90", lambda c: c.quantile(0.90, "linear")),
    "p95": ("p95", lambda c: c.quantile(0.95, "linear")),
    "p99": ("p99", lambda c: c.quantile(0.99, "linear")),
}
"""By name in the settings: the output column's prefix, and the function. As in SQL, NULL is passed over, ``sum`` of
nothing is NULL, ``std`` is the sample's, percentiles interpolate (PERCENTILE_CONT)."""


def _summed(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column in the type of its sum: Polars adds 32-bit integers up in 32 bits, and they wrap around."""
    return pl.col(name).cast(pl.Int64) if dtype.is_integer() else pl.col(name)


_FOR_ALL_TYPES = ("min", "max", "count", "first", "last")


@dataclass(frozen=True, slots=True)
class Aggregated(Plain):
    """Aggregates by window and group.

    Args:
        schema: the standard schema that comes first.
        window_minutes: length of a window.
        group_by: columns that make the groups.
        aggregations: function names by column.
        time_zone: where windows begin.
        lateness: seconds a window stays open after its end.
        future_tolerance: seconds ahead of the clock that times still move the watermark.
    """

    schema: Schematized
    window_minutes: int = 5
    group_by: tuple[str, ...] = ("sensor_id",)
    aggregations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    time_zone: str = "UTC"
    lateness: float = 60.0
    future_tolerance: float = 3_600.0
    name: str = "aggregated"

    @property
    def draws_places(self) -> bool:
        """See `Mode.draws_places`."""
        return self.schema.draws_places

    def problems(self, layout: Layout) -> list[str]:
        """Columns that are not there, and functions that their type does not have."""
        if layout.timestamp is None:
            return ["aggregate: the source has no timestamp column; name it with --timestamp-field"]
        known = {*STANDARD, *self.schema.rest(layout, self.schema.matched(layout))}
        named = {"group_by": self.group_by, "aggregations": tuple(self.aggregations)}
        wrong = [
            f"aggregate.{key} names {name!r}, which is no column of the source or of the standard schema"
            for key, names in named.items()
            for name in names
            if name not in known
        ]
        twice = {n for n in self.group_by if self.group_by.count(n) > 1}
        wrong += [f"aggregate.group_by names {name!r} more than once" for name in sorted(twice)]
        return wrong or self._misfits(columns_of(self.schema.plan, layout))

    def _misfits(self, types: Mapping[str, pl.DataType]) -> list[str]:
        """Functions that the columns' types do not have."""
        return [
            f"aggregate.aggregations.{name}: {function} of a column that is no number"
            for name, functions in self.aggregations.items()
            for function in functions
            if not types[name].is_numeric() and function not in _FOR_ALL_TYPES
        ]

    def plan(self, frame: pl.LazyFrame, layout: Layout, context: Context) -> Plan:
        """The standard columns that are needed, with ``window_start``; rows without a time break a rule."""
        plan = self.schema.plan(frame, layout, context)
        stamp = layout.timestamp.alias if layout.timestamp is not None else "timestamp"
        timeless = Rule("no_time", stamp, "a row without a time belongs to no window", pl.col("timestamp").is_null())
        checked = plan.with_rules(timeless)
        names = dict.fromkeys((*self.group_by, *self.aggregations, "timestamp"))
        needed = [pl.col(ROWID), *map(pl.col, checked.marks), *map(pl.col, names)]
        return checked.with_frame(checked.frame.select(*needed, self.window_of(pl.col("timestamp")).alias(WINDOW)))

    @property
    def _every(self) -> str:
        # Whole days follow the calendar where the clock is changed.
        days, rest = divmod(self.window_minutes, _MINUTES_A_DAY)
        return f"{self.window_minutes}m" if rest else f"{days}d"

    @property
    def _by_wall_clock(self) -> bool:
        return self.time_zone != "UTC" and self.window_minutes > _MINUTES_AN_HOUR

    def window_of(self, time: pl.Expr) -> pl.Expr:
        """The start of the window that a time lies in."""
        local = time.dt.convert_time_zone(self.time_zone)
        if self._by_wall_clock:
            return self._instant(local.dt.replace_time_zone(None).dt.truncate(self._every))
        return local.dt.truncate(self._every).dt.convert_time_zone("UTC")

    def end_of(self, start: pl.Expr) -> pl.Expr:
        """The end of the window that starts there."""
        local = start.dt.convert_time_zone(self.time_zone)
        if self._by_wall_clock:
            return self._instant(local.dt.replace_time_zone(None).dt.truncate(self._every).dt.offset_by(self._every))
        return local.dt.offset_by(self._every).dt.convert_time_zone("UTC")

    def _instant(self, wall: pl.Expr) -> pl.Expr:
        """When the clock on the wall shows a time: the first time if it does so twice; if it skips it, when it skips.

        So that windows neither overlap nor leave a gap, whatever the clock does at their borders.
        """

        def first(naive: pl.Expr) -> pl.Expr:
            zoned = naive.dt.replace_time_zone(self.time_zone, ambiguous="earliest", non_existent="null")
            return zoned.dt.convert_time_zone("UTC")

        return pl.coalesce(first(wall), first(wall.dt.offset_by("-1d")).dt.offset_by("24h"))

    def aggregate(self, rows: pl.LazyFrame, context: Context) -> pl.LazyFrame:
        """One row a window and group, of rows as `plan` makes them."""
        types = rows.collect_schema()
        values = [
            function(_summed(name, types[name]) if prefix == "sum" else pl.col(name)).alias(f"{prefix}_{name}")
            for name, functions in self.aggregations.items()
            for prefix, function in (_FUNCTIONS[f] for f in functions)
        ]
        counts = [
            pl.len().cast(pl.Int64).alias(COUNT),
            pl.col(ROWID).min().alias(FIRST_ID),
            pl.col(ROWID).max().alias(LAST_ID),
        ]
        groups = [n for n in self.group_by if n != WINDOW]
        result = rows.group_by(WINDOW, *groups).agg(*counts, *values).sort(WINDOW, *groups)
        ends = self.end_of(pl.col(WINDOW)).alias(WINDOW_END)
        body = [v.meta.output_name() for v in values]
        shown = [WINDOW, WINDOW_END, *groups, COUNT, *body, FIRST_ID, LAST_ID]
        return result.with_columns(ends).select(*shown, **bookkeeping(context))

    def redacted(self, rejections: list[Rejection], layout: Layout) -> list[Rejection]:
        """See `Mode.redacted`."""
        return self.schema.redacted(rejections, layout)


def build(settings: Settings) -> Aggregated:
    """The mode as the settings describe it."""
    own = settings.aggregate
    return Aggregated(
        schema=schematized.build(settings, mode="aggregated"),
        window_minutes=own.window_minutes,
        group_by=own.group_by,
        aggregations=own.aggregations,
        time_zone=own.time_zone,
        lateness=own.allowed_lateness,
        future_tolerance=own.future_tolerance,
    )
