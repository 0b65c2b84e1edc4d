"""How far a source goes on from the one before, where its alerts alone are in a table.

Witnesses are few, and the farther back the fewer. A row whose alerts are in the table under its id, with their time and
sensor, came before. What lies between two such rows, or behind the last of them, has no alert in the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from edge_delta.core.model import Cursor
from edge_delta.core.questions import Question, between, mine, named, within
from edge_delta.delivery import fitting
from edge_delta.delivery.lives import life

if TYPE_CHECKING:
    from edge_delta.core.model import Batch
    from edge_delta.delivery.route import Route

_ROWS = 50_000


def known_until(route: Route, stands: Cursor, known: int | None, *, equal: bool = False) -> int | None:
    """The last row of the source's beginning that has alerts in the table.

    Args:
        route: the way to the table of alerts.
        stands: where the table stands in the source before.
        known: a row that came before, which witnesses tell; None if they tell none.
        equal: whether each alert has to have its value, too: what is known is not delivered again. Else most of them.

    Returns:
        It, or what is known already if it lies behind that.
    """
    key, time = route.traits.key, route.traits.time
    if time is None or route.source.timestamp is None or not (route.sink.exists() and route.source.keyed_by_rowid):
        return known
    keys = [key, *route.traits.key_parts, "sensor_id", time]
    whole = [*keys, "value"]
    where = (*mine(route.device.node_id), *within("source_generation", life(stands), stands.generation))
    position = Cursor() if known is None else Cursor(rowid=known)
    while position.rowid < stands.rowid:
        batch = route.source.read_after(position, limit=_ROWS, upto=stands.rowid)
        last = stands.rowid if batch is None else batch.cursor.rowid
        question = Question((*where, *between(key, position.rowid, last)), named(*whole))
        there = route.sink.ask(question).unique()
        if batch is not None:
            made = _alerts(route, batch, stands.generation).select(whole).unique()
            both = there.join(made, on=whole, how="semi", nulls_equal=True)
            like = there.join(made, on=keys, how="semi", nulls_equal=True)
            both = like if not equal and 2 * both.height > like.height else both  # the others were updated since
            gone = there.join(both, on=whole, how="anti", nulls_equal=True)[key].min()
            seen = both[key] if gone is None else both.filter(pl.col(key) < gone)[key]
            known = max([*seen.to_list(), *([] if known is None else [known])], default=None)
            if gone is not None:
                return known
        elif there.height:
            return known
        position = Cursor(rowid=last)
    return known


def _alerts(route: Route, batch: Batch, generation: int) -> pl.DataFrame:
    """All alerts that a batch's rows may have had, whatever came before."""
    frame = fitting.not_taken_over(batch, batch.layout)
    plan = route.mode().forgetful().plan(frame.lazy(), batch.layout, route.context(generation))
    kept, _ = fitting.kept_rows(plan, frame)
    return kept.lazy().collect() if plan.select is None else plan.select(kept.lazy()).collect()
