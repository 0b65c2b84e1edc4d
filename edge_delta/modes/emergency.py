"""emergency: one row an alert, from keywords, thresholds and the anomaly flag.

With a ``cooldown``, alerts of one sensor and rule are a group: repeated once a ``cooldown`` while the rule still fires,
and ended by a row of the severity `OVER`, from the first reading that it no longer fires for. What is open is had again
from the table's rows alone, so that a kill neither repeats nor loses a beginning or an end.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC as UTC_ZONE
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
from msgspec import Struct, field
from msgspec.structs import replace

from edge_delta.core.model import Context
from edge_delta.core.plan import ROWID, RULE, Plan, TableQuery
from edge_delta.core.questions import Question, Total, mine, named
from edge_delta.modes import schematized
from edge_delta.modes.base import UTC, Plain, bookkeeping, columns_of
from edge_delta.modes.cooldown import OVER, SILENCED, Groups, LateGroups
from edge_delta.modes.names import not_there
from edge_delta.modes.triggers import NOTHING, AlertLimits, Trigger, alerts_of, ends_of, of_threshold

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_delta.core.model import Layout, Rejection
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
    "anomaly_type": pl.String(),
    "value": pl.Float64(),
    "limit_value": pl.Float64(),
    "unit": pl.String(),
    SILENCED: pl.Int64(),
}
_GROUP = ("sensor_id", "alert_type")
_REMEMBERED = (*_GROUP, "severity", "source_generation")
_NO_WORDS = ("sensor_id", "timestamp", "original_timezone", "node_id")


class Emergency(Struct, Plain, frozen=True):
    """Alerts.

    Args:
        schema: the standard schema that comes first.
        keywords: whole words, in any case.
        keyword_columns: where to look for them; None for all text columns.
        keyword_severity: severity of keyword alerts.
        thresholds: by column.
        anomaly_severity: severity of anomaly alerts; None for no such alerts.
        cooldown: seconds without a second alert of one sensor and rule, by the readings' times.
        every: all alerts, and all rows that may have ended one, whatever came before.
    """

    schema: Schematized
    keywords: tuple[str, ...] = ()
    keyword_columns: tuple[str, ...] | None = None
    keyword_severity: str = "critical"
    thresholds: Mapping[str, AlertLimits] = field(default_factory=dict)
    anomaly_severity: str | None = "medium"
    cooldown: float = 0.0
    every: bool = False
    name: str = "emergency"

    def problems(self, layout: Layout) -> list[str]:
        """A configuration in which no alert can ever come, or a column that is not there."""
        names = self._there(layout)
        unknown = [
            f"emergency.severity_thresholds.{n}: the source has no such column; {not_there(layout, n, names)}"
            for n in self.thresholds
            if n not in names
        ]
        unknown += [
            f"emergency.keyword_columns: the source has no column {n!r}; {not_there(layout, n, names)}"
            for n in self.keyword_columns or ()
            if n not in names
        ]
        severities = [self.keyword_severity, self.anomaly_severity, *(t.severity for t in self.thresholds.values())]
        if OVER in severities:
            unknown.append(f"emergency: the severity {OVER!r} is that of rows which end an alert, give it another name")
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
        types, there = plan.frame.collect_schema(), self._there(layout)
        names = [n for n in types.names() if n in there]
        triggers = self._triggers(types, names, derived="anomaly_flag" not in self.schema.matched(layout))

        def alerts(kept: pl.LazyFrame) -> pl.LazyFrame:
            found = [alerts_of(kept, trigger, types) for trigger in triggers]
            if self.cooldown or self.every:
                found += [ends_of(kept, trigger, types) for trigger in triggers]
            rows = pl.concat(found or [kept.clear().select(**_empty())]).sort(ROWID, maintain_order=True)
            if self.cooldown and not self.every:
                rows = rows.map_batches(lambda df: self._cooled(df, context), schema=rows.collect_schema())
            ours = bookkeeping(context)
            return rows.with_columns(_alert_id(context), **ours).select(pl.col(n) for n in SCHEMA)

        return Plan(plan.frame, plan.rules, alerts)

    # -- triggers

    def _triggers(self, schema: Mapping[str, pl.DataType], names: Any, *, derived: bool = False) -> list[Trigger]:
        found = [t for word in self.keywords for t in self._keyword(word, schema, names)]
        for name, threshold in self.thresholds.items():
            if name in names and schema[name].is_numeric():
                found += of_threshold(name, threshold)
        if self.anomaly_severity is not None and "anomaly_flag" in names:
            flag = pl.col("anomaly_flag")
            message = pl.format("anomaly_flag is {}", flag)
            value, limit = self.schema.anomalous(schema) if derived else (NOTHING, NOTHING)
            found.append(Trigger("anomaly", self.anomaly_severity, flag != 0, message, flag == 0, value, limit))
        return found

    def _keyword(self, word: str, schema: Mapping[str, pl.DataType], names: Any) -> list[Trigger]:
        looked_at = self.keyword_columns or [n for n in names if n not in _NO_WORDS]
        texts = [n for n in looked_at if n in names and schema[n] == pl.String]
        if not texts:
            return []
        # Whole words: neither letter, digit nor underscore on either side.
        pattern = rf"(?i)(?:^|[^\w]){re.escape(word)}(?:$|[^\w])"
        hits = [_containing(n, pattern) for n in texts]
        place = pl.coalesce(pl.when(hit).then(pl.lit(n)) for n, hit in zip(texts, hits, strict=True))
        message = pl.format("keyword {} in {}", pl.lit(word), place)
        fires = pl.any_horizontal(hits).fill_null(False)  # noqa: FBT003
        return [Trigger(f"keyword_{word.lower()}", self.keyword_severity, fires, message, ~fires)]

    # -- cooldown

    def wanted(self, _layout: Layout, context: Context) -> TableQuery | None:
        """See `Memory.wanted`: the last alert of each sensor and rule, and its last end; all of them for late rows."""
        if not self.cooldown or self.every:
            return None
        if context.late:
            names = (*_REMEMBERED, "timestamp", "reading_id")
            return TableQuery(Question(mine(context.node_id), named(*names)), {n: SCHEMA[n] for n in names})
        # By the severity, which tells ends from alerts and is a column of tables of any age.
        totals = {name: Total("max", name) for name in ("timestamp", "reading_id")}
        question = Question(mine(context.node_id), named(*_REMEMBERED), totals=totals)
        return TableQuery(question, {n: SCHEMA[n] for n in (*_REMEMBERED, *totals)})

    def of_lives(self, memory: pl.DataFrame, lives: Sequence[int], *, after: int) -> pl.DataFrame:
        """See `Mode.of_lives`: an alert of a source that is gone ends with its sensor's value, but silences none."""
        own = pl.col("source_generation").is_in(list(lives))
        others = memory.filter(~own & (pl.col("source_generation") > after))
        if not others.height:
            return memory.filter(own)
        last = others.group_by(_GROUP).agg(pl.col("severity").sort_by("source_generation", "reading_id").last())
        still_open = others.join(last.filter(pl.col("severity") != OVER), on=list(_GROUP), how="semi", nulls_equal=True)
        timeless = still_open.with_columns(pl.lit(None, dtype=UTC).alias("timestamp"))
        return pl.concat([memory.filter(own), timeless])

    def counted_from(self, memory: pl.DataFrame) -> tuple[pl.DataFrame, int | None]:
        """See `Mode.counted_from`: what was silenced is no row of the table, and is counted in the source again.

        Only for alerts of the last two cooldowns; of others it is not known any more.
        """
        newest = memory["timestamp"].max()
        if newest is None:
            return memory.with_columns(pl.lit(None, dtype=pl.Int64).alias(SILENCED)), None
        recent = pl.col("timestamp") >= pl.lit(newest) - timedelta(seconds=2 * self.cooldown)
        own = recent & (pl.col("source_generation") == pl.col("source_generation").max())
        counted = pl.when(own.fill_null(value=False).any().over(_GROUP)).then(pl.lit(0, dtype=pl.Int64))
        memory = memory.with_columns(counted.alias(SILENCED))
        first = memory.filter(pl.col(SILENCED).is_not_null())["reading_id"].min()
        return memory, first  # type: ignore[return-value]

    def remembered(self, memory: pl.DataFrame, batch: pl.DataFrame, kept: pl.DataFrame, layout: Layout) -> pl.DataFrame:
        """See `Memory.remembered`."""
        told = kept.select(memory.columns).with_columns(pl.lit(0, dtype=pl.Int64).alias(SILENCED))
        both = pl.concat([memory.with_columns(told=pl.lit(value=False)), told.with_columns(told=pl.lit(value=True))])
        since = both.group_by(_GROUP).agg(
            pl.col("reading_id").filter(pl.col("source_generation") == pl.col("source_generation").max()).max(),
            pl.when(pl.col("told").any()).then(0).otherwise(pl.col(SILENCED).max()).alias(SILENCED),
        )
        fired = self._fired(batch, layout).join(since, on=list(_GROUP), how="inner", nulls_equal=True, suffix="_told")
        more = fired.filter(pl.col("reading_id") > pl.col("reading_id_told")).group_by(_GROUP).agg(pl.len().alias("n"))
        counts = since.join(more, on=list(_GROUP), how="left", nulls_equal=True).select(
            *_GROUP, (pl.col(SILENCED) + pl.col("n").fill_null(0)).cast(pl.Int64)
        )
        last = both.group_by(_REMEMBERED).agg(pl.col("timestamp", "reading_id").max())
        return last.join(counts, on=list(_GROUP), how="left", nulls_equal=True).select(memory.columns)

    def _fired(self, batch: pl.DataFrame, layout: Layout) -> pl.DataFrame:
        """The readings for which rules fire, whatever came before."""
        plan = self.forgetful().plan(batch.lazy(), layout, Context("", 0, datetime.now(UTC_ZONE)))
        frame = plan.frame.filter(pl.col(RULE).is_null()).drop(RULE) if plan.rules else plan.frame
        rows = plan.select(frame) if plan.select is not None else frame
        return rows.filter(pl.col("severity") != OVER).select(*_GROUP, "reading_id").collect()

    def forgetful(self) -> Emergency:
        """See `Mode.forgetful`: every alert and every possible end, whichever came before."""
        return replace(self, every=bool(self.cooldown), cooldown=0.0)

    def _cooled(self, rows: pl.DataFrame, context: Context) -> pl.DataFrame:
        """The alerts without those that follow another of the same sensor and rule too soon, and the groups' ends.

        Args:
            rows: alerts and all that may end one, in the order of their ids.
            context: with what `wanted` asks for.
        """
        memory = context.memory
        firing = rows.filter(pl.col("severity") != OVER).select(_GROUP)
        if memory is not None:
            memory = memory.join(rows.select(_GROUP).unique(), on=list(_GROUP), how="semi", nulls_equal=True)
        known = firing if memory is None else pl.concat([firing, memory.select(_GROUP)])
        # Most readings end nothing, because nothing was open.
        rows = rows.join(known.unique(), on=list(_GROUP), how="semi", nulls_equal=True, maintain_order="left")
        pause = timedelta(seconds=self.cooldown)
        groups: Groups | LateGroups = LateGroups(pause, memory) if context.late else Groups(pause, memory)
        told = [groups.tells(*row) for row in rows.select(*_GROUP, "severity", "timestamp").iter_rows()]
        silenced = pl.Series(SILENCED, [count for _, count in told], dtype=pl.Int64)
        return rows.with_columns(silenced).filter(pl.Series([tells for tells, _ in told], dtype=pl.Boolean))

    def redacted(self, rejections: list[Rejection], layout: Layout) -> list[Rejection]:
        """See `Mode.redacted`."""
        return self.schema.redacted(rejections, layout)


_SAMPLED, _FEW = 1_024, 64


def _containing(column: str, pattern: str) -> pl.Expr:
    """Where a text has a match of a pattern; of texts that repeat, which most columns hold, each is looked at once."""

    def containing(texts: pl.Series) -> pl.Series:
        if texts.head(_SAMPLED).n_unique() > _FEW or len(texts) <= _SAMPLED:
            return texts.str.contains(pattern)
        different = texts.unique()
        found = different.filter(different.str.contains(pattern).fill_null(value=False))
        if not len(found):
            return pl.repeat(value=False, n=len(texts), eager=True).alias(texts.name)
        return texts.is_in(found.implode())

    return pl.col(column).map_batches(containing, return_dtype=pl.Boolean)


def _empty() -> dict[str, pl.Expr]:
    ours = ("alert_id", "databricks_inserted_at", "node_id", "source_generation")
    return {ROWID: pl.lit(0, dtype=pl.Int64), **{n: pl.lit(None, dtype=t) for n, t in SCHEMA.items() if n not in ours}}


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
