"""The rows of windows, read from the source again, and what the table has of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from edge_delta.core.errors import SchemaMismatch
from edge_delta.core.model import Batch, Context, Cursor, Mark, Rejection
from edge_delta.core.questions import Question, mine, moments, named, within
from edge_delta.delivery import fitting
from edge_delta.delivery.identity import still_there
from edge_delta.delivery.known_rows import ANY, Gone
from edge_delta.delivery.open_windows import CHECKED, between, explained, in_windows
from edge_delta.delivery.writing import Unsure
from edge_delta.modes.aggregated import COUNT, SPAN, WINDOW, Aggregated

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from edge_delta.core.questions import Where
    from edge_delta.delivery.open_windows import OpenWindows
    from edge_delta.delivery.route import Route

_NOW = "\0now"
_NONE = pl.lit(value=False)
_MOST_LATE = 2
"""The most late rows that are told from others by a checksum."""
_MOST_COMPARED = 100_000
"""Among so many rows at most: each has a number in memory."""


class InTable(NamedTuple):
    """A window as the table has it: its first and last row, and how many it was made of."""

    first: int
    last: int
    rows: int


class StillThere:
    """Which windows of the table have lost rows in the source, as their rows are read again.

    What came behind a version's last row says nothing of it: it may be as many as were deleted. Nor do new rows before
    it where some are gone; where none are, they may be in it, as after a kill.

    Args:
        versions: the windows as the table has them, by start.
        gone: rows that went by, and are there no more.
    """

    def __init__(self, versions: Mapping[int, InTable], gone: Gone = ANY) -> None:
        self._versions = versions
        self._gone = gone
        self.extents = {start: (version.first, version.last) for start, version in versions.items()}
        self._rows: Counter[int] = Counter()
        self._new: Counter[int] = Counter()

    def see(self, rows: pl.DataFrame, new: pl.Expr = _NONE) -> None:
        """Count rows of the windows.

        Args:
            rows: the rows.
            new: which of them are known to be in no version.
        """
        own = rows.filter(between(self.extents)).group_by(pl.col(WINDOW).cast(pl.Int64))
        for start, count, fresh in own.agg(pl.len().alias("rows"), new.sum().alias("new")).iter_rows():
            self._rows[start] += count
            self._new[start] += fresh

    @property
    def purged(self) -> dict[int, tuple[int, int]]:
        """The first and last rows of those that have fewer rows by now."""
        return {start: self.extents[start] for start in self._versions if self._lacks(start)}

    def _lacks(self, start: int) -> bool:
        there, wanted = self._rows[start], self._versions[start].rows
        return there < wanted or (there - self._new[start] < wanted and self._gone.some(*self.extents[start]))


class WindowRows:
    """Reads the rows of windows.

    Args:
        route: from where to where.
        chunk: the most rows to read at a time.
    """

    def __init__(self, route: Route, chunk: int) -> None:
        self._route = route
        self._chunk = chunk
        self.unsure: Unsure | None = None

    @property
    def mode(self) -> Aggregated:
        """The mode."""
        mode = self._route.mode()
        assert isinstance(mode, Aggregated)  # noqa: S101 - no other mode has windows
        return mode

    def of(self, batch: Batch, context: Context) -> tuple[pl.DataFrame, list[Rejection]]:
        """A batch's rows by window, and those that belong to none."""
        layout = batch.layout
        frame = fitting.not_taken_over(batch, layout)
        return fitting.kept_rows(self.mode.plan(fitting.with_times(batch, frame).lazy(), layout, context), frame)

    def none(self, context: Context) -> pl.DataFrame:
        """A frame of rows that has none."""
        source = self._route.source
        return self.of(Batch(fitting.blank(source.columns), (), Cursor(), 0, source.layout), context)[0]

    def read_again(
        self, stretches: Iterable[tuple[int, int]], before: Cursor, context: Context
    ) -> Iterator[pl.DataFrame]:
        """The rows from some ids to others, a chunk at a time.

        Args:
            stretches: first and last ids.
            before: a cursor in the same source.
            context: what the mode may know.

        Raises:
            SourceReplaced: if they may be rows of another source.
        """
        for first, last in stretches:
            cursor = Cursor(before.generation, first - 1, marks=before.marks)
            while cursor.rowid < last:
                batch = self._route.source.read_after(cursor, limit=self._chunk, upto=last)
                if batch is None:
                    break
                still_there(self._route.source, before)
                yield self.of(batch, context)[0]
                cursor = Cursor(before.generation, batch.cursor.rowid, marks=before.marks)

    def missing(self, windows: OpenWindows, cursor: Cursor, context: Context, *, same: bool) -> int:
        """How many rows that were read before, and are in none of the windows' versions, are there no more.

        They are counted. Where others hide in the number that some are gone, late ones or such as have their ids now, a
        checksum of ids and times tells that it is so: then 1, as nobody knows how many. Where many came late, `unsure`
        says so.

        Args:
            windows: the open windows as the source has them now.
            cursor: where the lane stood.
            context: what the mode may know.
            same: whether the table's versions are replaced by these, and have no rows which are there no more.
        """
        self.unsure = None
        late = windows.pending - cursor.marks.get(Mark.PENDING, 0)
        if late < 0:
            return -late
        checked = windows.windows if same else windows.unwritten
        more = windows.larger_by(cursor.marks, written=same)
        rows = sum(window.rows for window in checked.values())
        if not more or rows < windows.pending:  # or some may be late for others
            return 0
        if not late:
            return 1
        if late > _MOST_LATE or rows > _MOST_COMPARED:
            self.unsure = Unsure([*checked], late, windows.first(0) - 1, cursor.rowid)
            return 0
        numbers: list[int] = []
        for some in self.read_again([(windows.first(0), cursor.rowid)], cursor, context):
            numbers += some.filter(in_windows(checked)).select(CHECKED).to_series().to_list()
        return int(not explained(more, late, numbers))

    def in_table(self, starts: Collection[int], cursor: Cursor, context: Context) -> dict[int, InTable]:
        """Those of the windows that are in the table."""
        latest = cursor.marks.get(Mark.WRITTEN)
        candidates = [start for start in starts if latest is not None and start <= latest]
        if not candidates:
            return {}
        found = self._route.sink.ask(Question(self.where(candidates, context), named(WINDOW), totals=SPAN))
        rows = found.select(pl.col(WINDOW).cast(pl.Int64), "first", "last", pl.col("n").cast(pl.Int64)).iter_rows()
        return {start: InTable(first, last, n) for start, first, last, n in rows}

    def with_larger(self, result: pl.DataFrame, chosen: OpenWindows, context: Context) -> pl.DataFrame:
        """Rows of windows that take the place of others; where a group has fewer rows by now, as the table has it.

        Such as where a row's id was used again: its window has as many rows as before, but not the same.
        """
        shown = [start for start, window in chosen.windows.items() if window.written]
        there = self._route.sink.ask(Question(self.where(shown, context))) if shown else None
        if there is None or not there.height:
            return result
        keys = self.mode.keys
        beside = there.join(result.select(*keys, pl.col(COUNT).alias(_NOW)), on=keys, how="left", nulls_equal=True)
        more = beside.filter(pl.col(COUNT) > pl.col(_NOW).fill_null(0)).drop(_NOW)
        rest = result.join(more, on=keys, how="anti", nulls_equal=True, maintain_order="left")
        return pl.concat([rest, more], how="diagonal_relaxed") if more.height else result

    def where(self, windows: Iterable[int], context: Context, since: int | None = None) -> Where:
        """This device's rows of these windows.

        Args:
            windows: the windows.
            context: whose, and of which generation.
            since: the first of the generations, if not that one alone.
        """
        own = mine(context.node_id, context.generation)
        if since is not None and since < context.generation:
            own = (*mine(context.node_id), *within("source_generation", since, context.generation))
        return (*own, *moments(WINDOW, windows))


def stretches(extents: Iterable[tuple[int, int]], *, upto: int) -> list[tuple[int, int]]:
    """First and last ids between which rows lie, without what lies far between two of them."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted((first, min(last, upto)) for first, last in extents if first <= upto):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def held_to(mode: Aggregated, cursor: Cursor, table: str) -> None:
    """Make sure that the table's windows are the settings' ones.

    Raises:
        SchemaMismatch: if they are not; rows would be in windows of both kinds.
    """
    known = cursor.marks.get(Mark.SHAPE)
    differs = mode.differs(known) if known is not None else ""
    if differs:
        raise SchemaMismatch(
            f"table {table} has {differs}",
            "Set it back, or run edge-delta reset --processing-mode aggregated --to-beginning to make all windows "
            "again, or set another table_path",
        )
