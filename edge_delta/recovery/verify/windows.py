"""Windows: each row of the table comes from all rows of one window and group."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl
import polars.selectors as cs

from edge_delta.core.model import BEFORE_FIRST, Cursor, Mark
from edge_delta.core.plan import ROWID
from edge_delta.core.questions import COUNT, Condition, Question, mine, moments, named, rejected_by
from edge_delta.delivery import fitting
from edge_delta.delivery.open_windows import TOO_LATE, OpenWindows, in_windows
from edge_delta.delivery.quantiles import QuantilesOf
from edge_delta.delivery.window_rows import held_to
from edge_delta.modes.aggregated import COUNT as ROWS_OF
from edge_delta.modes.aggregated import FIRST_ID, LAST_ID, SPAN, WINDOW, Aggregated
from edge_delta.recovery.verify import earlier, superseded
from edge_delta.recovery.verify.base import (
    ROWS,
    Compared,
    account_for_lost,
    begins,
    checksum,
    same_source,
    tells_a_place,
)
from edge_delta.recovery.verify.report import Checked, Verification

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from edge_delta.core.model import Batch

_CLOSE = 1e-9
"""Sums of doubles depend on the order of their terms."""


@dataclass(slots=True)
class WindowsCheck:
    """The verification of the table of windows.

    Args:
        parts: what is compared.
    """

    parts: Compared
    report: Verification = field(init=False)
    _started: datetime = field(init=False)
    _thinner: int = 0
    _floors: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.report = Verification(self.parts.name, self.parts.sink.uri)
        self._started = self.parts.now()

    @property
    def _mode(self) -> Aggregated:
        assert isinstance(self.parts.mode, Aggregated)  # noqa: S101 - made for that mode only
        return self.parts.mode

    @property
    def _groups(self) -> list[str]:
        return [WINDOW, *(name for name in self._mode.group_by if name != WINDOW)]

    def run(self) -> Verification:
        """Compute every window again that the table has, and look for those that it should have."""
        cursor = self.parts.sink.committed()
        self.report.version = self.parts.sink.version()
        if cursor is None:
            self.report.notes.append("nothing of this device and source is in the table")
            return self.report
        held_to(self._mode, cursor, self.parts.sink.uri)
        for generation in self.parts.generations():
            self._twice(generation)
            if generation != cursor.generation:
                self.report.notes.append(f"generation {generation}: an earlier one, so only checked for duplicates")
        self._account(cursor)
        if same_source(self.parts, cursor, self.report):
            self._compare(cursor)
        return self.report

    def _account(self, cursor: Cursor) -> None:
        """What the table says of rows that are in none of its windows."""
        account_for_lost(cursor, self.report)
        pending = cursor.marks.get(Mark.PENDING, 0)
        if pending:
            self.report.notes.append(f"{pending} rows are in open windows, which are written later")
        self._account_for_rejected()

    def _account_for_rejected(self) -> None:
        """Say how many rows are in no window: those that came too late for it are lost to the windows."""
        parts = self.parts
        if not parts.rejects.exists():
            return
        waiting = Condition("replayed_at", "null or >=", self._started)
        where = (*mine(parts.node_id), *rejected_by(parts.source.table, parts.name), waiting)
        question = Question(where, named(superseded.GENERATION, "reading_id", "rule"), distinct=True)
        left_out = superseded.left_out(superseded.record(parts), "reading_id", "reading_id")
        rejected = parts.rejects.ask(question).filter(~left_out)
        late = int((rejected["rule"] == TOO_LATE).sum())
        if late:
            fact = f"{late} rows came for windows that were written and whose other rows were purged"
            self.report.lost(late, f"{fact}: they are in no window, but in {parts.rejects.uri} (rule {TOO_LATE})")
        if rejected.height > late:
            told = f"{rejected.height - late} rejected rows are in no window; {parts.rejects.uri} says why"
            self.report.notes.append(told)

    def _twice(self, generation: int) -> None:
        where = self.parts.mine(generation)
        question = Question(where, named(*self._groups), totals={"n": COUNT}, repeated=True)
        for row in _told(self.parts.sink.ask(question)):
            self.report.differs("twice", row[WINDOW], f"{row['n']} times in the table")

    def _compare(self, cursor: Cursor) -> None:
        versions = earlier.current(self.parts, cursor)
        self._floors = {start: max(one.floor for one in several) for start, several in versions.items()}
        start = begins(cursor)
        first = self.parts.source.waiting(Cursor(rowid=start)).first_rowid
        there = self._delivered(cursor.generation)
        whole = there if first is None else there.filter(pl.col("first") >= first)
        if cursor.marks.get(Mark.PENDING, 0):
            whole = whole.filter(self._closed(pl.col("window").cast(pl.Datetime("us", "UTC")), cursor))
        self._note_unchecked(there, first, start)
        if first is None:
            return
        for some in _portions(whole):
            self._portion(cursor, some)
        if self._thinner:
            self.report.notes.append(
                f"{self._thinner} windows have rows that were deleted after delivery, or gave their ids to others: "
                "only checked for duplicates"
            )
        self._missing(cursor, start, there, whole)

    def _note_unchecked(self, there: pl.DataFrame, first: int | None, start: int) -> None:
        """Say how many windows are not computed again, and why.

        Args:
            there: the windows of the table.
            first: the id of the first row of this generation that the source has; None if it has none.
            start: the id behind which the generation begins.
        """
        before, purged = 0, there.height
        if first is not None:
            lowest = self.parts.source.waiting(Cursor()).first_rowid or first
            before = there.filter(pl.col("first").is_between(lowest, start)).height
            purged = there.filter(pl.col("first") < first).height - before
        if purged:
            self.report.notes.append(f"{purged} windows have rows that are purged: only checked for duplicates")
        if before:
            told = f"{before} windows have rows that an earlier generation read, too, up to id {start}"
            self.report.notes.append(f"{told}: only checked for duplicates")

    def _closed(self, start: pl.Expr, cursor: Cursor) -> pl.Expr:
        """Whether the watermark has closed a window; others may have more rows by now than the table's version."""
        end = self._mode.end_of(start).cast(pl.Int64) + round(self._mode.lateness * 1e6)
        return end <= cursor.marks.get(Mark.WATERMARK, BEFORE_FIRST)

    def _delivered(self, generation: int) -> pl.DataFrame:
        """The windows of the table: ``window`` (microseconds), ``first``, ``last`` and ``n``, in the order of rows."""
        found = self.parts.sink.ask(Question(self.parts.mine(generation), named(WINDOW), totals=SPAN))
        return found.select(
            pl.col(WINDOW).cast(pl.Int64).alias("window"), "first", "last", pl.col("n").cast(pl.Int64)
        ).sort("first")

    def _portion(self, cursor: Cursor, some: pl.DataFrame) -> None:
        """Some windows, computed again from their rows."""
        first, last = (some["first"].min(), some["last"].max())
        windows = some["window"].to_list()
        ours, read = self._computed(cursor, (first, last), windows)  # type: ignore[arg-type]
        found = self.parts.sink.ask(Question((*self.parts.mine(cursor.generation), *moments(WINDOW, windows))))
        names = [n for n in ours.columns if n in found.columns and not self.parts.not_compared(n)]
        ours, theirs = ours.select(names), found.select(pl.col(n).cast(ours.schema[n]) for n in names)
        exact = self._groups + [n for n in names if not ours.schema[n].is_float() and n not in self._groups]
        sums = checksum(ours.select(exact)), checksum(theirs.select(exact))
        self.report.ranges.append(
            Checked(cursor.generation, first, last, read, theirs.height, 0, 0, *sums)  # type: ignore[arg-type]
        )
        self._differences(ours, theirs)

    def _computed(self, cursor: Cursor, ids: tuple[int, int], windows: list[int]) -> tuple[pl.DataFrame, int]:
        """Some windows out of the source's rows, and how many rows they have."""
        some, context = OpenWindows(), self.parts.context(cursor.generation)
        with QuantilesOf(self._mode) as values:
            for rows in self._rows(cursor, *ids):
                mine = rows.filter(in_windows(windows))
                values.add(mine)
                some = some.joined(OpenWindows.of(mine, self._mode), self._mode)
            if some.parts is None:
                return self._mode.aggregate(self._no_rows(cursor).lazy(), context).collect(), 0
            quantiles = values.result()
        made = self._mode.finished(some.parts.lazy(), None if quantiles is None else quantiles.lazy(), context)
        return made.collect(), sum(window.rows for window in some.windows.values())

    def _no_rows(self, cursor: Cursor) -> pl.DataFrame:
        batch = self.parts.source.read_after(Cursor(cursor.generation), limit=1)
        assert batch is not None  # noqa: S101 - a source without rows was told before
        return self._of(batch).clear()

    def _differences(self, ours: pl.DataFrame, theirs: pl.DataFrame) -> None:
        keys, report = self._groups, self.report
        for row in _told(ours.join(theirs, on=keys, how="anti", nulls_equal=True)):
            report.differs("missing", row[WINDOW], f"no row for {_named(row, keys[1:])}")
        theirs = self._still_there(ours, theirs)
        for row in _told(theirs.join(ours, on=keys, how="anti", nulls_equal=True)):
            report.differs("extra", row[WINDOW], f"the source has no rows for {_named(row, keys[1:])}")
        both = ours.join(theirs.unique(keys), on=keys, how="inner", nulls_equal=True, suffix="\0")
        for name in [n for n in ours.columns if n not in keys]:
            wanted, found = pl.col(name), pl.col(name + "\0")
            differing = wanted.ne_missing(found)
            if ours.schema[name].is_float():
                near = (wanted - found).abs() <= _CLOSE * pl.max_horizontal(wanted.abs(), found.abs(), 1.0)
                differing &= ~near.fill_null(False)  # noqa: FBT003
            for row in _told(both.filter(differing)):
                values = "differs" if tells_a_place(name) else f"is {row[name + chr(0)]!r}, expected {row[name]!r}"
                report.differs("cell", row[WINDOW], f"{name} of {_named(row, keys[1:])} {values}")

    def _still_there(self, ours: pl.DataFrame, theirs: pl.DataFrame) -> pl.DataFrame:
        """The table's windows without those that have rows which the source does not have any more.

        More rows than there are ids between the first and the last one were never there.
        """
        rows = theirs.join(
            ours.select(*self._groups, pl.col(ROWS_OF).alias("\0n")), on=self._groups, how="left", nulls_equal=True
        )
        possible = pl.col(ROWS_OF) <= pl.col(LAST_ID) - pl.col(FIRST_ID) + 1
        went = possible & (pl.col(ROWS_OF) > pl.col("\0n").fill_null(0))
        self._thinner += rows.filter(went).height
        return rows.filter(~went).drop("\0n")

    # -- windows that should be there

    def _missing(self, cursor: Cursor, start: int, there: pl.DataFrame, whole: pl.DataFrame) -> None:
        """Closed windows that are not there, and rows that came into none, such as those below the cursor."""
        counts = pl.DataFrame(schema={"window": pl.Int64(), "rows": pl.UInt32()})
        for rows in self._rows(cursor, start + 1 if start != BEFORE_FIRST else None, cursor.rowid):
            new = rows.group_by(pl.col(WINDOW).cast(pl.Int64).alias("window")).agg(pl.len().alias("rows"))
            counts = pl.concat([counts, new]).group_by("window").agg(pl.col("rows").sum())
        times = pl.col("window").cast(pl.Datetime("us", "UTC"))
        closed = counts.filter(self._closed(times, cursor)).sort("window")
        for row in _told(closed.join(there, on="window", how="anti").select(times)):
            self.report.differs("missing", row["window"], "a closed window with rows, but not in the table")
        fewer = closed.join(whole, on="window").filter(pl.col("rows") > pl.col("n"))
        for row in _told(fewer.select(times, "rows", "n")):
            detail = f"the source has {row['rows']} rows of it, the table {row['n']}"
            self.report.differs("missing", row["window"], detail)

    def _rows(self, cursor: Cursor, first: int | None, last: int) -> Iterator[pl.DataFrame]:
        """The rows that count, a batch at a time."""
        position = Cursor(cursor.generation, first - 1 if first is not None else BEFORE_FIRST, marks=cursor.marks)
        while position.rowid < last:
            batch = self.parts.source.read_after(position, limit=self.parts.rows, upto=last)
            if batch is None:
                return
            rejected = self.parts.rejected(cursor.generation, position.rowid, batch.cursor.rowid, self._started)
            yield earlier.without_known(self._of(batch).filter(~pl.col(ROWID).is_in(list(rejected))), self._floors)
            position = Cursor(cursor.generation, batch.cursor.rowid, marks=cursor.marks)

    def _of(self, batch: Batch) -> pl.DataFrame:
        frame = fitting.not_taken_over(batch, batch.layout)
        context = self.parts.context(batch.cursor.generation)
        return fitting.kept_rows(self._mode.plan(frame.lazy(), batch.layout, context), frame)[0]


def _portions(windows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Windows in groups that have no more rows together than are held at a time, but at least one window."""
    start = rows = 0
    for index, n in enumerate(windows["n"]):
        if index > start and rows + n > ROWS:
            yield windows.slice(start, index - start)
            start, rows = index, 0
        rows += n
    if start < windows.height:
        yield windows.slice(start)


def _told(rows: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Rows by name, their times as text: Python has none before the year 1."""
    return rows.with_columns(cs.datetime().dt.strftime("%Y-%m-%dT%H:%M:%S%.f%:z")).iter_rows(named=True)


def _named(row: dict[str, object], groups: list[str]) -> str:
    return ", ".join(f"{name} {row[name]!r}" for name in groups) or "the window"
