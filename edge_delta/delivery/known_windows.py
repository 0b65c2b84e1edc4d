"""How far a source goes on from the one before, where its windows alone are in a table.

Witnesses are few, and the farther back the fewer. A window of the table says between which ids its rows lay, group by
group. A row with such an id, in that window and group, and of a time that had been when the table was last written,
came before: rows that came after a backup was restored are later than that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from edge_delta.core.model import Cursor, Mark
from edge_delta.core.plan import ROWID
from edge_delta.core.questions import Question, mine, moments, named, within
from edge_delta.delivery.lives import life
from edge_delta.delivery.window_rows import WindowRows
from edge_delta.modes.aggregated import COUNT, FIRST_ID, LAST_ID, WINDOW

if TYPE_CHECKING:
    from edge_delta.core.questions import Where
    from edge_delta.delivery.route import Route

_ROWS = 50_000
_CLOSE = 1e-9
"""Sums of doubles depend on the order of their terms."""
_THERE = "\0there"
_OURS = frozenset({"node_id", "source_generation", "databricks_inserted_at"})


def known_until(route: Route, stands: Cursor, known: int | None) -> int | None:
    """The last row of the source's beginning that is in a window of the table.

    Args:
        route: the way to the table of windows.
        stands: where the table stands in the source before.
        known: a row that came before, which witnesses tell; None if they tell none. Then most windows that are there
            with as many rows have to be equal in all that they say, too.
    """
    rows = WindowRows(route, _ROWS)
    upto, keys = stands.marks.get(Mark.WATERMARK), rows.mode.keys
    if upto is None or not route.sink.exists():
        return known
    where = (*mine(route.device.node_id), *within("source_generation", life(stands), stands.generation))
    asked = {**named(*keys), "first": FIRST_ID, "last": LAST_ID}
    there = route.sink.ask(Question(where, asked)).group_by(keys).agg(pl.col("first").min(), pl.col("last").max())
    told = pl.col(ROWID).is_between("first", "last") & (pl.col("timestamp").cast(pl.Int64) <= upto)
    context, cursor = route.context(stands.generation), Cursor() if known is None else Cursor(rowid=known)
    while (batch := route.source.read_after(cursor, limit=_ROWS, upto=stands.rowid)) is not None:
        own, _ = rows.of(batch, context)
        beside = own.join(there, on=keys, how="left", nulls_equal=True, maintain_order="left")
        fresh: list[int] = beside.filter(~told.fill_null(value=False))[ROWID].to_list()
        own = own.filter(pl.col(ROWID) < min(fresh)) if fresh else own
        if known is None and not (
            own.height and _alike(route, rows.mode.aggregate(own.lazy(), context).collect(), where, keys)
        ):
            return None
        before: list[int] = own[ROWID].to_list() if fresh else [batch.cursor.rowid]
        known = max([*before, *([] if known is None else [known])], default=None)
        if fresh or known is None:
            return known
        cursor = Cursor(rowid=known)
    return known


def unsure_behind(route: Route, stands: Cursor, known: int) -> bool:
    """Whether rows behind the last one that is known may have come before, because they are no later than those.

    Args:
        route: the way to the table of windows.
        stands: where the table stands in the source before.
        known: the last row that is known, by its id of now.
    """
    rows, upto = WindowRows(route, _ROWS), stands.marks.get(Mark.WATERMARK)
    context, cursor = route.context(stands.generation), Cursor(rowid=known)
    while (batch := route.source.read_after(cursor, limit=_ROWS, upto=stands.rowid)) is not None:
        own, _ = rows.of(batch, context)
        if own.height and (upto is None or (own["timestamp"].cast(pl.Int64) <= upto).any()):
            return True
        cursor = Cursor(rowid=batch.cursor.rowid)
    return False


def _alike(route: Route, made: pl.DataFrame, where: Where, keys: list[str]) -> bool:
    """Whether most windows that the table has with as many rows are equal in all that they say."""
    same = [*keys, COUNT, FIRST_ID, LAST_ID]
    values = [n for n in made.columns if n not in {*same, *_OURS}]
    there = route.sink.ask(Question((*where, *moments(WINDOW, made[WINDOW].unique().cast(pl.Int64)))))
    if not {*same, *values} <= {*there.columns}:
        return False
    both = made.join(there, on=same, how="inner", nulls_equal=True, suffix=_THERE)
    equal = [_equal(name, made.schema[name]) for name in values]
    alike = both.filter(pl.all_horizontal(pl.lit(value=True), *equal)).height
    return 2 * alike > both.height


def _equal(name: str, kind: pl.DataType) -> pl.Expr:
    mine_, theirs = pl.col(name), pl.col(name + _THERE)
    equal = mine_.eq_missing(theirs)
    if not kind.is_float():
        return equal
    near = (mine_ - theirs).abs() <= _CLOSE * pl.max_horizontal(mine_.abs(), theirs.abs(), 1.0)
    return equal | near.fill_null(value=False)
