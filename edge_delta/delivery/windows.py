"""Event-time windows: what is written equals one aggregation over all rows, whatever the batches were.

A window is written when it is closed: when the watermark, the largest event time so far, is past its end by more than
the allowed lateness. Its rows are read from SQLite again and aggregated in one go, so nothing is merged from partial
results. A row that arrives for a window already written corrects it at once: the window is computed again and replaced
in the commit that carries the cursor.

What is kept in memory, and with the cursor in the log, is where the rows of open windows lie, not the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from edge_delta.core.events import Event
from edge_delta.core.model import BEFORE_FIRST, Batch, Context, Cursor, Mark, Rejection, Step
from edge_delta.core.plan import ROWID
from edge_delta.core.questions import Question, among, mine, named
from edge_delta.delivery import fitting
from edge_delta.delivery.rows import empty_like
from edge_delta.modes.aggregated import SPAN, WINDOW, Aggregated

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from edge_delta.core.model import Commit
    from edge_delta.core.questions import Where
    from edge_delta.delivery.prepared import Prepared
    from edge_delta.delivery.route import Route


@dataclass(frozen=True, slots=True)
class Span:
    """Where the rows of one window lie in the source.

    Attributes:
        first: the first row's id.
        last: the last row's id.
        rows: how many there are.
        end: the window's end in microseconds.
    """

    first: int
    last: int
    rows: int
    end: int

    def joined(self, other: Span) -> Span:
        """Both together."""
        return Span(min(self.first, other.first), max(self.last, other.last), self.rows + other.rows, self.end)


def _join(spans: dict[int, Span], more: Mapping[int, Span]) -> None:
    """Add what more is known to the spans."""
    for window, span in more.items():
        spans[window] = spans[window].joined(span) if window in spans else span


def _stretches(spans: Iterable[Span], *, upto: int) -> list[tuple[int, int]]:
    """First and last ids between which the rows of the spans lie, without what lies far between two of them."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted((s.first, min(s.last, upto)) for s in spans if s.first <= upto):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


class Windows:
    """See the module's text, and `edge_delta.delivery.lane.Writing`.

    Windows are named by their start in microseconds since 1970, UTC.

    Args:
        route: from where to where.
        chunk: the most rows of the source to read again at a time.
    """

    def __init__(self, route: Route, *, chunk: int) -> None:
        self._route = route
        self._chunk = chunk
        self._open: dict[int, Span] | None = None

    def forget(self) -> None:
        """The open windows are had again from the source."""
        self._open = None

    def source_gone(self) -> None:
        """The rows of open windows went with the source."""
        self._tell_of_gaps(list(self._open or {}))
        self._open = None

    # -- positions

    def adopted(self, cursor: Cursor, stands: Cursor | None) -> Cursor:
        """Windows that are in the table stay known; rows that went to another mode's table open none."""
        own = stands.marks if stands is not None and stands.generation == cursor.generation else {}
        self._open = None
        return replace(cursor, marks={**own, Mark.BEGINS: cursor.rowid, Mark.OPEN: cursor.rowid + 1})

    def rewound(self, cursor: Cursor) -> Cursor:
        """Windows open with the first row that is delivered again."""
        begins = cursor.marks.get(Mark.BEGINS)
        return cursor if begins is None else cursor.marked(**{Mark.OPEN: begins + 1})

    def no_rows(self) -> pl.DataFrame:
        """The table's columns, or those that the mode would make one with."""
        route = self._route
        if route.sink.exists():
            return empty_like(route)
        context = route.context(0)
        return self._mode().aggregate(self._no_source_rows(context).lazy(), context).collect()

    def finish(self, cursor: Cursor) -> Commit | None:
        """Write the open windows as they are; rows that come later correct them."""
        spans = self._restored(cursor)
        if not spans:
            return None
        context = self._route.context(cursor.generation)
        known = self._old_rows(spans, cursor, context)
        result = self._mode().aggregate(known.lazy(), context).collect()
        written = max(*spans, cursor.marks.get(Mark.WRITTEN, min(spans)))
        commit = self._route.sink.append(result, cursor.marked(open=cursor.rowid + 1, written=written))
        self._open = {}
        return commit

    # -- one batch

    def prepare(self, batch: Batch, columns: Mapping[str, pl.DataType | None]) -> None:
        """Nothing: what becomes of a row depends on the windows that are open when its turn comes."""

    def deliver(self, batch: Batch, _prepared: Prepared | None, before: Cursor) -> Step:
        """Close windows, correct those that are written, and keep where the others' rows lie."""
        route, context = self._route, self._route.context(batch.cursor.generation)
        restored = self._restored(before)
        spans = dict(restored)
        rows, broken = self._rows(batch, context)
        touched = self._spans(rows)
        written = self._written_among(touched, before, context)
        watermark = self._watermark(rows, before, context)
        _join(spans, {window: span for window, span in touched.items() if window not in written})
        due = {w: s for w, s in spans.items() if self._closed(s, watermark)}
        old = self._old_rows({**written, **due}, before, context)
        purged = self._purged(written, old)
        self._tell_of_gaps(self._purged({w: s for w, s in restored.items() if w in due}, old))
        late = rows.filter(pl.col(WINDOW).cast(pl.Int64).is_in(purged))
        rejected = [*batch.rejected, *broken, *self._too_late(batch, late)]
        refused = route.refuse(rejected, batch.cursor)
        now = {w for w in (*written, *due) if w not in purged}
        result = self._computed(now, old, rows, context)
        remaining = {w: s for w, s in spans.items() if w not in due}
        cursor = self._marked(batch.cursor, remaining, now, watermark)
        commit = None
        if result.height:
            replaced = [w for w in written if w not in purged]
            commit = route.sink.append(result, cursor, replacing=self._where(now, context) if replaced else None)
        self._open = remaining
        last_time = rows["timestamp"].max()
        return Step(
            mode=route.name,
            table=route.sink.uri,
            read=batch.rows,
            rejected=len(rejected),
            refused=refused,
            commit=commit,
            first_rowid=batch.first_rowid,
            cursor=cursor,
            last_time=last_time,  # type: ignore[arg-type]
        )

    def _computed(self, windows: set[int], old: pl.DataFrame, rows: pl.DataFrame, context: Context) -> pl.DataFrame:
        new = rows.filter(pl.col(WINDOW).cast(pl.Int64).is_in(windows))
        return self._mode().aggregate(pl.concat([old, new]).lazy(), context).filter(
            pl.col(WINDOW).cast(pl.Int64).is_in(windows)
        ).collect()  # fmt: skip

    def _marked(self, cursor: Cursor, spans: dict[int, Span], written: set[int], watermark: int | None) -> Cursor:
        marks = {"open": min((s.first for s in spans.values()), default=cursor.rowid + 1)}
        if watermark is not None:
            marks["watermark"] = watermark
        if written:
            marks["written"] = max(*written, cursor.marks.get(Mark.WRITTEN, min(written)))
        return cursor.marked(**marks)

    def _watermark(self, rows: pl.DataFrame, before: Cursor, context: Context) -> int | None:
        """The largest event time so far; times ahead of the clock do not count, so that one cannot close everything."""
        latest = round((context.inserted_at.timestamp() + self._mode().future_tolerance) * 1_000_000)
        times = rows["timestamp"].cast(pl.Int64)
        found: int | None = times.filter(times <= latest).max()  # type: ignore[assignment]
        return max((t for t in (before.marks.get(Mark.WATERMARK), found) if t is not None), default=None)

    def _closed(self, span: Span, watermark: int | None) -> bool:
        return watermark is not None and span.end + round(self._mode().lateness * 1_000_000) <= watermark

    # -- rows by window

    def _mode(self) -> Aggregated:
        mode = self._route.mode()
        assert isinstance(mode, Aggregated)  # noqa: S101 - no other mode has windows
        return mode

    def _rows(self, batch: Batch, context: Context) -> tuple[pl.DataFrame, list[Rejection]]:
        layout = batch.layout
        frame = fitting.not_taken_over(batch, layout)
        return fitting.kept_rows(self._mode().plan(frame.lazy(), layout, context), frame)

    def _spans(self, rows: pl.DataFrame) -> dict[int, Span]:
        found = rows.group_by(WINDOW).agg(
            pl.col(ROWID).min().alias("first"), pl.col(ROWID).max().alias("last"), pl.len().alias("rows")
        )
        ends = found.select(
            pl.col(WINDOW).cast(pl.Int64),
            "first",
            "last",
            "rows",
            self._mode().end_of(pl.col(WINDOW)).cast(pl.Int64).alias("end"),
        )
        return {window: Span(first, last, count, end) for window, first, last, count, end in ends.iter_rows()}

    def _old_rows(self, spans: dict[int, Span], before: Cursor, context: Context) -> pl.DataFrame:
        """The rows of these windows that were read before this batch, from the source."""
        wanted = pl.col(WINDOW).cast(pl.Int64).is_in(list(spans))
        found = [self._no_source_rows(context)]
        for first, last in _stretches(spans.values(), upto=before.rowid):
            found += [rows.filter(wanted) for rows in self._read_again(first, last, before, context)]
        return pl.concat(found)

    def _no_source_rows(self, context: Context) -> pl.DataFrame:
        source = self._route.source
        return self._rows(Batch(fitting.blank(source.columns), (), Cursor(), 0, source.layout), context)[0]

    def _read_again(self, first: int, last: int, before: Cursor, context: Context) -> Iterator[pl.DataFrame]:
        """The rows from one id to another, a chunk at a time."""
        cursor = Cursor(before.generation, first - 1, marks=before.marks)
        while cursor.rowid < last:
            batch = self._route.source.read_after(cursor, limit=self._chunk, upto=last)
            if batch is None:
                return
            yield self._rows(batch, context)[0]
            cursor = Cursor(before.generation, batch.cursor.rowid, marks=before.marks)

    def _restored(self, cursor: Cursor) -> dict[int, Span]:
        """The open windows, from the rows between the first that is in one and the cursor."""
        if self._open is None:
            spans: dict[int, Span] = {}
            first = cursor.marks.get(Mark.OPEN)
            if first is not None and cursor.rowid != BEFORE_FIRST:
                context = self._route.context(cursor.generation)
                for rows in self._read_again(first, cursor.rowid, cursor, context):
                    _join(spans, self._unwritten(self._spans(rows), cursor, context))
            self._open = spans
        return self._open

    def _unwritten(self, spans: dict[int, Span], cursor: Cursor, context: Context) -> dict[int, Span]:
        watermark = cursor.marks.get(Mark.WATERMARK)
        still = {w: s for w, s in spans.items() if not self._closed(s, watermark)}
        there = self._written_among(still, cursor, context)
        return {w: s for w, s in still.items() if w not in there}

    # -- what the table holds

    def _written_among(self, spans: dict[int, Span], cursor: Cursor, context: Context) -> dict[int, Span]:
        """Those of the windows that are in the table, with where their rows lay when they were written."""
        latest = cursor.marks.get(Mark.WRITTEN)
        windows = [w for w in spans if latest is not None and w <= latest]
        if not windows:
            return {}
        found = self._route.sink.ask(Question(self._where(windows, context), named(WINDOW), totals=SPAN))
        rows = found.select(pl.col(WINDOW).cast(pl.Int64), "first", "last", pl.col("n").cast(pl.Int64)).iter_rows()
        return {window: Span(first, last, n, spans[window].end) for window, first, last, n in rows}

    def _where(self, windows: Iterable[int], context: Context) -> Where:
        """This device's rows of these windows."""
        starts = pl.Series(list(windows), dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
        return (*mine(context.node_id, context.generation), *among(WINDOW, starts))

    # -- rows that come too late

    def _purged(self, written: dict[int, Span], old: pl.DataFrame) -> list[int]:
        """The written windows whose rows are not all in the source any more, so that they cannot be computed again."""
        counts: dict[Any, int] = dict(old.group_by(pl.col(WINDOW).cast(pl.Int64)).len().iter_rows())
        return [window for window, span in written.items() if counts.get(window, 0) < span.rows]

    def _tell_of_gaps(self, windows: list[int]) -> None:
        if windows:
            self._route.device.log.warning(Event.PURGED_EARLY, mode=self._route.name, windows=len(windows))

    def _too_late(self, batch: Batch, late: pl.DataFrame) -> list[Rejection]:
        if not late.height:
            return []
        self._route.device.log.warning(Event.TOO_LATE, mode=self._route.name, rows=late.height)
        stamp = self._route.source.timestamp
        column = stamp.alias if stamp is not None else "timestamp"
        reason = "its window is written, and the window's other rows are no longer in the source"
        rows = batch.frame.join(late.select(ROWID), on=ROWID, how="semi")
        return fitting.rejections(rows, lambda _row: ("purged", column, reason))
