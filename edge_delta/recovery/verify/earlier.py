"""Windows of earlier generations that count still: what the source has of their rows is in no window of the newest one.

Such as a window whose first rows were purged before a ``reset``, or that a backup took rows of back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from edge_delta.core.plan import ROWID
from edge_delta.core.questions import Question, named
from edge_delta.delivery.earlier_windows import Version
from edge_delta.delivery.lives import earlier
from edge_delta.delivery.window_rows import InTable
from edge_delta.modes.aggregated import SPAN, WINDOW
from edge_delta.recovery.verify import superseded

if TYPE_CHECKING:
    from edge_delta.core.model import Cursor
    from edge_delta.recovery.verify.base import Compared


def current(parts: Compared, cursor: Cursor) -> dict[int, list[Version]]:
    """The windows of earlier generations of a cursor's source that no reset took the place of, by their start."""
    hidden = superseded.record(parts)
    found: dict[int, list[Version]] = {}
    for life in earlier(parts.sink, cursor):
        asked = parts.sink.ask(Question(parts.mine(life.generation), named(WINDOW), totals=SPAN))
        rows = asked.select(pl.col(WINDOW).cast(pl.Int64), "first", "last", pl.col("n").cast(pl.Int64))
        for start, first, last, n in rows.iter_rows():
            if not any(g == life.generation and first > after and last <= upto for g, after, upto, *_ in hidden):
                found.setdefault(start, []).append(Version(life, InTable(first, last, n)))
    return found


def without_known(rows: pl.DataFrame, floors: dict[int, int]) -> pl.DataFrame:
    """Rows without those that are in such windows.

    Args:
        rows: rows by window.
        floors: the last id that may be in one, by the window's start.
    """
    if not floors:
        return rows
    start = pl.col(WINDOW).cast(pl.Int64)
    floor = start.replace_strict(list(floors), list(floors.values()), default=None, return_dtype=pl.Int64)
    return rows.filter((pl.col(ROWID) > floor).fill_null(value=True))
