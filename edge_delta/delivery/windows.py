"""Event-time windows: what is written equals one aggregation over all rows, whatever the batches were.

A window is closed when the watermark, the largest event time so far, is past its end by more than the allowed lateness,
and then it is written; with ``emit = "early"`` also before that, at the end of every cycle. A row that arrives for a
window in the table corrects it: the window is computed again and replaced in the commit that carries the cursor.

Of open windows only parts are kept (`edge_delta.delivery.open_windows`), which are had again from the source after a
restart. Every row that was read is in a window of the table, or in an open window whose rows are in the source, or it
is told as lost: the cursor has the number of rows in no window (`Mark.PENDING`), and of those that never will be
(`Mark.LOST`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct
from msgspec.structs import replace

from edge_delta.core.errors import SourceUnavailable
from edge_delta.core.events import Event
from edge_delta.core.model import Batch, Commit, Context, Cursor, Mark, Refused, Rejection, Step
from edge_delta.core.plan import ROWID
from edge_delta.delivery import fitting
from edge_delta.delivery.earlier_windows import EarlierWindows
from edge_delta.delivery.lives import life, lives_on
from edge_delta.delivery.open_windows import TOO_LATE, Emission, OpenWindows, Window, from_first, in_windows, latest_of
from edge_delta.delivery.quantiles import QuantilesOf
from edge_delta.delivery.restored import restored
from edge_delta.delivery.rows import empty_like
from edge_delta.delivery.tally import place
from edge_delta.delivery.window_rows import StillThere, WindowRows, held_to, stretches
from edge_delta.modes.aggregated import WINDOW

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from edge_delta.delivery.prepared import Prepared
    from edge_delta.delivery.route import Route

_MICROSECONDS = 1_000_000
_NONE_OPEN = dict.fromkeys((Mark.PENDING, Mark.AHEAD, Mark.IDS), 0)


class _Turn(Struct, frozen=True):
    """What a writing of windows is about.

    Attributes:
        context: what the mode may know.
        before: where the lane stands in the source: rows up to there are read again where that is needed.
        cursor: what is committed.
        windows: the windows that are known then, with the batch's rows.
        rows: the batch's rows; they are not read again.
    """

    context: Context
    before: Cursor
    cursor: Cursor
    windows: OpenWindows
    rows: pl.DataFrame | None = None


class Windows:
    """See the module's text, and `edge_delta.delivery.writing.Writing`.

    Windows are named by their start in microseconds since 1970, UTC.

    Args:
        route: from where to where.
        emission: when and how windows are written.
    """

    def __init__(self, route: Route, emission: Emission) -> None:
        self._route = route
        self._emission = emission
        self._rows = WindowRows(route, emission.chunk)
        self._earlier = EarlierWindows(route, self._rows)
        self._open: OpenWindows | None = None
        self._lost = 0
        self._told_ahead = False
        self._from_before = False  # whether windows of the table were made again: their rows may be others by now
        self._read_again: set[int] = set()  # open windows that have all rows of now, those from below the cursor too
        self._told_gone = False  # whether it was told that rows of these are gone

    def forget(self) -> None:
        """The open windows are had again from the source."""
        self._open, self._lost = None, 0
        self._earlier.forget()

    # -- positions

    def adopted(self, cursor: Cursor) -> Cursor:
        """Windows that are in the table stay known; rows that went to another mode's table open none."""
        stands = self._route.sink.committed()
        own = stands.marks if stands is not None and stands.generation == cursor.generation else {}
        marks = {Mark.BEGINS: cursor.rowid, Mark.OPEN: cursor.rowid + 1, **_NONE_OPEN}
        self.forget()
        return replace(cursor, marks={**own, **lives_on(cursor, life(cursor)), **marks})

    def rewound(self, cursor: Cursor, stands: Cursor) -> Cursor:
        """Windows that are open stay so, and the table's are replaced as their rows come again."""
        marks = {mark: stands.marks[mark] for mark in (Mark.WRITTEN, Mark.LOST) if mark in stands.marks}
        opens = min(cursor.rowid + 1, stands.marks.get(Mark.OPEN, cursor.rowid + 1))
        return cursor.marked(**marks, **{Mark.OPEN: opens})

    def no_rows(self) -> pl.DataFrame:
        """The table's columns, or those that the mode would make one with."""
        if self._route.sink.exists():
            return empty_like(self._route)
        context = self._route.context(0)
        return self._rows.mode.aggregate(self._rows.none(context).lazy(), context).collect()

    # -- one batch

    def prepare(self, batch: Batch, columns: Mapping[str, pl.DataType | None]) -> None:
        """Nothing: what becomes of a row depends on the windows that are open when its turn comes."""

    def deliver(self, batch: Batch, _prepared: Prepared | None, before: Cursor) -> Step:
        """Write windows that close, correct those in the table, and keep the others' parts."""
        context, mode = self._route.context(batch.cursor.generation), self._rows.mode
        known = self._known(before)
        rows, broken = self._rows.of(batch, context)
        touched = set(rows[WINDOW].unique().cast(pl.Int64))
        again, purged = self._from_table(touched - known.windows.keys(), before, context)
        elsewhere = touched - known.windows.keys() - again.windows.keys() - set(purged)
        taken, replaces = self._earlier.taken_in(dict.fromkeys(elsewhere), before, context)
        known = known.joined(taken, mode)
        rejected = [*batch.rejected, *broken, *self._too_late(batch, rows.filter(in_windows(purged)))]
        refused = self._route.refuse(rejected, batch.cursor)
        rows = self._earlier.fresh(rows.filter(~in_windows(purged)) if purged else rows)
        windows = known.joined(again, mode).joined(OpenWindows.of(rows, mode), mode).with_written(replaces)
        turn = self._turn(before, batch.cursor, windows, rows)
        # What another life of this table wrote is corrected at once, and open no longer.
        due = windows.closed_by(turn.cursor.marks.get(Mark.WATERMARK), mode.lateness) | set(again.windows)
        shown = {start for start in touched if start in windows.windows and windows.windows[start].written}
        now = due | (shown if not self._emission.early else shown & replaces.keys())
        return self._written(turn, now, due, (batch, len(rejected), refused))

    def cycle_over(self, cursor: Cursor) -> Step | None:
        """Write what the clock has closed, and with ``emit = "early"`` all windows that have new rows."""
        return self._without_batch(cursor, everything=self._emission.early)

    def finish(self, cursor: Cursor, *, quick: bool = False) -> Step | None:
        """Write the open windows as they are; rows that come later correct them.

        Args:
            cursor: where the lane stands.
            quick: whether to leave what would take long; its rows stay in the source.
        """
        if quick and self._rows.mode.quantiles:
            known = self._known(cursor)
            if sum(window.rows for window in known.windows.values()) > self._emission.held:
                return None
        return self._without_batch(cursor, everything=True)

    def source_gone(self, cursor: Cursor) -> tuple[Step | None, int]:
        """Write the open windows out of what is in memory; the commit, and how many rows are in no window."""
        held, self._open = self._open, None
        if held is None or self._rows.mode.quantiles:
            pending = cursor.marks.get(Mark.PENDING, 0) if held is None else held.pending
            return None, pending
        turn = self._turn(cursor, cursor, held, None)
        try:
            step = self._written(turn, {s for s, w in held.windows.items() if w.pending}, set(), None)
        except SourceUnavailable:  # it takes rows that are gone
            return None, held.pending
        self._open = None
        return step, 0

    def _without_batch(self, cursor: Cursor, *, everything: bool) -> Step | None:
        known = self._known(cursor)
        turn = self._turn(cursor, cursor, known, None)
        due = known.closed_by(turn.cursor.marks.get(Mark.WATERMARK), self._rows.mode.lateness)
        new = {s for s, window in known.windows.items() if window.pending}
        now = new if everything else due & new  # a commit that brings nothing new is refused
        if not (now or due or self._lost or known.pending != cursor.marks.get(Mark.PENDING, 0)):  # or some came late
            self._open = known
            return None
        return self._written(turn, now, due, None)

    # -- one writing

    def _turn(self, before: Cursor, cursor: Cursor, windows: OpenWindows, rows: pl.DataFrame | None) -> _Turn:
        """Takes note of the time: what the watermark is now, and what is ahead of the clock."""
        context = self._route.context(cursor.generation)
        limit = round((context.inserted_at.timestamp() + self._rows.mode.future_tolerance) * _MICROSECONDS)
        times = [before.marks.get(Mark.WATERMARK), windows.latest_before(limit)]
        if rows is not None:
            times.append(latest_of(rows, limit))
        marks = dict(before.marks)
        known = [time for time in times if time is not None]
        if known:
            marks[Mark.WATERMARK] = max(known)
        ahead = windows.after(limit)
        marks[Mark.AHEAD] = min((window.earliest for window in ahead.values()), default=0)
        self._tell_ahead(ahead)
        return _Turn(context, before, replace(cursor, marks={**cursor.marks, **marks}), windows, rows)

    def _written(self, turn: _Turn, now: set[int], due: set[int], of_batch: tuple[Batch, int, Refused] | None) -> Step:
        """Write some windows, and keep the others with their rows' number.

        Args:
            turn: what it is about.
            now: the windows to write.
            due: those that are closed by that.
            of_batch: the batch, how many of its rows are rejected, and what went to the rejected table.
        """
        chosen = turn.windows.only(now)
        written = self._earlier.replaced(chosen, turn.before, turn.rows, turn.context)
        result = self._computed(written.windows, turn)
        rest = turn.windows.with_written({s: w.rows for s, w in chosen.windows.items()}).without(due)
        cursor = turn.cursor.marked(**self._marks(turn, rest, now))
        commit = None
        if result is not None and result.height:
            shown = written.replaces or any(window.written for window in written.windows.windows.values())
            replacing = self._rows.where(written.windows.windows, turn.context, written.since) if shown else None
            if shown and self._from_before:
                result = self._rows.with_larger(result, written.windows, turn.context)
            if written.kept is not None:
                result = pl.concat([result, written.kept], how="diagonal_relaxed")
            stands = self._route.sink.committed()
            if of_batch is None and stands is not None and place(stands) == place(cursor):
                cursor = cursor.swept()  # a row from below the cursor was read with the others of an open window
            commit = self._route.sink.append(result, cursor, replacing=replacing)
        self._open, self._lost = rest, 0
        return self._step(turn, cursor, commit, of_batch)

    def _marks(self, turn: _Turn, rest: OpenWindows, now: set[int]) -> dict[str, int]:
        before, open_from = turn.cursor.marks, rest.first(turn.cursor.rowid + 1)
        marks = {Mark.OPEN: open_from, Mark.PENDING: rest.pending, Mark.SHAPE: self._rows.mode.shape, **rest.checksums}
        if now:
            marks[Mark.WRITTEN] = max(*now, before.get(Mark.WRITTEN, min(now)))
        if self._lost:
            marks[Mark.LOST] = before.get(Mark.LOST, 0) + self._lost
        return marks

    def _step(
        self, turn: _Turn, cursor: Cursor, commit: Commit | None, of_batch: tuple[Batch, int, Refused] | None
    ) -> Step:
        route = self._route
        if of_batch is None:
            return Step(route.name, route.sink.uri, 0, 0, Refused(), commit, cursor.rowid, cursor, None)
        (batch, rejected, refused), times = of_batch, turn.rows["timestamp"] if turn.rows is not None else None
        return Step(
            mode=route.name,
            table=route.sink.uri,
            read=batch.rows,
            rejected=rejected,
            refused=refused,
            commit=commit,
            first_rowid=batch.first_rowid,
            cursor=cursor,
            last_time=None if times is None else times.max(),  # type: ignore[arg-type]
            first_time=None if times is None else times.min(),  # type: ignore[arg-type]
        )

    def _computed(self, chosen: OpenWindows, turn: _Turn) -> pl.DataFrame | None:
        """The table's rows of some windows."""
        if chosen.parts is None:
            return None
        mode, quantiles = self._rows.mode, None
        if mode.quantiles:
            with QuantilesOf(mode, self._emission.folder, held=self._emission.held) as values:
                self._read_values(values, chosen, turn)
                quantiles = values.result()
        found = None if quantiles is None else quantiles.lazy()
        return mode.finished(chosen.parts.lazy(), found, turn.context).collect()

    def _read_values(self, values: QuantilesOf, chosen: OpenWindows, turn: _Turn) -> None:
        """All rows of some windows: what came before the batch from the source again."""
        read = 0
        parts = stretches([(w.first, w.last) for w in chosen.windows.values()], upto=turn.before.rowid)
        frames = self._rows.read_again(parts, turn.before, turn.context)
        for rows in chain(frames, [] if turn.rows is None else [turn.rows]):
            mine = rows.filter(from_first({start: window.first for start, window in chosen.windows.items()}))
            read += mine.height
            values.add(mine)
        missing = sum(w.rows for w in chosen.windows.values()) - read
        if missing > 0:
            self._lost += missing
            self._warn(Event.PURGED_EARLY, rows=missing, windows=len(chosen.windows))

    # -- what is known without having read it in this process

    def _known(self, cursor: Cursor) -> OpenWindows:
        """The open windows, from the rows between the first that is in one and the cursor."""
        if self._open is None:
            held_to(self._rows.mode, cursor, self._route.sink.uri)
            self._open, shown, missing = restored(
                self._rows, self._earlier, cursor, self._route.context(cursor.generation)
            )
            self._from_before, self._read_again = self._from_before or shown, {*self._open.windows}
            self._told_gone = missing > 0
            if missing:
                self._lost += missing
                self._warn(Event.PURGED_EARLY, rows=missing, windows=len(self._open.windows))
        return self._open

    def _from_table(self, starts: Collection[int], before: Cursor, context: Context) -> tuple[OpenWindows, list[int]]:
        """Windows of the table, from their rows; and those whose rows are not all there by now."""
        shown, windows, mode = self._rows.in_table(starts, before, context), OpenWindows(), self._rows.mode
        still = StillThere(shown)
        for rows in self._rows.read_again(stretches(still.extents.values(), upto=before.rowid), before, context):
            own = rows.filter(from_first({start: version.first for start, version in shown.items()}))
            windows = windows.joined(OpenWindows.of(own, mode), mode)
            still.see(own)
        purged = list(still.purged)
        windows, self._from_before = windows.without(purged), self._from_before or bool(shown)
        return windows.with_written({start: window.rows for start, window in windows.windows.items()}), purged

    # -- what is told

    def _too_late(self, batch: Batch, late: pl.DataFrame) -> list[Rejection]:
        if not late.height:
            return []
        self._warn(Event.TOO_LATE, rows=late.height)
        stamp = self._route.source.timestamp
        column = stamp.alias if stamp is not None else "timestamp"
        reason = "its window is written, and the window's other rows are no longer in the source"
        rows = batch.frame.join(late.select(ROWID), on=ROWID, how="semi")
        return fitting.rejections(rows, lambda _row: (TOO_LATE, column, reason))

    def _tell_ahead(self, ahead: Mapping[int, Window]) -> None:
        """Say once that rows wait for the clock, and again after there were none."""
        if ahead and not self._told_ahead:
            first, last = min(w.earliest for w in ahead.values()), max(w.latest for w in ahead.values())
            rows = sum(window.rows for window in ahead.values())
            self._warn(Event.AHEAD, rows=rows, first=_iso(first), last=_iso(last))
        self._told_ahead = bool(ahead)

    def _warn(self, event: Event, **keys: object) -> None:
        self._route.device.log.warning(event, mode=self._route.name, **keys)


def _iso(micros: int) -> str:
    return datetime.fromtimestamp(micros / _MICROSECONDS, UTC).isoformat()
