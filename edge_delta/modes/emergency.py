"""emergency: one row an alert, from keywords, thresholds and the anomaly flag."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from edge_delta.core.plan import ROWID, Plan, TableQuery
from edge_delta.core.questions import Question, Total, mine, named
from edge_delta.modes import schematized
from edge_delta.modes.base import UTC, Plain, bookkeeping, columns_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from edge_delta.core.model import Context, Layout, Rejection
    from edge_delta.modes.schematized import Schematized
    from edge_delta.settings.sections import Settings

SCHEMA: dict[str, pl.DataType] = {
    "alert_id": pl.Int64(),
    "sensor_id": pl.String(),
    "timestamp": UTC,
    "alert_type": pl.String(),
    "severity": pl.String(),
    "message": pl.String(),
    "databricks_inserted_at": UTC,
    "node_id": pl.String(),
    "reading_id": pl.Int64(),
    "source_generation": pl.Int32(),
}
_NO_WORDS = ("sensor_id", "timestamp", "original_timezone", "node_id")


@dataclass(frozen=True, slots=True)
class Trigger:
    """One rule that makes alerts.

    Attributes:
        alert_type: the rule's name; with the sensor it is what a cooldown counts by.
        severity: the alert's severity.
        fires: true where a row makes an alert.
        message: the alert's text.
    """

    alert_type: str
    severity: str
    fires: pl.Expr
    message: pl.Expr


@dataclass(frozen=True, slots=True)
class AlertLimits:
    """Alert strictly below ``min`` and strictly above ``max``."""

    min: float | None = None
    max: float | None = None
    severity: str = "high"


@dataclass(frozen=True, slots=True)
class Emergency(Plain):
    """Alerts.

    Args:
        schema: the standard schema that comes first.
        keywords: whole words, in any case.
        keyword_columns: where to look for them; None for all text columns.
        keyword_severity: severity of keyword alerts.
        thresholds: by column.
        anomaly_severity: severity of anomaly alerts; None for no such alerts.
        cooldown: seconds without a second alert of one sensor and rule, by the readings' times.
    """

    schema: Schematized
    keywords: tuple[str, ...] = ()
    keyword_columns: tuple[str, ...] | None = None
    keyword_severity: str = "critical"
    thresholds: Mapping[str, AlertLimits] = field(default_factory=dict)
    anomaly_severity: str | None = "medium"
    cooldown: float = 0.0
    name: str = "emergency"

    def problems(self, layout: Layout) -> list[str]:
        """A configuration in which no alert can ever come, or a column that is not there."""
        names = self._there(layout)
        unknown = [
            f"emergency.severity_thresholds.{n}: the source has no such column"
            for n in self.thresholds
            if n not in names
        ]
        unknown += [
            f"emergency.keyword_columns: the source has no column {n!r}"
            for n in self.keyword_columns or ()
            if n not in names
        ]
        if unknown:
            return unknown
        types = columns_of(self.schema.plan, layout)
        unknown += [
            f"emergency.severity_thresholds.{n}: {n} is no number and has no threshold"
            for n in self.thresholds
            if not types[n].is_numeric()
        ]
        unknown += [
            f"emergency.keyword_columns: {n} is no text and has no words"
            for n in self.keyword_columns or ()
            if types[n] != pl.String
        ]
        if not unknown and not self._triggers(types, names):
            unknown.append("emergency: none of its triggers has a column in the source, so no alert could ever come")
        return unknown

    def _there(self, layout: Layout) -> dict[str, str]:
        """The columns that can trigger, by their name here, with the source's name."""
        matched = self.schema.matched(layout)
        found = {name: column.alias for name, column in matched.items()}
        if self.schema.flags(matched):
            found.setdefault("anomaly_flag", "anomaly_flag")
        return found | {name: name for name in self.schema.rest(layout, matched)}

    def plan(self, frame: pl.LazyFrame, layout: Layout, context: Context) -> Plan:
        """See `Mode.plan`. Kept rows become alerts; rows that trip nothing are not selected."""
        plan = self.schema.plan(frame, layout, context)
        names = [n for n in plan.frame.collect_schema().names() if n in self._there(layout)]
        triggers = self._triggers(plan.frame.collect_schema(), names)

        def alerts(kept: pl.LazyFrame) -> pl.LazyFrame:
            found = [_alerts_of(kept, trigger) for trigger in triggers] or [kept.clear().select(**_empty())]
            rows = pl.concat(found).sort(ROWID, maintain_order=True)
            if self.cooldown:
                rows = rows.map_batches(lambda df: self._cooled(df, context.memory), schema=rows.collect_schema())
            ours = bookkeeping(context)
            return rows.with_columns(_alert_id(context), **ours).select(pl.col(n) for n in SCHEMA)

        return Plan(plan.frame, plan.rules, alerts)

    # -- triggers

    def _triggers(self, schema: Mapping[str, pl.DataType], names: Any) -> list[Trigger]:
        found = [t for word in self.keywords for t in self._keyword(word, schema, names)]
        for name, threshold in self.thresholds.items():
            if name in names and schema[name].is_numeric():
                found += _threshold(name, threshold)
        if self.anomaly_severity is not None and "anomaly_flag" in names:
            flag = pl.col("anomaly_flag")
            message = pl.format("anomaly_flag is {}", flag)
            found.append(Trigger("anomaly", self.anomaly_severity, flag != 0, message))
        return found

    def _keyword(self, word: str, schema: Mapping[str, pl.DataType], names: Any) -> list[Trigger]:
        looked_at = self.keyword_columns or [n for n in names if n not in _NO_WORDS]
        texts = [n for n in looked_at if n in names and schema[n] == pl.String]
        if not texts:
            return []
        # Whole words: neither letter, digit nor underscore on either side.
        pattern = rf"(?i)(?:^|[^\w]){re.escape(word)}(?:$|[^\w])"
        hits = [pl.col(n).str.contains(pattern) for n in texts]
        place = pl.coalesce(pl.when(hit).then(pl.lit(n)) for n, hit in zip(texts, hits, strict=True))
        message = pl.format("keyword {} in {}", pl.lit(word), place)
        return [Trigger(f"keyword_{word.lower()}", self.keyword_severity, pl.any_horizontal(hits), message)]

    # -- cooldown

    def wanted(self, _layout: Layout, context: Context) -> TableQuery | None:
        """See `Memory.wanted`: the last alert of each sensor and rule."""
        if not self.cooldown:
            return None
        question = Question(
            mine(context.node_id, context.generation),
            named("sensor_id", "alert_type"),
            totals={"timestamp": Total("max", "timestamp")},
        )
        return TableQuery(question, {n: SCHEMA[n] for n in ("sensor_id", "alert_type", "timestamp")})

    def remembered(
        self, memory: pl.DataFrame, _batch: pl.DataFrame, kept: pl.DataFrame, _layout: Layout
    ) -> pl.DataFrame:
        """See `Memory.remembered`."""
        both = pl.concat([memory, kept.select(memory.columns)])
        return both.group_by("sensor_id", "alert_type").agg(pl.col("timestamp").max())

    def forgetful(self) -> Emergency:
        """See `Mode.forgetful`: every alert, whichever came before."""
        return replace(self, cooldown=0.0)

    def _cooled(self, alerts: pl.DataFrame, memory: pl.DataFrame | None) -> pl.DataFrame:
        """The alerts without those that follow another of the same sensor and rule too soon."""
        pause = timedelta(seconds=self.cooldown)
        last: dict[tuple[str | None, str], datetime] = {
            (sensor, kind): time for sensor, kind, time in (memory.iter_rows() if memory is not None else ()) if time
        }
        keep = []
        for sensor, kind, time in alerts.select("sensor_id", "alert_type", "timestamp").iter_rows():
            before = last.get((sensor, kind))
            # A reading that came late, from before the last alert's time, is silenced only if it lies near it too.
            too_soon = time is not None and before is not None and before - pause < time < before + pause
            keep.append(not too_soon)
            if not too_soon and time is not None:
                last[sensor, kind] = max(time, before or time)
        return alerts.filter(pl.Series(keep, dtype=pl.Boolean))

    def redacted(self, rejections: list[Rejection], layout: Layout) -> list[Rejection]:
        """See `Mode.redacted`."""
        return self.schema.redacted(rejections, layout)


def _threshold(name: str, threshold: AlertLimits) -> list[Trigger]:
    column = pl.col(name)
    found = []
    if threshold.max is not None:
        message = pl.format(f"{name} {{}} is above {threshold.max:g}", column)
        found.append(Trigger(f"{name}_high", threshold.severity, column > threshold.max, message))
    if threshold.min is not None:
        message = pl.format(f"{name} {{}} is below {threshold.min:g}", column)
        found.append(Trigger(f"{name}_low", threshold.severity, column < threshold.min, message))
    return found


def _alerts_of(kept: pl.LazyFrame, trigger: Trigger) -> pl.LazyFrame:
    return kept.filter(trigger.fires).select(
        pl.col(ROWID),
        pl.col("sensor_id"),
        pl.col("timestamp"),
        pl.lit(trigger.alert_type).alias("alert_type"),
        pl.lit(trigger.severity).alias("severity"),
        trigger.message.alias("message"),
        pl.col("reading_id"),
    )


def _empty() -> dict[str, pl.Expr]:
    names = ("sensor_id", "timestamp", "alert_type", "severity", "message", "reading_id")
    return {ROWID: pl.lit(0, dtype=pl.Int64), **{n: pl.lit(None, dtype=SCHEMA[n]) for n in names}}


def _alert_id(context: Context) -> pl.Expr:
    """A number that is the same for the same row and rule on every run: 63 bits of BLAKE2b over what names them."""
    origin = f"{context.node_id}\x1f{context.source_table}\x1f{context.generation}"

    def numbered(keys: pl.Series) -> pl.Series:
        digests = (hashlib.blake2b(f"{origin}\x1f{k}".encode(), digest_size=8).digest() for k in keys)
        return pl.Series(keys.name, [int.from_bytes(d) >> 1 for d in digests], dtype=pl.Int64)

    key = pl.format("{}\x1f{}", pl.col(ROWID), pl.col("alert_type"))
    return key.map_batches(numbered, return_dtype=pl.Int64).alias("alert_id")


def build(settings: Settings) -> Emergency:
    """The mode as the settings describe it."""
    own = settings.emergency
    return Emergency(
        schema=schematized.build(settings, mode="emergency"),
        keywords=tuple({word.lower(): word for word in reversed(own.trigger_keywords)}.values())[::-1],
        keyword_columns=own.keyword_columns,
        keyword_severity=own.keyword_severity,
        thresholds={n: AlertLimits(t.min, t.max, t.severity) for n, t in own.severity_thresholds.items()},
        anomaly_severity=own.anomaly_severity if own.anomaly_flag else None,
        cooldown=own.cooldown,
    )
