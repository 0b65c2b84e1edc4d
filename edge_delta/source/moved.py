"""Where a table's rows went when VACUUM gave them other ids, told by the witnesses of a cursor alone.

A table without an INTEGER PRIMARY KEY keeps the order of its rows, and no id. A witness is a hash of a row and of the
id that it had, so each row of now is tried under the ids that a witness may have had: the cursor's own, which is known,
and those that it had if ids lay close together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.source.witness import RANKS, Kept, Witnesses

if TYPE_CHECKING:
    from edge_delta.core.model import Cursor
    from edge_delta.source.witness import Values

_LOOKED_AT = 100_000
"""Rows up to the cursor's id among which its row is looked for, the last first; a second of CPU."""
_CHUNK = 1_024
_APART = 16
"""How many more ids than rows may lie between a witness and the cursor's row."""


def known(witnesses: Witnesses, cursor: Cursor, *, moved: bool) -> tuple[int, int] | None:
    """The last row of those behind a cursor that is still there.

    Args:
        witnesses: of the table as it is now.
        cursor: with all of its witnesses.
        moved: whether to look under other ids, too.

    Returns:
        The id that it has now, and the one that it had; None if none is to be found.
    """
    same = witnesses.known(cursor)
    there = [(same, same)] if same is not None else []
    again = _moved(witnesses, cursor) if moved and same != cursor.rowid else None
    return max([*there, *([again] if again is not None else [])], default=None)


def _moved(witnesses: Witnesses, cursor: Cursor) -> tuple[int, int] | None:
    """The id of the last delivered row that is still there, and the one that it had."""
    if witnesses.table.id_column is not None or not witnesses.timed or not cursor.witnesses:
        return None
    kept = Kept.of(cursor.witnesses)
    if not kept.whole or not witnesses.fits(kept):
        return None
    search = _Search(witnesses, kept, cursor.rowid)
    upto, left = cursor.rowid, _LOOKED_AT
    while left > 0 and (rows := witnesses.last_values(upto, _CHUNK + RANKS[-1])):
        found = search.among(rows)
        if found is not None:
            return found
        upto, left = rows[min(_CHUNK, len(rows)) - 1][0] - 1, left - _CHUNK
    return search.one_behind(witnesses.last_values(cursor.rowid, _CHUNK))


class _Search:
    """Looks for a cursor's row in some rows, which are newest first."""

    def __init__(self, witnesses: Witnesses, kept: Kept, rowid: int) -> None:
        self.witnesses, self.kept, self.rowid = witnesses, kept, rowid

    def among(self, rows: list[tuple[int, Values]]) -> tuple[int, int] | None:
        """The id of the cursor's row, and the one that it had."""
        for place, (now, values) in enumerate(rows[:_CHUNK]):
            seen = self.witnesses.seen(self.rowid, values)
            if seen == self.kept.own or (seen.time == self.kept.own.time and self._confirmed(rows[place + 1 :])):
                return now, self.rowid
        return None

    def _confirmed(self, behind: list[tuple[int, Values]]) -> bool:
        """Whether the rows behind the cursor's have the times of its witnesses; its own was updated."""
        told = [
            any(self.witnesses.seen(then, values).time == seen.time for then in (self.rowid - rank, now))
            for rank, seen in zip(RANKS, self.kept.behind, strict=False)
            for now, values in behind[rank - 1 : rank]
        ]
        return 2 * sum(told) > len(self.kept.behind)

    def one_behind(self, rows: list[tuple[int, Values]]) -> tuple[int, int] | None:
        """The last witness that is there, where the cursor's own row was deleted."""
        for now, values in rows:
            for rank, seen in zip(RANKS, self.kept.behind, strict=False):
                for then in {now, *range(self.rowid - rank, self.rowid - rank - _APART, -1)}:
                    if self.witnesses.seen(then, values) == seen:
                        return now, then
        return None
