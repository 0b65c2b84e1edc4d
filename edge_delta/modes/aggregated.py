"""aggregated: event-time windows. When they are written and corrected is `edge_delta.delivery.windows`' business."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct, field

from edge_delta.core.plan import ROWID, Plan, Rule
from edge_delta.core.questions import Total
from edge_delta.modes import schematized
from edge_delta.modes.base import Plain, bookkeeping, columns_of
from edge_delta.modes.names import not_there
from edge_delta.modes.schematized import STANDARD, Schematized
from edge_delta.modes.window_functions import (
    FOR_ALL_TYPES,
    QUANTILES,
    finished,
    merged,
    output,
    part,
    parts_of,
    quantile,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_delta.core.model import Context, Layout, Rejection
    from edge_delta.settings.sections import Settings

WINDOW = "window_start"
WINDOW_END = "window_end"
FIRST_ID, LAST_ID, COUNT = "first_reading_id", "last_reading_id", "record_count"
SPAN = {"n": Total("sum", COUNT), "first": Total("min", FIRST_ID), "last": Total("max", LAST_ID)}
"""Of a window in the table: how many rows it was made of, and where they lay in the source."""
_MINUTES_AN_HOUR, _MINUTES_A_DAY = 60, 1440
_OFFSETS = 15
"""Minutes that every zone's difference from UTC is a multiple of."""
_BITS = 32


class Aggregated(Struct, Plain, frozen=True):
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

    def problems(self, layout: Layout) -> list[str]:
        """Columns that are not there, and functions that their type does not have."""
        if layout.timestamp is None:
            return ["aggregate: the source has no timestamp column; name it with --timestamp-field"]
        there = (*(matched := self.schema.matched(layout)), *self.schema.rest(layout, matched))
        known = {*STANDARD, *there}
        named = {"group_by": self.group_by, "aggregations": tuple(self.aggregations)}
        wrong = [
            f"aggregate.{key} names {name!r}, which is no column of the source or of the standard schema; "
            + not_there(layout, name, there)
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
            if not types[name].is_numeric() and function not in FOR_ALL_TYPES
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
    def shape(self) -> int:
        """Which windows and groups it makes, as a number: those of two shapes would count rows twice."""
        zone = self.time_zone if _OFFSETS % self.window_minutes else ""
        what = "\0".join([zone, *sorted(self.group_by)]).encode()
        return self.window_minutes << _BITS | int.from_bytes(hashlib.blake2b(what, digest_size=_BITS // 8).digest())

    def differs(self, shape: int) -> str:
        """How a table's `shape` differs, in words; empty where it does not."""
        minutes = shape >> _BITS
        if minutes != self.window_minutes:
            return f"windows of {minutes} minutes, and aggregate.window_minutes is {self.window_minutes}"
        return (
            "" if shape == self.shape else "windows by another aggregate.group_by or time_zone than the settings have"
        )

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

    # -- windows out of rows, by way of parts (see `edge_delta.modes.window_functions`)

    @property
    def keys(self) -> list[str]:
        """The columns that tell a row of the table from the others."""
        return [WINDOW, *(name for name in self.group_by if name != WINDOW)]

    @property
    def quantiles(self) -> dict[str, tuple[str, ...]]:
        """The functions by column that need all values of a window at once."""
        needed = {name: tuple(f for f in functions if f in QUANTILES) for name, functions in self.aggregations.items()}
        return {name: functions for name, functions in needed.items() if functions}

    def parts(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """One row a window and group, of rows as `plan` makes them."""
        types = rows.collect_schema()
        parts = [part(name, kind, types[name]) for name, kind in self._parts()]
        counts = [
            pl.len().cast(pl.Int64).alias(COUNT),
            pl.col(ROWID).min().alias(FIRST_ID),
            pl.col(ROWID).max().alias(LAST_ID),
        ]
        return rows.group_by(self.keys).agg(*counts, *parts)

    def merged(self, parts: pl.LazyFrame) -> pl.LazyFrame:
        """One row a window and group, of rows as `parts` makes them."""
        counts = [pl.col(COUNT).sum(), pl.col(FIRST_ID).min(), pl.col(LAST_ID).max()]
        return parts.group_by(self.keys).agg(*counts, *(merged(name, kind) for name, kind in self._parts()))

    def finished(self, parts: pl.LazyFrame, quantiles: pl.LazyFrame | None, context: Context) -> pl.LazyFrame:
        """The table's rows.

        Args:
            parts: one row a window and group.
            quantiles: what `quantiles` come to, by the same keys; None if there are none, or no values that they need.
            context: who writes them.
        """
        if quantiles is not None:
            parts = parts.join(quantiles, on=self.keys, how="left", nulls_equal=True)
        types = parts.collect_schema()
        values = [
            _quantile_in(types, output(function, name)) if function in QUANTILES else finished(name, function, types)
            for name, functions in self.aggregations.items()
            for function in functions
        ]
        ends = self.end_of(pl.col(WINDOW)).alias(WINDOW_END)
        start, *groups = self.keys
        shown: list[str | pl.Expr] = [start, ends, *groups, COUNT, *values, FIRST_ID, LAST_ID]
        return parts.sort(self.keys).select(*shown, **bookkeeping(context))

    def aggregate(self, rows: pl.LazyFrame, context: Context) -> pl.LazyFrame:
        """The table's rows of all rows of some windows, as `plan` makes them."""
        return self.finished(self.parts(rows), self.quantiles_of(rows), context)

    def quantiles_of(self, rows: pl.LazyFrame) -> pl.LazyFrame | None:
        """What `quantiles` come to; None if there are none."""
        wanted = [quantile(name, function) for name, functions in self.quantiles.items() for function in functions]
        return rows.group_by(self.keys).agg(wanted) if wanted else None

    def _parts(self) -> list[tuple[str, str]]:
        return [(name, kind) for name, functions in self.aggregations.items() for kind in parts_of(functions)]

    def redacted(self, rejections: list[Rejection], layout: Layout) -> list[Rejection]:
        """See `Mode.redacted`."""
        return self.schema.redacted(rejections, layout)


def _quantile_in(types: Mapping[str, pl.DataType], name: str) -> pl.Expr:
    """A quantile's column; NULL where every row that it would be made of was purged."""
    return pl.col(name) if name in types else pl.lit(None, dtype=pl.Float64).alias(name)


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
