"""Readings and alerts: each row of the table comes from one row of the source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl
from msgspec.structs import replace

from edge_delta.core.model import BEFORE_FIRST, Cursor, Mark
from edge_delta.core.plan import ROWID, LastValues
from edge_delta.core.questions import COUNT, Question, Total, between, named, within
from edge_delta.delivery import fitting
from edge_delta.modes.schematized import STANDARD
from edge_delta.recovery.verify import states, used_ids
from edge_delta.recovery.verify.alerts import Alerts
from edge_delta.recovery.verify.base import (
    GONE,
    Compared,
    account_for_lost,
    begins,
    bisected,
    checksum,
    leaves_out_no_id,
    same_source,
    tells_a_place,
)
from edge_delta.recovery.verify.gone import Expected, Gone, shown
from edge_delta.recovery.verify.report import Checked, Verification

if TYPE_CHECKING:
    from datetime import datetime

    from edge_delta.core.model import Batch

_LAST = 2**63 - 1
_PURGED = "purged from the source"
_SHOWN = 60
_KEPT = 1_000


@dataclass(slots=True)
class RowsCheck:
    """The verification of one table of readings or alerts.

    Args:
        parts: what is compared.
    """

    parts: Compared
    report: Verification = field(init=False)
    _started: datetime = field(init=False)
    _memory: pl.DataFrame | None = None
    _alerts: Alerts | None = None
    _skipped: frozenset[str] = frozenset()
    _only_known: bool = False
    _empty_so_far: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    _filled: set[str] = field(default_factory=set)
    _gone: Gone = field(default_factory=Gone)
    _states: states.States = field(init=False)

    def __post_init__(self) -> None:
        self.report = Verification(self.parts.name, self.parts.sink.uri)
        self._started, self._states = self.parts.now(), states.States(self.parts)

    @property
    def _key(self) -> str:
        key = self.parts.traits.key
        assert key  # noqa: S101 - windows have a check of their own
        return key

    @property
    def _keys(self) -> list[str]:
        return [ROWID, *self.parts.traits.key_parts]

    def run(self) -> Verification:
        """Compare everything up to the table's cursor."""
        cursor = self.parts.sink.committed()
        self.report.version = self.parts.sink.version()
        if cursor is None:
            self.report.notes.append("nothing of this device and source is in the table")
            return self.report
        for generation in self.parts.generations():
            if generation != cursor.generation:
                self._without_source(generation, _LAST, "an earlier generation")
        account_for_lost(cursor, self.report)
        if same_source(self.parts, cursor, self.report):
            self._with_source(cursor)
        else:
            self._without_source(cursor.generation, _LAST, "its source is gone")
        return self.report

    # -- ranges that the source still has

    def _with_source(self, cursor: Cursor) -> None:
        start = begins(cursor)
        first = self.parts.source.waiting(Cursor(rowid=start)).first_rowid
        if first is None or first > cursor.rowid:
            self._without_source(cursor.generation, _LAST, _PURGED)
            return
        if start != BEFORE_FIRST:
            self._without_source(cursor.generation, start, "the table begins again after them")
        complete = not self._without_source(cursor.generation, first - 1, _PURGED, after=start)
        self._remember(cursor, start, complete=complete)
        position = Cursor(cursor.generation, first - 1, marks=cursor.marks)
        while position.rowid < cursor.rowid:
            batch = self.parts.source.read_after(position, limit=self.parts.rows, upto=cursor.rowid)
            last = batch.cursor.rowid if batch is not None else cursor.rowid
            self._range(position, last, batch, end=cursor.rowid)
            position = Cursor(cursor.generation, last, marks=cursor.marks)
        self._still_empty()
        self.report.notes += [*self._gone.notes(), *self._states.notes()]

    def _remember(self, cursor: Cursor, start: int, *, complete: bool) -> None:
        """What the mode looks back at before the first row, as it was at delivery."""
        request = self.parts.mode.wanted(self.parts.source.layout, self.parts.context(cursor.generation))
        if request is None:
            return
        if isinstance(request, LastValues):
            self._memory = pl.DataFrame(schema={"sensor_id": pl.String(), **request.dtypes})
            if not complete or start != BEFORE_FIRST or self._states.has_later_ones:
                self._skipped = frozenset(request.columns)
                names = ", ".join(request.columns)
                self.report.notes.append(f"values of {names} that rows before these filled cannot be compared")
            return
        before = self.parts.sink.ask(request.question).select(pl.col(n).cast(t) for n, t in request.schema.items())
        before = before.filter(pl.col("source_generation") < cursor.generation)
        before = self.parts.mode.of_lives(before, (), after=cursor.marks.get(Mark.AGAIN, -1))
        if complete and start == BEFORE_FIRST:
            self._alerts = Alerts(self.parts, self.parts.mode.counted_from(before)[0], cursor)
        else:
            self._only_known = True
            self.report.notes.append("alerts held back by a cooldown cannot be told from missing ones")
        self.parts = replace(self.parts, mode=self.parts.mode.forgetful())

    def _expected(self, batch: Batch | None, generation: int, ids: list[tuple[int, int]]) -> Expected:
        parts = self.parts
        if batch is None:
            nothing = pl.DataFrame(schema={ROWID: pl.Int64()})
            return Expected(nothing, nothing, set(), 0, 0)
        frame = fitting.not_taken_over(batch, batch.layout)
        context = parts.context(generation, self._memory)
        plan = fitting.fitted(parts.mode.plan(frame.lazy(), batch.layout, context), parts.sink.columns())
        kept, broken = fitting.kept_rows(plan, frame)
        rows = kept
        if plan.select is not None:
            rows = plan.select(kept.lazy()).collect().with_columns(pl.col("reading_id").alias(ROWID))
        source = shown(batch, kept, parts.time)
        if self._alerts is not None:
            rows = self._alerts.left(rows, source, ids)
        elif self._memory is not None:
            self._memory = parts.mode.remembered(self._memory, frame, rows.drop(ROWID), batch.layout)
        chosen = kept.height if rows is kept else rows[ROWID].n_unique()
        passed = batch.frame.height - frame.height + kept.height - chosen
        return Expected(source, rows, {r.rowid for r in (*batch.rejected, *broken)}, batch.rows, passed)

    def _range(self, position: Cursor, last: int, batch: Batch | None, *, end: int) -> None:
        parts, generation = self.parts, position.generation
        # Rows behind the cursor's end belong to no range of their own, and should not be there.
        portions = self._portions(generation, position.rowid, last if last < end else _LAST)
        expected = self._expected(batch, generation, portions)
        rejected = parts.rejected(generation, position.rowid, last, self._started)
        rejected = self._states.rejected(generation, rejected, expected.rejects)
        if parts.source.keyed_by_rowid:
            expected.rows = expected.rows.filter(~pl.col(ROWID).is_in(list(rejected)))
        first = batch.first_rowid if batch is not None else position.rowid + 1
        for after, upto in portions:
            told = max(first, after + 1), min(upto, last)
            self._portion(Cursor(generation, after), (upto, end), told, expected, rejected)
            expected.read = expected.not_selected = 0  # told with the first portion

    def _portions(self, generation: int, after: int, upto: int) -> list[tuple[int, int]]:
        """An id range in parts of which the table has not many more rows than are held at a time.

        A range of the source may be a thin rest of what was delivered.
        """
        where = (*self.parts.mine(generation), *between(self._key, after, upto))
        totals = {"low": Total("min", self._key), "high": Total("max", self._key), "n": COUNT}
        [(low, high, rows)] = self.parts.sink.ask(Question(where, totals=totals)).rows()
        if rows <= 5 * self.parts.rows or low == high:
            return [(after, upto)]
        middle = (low + high) // 2
        return [*self._portions(generation, after, middle), *self._portions(generation, middle, upto)]

    def _portion(
        self, position: Cursor, ends: tuple[int, int], told: tuple[int, int], expected: Expected, rejected: set[int]
    ) -> None:
        """Compare the rows of an id range.

        Args:
            position: the generation, and behind which id the range begins.
            ends: its last id, and the cursor's.
            told: the first and last id that are reported.
            expected: what the mode makes of a larger range.
            rejected: the rejected rows of the larger range.
        """
        parts, generation, after, (upto, end) = self.parts, position.generation, position.rowid, ends
        table = parts.sink.ask(Question((*parts.mine(generation), *between(self._key, after, upto))))
        table = self._states.last(table, self.report)
        rows = expected.rows.filter(pl.col(ROWID).is_between(after, upto, closed="right"))
        broken, rejected = ({row for row in some if after < row <= upto} for some in (expected.rejects, rejected))
        by_name = {name.lower(): name for name in table.columns}
        names = [n for n in rows.columns if n.lower() in by_name and not self._left_out(n)]
        ours = rows.select(*dict.fromkeys([ROWID, *names]))
        theirs = table.select(
            pl.col(self._key).alias(ROWID), *(pl.col(by_name[n]).alias(as_) for n, as_ in parts.telling(names, by_name))
        )
        delivered = theirs.height
        if len(there := used_ids.of_now(ours, theirs, self._keys, used_ids.time_of(parts.route))) < len(theirs):
            self.report.notes.append(f"{len(theirs) - len(there)} rows are there under ids that were used again since")
            theirs = there
        theirs = self._still_there(theirs, expected.source, end).select(ours.columns)
        sums = checksum(ours), checksum(theirs)
        counts = (expected.read, delivered, len(rejected), expected.not_selected)
        self.report.ranges.append(Checked(generation, *told, *counts, *sums))
        if sums[0] != sums[1] or not broken <= rejected or not rejected.isdisjoint(theirs[ROWID]):
            self._differences(ours, theirs, broken, rejected)
        self._note_filled(theirs)

    def _still_there(self, table: pl.DataFrame, source: pl.DataFrame, end: int) -> pl.DataFrame:
        """The rows of the table without those that went from the source; of these, which are there twice is told."""
        alone, time = not self.parts.traits.selective, self.parts.time
        table, twice = self._gone.left(table, source, upto=end, keys=self._keys, time=time, alone=alone)
        for row, times in twice if self.parts.source.keyed_by_rowid else ():
            self.report.differs("twice", row, f"{times} times in the table")
        return table

    def _left_out(self, column: str) -> bool:
        return column != ROWID and (self.parts.not_compared(column) or column in self._skipped)

    # -- what differs

    def _differences(self, ours: pl.DataFrame, theirs: pl.DataFrame, broken: set[int], rejected: set[int]) -> None:
        report, there = self.report, set(theirs[ROWID])
        self._counted(ours, theirs, broken)
        for row in sorted(broken - there - rejected):
            report.differs("missing", row, "neither in the table nor rejected")
        other_rules = broken & there
        if other_rules:
            report.notes.append(f"{len(other_rules)} rows were delivered that the rules of now would reject")
        if self.parts.source.keyed_by_rowid:
            for row in sorted(rejected & there):
                report.differs("rejected too", row, "in the table and in the rejected one")
        self._cells(ours, theirs)

    def _counted(self, ours: pl.DataFrame, theirs: pl.DataFrame, broken: set[int]) -> None:
        """Rows by key that are there too seldom or too often."""
        counts = [f.group_by(self._keys).len(name) for f, name in ((ours, "wanted"), (theirs, "found"))]
        both = counts[0].join(counts[1], on=self._keys, how="full", coalesce=True).fill_null(0).sort(self._keys)
        for row in both.filter(pl.col("wanted") != pl.col("found")).iter_rows(named=True):
            what = f"alert {row['alert_type']}" if "alert_type" in row else "row"
            if row["found"] < row["wanted"] and not self._only_known:
                self.report.differs("missing", row[ROWID], f"{what} neither in the table nor rejected")
            elif row["wanted"] == 0 and row[ROWID] not in broken:
                self.report.differs("extra", row[ROWID], f"{what} in the table, but the source does not have it")
            elif row["found"] > max(row["wanted"], 1):
                self.report.differs("twice", row[ROWID], f"{what} {row['found']} times in the table")

    def _ties(self, ours: pl.DataFrame, theirs: pl.DataFrame) -> None:
        """Rows that share their key, which only a table without rowids has, are compared together."""
        sums = [
            f.with_columns(f.hash_rows().alias("\0"))
            .filter(pl.struct(self._keys).is_duplicated())
            .group_by(ROWID)
            .agg(pl.col("\0").sum(), pl.len())
            for f in (ours, theirs)
        ]
        both = sums[0].join(sums[1], on=[ROWID, "len"], suffix="\0").filter(pl.col("\0") != pl.col("\0\0"))
        for row in both[ROWID].sort():
            self.report.differs("cell", row, "one of the rows of this time differs")

    def _cells(self, ours: pl.DataFrame, theirs: pl.DataFrame) -> None:
        if not self.parts.source.keyed_by_rowid:
            self._ties(ours, theirs)
        once = [f.filter(pl.struct(self._keys).is_unique()) for f in (ours, theirs)]
        both = once[0].join(once[1], on=self._keys, how="inner", suffix="\0").sort(ROWID)
        for name in [n for n in ours.columns if n not in self._keys]:
            wanted, found = pl.col(name), pl.col(name + "\0")
            differing = both.filter(wanted.ne_missing(found)).select(ROWID, wanted, found)
            if not differing.height:
                continue
            filled = both.filter(found.is_not_null())[ROWID].min()
            for row, value, delivered in differing.iter_rows():
                hidden = tells_a_place(name)
                text = f"{name} differs" if hidden else f"{name} is {_short(delivered)}, expected {_short(value)}"
                # A column that was added to the source later is empty in the rows before.
                late = (
                    (name not in STANDARD or self.parts.traits.selective)
                    and name not in self._filled
                    and delivered is None
                )
                if late and (filled is None or row < filled):
                    rows = self._empty_so_far.setdefault(name, [])
                    rows[_KEPT:] = []
                    rows.append((row, text))
                else:
                    self.report.differs("cell", row, text)

    def _note_filled(self, theirs: pl.DataFrame) -> None:
        new = [n for n in theirs.columns if n not in self._filled and theirs[n].null_count() < theirs.height]
        self._filled.update(new)
        for name in new:
            rows = self._empty_so_far.pop(name, [])
            if rows:
                self.report.notes.append(f"column {name} was added later: it is empty up to row {rows[-1][0]}")

    def _still_empty(self) -> None:
        for rows in self._empty_so_far.values():
            for row, text in rows:
                self.report.differs("cell", row, text)

    # -- ranges that the source does not have

    def _without_source(self, generation: int, upto: int, why: str, *, after: int = BEFORE_FIRST) -> bool:
        """Duplicates and continuity of what is in the table alone; whether there was anything."""
        parts, key = self.parts, self._key
        where = (*parts.mine(generation), *between(key, after, upto))
        question = Question(where, totals={"a": Total("min", key), "b": Total("max", key), "n": COUNT})
        [(low, high, rows)] = parts.sink.ask(question).rows()
        if not rows:
            return False
        distinct = sum(self._duplicates(generation, *found[:2]) for found in bisected(parts, where, key, low, high))
        note = f"generation {generation}, ids {low} to {high}: {why}, so "
        note += f"only checked for duplicates and continuity: {rows} rows"
        if not parts.traits.selective and parts.source.keyed_by_rowid:
            gaps = (high if upto == _LAST else upto) - low + 1 - distinct
            note += f", {gaps} ids without a row" if gaps else ", no gap"
            if gaps and why == _PURGED and leaves_out_no_id(parts.source):
                self.report.lost(gaps, f"{gaps} ids from {low} on {GONE}")
        self.report.notes.append(note)
        return True

    def _duplicates(self, generation: int, low: int, high: int) -> int:
        """Distinct ids in a range, rejected ones included."""
        parts, key = self.parts, self._key
        where = (*parts.mine(generation), *within(key, low, high))
        time = used_ids.time_of(parts.route)
        told_by = states.told_by(parts, [*parts.traits.key_parts, *([time] if time is not None else [])])
        found = parts.sink.ask(Question(where, named(key, *told_by), totals={"n": COUNT}))
        if parts.source.keyed_by_rowid:
            for row in found.filter(pl.col("n") > 1).sort(key).iter_rows(named=True):
                self.report.differs("twice", row[key], f"{row['n']} times in the table")
        ids = set(found[key])
        return len(ids | parts.rejected(generation, low - 1, high, self._started))


def _short(value: object) -> str:
    text = value.isoformat() if hasattr(value, "isoformat") else repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
