"""schematized: the standard schema of sensor readings, then whatever else the source has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct, field
from msgspec.structs import replace

from edge_delta.core import time_columns
from edge_delta.core.model import Column, Context, Kind, Layout, Rejection
from edge_delta.core.plan import ROWID, TIME, Plan, Rule, first_broken
from edge_delta.modes import names
from edge_delta.modes.base import DTYPES, UTC, Plain, beside, bookkeeping, strict_cast
from edge_delta.modes.privacy import gps as places
from edge_delta.settings.modes import OK_STATUS, status_ranges

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_delta.settings.sections import Settings

STANDARD: dict[str, pl.DataType] = {
    "reading_id": pl.Int64(),
    "sensor_id": pl.String(),
    "timestamp": UTC,
    "temperature": pl.Float64(),
    "humidity": pl.Float64(),
    "pressure": pl.Float64(),
    "vibration": pl.Float64(),
    "voltage": pl.Float64(),
    "status_code": pl.Int32(),
    "anomaly_flag": pl.Int32(),
    "anomaly_type": pl.String(),
    "firmware_version": pl.String(),
    "model": pl.String(),
    "manufacturer": pl.String(),
    "location": pl.String(),
    "latitude": pl.Float64(),
    "longitude": pl.Float64(),
    "original_timezone": pl.String(),
    "synced": pl.Int32(),
}
"""The standard columns in their order; the bookkeeping columns follow them."""


class Range(Struct, frozen=True):
    """What counts as normal in a column, for sources that have no anomaly flag. Units are the source's."""

    min: float | None = None
    max: float | None = None

    def exceeded(self, column: pl.Expr) -> pl.Expr:
        """True where a value is outside; null counts as inside."""
        below = column < self.min if self.min is not None else pl.lit(False)  # noqa: FBT003
        above = column > self.max if self.max is not None else pl.lit(False)  # noqa: FBT003
        return (below | above).fill_null(False)  # noqa: FBT003


class Schematized(Struct, Plain, frozen=True):
    """The standard schema.

    Args:
        rename: standard name by source name, both in any case.
        defaults: text for ``firmware_version``, ``model``, ``manufacturer`` and others where the source has none.
        thresholds: limits by standard column; a reading outside sets ``anomaly_flag`` where the source has none.
        ok_status: ranges of status codes that are no anomaly, both ends in them; None if no code is one.
        derived: whether ``anomaly_flag`` is made at all where the source has none.
        base: latitude and longitude in degrees for sources without coordinates.
        gps: fuzzing, None for the coordinates as they are.
        rejected_gps: fuzzing of rejected rows.
    """

    rename: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    thresholds: Mapping[str, Range] = field(default_factory=dict)
    ok_status: tuple[tuple[int, int], ...] | None = status_ranges(OK_STATUS)
    derived: bool = True
    base: tuple[float, float] | None = None
    gps: places.Gps | None = None
    rejected_gps: places.Gps | None = None
    name: str = "schematized"

    @property
    def filled(self) -> frozenset[str]:
        """See `Mode.filled`: what is made of other columns by settings that may be others by now."""
        return frozenset({"anomaly_flag"})

    def keeping_places(self) -> Schematized:
        """See `Mode.keeping_places`."""
        return self if self.gps is None else replace(self, gps=replace(self.gps, displacement=None))

    def plan(self, frame: pl.LazyFrame, layout: Layout, context: Context) -> Plan:
        """See `Mode.plan`. Rows whose cells have no exact counterpart in the standard type break the rule ``type``."""
        matched = self.matched(layout)
        if layout.timestamp is not None and TIME not in frame.collect_schema():  # once: a value and a rule need it
            frame = frame.with_columns(
                time_columns.parsed(pl.col(layout.timestamp.alias), layout.timestamp.time).alias(TIME)
            )
        kept_back = self._kept_back(layout) - {c.name for n, c in matched.items() if n in ("latitude", "longitude")}
        targets: dict[str, pl.Expr] = {"reading_id": pl.col(ROWID)}
        rules: list[Rule] = []
        for name, dtype in STANDARD.items():
            column = matched.get(name)
            if column is not None and column.name in kept_back:
                targets[name] = pl.lit(None, dtype=dtype)
            elif column is not None:
                targets[name], rule = _standard(column, name, dtype)
                rules += [rule] if rule is not None else []
        for name in STANDARD:
            if name not in targets:
                targets[name] = self._filled(name, targets, matched)
        ordered = {name: targets[name] for name in STANDARD} | bookkeeping(context) | self.rest(layout, matched)
        marks = (first_broken(tuple(rules)),) if rules else ()
        plan = Plan(frame.select(pl.col(ROWID), *marks, **ordered), tuple(rules))
        return self.fuzzed(plan, matched)

    def fuzzed(self, plan: Plan, matched: Mapping[str, Column]) -> Plan:
        """The plan with displaced coordinates; a flag that depends on coordinates is made of the displaced ones."""
        if self.gps is None or self.gps.displacement is None:
            return plan
        moved = self.gps.fuzzed(plan, latitude="latitude", longitude="longitude")
        if "anomaly_flag" in matched or not {"latitude", "longitude"} & {*self.thresholds} & {*matched}:
            return moved
        nothing = pl.lit(None, dtype=STANDARD["anomaly_flag"])
        flag = self._anomaly({name: pl.col(name) for name in matched}, nothing)
        return moved.with_frame(moved.frame.with_columns(flag.alias("anomaly_flag")))

    def _kept_back(self, layout: Layout) -> frozenset[str]:
        return self.gps.hidden(layout) if self.gps is not None else frozenset()

    def redacted(self, rejections: list[Rejection], layout: Layout) -> list[Rejection]:
        """See `Mode.redacted`."""
        if self.rejected_gps is None:
            return rejections
        matched = self.matched(layout)
        north, east = matched.get("latitude"), matched.get("longitude")
        pair = (north, east) if north is not None and east is not None else None
        return self.rejected_gps.redacted(rejections, layout, pair)

    def matched(self, layout: Layout) -> dict[str, Column]:
        """The source column for each standard column that has one."""
        return names.matched(layout, self.rename)

    def rest(self, layout: Layout, matched: Mapping[str, Column]) -> dict[str, pl.Expr]:
        """Whatever else the source has. A name that is taken gets the prefix ``source_``."""
        used = {c.name for c in matched.values()}
        taken = set(STANDARD) | {"databricks_inserted_at", "node_id", "source_generation"}
        others = {c.alias: c for c in layout.columns if c.name not in used and c != layout.id_column}
        renamed = names.by_source(layout, self.rename)
        given = beside({alias: renamed.get(c.name.lower(), alias) for alias, c in others.items()}, taken)
        kept_back = self._kept_back(layout)

        def shown(column: Column) -> pl.Expr:
            return pl.lit(None, dtype=DTYPES[column.kind]) if column.name in kept_back else pl.col(column.alias)

        return {name: shown(others[alias]) for alias, name in given.items()}

    def _filled(self, name: str, known: Mapping[str, pl.Expr], matched: Mapping[str, Column]) -> pl.Expr:
        """A standard column that the source does not have."""
        dtype = STANDARD[name]
        nothing = pl.lit(None, dtype=dtype)
        stamp = matched.get("timestamp")
        if name == "original_timezone" and stamp is not None and stamp.kind is Kind.TEXT:
            return time_columns.offset_of(pl.col(stamp.alias))
        if name == "anomaly_flag":
            return self._anomaly({n: known[n] for n in matched}, nothing)
        if name in ("latitude", "longitude") and self.base is not None:
            return pl.lit(self.base[0 if name == "latitude" else 1], dtype=dtype)
        if name in self.defaults:
            return pl.lit(self.defaults[name]).cast(dtype)
        return nothing

    def flags(self, matched: Mapping[str, Column]) -> bool:
        """Whether there is anything in the source that an ``anomaly_flag`` comes from."""
        by_status = self.ok_status is not None and "status_code" in matched
        return "anomaly_flag" in matched or (self.derived and (by_status or any(n in matched for n in self.thresholds)))

    def anomalous(self, there: Mapping[str, pl.DataType]) -> tuple[pl.Expr, pl.Expr]:
        """What a flag that was made here comes from: the value and its limit, null for a status code.

        Args:
            there: the columns that there are.
        """
        nothing = pl.lit(None, dtype=pl.Float64)
        values, limits = [], []
        for name, bounds in self.thresholds.items():
            column = pl.col(name).cast(pl.Float64)
            if name in there and there[name].is_numeric():
                values.append(pl.when(bounds.exceeded(column)).then(column))
                limits += [pl.when(column < bounds.min).then(bounds.min)] if bounds.min is not None else []
                limits += [pl.when(column > bounds.max).then(bounds.max)] if bounds.max is not None else []
        by_limit = pl.any_horizontal([value.is_not_null() for value in values]) if values else pl.lit(value=False)
        status = pl.when(~by_limit).then(pl.col("status_code").cast(pl.Float64))
        return pl.coalesce([*values, status]), pl.coalesce([*(limit.cast(pl.Float64) for limit in limits), nothing])

    def _anomaly(self, known: Mapping[str, pl.Expr], nothing: pl.Expr) -> pl.Expr:
        """The flag by what the source does have; NULL where it has nothing to tell it by."""
        if not self.derived:
            return nothing
        signs = [limits.exceeded(known[name]) for name, limits in self.thresholds.items() if name in known]
        if self.ok_status is not None and "status_code" in known:
            fine = [known["status_code"].is_between(low, high) for low, high in self.ok_status]
            signs.append((~pl.any_horizontal(fine)).fill_null(False))  # noqa: FBT003
        return pl.any_horizontal(signs).cast(pl.Int32) if signs else nothing


def _standard(column: Column, name: str, dtype: pl.DataType) -> tuple[pl.Expr, Rule | None]:
    source = pl.col(column.alias)
    if dtype == UTC:
        expression = pl.col(TIME)
        broken: pl.Expr | None = source.is_not_null() & expression.is_null()
        reason = "it cannot be read as a time"
    else:
        expression, broken = strict_cast(column.alias, DTYPES[column.kind], dtype)
        reason = f"{column.kind.value} that {name} cannot hold exactly"
    return expression, None if broken is None else Rule("type", column.alias, reason, broken)


def build(settings: Settings, *, mode: str = "schematized") -> Schematized:
    """The mode as the settings describe it.

    Args:
        settings: the settings.
        mode: the mode whose table is meant; others build on this one.
    """
    own, place = settings.schematize, settings.gps_fuzzing
    base = (place.base_lat, place.base_lon) if place.base_lat is not None and place.base_lon is not None else None
    return Schematized(
        rename=own.rename,
        defaults=own.defaults,
        thresholds={name: Range(limits.min, limits.max) for name, limits in own.thresholds.items()},
        ok_status=status_ranges(OK_STATUS if isinstance(own.anomaly, str) else own.anomaly.ok_status),
        derived=own.anomaly != "off",
        base=base,
        gps=places.of(settings, mode),
        rejected_gps=places.of_rejected(settings),
    )
