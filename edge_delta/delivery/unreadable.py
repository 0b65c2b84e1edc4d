"""What a table holds of rows that its source has no more: a ``reset`` cannot deliver it again.

`edge_delta.sinks.superseded` leaves out what stays, by the source as it is when the reset is asked for, and once more
when the first row is about to come: the application may have deleted others in between.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct

from edge_delta.core.model import Cursor, Mark
from edge_delta.core.questions import Question, between, mine, named
from edge_delta.delivery.earlier_windows import EarlierWindows
from edge_delta.delivery.restored import restored
from edge_delta.delivery.window_rows import WindowRows
from edge_delta.modes.aggregated import SPAN, WINDOW
from edge_delta.sinks import superseded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edge_delta.core.ports import Sink
    from edge_delta.core.questions import Where
    from edge_delta.delivery.route import Route

_CHUNK = 50_000
_MOST_COMPARED = 1_000_000
_MOST_STRETCHES = 1_000
"""So many stretches are written of a table at most; where rows were deleted here and there, the others are told."""


class Unreadable(Struct, frozen=True):
    """What cannot be delivered again.

    Attributes:
        stay: stretches of ids, first and last, whose rows of the table stay the ones that count.
        staying: how many rows of the table these are.
        lost: how many rows of the source are in none of those that count afterwards.
    """

    stay: Sequence[tuple[int, int]] = ()
    staying: int = 0
    lost: int = 0

    def stretches(self, after: int, upto: int) -> Iterator[tuple[int, int]]:
        """What lies behind one id and up to another, without those that stay."""
        for first, last in self.stay:
            if after < first - 1:
                yield after, first - 1
            after = last
        yield after, upto

    def __str__(self) -> str:
        told = [f"{self.staying} rows of the table stay, whose rows the source has no more"] if self.staying else []
        told += [f"{self.lost} ROWS ARE LOST to the views, because the source has them no more"] if self.lost else []
        return "; ".join(told)


def unreadable(route: Route, generation: int, after: int, upto: int) -> Unreadable:
    """What a generation has behind one id and up to another that the source has no more.

    Args:
        route: the mode's way.
        generation: the generation that is delivered again.
        after: the id behind which it is.
        upto: its last id.
    """
    if not route.source.keyed_by_rowid or not route.sink.exists():
        return Unreadable()
    own, ids_of = mine(route.device.node_id, generation), route.source.census.ids
    if route.traits.windowed:
        found = route.sink.ask(Question(own, named(WINDOW), totals=SPAN))
        windows = [one for one in found.select("first", "last", "n").rows() if after < one[1] <= upto]
        first = min([after + 1, *(one[0] for one in windows)])  # of one that lies across the position, too
        there = [i for i, _ in ids_of(first - 1, upto, timed=False)]
        return _of_windows(windows, there, after, route.source.waiting(Cursor()).first_rowid)
    there = [i for i, _ in ids_of(after, upto, timed=False)]
    key = str(route.traits.key)
    ids = route.sink.ask(Question((*own, *between(key, after, upto)), named(key)))[key].sort()
    come = ids.is_in(pl.Series(there, dtype=ids.dtype).implode())
    one_each = route.traits.replayable and not route.versioned
    used = ids.filter(come).len() - ids.filter(come).n_unique() if one_each else 0  # others have their ids by now
    return _of_rows(ids.filter(~come).to_list(), there, used)


def of_open_windows(route: Route, cursor: Cursor) -> int:
    """How many rows of windows that were open at a cursor the source has no more; at least so many.

    Where windows are others by now, which a reset is for, nobody knows which rows those were.
    """
    if not route.traits.windowed:
        return 0
    rows, marks = WindowRows(route, _CHUNK), cursor.marks
    if marks.get(Mark.SHAPE, rows.mode.shape) != rows.mode.shape:
        there = route.source.census.counts(marks.get(Mark.OPEN, cursor.rowid + 1) - 1, cursor.rowid).rows
        return max(0, marks.get(Mark.PENDING, 0) - there)
    here = route.source.placed(cursor, cursor.rowid)  # it may have been delivered with another witness key
    return restored(rows, EarlierWindows(route, rows), here, route.context(cursor.generation)).missing


def recounted(route: Route, record: Sink, where: Where) -> tuple[pl.DataFrame, int]:
    """What is superseded of what was recorded, by the rows that are there now; and how many are lost with it.

    Of more than a million rows with gaps, those alone are looked at that were purged before all others.

    Args:
        route: the mode's way.
        record: the table of what is superseded.
        where: what of it to look at.
    """
    there = superseded.read(record, where)
    rows, lost = [], 0
    for one in there.rows(named=True):
        if one["other_ids"]:
            rows.append(one)
            continue
        first = route.source.waiting(Cursor(rowid=one["after_id"])).first_rowid
        after, upto = one["upto_id"] if first is None else first - 1, one["upto_id"]
        if after >= upto:
            continue
        count = route.source.census.counts(after, upto).rows
        found = Unreadable()
        if count < upto - after and count <= _MOST_COMPARED:
            found = unreadable(route, one["source_generation"], after, upto)
        lost += found.lost
        rows += [{**one, "after_id": low, "upto_id": high} for low, high in found.stretches(after, upto) if low < high]
    return pl.DataFrame(rows, schema=there.schema), lost


def _of_rows(gone: Sequence[int], there: Sequence[int], used: int) -> Unreadable:
    runs: list[tuple[int, int]] = []
    for one in gone:
        if runs and bisect_left(there, one) == bisect_left(there, runs[-1][0]):
            runs[-1] = runs[-1][0], one
        else:
            runs.append((one, one))
    if len(runs) > _MOST_STRETCHES:
        return Unreadable(lost=len(gone) + used)
    return Unreadable(runs, len(gone), used)


def _of_windows(
    windows: Iterable[tuple[int, int, int]], there: Sequence[int], after: int, begins: int | None
) -> Unreadable:
    """What becomes of windows.

    One whose first rows were purged before all others stays as it is; so does one whose rows are all gone, where no
    other lies across its ends. Others lose the rows.
    """
    inside = sorted(windows)
    stay: list[tuple[int, int]] = []
    staying = lost = superseded_rows = 0
    before = after
    for place, (first, last, rows) in enumerate(inside):
        left = bisect_right(there, last) - bisect_left(there, first)
        alone = after < first and before < first and (place + 1 == len(inside) or inside[place + 1][0] > last)
        before = max(before, last)
        if begins is None or first < begins <= after + 1:
            staying += 1
        elif not left and alone and len(stay) < _MOST_STRETCHES:
            stay.append((first, last))
            staying += 1
        else:
            lost += max(0, int(rows) - left)
            superseded_rows += int(rows)
    return Unreadable(stay, staying, max(lost, superseded_rows - len(there)))  # more than ids: some were used again
