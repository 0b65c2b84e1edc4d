"""Windows that rows belong to which came below the cursor.

Which rows these are need not be known: a window of the table says how many rows it was made of, an open one how many it
has, and the source how many there are now. Where it has more, the window is made again of all of them and written, be
it closed or not. So nothing is counted twice, whoever was killed when.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct, field
from msgspec.structs import replace

from edge_delta.core.model import Cursor, Mark
from edge_delta.core.plan import ROWID
from edge_delta.delivery.earlier_windows import extent, stays
from edge_delta.delivery.identity import still_there
from edge_delta.delivery.open_windows import OpenWindows, between, in_windows, up_to
from edge_delta.delivery.window_rows import StillThere, stretches
from edge_delta.delivery.windows import Windows
from edge_delta.delivery.writing import Corrected
from edge_delta.modes.aggregated import WINDOW

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from edge_delta.core.model import Batch, Context, Rejection, Step
    from edge_delta.delivery.earlier_windows import Version
    from edge_delta.delivery.window_rows import InTable
    from edge_delta.delivery.writing import Came, Unsure


class _Range(Struct):
    """What a range of the source has.

    Attributes:
        extents: first and last row by window.
        rejected: the rows that belong to none.
        known: how many rows that are known to be new each window has.
        new: those of them that have no used id.
    """

    extents: dict[int, tuple[int, int]] = field(default_factory=dict)
    known: Counter[int] = field(default_factory=Counter)
    new: Counter[int] = field(default_factory=Counter)
    rejected: list[Rejection] = field(default_factory=list)

    def widen(self, window: int, first: int, last: int) -> None:
        """A window has rows from one to another."""
        low, high = self.extents.get(window, (first, last))
        self.extents[window] = min(low, first), max(high, last)


class SweptWindows(Windows):
    """Windows that late rows can be put into."""

    def corrected(self, after: int, upto: int, cursor: Cursor, came: Came) -> Corrected:
        """See `edge_delta.delivery.writing.Writing`."""
        context, mode, known = self._route.context(cursor.generation), self._rows.mode, self._known(cursor)
        there = self._range(after, upto, cursor, context, came)
        shown = self._rows.in_table(there.extents, cursor, context)
        versions = self._earlier.versions(there.extents, cursor)
        own = self._own(there, shown)
        for start, several in versions.items():
            there.widen(start, *extent(several))
        if self._told_gone or not came.gone.known:  # those that were read again have all rows, whatever went before
            came = came._replace(looked={*came.looked, *self._read_again})
        floors, still = stays(versions), StillThere(shown, came.gone)
        again, behind = OpenWindows(), OpenWindows()
        for rows in self._rows.read_again(stretches(there.extents.values(), upto=cursor.rowid), cursor, context):
            some = rows.filter(in_windows(there.extents))
            again = again.joined(OpenWindows.of(some, mode), mode)
            behind = behind.joined(OpenWindows.of(some.filter(in_windows(floors) & ~up_to(floors)), mode), mode)
            still.see(rows, pl.col(ROWID).is_in(list(came.others)) & ~in_windows(came.looked))
        purged = still.purged
        there.rejected += self._late_for(purged, {}, (after, upto), cursor, came)
        kept = {start: extent(versions[start]) for start in floors if start not in purged}
        there.rejected += self._late_for(kept, floors, (after, upto), cursor, came)
        late = {start: rows for start, rows in _more(again, behind, own, versions).items() if start not in purged}
        swept = cursor.swept()
        refused = self._route.refuse(there.rejected, swept, swept=True)
        whole = self._whole(again, shown, came)
        placed = {*late, *purged, *floors, *whole}
        found = Corrected(
            there=max(0, sum(whole.values())),
            new=there.new,
            left=sum(rows for start, rows in there.known.items() if start not in placed),
        )
        if not late and not refused.rows:
            return found
        due = again.without(floors).joined(behind, mode).only(late)
        due = due.with_written({s: v.rows for s, v in shown.items() if s in late})
        self._from_before |= bool(shown)
        step = self._rewritten(swept, known.without(late).joined(due, mode), late)
        count = sum(late.values()) + refused.rows
        return found._replace(step=replace(step, read=count, rejected=refused.rows, refused=refused), late=count)

    def _rewritten(self, cursor: Cursor, windows: OpenWindows, late: Collection[int]) -> Step:
        """Write windows that late rows came for, and others that these close: no later process takes those for open."""
        turn = self._turn(cursor, cursor, windows, None)
        closed = turn.windows.closed_by(turn.cursor.marks.get(Mark.WATERMARK), self._rows.mode.lateness)
        now = {*late, *(start for start in closed if turn.windows.windows[start].pending)}
        return self._written(turn, now, closed, None)

    @property
    def unsure(self) -> Unsure | None:
        """See `edge_delta.delivery.writing.Writing`."""
        return self._rows.unsure

    def _own(self, there: _Range, shown: Mapping[int, InTable]) -> dict[int, int]:
        """How many rows windows of this generation have; the range is widened to those."""
        own = {start: version.rows for start, version in shown.items()}
        for start, version in shown.items():
            there.widen(start, version.first, version.last)
        for start, window in (self._open.windows if self._open is not None else {}).items():
            if start in there.extents:
                there.widen(start, window.first, window.last)
                own[start] = max(window.rows, own.get(start, 0))
        return own

    def _whole(self, again: OpenWindows, shown: Mapping[int, InTable], came: Came) -> dict[int, int]:
        """Windows that have all rows of now, written or read again in this process, and how many are not written.

        Args:
            again: the windows, of all rows that are there.
            shown: those that the table has.
            came: what is known of the rows.
        """
        known, found = self._open.windows if self._open is not None else {}, {}
        for start, window in again.windows.items():
            there = shown.get(start)
            read_again = start in self._read_again and start in known and known[start].rows == window.rows
            whole = there is not None and there.rows == window.rows
            whole = whole and (start in came.looked or not came.gone.some(window.first, window.last))
            if read_again or whole:
                found[start] = window.rows - (there.rows if there is not None else 0)
        return found

    def renewed(self, _batch: Batch, _last: pl.DataFrame, _before: Cursor) -> None:
        """Nothing: a window is made of the rows as they were delivered first."""

    def _late_for(
        self,
        purged: Mapping[int, tuple[int, int]],
        floors: Mapping[int, int],
        keys: tuple[int, int],
        cursor: Cursor,
        came: Came,
    ) -> list[Rejection]:
        """The rows of windows that can no longer be made again, as far as they were not in them.

        Args:
            purged: the windows, with their first and last row.
            floors: up to which id a row of some of them cannot be in another version beside.
            keys: those behind and up to which the rows are.
            cursor: where the lane stands.
            came: what is known of them: new ones are in none, also between the first and the last row of a window.
        """
        if not purged:
            return []
        context = self._route.context(cursor.generation)
        found: list[Rejection] = []
        for batch in self._batches(*keys, cursor):
            rows = self._rows.of(batch, context)[0]
            outside = ~between(purged) | pl.col(ROWID).is_in(list(came.ids))
            within = up_to(floors) if floors else pl.lit(value=True)
            found += self._too_late(batch, rows.filter(in_windows(purged) & outside & within))
        return found

    def _range(self, after: int, upto: int, cursor: Cursor, context: Context, came: Came) -> _Range:
        found, new = _Range(), list(came.ids - came.used)
        known = list(came.ids)
        for batch in self._batches(after, upto, cursor):
            rows, broken = self._rows.of(batch, context)
            found.rejected += [*batch.rejected, *broken]
            extents = rows.group_by(pl.col(WINDOW).cast(pl.Int64)).agg(
                pl.col(ROWID).min().alias("first"),
                pl.col(ROWID).max().alias("last"),
                pl.col(ROWID).is_in(known).sum().alias("known"),
                pl.col(ROWID).is_in(new).sum().alias("new"),
            )
            for window, first, last, known_there, new_there in extents.iter_rows():
                found.widen(window, first, last)
                found.known[window] += known_there
                found.new[window] += new_there
        return found

    def _batches(self, after: int, upto: int, cursor: Cursor) -> Iterator[Batch]:
        position = Cursor(cursor.generation, after, marks=cursor.marks)
        limit = self._emission.chunk
        while (batch := self._route.source.read_after(position, limit=limit, upto=upto)) is not None:
            still_there(self._route.source, cursor)
            yield batch
            position = replace(position, rowid=batch.cursor.rowid)


def _more(
    again: OpenWindows, behind: OpenWindows, own: Mapping[int, int], versions: Mapping[int, Sequence[Version]]
) -> dict[int, int]:
    """How many rows windows have that are in no version of them, and that one can be made of.

    Args:
        again: the windows, of all rows that are there.
        behind: those with a version that stays, of the rows behind it.
        own: how many rows those of this generation have.
        versions: what earlier generations wrote.
    """
    found = {}
    for start, window in again.windows.items():
        before = versions.get(start, ())
        more = window.rows - own.get(start, 0) - sum(version.there.rows for version in before)
        if not all(version.whole for version in before):
            more = min(more, (behind.windows[start].rows if start in behind.windows else 0) - own.get(start, 0))
        if more > 0:
            found[start] = more
    return found
