"""Which earlier generations have rows of the source that is there now.

A generation that begins behind known rows goes on from the one before: its source is a backup of that one's, or has it
under other ids, or it was asked for by ``reset``. The first generation of such a row of them is the source's life
(`Mark.LIFE`); a database that was made again begins a life of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.core.model import BEFORE_FIRST, Cursor, Mark

if TYPE_CHECKING:
    from edge_delta.core.ports import Sink

NO_END = 2**63 - 1


class Earlier(Struct, frozen=True):
    """An earlier generation of the same source.

    Attributes:
        generation: the generation.
        upto: the last id, as that generation has them, of a row that a later one did not take back.
        floor: the last id, as they are now, of a row that came in it or before.
        again: whether its rows are delivered again.
        first: the first id, as that generation has them, that is still there; None if ids are as they were.
        moved: by how much its ids were larger than they are now, if no more rows went between two that stayed.
    """

    generation: int
    upto: int = NO_END
    floor: int = NO_END
    again: bool = False
    first: int | None = None
    moved: int = 0


def life(cursor: Cursor) -> int:
    """The first generation of the cursor's source."""
    known = cursor.marks.get(Mark.LIFE)
    if known is not None:
        return known
    # Earlier versions wrote no such mark; then no more is known than that it goes on from the one before.
    again = cursor.marks.get(Mark.AGAIN, -1) == cursor.generation - 1
    follows = cursor.generation > 0 and (Mark.BEGINS in cursor.marks or again)
    return cursor.generation - 1 if follows else cursor.generation


def lives_on(cursor: Cursor, first: int) -> dict[str, int]:
    """The mark of a cursor whose source began with a generation."""
    return {Mark.LIFE: first} if first < cursor.generation else {}


def earlier(sink: Sink, cursor: Cursor) -> list[Earlier]:
    """The earlier generations of a cursor's source, the oldest first; none where it began its life."""
    first, following = life(cursor), cursor
    upto = floor = NO_END
    start: int | None = None
    moved = 0
    found: list[Earlier] = []
    for generation in range(cursor.generation - 1, first - 1, -1):
        marks = following.marks
        reset = marks.get(Mark.AGAIN, -1) >= following.generation - 1
        if not reset or Mark.KEPT in marks:  # what lies behind was taken back, be it before a reset's rows came again
            begins = marks.get(Mark.KEPT if reset else Mark.BEGINS, BEFORE_FIRST)
            ends = marks.get(Mark.ENDS, begins)
            upto, floor = ends if upto >= begins else upto, min(floor, begins - moved)
            moved, start = moved + ends - begins, marks.get(Mark.STARTS, start)
        again = generation <= cursor.marks.get(Mark.AGAIN, -1)
        found.append(Earlier(generation, upto, floor, again, start, moved))
        stood = sink.witnessed(generation)
        following = stood if stood is not None else following
    return found[::-1]
