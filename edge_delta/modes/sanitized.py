"""sanitized: the schematized columns, cleaned; what cannot be true is rejected, with the rule that says so."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import polars as pl
from msgspec import Struct, field
from msgspec.structs import replace

from edge_delta.core.plan import ROWID, LastValues, Plan, Rule
from edge_delta.modes import schematized
from edge_delta.modes.base import Plain, columns_of
from edge_delta.modes.names import ALWAYS, BY_READING, UNTOLD, allowed, not_there
from edge_delta.modes.schematized import STANDARD, Range, Schematized

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_delta.core.model import Context, Layout, Rejection
    from edge_delta.settings.sections import Settings

IMPOSSIBLE: dict[str, Range] = {
    # Absolute zero in degrees Celsius; in Fahrenheit or Kelvin no place on Earth comes near it either.
    "temperature": Range(min=-273.15),
    "humidity": Range(min=0, max=100),
    "latitude": Range(min=-90, max=90),
    "longitude": Range(min=-180, max=180),
}
"""What no sensor can have measured, whatever the unit. Pressure is in none: hPa, Pa and bar are all in use."""

Policy = Literal["keep", "reject", "forward_fill"]


class Sanitized(Struct, Plain, frozen=True):
    """Clean readings.

    Args:
        schema: the standard schema that comes first; it does not fuzz by itself.
        ranges: possible values by column, besides `IMPOSSIBLE`.
        missing: what happens to NULL by column: a policy, or a one-element tuple with the value to put there.
        columns: the allow-list, None for all columns.
        future_tolerance: seconds that a time may lie in the future.
    """

    schema: Schematized
    ranges: Mapping[str, Range] = field(default_factory=dict)
    missing: Mapping[str, Policy | tuple[float | str]] = field(default_factory=dict)
    columns: tuple[str, ...] | None = None
    future_tolerance: float = 86_400.0
    name: str = "sanitized"

    @property
    def filled(self) -> frozenset[str]:
        """See `Mode.filled`."""
        return self.schema.filled | frozenset(self.missing)

    @property
    def carried(self) -> frozenset[str]:
        """See `Mode.carried`."""
        return frozenset(self._forward())

    def uncarried(self) -> Sanitized:
        """See `Mode.uncarried`."""
        return replace(self, missing={n: p for n, p in self.missing.items() if p != "forward_fill"})

    def keeping_places(self) -> Sanitized:
        """See `Mode.keeping_places`."""
        return replace(self, schema=self.schema.keeping_places())

    def problems(self, layout: Layout) -> list[str]:
        """Settings about columns that neither the standard schema nor the source has."""
        there = (*(matched := self.schema.matched(layout)), *self.schema.rest(layout, matched))
        known = {*STANDARD, *there, *ALWAYS}
        named = {"ranges": self.ranges, "missing": self.missing, "columns": self.columns or ()}
        unknown = [
            f"sanitize.{key} names {name!r}, which is no column of the source or of the standard schema; "
            + not_there(layout, name, there)
            for key, names in named.items()
            for name in names
            if name not in known
        ]
        unknown += [
            f"sanitize.missing.{name} = 'forward_fill' works for standard columns only"
            for name in self._forward()
            if name not in STANDARD
        ]
        return unknown or self._misfits(columns_of(self.schema.keeping_places().plan, layout))

    def _seen(self, layout: Layout) -> Layout:
        """The columns that are allowed, and those that have a rule by the settings."""
        if self.columns is None:
            return layout
        return allowed(layout, self.schema.rename, (*self.columns, *self.ranges, *self.missing))

    def _misfits(self, types: Mapping[str, pl.DataType]) -> list[str]:
        """Settings that the columns' types cannot have."""
        texts = [n for n in self.ranges if not types[n].is_numeric()]
        wrong = [f"sanitize.ranges.{name}: {name} is no number and has no range" for name in texts]
        named = [n for n in self._forward() if n in ("timestamp", "sensor_id")]
        wrong += [f"sanitize.missing.{name} = 'forward_fill' works for measurements only" for name in named]
        for name, policy in self.missing.items():
            if isinstance(policy, tuple) and not _takes(types[name], policy[0]):
                wrong.append(f"sanitize.missing.{name}: {policy[0]!r} is no value for this column")
        return wrong

    def plan(self, frame: pl.LazyFrame, layout: Layout, context: Context) -> Plan:
        """See `Mode.plan`."""
        # What is not allowed has no part in anything: in no flag, no rule, no rejection.
        layout = self._seen(layout)
        plain = self.schema.keeping_places().plan(frame, layout, context)
        filled = plain.with_frame(self._filled(plain.frame, context))
        # Rules look at what is published: which rows an exact coordinate rejects would tell it, limit by limit.
        fuzzed = self.schema.fuzzed(filled, self.schema.matched(layout))
        return self._allowed(fuzzed.with_rules(*self._rules(fuzzed, layout, context)), layout)

    # -- rules

    def _rules(self, plan: Plan, layout: Layout, context: Context) -> list[Rule]:
        schema = plan.frame.collect_schema()
        sources = {name: column.alias for name, column in self.schema.matched(layout).items()}
        rules = []
        for name, dtype in schema.items():
            if name in (ROWID, *plan.marks) or not self._looked_at(name):
                continue
            source = sources.get(name, name)
            rules += [replace(rule, column=source) for rule in self._rules_of(name, dtype)]
        latest = context.inserted_at + timedelta(seconds=self.future_tolerance)
        reason = f"a time more than {self.future_tolerance:g} s in the future"
        rules.append(Rule("future", sources.get("timestamp", "timestamp"), reason, pl.col("timestamp") > latest))
        return rules

    def _looked_at(self, name: str) -> bool:
        """Whether rules look at a column: not if it stays on the device and nobody asked, as they would tell of it."""
        return self.columns is None or name in (*ALWAYS, *self.columns, *self.ranges, *self.missing)

    def _rules_of(self, name: str, dtype: pl.DataType) -> list[Rule]:
        column = pl.col(name)
        rules = []
        if dtype.is_float():
            rules.append(Rule("not_finite", name, "not a number, or infinite", ~column.is_finite()))
        if name in IMPOSSIBLE and dtype.is_numeric():
            rules.append(Rule("impossible", name, _range_text(IMPOSSIBLE[name]), IMPOSSIBLE[name].exceeded(column)))
        if name in self.ranges and dtype.is_numeric():
            rules.append(Rule("range", name, _range_text(self.ranges[name]), self.ranges[name].exceeded(column)))
        if self.missing.get(name) == "reject":
            rules.append(Rule("missing", name, "no value", column.is_null()))
        return rules

    # -- missing values

    def _filled(self, frame: pl.LazyFrame, context: Context) -> pl.LazyFrame:
        schema = frame.collect_schema()
        values = {n: p[0] for n, p in self.missing.items() if isinstance(p, tuple) and n in schema}
        frame = frame.with_columns(
            pl.col(name).fill_null(pl.lit(value).cast(schema[name])) for name, value in values.items()
        )
        forward = [name for name in self._forward() if name in schema]
        if not forward:
            return frame
        if context.memory is not None and context.memory.height:
            # The memory's rows have no id, by which they are told from the batch's.
            frame = pl.concat([context.memory.lazy(), frame], how="diagonal").select(schema.names())
        last = [
            pl.col(name).fill_null(self._possible(name).forward_fill().over("sensor_id")).alias(name)
            for name in forward
        ]
        return frame.with_columns(last).filter(pl.col(ROWID).is_not_null())

    def _forward(self) -> list[str]:
        return [name for name, policy in self.missing.items() if policy == "forward_fill"]

    def _limits(self, name: str) -> tuple[float | None, float | None]:
        """The tighter of what is set and what is possible."""
        both = [limits for limits in (self.ranges.get(name), IMPOSSIBLE.get(name)) if limits is not None]
        lows = [limits.min for limits in both if limits.min is not None]
        highs = [limits.max for limits in both if limits.max is not None]
        return max(lows, default=None), min(highs, default=None)

    def _possible(self, name: str) -> pl.Expr:
        """The values that may be carried forward; an impossible one is not."""
        column = pl.col(name)
        if STANDARD.get(name) == pl.String():
            return column
        return pl.when(~Range(*self._limits(name)).exceeded(column) & column.cast(pl.Float64).is_finite()).then(column)

    def wanted(self, layout: Layout, _context: Context) -> LastValues | None:
        """See `Memory.wanted`: each sensor's last possible value of the columns that are filled forward."""
        matched = self.schema.matched(layout)
        names = [name for name in self._forward() if name in matched]
        if not names:
            return None
        return LastValues(
            sensor=matched.get("sensor_id"),
            columns={name: matched[name] for name in names},
            limits={name: self._limits(name) for name in names},
            dtypes={name: STANDARD[name] for name in names},
        )

    def remembered(
        self, memory: pl.DataFrame, batch: pl.DataFrame, _kept: pl.DataFrame, layout: Layout
    ) -> pl.DataFrame:
        """See `Memory.remembered`: ``sensor_id`` and the columns that are filled forward, by standard name."""
        matched = self.schema.matched(layout)
        sensor = matched.get("sensor_id")
        names = [n for n in memory.columns if n != "sensor_id"]
        new = batch.select(
            _told(batch, sensor.alias if sensor is not None else None, pl.String()).alias("sensor_id"),
            **{n: _told(batch, matched[n].alias, memory.schema[n]) for n in names},
        ).with_columns(self._possible(n).alias(n) for n in names)
        both = pl.concat([memory, new])
        return both.group_by("sensor_id", maintain_order=True).agg(pl.col(n).drop_nulls().last() for n in names)

    # -- what may leave the device

    def _allowed(self, plan: Plan, _layout: Layout) -> Plan:
        if self.columns is None:
            return plan
        there = plan.frame.collect_schema().names()
        wanted = {ROWID, *plan.marks, *ALWAYS, *self.columns}
        return plan.with_frame(plan.frame.select(n for n in there if n in wanted))

    def redacted(self, rejections: list[Rejection], layout: Layout) -> list[Rejection]:
        """See `Mode.redacted`: no column that is not allowed, no exact coordinate."""
        clean = self.schema.redacted(rejections, layout)
        if self.columns is None:
            return clean
        matched = self.schema.matched(layout)
        shown = {c.alias for name, c in matched.items() if name in (*ALWAYS, *self.columns)} | set(self.columns)
        shown |= {layout.id_column.alias} if layout.id_column is not None else set()
        return [
            replace(
                r,
                cells={n: v for n, v in r.cells.items() if n in shown},
                reason=r.reason if r.column in shown or r.rule not in BY_READING else UNTOLD,
            )
            for r in clean
        ]


def _told(batch: pl.DataFrame, column: str | None, dtype: pl.DataType) -> pl.Expr:
    """A column in another type, NULL where a value has no place there; blobs have none at all."""
    if column is None or batch.schema[column] == pl.Binary:
        return pl.lit(None, dtype=dtype)
    return pl.col(column).cast(dtype, strict=False)


def _takes(dtype: pl.DataType, value: float | str) -> bool:
    """Whether a missing value of this type can be filled with this one."""
    if dtype == pl.String:
        return True
    return dtype.is_numeric() and not isinstance(value, str) and (dtype.is_float() or float(value).is_integer())


def _range_text(limits: Range) -> str:
    if limits.min is None:
        return f"above {limits.max:g}"
    if limits.max is None:
        return f"below {limits.min:g}"
    return f"not within {limits.min:g} and {limits.max:g}"


def build(settings: Settings) -> Sanitized:
    """The mode as the settings describe it."""
    own = settings.sanitize
    return Sanitized(
        schema=schematized.build(settings, mode="sanitized"),
        ranges={name: Range(limits.min, limits.max) for name, limits in own.ranges.items()},
        missing={name: policy if isinstance(policy, str) else (policy.fill,) for name, policy in own.missing.items()},
        columns=own.columns,
        future_tolerance=own.future_tolerance,
    )
