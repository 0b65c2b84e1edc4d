"""Alerts with a cooldown, where the source does not have all rows any more that raised or ended one.

Which reading raises an alert depends on those before it, and the application may have deleted some of them. But only
rows that were told decide over others, and the table has those: an alert whose reading went counts as it stands there,
and the readings that are left are judged with it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, cast

import polars as pl

from edge_delta.core.model import Mark
from edge_delta.core.plan import ROWID
from edge_delta.core.questions import Question, between, named
from edge_delta.modes.cooldown import OVER, Groups, LateGroups
from edge_delta.recovery.verify.gone import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from edge_delta.core.model import Cursor
    from edge_delta.modes.emergency import Emergency
    from edge_delta.recovery.verify.base import Compared

    Told = tuple[str | None, str, str, datetime | None]
    """Sensor, rule, severity and time."""

_GROUP = ["sensor_id", "alert_type"]
_TOLD = [*_GROUP, "severity", "timestamp"]
_SCHEMA = {"sensor_id": pl.String(), "alert_type": pl.String(), "severity": pl.String()}


class Alerts:
    """Which alerts and ends of groups the readings of now make beside those of readings that went.

    Args:
        parts: what is compared.
        before: the last alerts and ends before the first reading, by group.
        cursor: where the table stands.
    """

    def __init__(self, parts: Compared, before: pl.DataFrame, cursor: Cursor) -> None:
        self._parts = parts
        self._pause = timedelta(seconds=cast("Emergency", parts.mode).cooldown)
        self._groups = Groups(self._pause, before)
        self._known = before.select(_GROUP).unique()
        self._generation = cursor.generation
        self._swept = Mark.SWEPT in cursor.marks
        self._there: set[tuple[int, Told]] = set()
        self._late: LateGroups | None = None

    def left(self, rows: pl.DataFrame, source: pl.DataFrame, ids: list[tuple[int, int]]) -> pl.DataFrame:
        """Those rows that the table should have.

        Args:
            rows: all alerts and all that may end one, in the order of their ids.
            source: see `edge_delta.recovery.verify.gone.shown`.
            ids: ranges of ids in their order, each behind its first number and up to its second, of which the table has
                not too many rows at a time.
        """
        return pl.concat([self._portion(rows, source, *one) for one in ids])

    def _portion(self, rows: pl.DataFrame, source: pl.DataFrame, after: int, upto: int) -> pl.DataFrame:
        rows = rows.filter(pl.col(ROWID).is_between(after, upto, closed="right"))
        gone = self._gone(source, after, upto)
        firing = rows.filter(pl.col("severity") != OVER)
        self._known = pl.concat([self._known, firing.select(_GROUP), gone.select(_GROUP)]).unique()
        # Most readings end nothing, because nothing was open.
        rows = rows.join(self._known, on=_GROUP, how="semi", nulls_equal=True, maintain_order="left")
        return rows.filter(pl.Series(list(self._judged(rows, gone)), dtype=pl.Boolean))

    def _gone(self, source: pl.DataFrame, after: int, upto: int) -> pl.DataFrame:
        """The table's rows of readings that the source does not have any more."""
        key = self._parts.traits.key or ROWID
        where = (*self._parts.mine(self._generation), *between(key, after, upto))
        asked = self._parts.sink.ask(Question(where, named(key, *_TOLD), order=(key,)))
        told = asked.select(pl.col(key).alias(ROWID), *(pl.col(n).cast(_SCHEMA.get(n, asked.schema[n])) for n in _TOLD))
        both = told.join(source.with_columns(there=True), on=ROWID, how="left", maintain_order="left")
        same = (pl.col("timestamp") == pl.col(NOW).cast(told.schema["timestamp"])).fill_null(value=True)
        return both.filter(pl.col("there").is_null() | ~same).select(ROWID, *_TOLD)

    def _judged(self, rows: pl.DataFrame, gone: pl.DataFrame) -> Iterator[bool]:
        went, place = gone.rows(), 0
        for rowid, *told in rows.select(ROWID, *_TOLD).iter_rows():
            while place < len(went) and went[place][0] <= rowid:
                self._groups.told(*went[place][1:])
                place += 1
            yield self._tells(rowid, cast("Told", tuple(told)))
        for _, *one in went[place:]:
            self._groups.told(*one)

    def _tells(self, rowid: int, told: Told) -> bool:
        tells = self._groups.would_tell(*told)
        if self._swept and (late := self._as_late(rowid, told)) != tells and late == self._has(rowid, told):
            return late  # a sweep found it below the cursor, when rows of later times were told already
        if tells:
            self._groups.told(*told)
        return tells

    # -- rows that a sweep delivered, which the table does not tell from others

    def _has(self, rowid: int, told: Told) -> bool:
        return (rowid, told) in self._there

    def _as_late(self, rowid: int, told: Told) -> bool:
        if self._late is None:
            names = [*_GROUP, "severity", "source_generation", "timestamp", "reading_id"]
            every = self._parts.sink.ask(Question(self._parts.mine(self._generation), named(*names)))
            self._late = LateGroups(self._pause, every.select(names))
            self._there = {(row[0], row[1:]) for row in every.select("reading_id", *_TOLD).iter_rows()}
        return self._late.would_tell(*told, there=self._has(rowid, told))
