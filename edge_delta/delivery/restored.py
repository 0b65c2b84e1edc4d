"""The windows that are open at a cursor, out of the source again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edge_delta.core.model import BEFORE_FIRST, Cursor, Mark
from edge_delta.delivery.lives import life
from edge_delta.delivery.open_windows import OpenWindows

if TYPE_CHECKING:
    from edge_delta.core.model import Context
    from edge_delta.delivery.earlier_windows import EarlierWindows
    from edge_delta.delivery.window_rows import WindowRows


class Restored(NamedTuple):
    """What was found.

    Attributes:
        windows: the open windows, of all rows up to the cursor that are there.
        shown: whether the table has a version of some of them.
        missing: how many rows that were read before are there no more, see `WindowRows.missing`.
    """

    windows: OpenWindows
    shown: bool = False
    missing: int = 0


def restored(rows: WindowRows, earlier: EarlierWindows, cursor: Cursor, context: Context) -> Restored:
    """The windows that are open at a cursor.

    Args:
        rows: reads the rows of windows.
        earlier: what earlier generations wrote of them.
        cursor: the cursor.
        context: what the mode may know.
    """
    first, windows, mode = cursor.marks.get(Mark.OPEN), OpenWindows(), rows.mode
    if first is None or cursor.rowid == BEFORE_FIRST:
        return Restored(windows)
    watermark = cursor.marks.get(Mark.WATERMARK)
    for some in rows.read_again([(first, cursor.rowid)], cursor, context):
        found = OpenWindows.of(some, mode)
        windows = windows.joined(found.without(found.closed_by(watermark, mode.lateness)), mode)
    if windows.pending < cursor.marks.get(Mark.PENDING, 0):
        windows = windows.joined(_closed_since(rows, cursor, context), mode)
    windows = earlier.corrected(windows, cursor, context)
    shown = rows.in_table(windows.windows, cursor, context)
    # A version that has rows which can no longer be read is better than what would be computed now.
    stays = [start for start, version in shown.items() if windows.windows[start].rows < version.rows]
    windows = windows.without(stays).with_written({start: version.rows for start, version in shown.items()})
    same = not stays and life(cursor) == cursor.generation and windows.same_written(cursor.marks)
    return Restored(windows, bool(shown), rows.missing(windows, cursor, context, same=same))


def _closed_since(rows: WindowRows, cursor: Cursor, context: Context) -> OpenWindows:
    """Windows that were open at a cursor, and are closed where `allowed_lateness` is less by now: no table has them."""
    windows, mode, marks = OpenWindows(), rows.mode, cursor.marks
    for some in rows.read_again([(marks[Mark.OPEN], cursor.rowid)], cursor, context):
        found = OpenWindows.of(some, mode)
        closed = found.only(found.closed_by(marks.get(Mark.WATERMARK), mode.lateness))
        windows = windows.joined(closed.without(rows.in_table(closed.windows, cursor, context)), mode)
    return windows
