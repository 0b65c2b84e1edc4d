"""Windows of earlier generations that count still: what the source has of their rows is in no window of the newest one.

Such as a window whose first rows were purged before a ``reset``, or that a backup took rows of back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from edge_delta.core.plan import ROWID
from edge_delta.core.questions import Question, mine, named, rejected_by
from edge_delta.delivery.earlier_windows import Version
from edge_delta.delivery.lives import earlier
from edge_delta.delivery.window_rows import InTable
from edge_delta.modes.aggregated import SPAN, WINDOW

if TYPE_CHECKING:
    from edge_delta.core.model import Cursor
    from edge_delta.recovery.verify.base import Compared

_RECORD = ("source_generation", "after_id", "upto_id", "by_generation")


def current(parts: Compared, cursor: Cursor) -> dict[int, list[Version]]:
    """The windows of earlier generations of a cursor's source that no reset took the place of, by their start."""
    hidden = _superseded(parts)
    found: dict[int, list[Version]] = {}
    for life in earlier(parts.sink, cursor):
        asked = parts.sink.ask(Question(parts.mine(life.generation), named(WINDOW), totals=SPAN))
        rows = asked.select(pl.col(WINDOW).cast(pl.Int64), "first", "last", pl.col("n").cast(pl.Int64))
        for start, first, last, n in rows.iter_rows():
            if not any(g == life.generation and first > after and last <= upto for g, after, upto, _ in hidden):
                found.setdefault(start, []).append(Version(life, InTable(first, last, n)))
    return found


def _superseded(parts: Compared) -> list[tuple[int, int, int, int]]:
    """What resets took the place of: generation, the ids behind and up to which, and by which generation."""
    sink = parts.route.tables.recorded()
    if sink is None:
        return []
    where = (*mine(parts.node_id), *rejected_by(parts.source.table, parts.name))
    return sink.ask(Question(where, named(*_RECORD))).select(_RECORD).rows()


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
