"""What a lane has read in the order of its keys, as one number that travels with its cursor.

A row that came behind the cursor's back is in the source and not in this number, so a sweep need not ask the table
what it holds. It is a checksum and no count: the rows modulo 2^12 and the sum of their keys modulo 2^28, which only the
difference of two cursors gives a meaning to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from edge_delta.core.model import Batch, Cursor

_ROWS, _KEYS = 12, 28
_KNOWN = 1 << (_ROWS + _KEYS)
NOTHING = _KNOWN
"""The tally of a lane that has read no row."""


def counted(batch: Batch, before: Cursor) -> Batch:
    """The batch with its rows in its cursor's tally.

    Args:
        batch: rows that were read in order.
        before: where the lane stood before them.
    """
    key = batch.frame.columns[0]  # `edge_delta.core.plan.ROWID`, which imports Polars
    keys = int(batch.frame[key].sum()) + sum(r.rowid for r in batch.rejected)
    rows, ids = _parts(before.tally)
    tally = _KNOWN | (rows + batch.rows) % (1 << _ROWS) << _KEYS | (ids + keys) % (1 << _KEYS)
    return replace(batch, cursor=replace(batch.cursor, tally=tally))


def tells(before: int, after: int, rows: int, ids: int) -> bool:
    """Whether just these rows were read between two tallies; False where it is not known.

    Args:
        before: the earlier tally.
        after: the later one.
        rows: how many rows.
        ids: the sum of their keys, or anything that is the same modulo 2^28.
    """
    if not before or not after:
        return False
    (rows_before, ids_before), (rows_after, ids_after) = _parts(before), _parts(after)
    return not (rows_after - rows_before - rows) % (1 << _ROWS) and not (ids_after - ids_before - ids) % (1 << _KEYS)


def left_out(batch: Batch, before: Cursor) -> int:
    """The ids that are left out before a batch, by a source that leaves out none itself.

    SQLite numbers rows without a gap; an application that leaves ids out would be told of rows that never were. One row
    alone says nothing of that, but what was read before may: a row of each id from 1 on.
    """
    last = before.rowid
    in_a_row = batch.cursor.rowid - batch.first_rowid + 1 == batch.rows
    all_before = last > 0 and tells(NOTHING, before.tally, last, last * (last + 1) // 2)
    return max(0, batch.first_rowid - last - 1) if in_a_row and (batch.rows > 1 or all_before) else 0


def as_many(before: int, after: int, rows: int) -> bool:
    """Whether as many rows were read between two tallies, modulo 2^12; False where it is not known."""
    return bool(before and after) and not (_parts(after)[0] - _parts(before)[0] - rows) % (1 << _ROWS)


def _parts(tally: int) -> tuple[int, int]:
    return tally >> _KEYS & ((1 << _ROWS) - 1), tally & ((1 << _KEYS) - 1)


def place(cursor: Cursor) -> tuple[int, int, dict[str, int]]:
    """What of a cursor is worth a commit by itself."""
    return cursor.generation, cursor.rowid, dict(cursor.marks)
