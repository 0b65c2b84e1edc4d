"""Rows that were gone, so that another generation began, and are there again before it has a row of its own.

Such as newest rows that were deleted, and a backup that has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.core.model import BEFORE_FIRST, Cursor, Mark
from edge_delta.delivery import two_sources
from edge_delta.delivery.lives import life, lives_on

if TYPE_CHECKING:
    from edge_delta.delivery.route import Route


def come_back(route: Route, cursor: Cursor) -> Cursor:
    """The cursor behind those rows; the same one where there are none, or where rows of its generation were read.

    Raises:
        TwoSources: if nothing is known of the cursor's source, and the one that is there is an earlier one's.
    """
    marks = cursor.marks
    begins = marks.get(Mark.BEGINS, BEFORE_FIRST)
    if not cursor.generation or cursor.rowid != begins or Mark.AGAIN in marks or Mark.ENDS in marks:
        return cursor
    found = _there_again(route, cursor.generation, begins)
    if found is None:
        if begins == BEFORE_FIRST and route.source.keyed_by_rowid:
            two_sources.refuse_an_earlier_one(route, cursor)
        return cursor
    before, last = found
    back = route.source.placed(cursor, last)
    lives = {Mark.BEGINS: last, **lives_on(cursor, life(before))}
    stands = route.sink.committed() or before
    written = marks.get(Mark.WRITTEN, stands.marks.get(Mark.WRITTEN))
    return back.marked(**lives if written is None else {**lives, Mark.WRITTEN: written})


def _there_again(route: Route, generation: int, begins: int) -> tuple[Cursor, int] | None:
    """Where the generation stood that has the last of the rows behind an id which are there again, and its id.

    Only the first generation that is met may have rows of its own: those of the ones before it were others'.
    """
    found: tuple[Cursor, int] | None = None
    for number in range(generation - 1, max(-1, generation - 1 - two_sources.LOOKED_BACK), -1):
        before = route.sink.witnessed(number)
        if before is None:  # it was only agreed on
            continue
        there = (route.source.known(before) or _in_table(route, before, begins)) if before.rowid > begins else None
        if there is not None and there[0] > (begins if found is None else found[1]):
            found = before, there[0]
        if before.rowid != before.marks.get(Mark.BEGINS) or Mark.AGAIN in before.marks or Mark.ENDS in before.marks:
            return found
    return found


def _in_table(route: Route, before: Cursor, begins: int) -> tuple[int, int] | None:
    """The same by a table of readings where no witness tells, as where a backup has other columns; seldom asked."""
    timed = route.source.keyed_by_rowid and route.source.timestamp is not None
    if not (route.traits.replayable and timed and route.source.waiting(Cursor(rowid=begins)).rows):
        return None
    from edge_delta.delivery.lineage import Lineage  # noqa: PLC0415 - Polars, and seldom needed

    known = Lineage(route, before, refuses=False).known_until()
    return None if known is None or known.now != known.then else (known.now, known.then)
