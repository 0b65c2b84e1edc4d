"""The states of a row that a table has, and whether the source has a newer one.

What was delivered is decided by the table: a state that is in it is not delivered again, whoever was killed when. New
states are rows in a commit with the cursor, as all rows are, so nothing else has to be remembered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from edge_delta.core.places import tells_by_name
from edge_delta.core.plan import ROWID
from edge_delta.core.questions import Question, Where, among, mine, within
from edge_delta.core.updates import VERSION
from edge_delta.delivery.delivered import Delivered, number
from edge_delta.delivery.other_ids import GENERATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_delta.core.ports import Mode
    from edge_delta.delivery.route import Route

_SPARSE = 4
"""A range of ids is asked for as such where it is at most so many times as wide as there are rows wanted."""
_OURS = frozenset({ROWID, "reading_id", "source_rowid", "databricks_inserted_at", "node_id", GENERATION, VERSION})
_THERE = "\0there"


def first(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows that are delivered for the first time."""
    return rows.with_columns(pl.lit(1, dtype=pl.Int32).alias(VERSION))


def last_of(route: Route, ids: Sequence[int]) -> pl.DataFrame:
    """The last state that a route's table has of some rows of its source.

    Args:
        route: the route.
        ids: the rows' ids, not empty.

    Returns:
        The table's columns, ``_rowid`` and ``row_version``; one row for each id that is in the table.
    """
    stands, sink = route.sink.committed(), route.sink
    key = str(route.traits.key)
    if stands is None or not sink.exists():
        return pl.DataFrame(schema={ROWID: pl.Int64(), GENERATION: pl.Int32(), VERSION: pl.Int32()})
    found = sink.ask(Question((*mine(route.device.node_id), *_these(key, ids))))
    found = found.with_columns(pl.col(key).alias(ROWID))
    found = found.with_columns(number() if VERSION in found.columns else pl.lit(1, dtype=pl.Int32).alias(VERSION))
    own = found.filter(Delivered(route, stands).inside() & pl.col(ROWID).is_in(list(ids)))
    return own.sort(GENERATION, VERSION).unique(ROWID, keep="last", maintain_order=True).sort(ROWID)


def _these(key: str, ids: Sequence[int]) -> Where:
    low, high = min(ids), max(ids)
    return within(key, low, high) if high - low < _SPARSE * len(ids) else among(key, ids)


def changed(rows: pl.DataFrame, last: pl.DataFrame, mode: Mode, route: Route) -> set[int]:
    """The ids of rows whose state is another one than the last that was delivered.

    Args:
        rows: the source's rows as the mode makes them without what it carries over from other rows; with ``_rowid``.
        last: see `last_of`.
        mode: the mode.
        route: the route.
    """
    names = _compared(rows, mode, route)
    new = [pl.lit(None, dtype=rows.schema[name]).alias(name) for name in names if name not in last.columns]
    there = last.with_columns(new).select(ROWID, *names)  # a column that the table does not have yet is empty there
    both = rows.select(ROWID, *names).join(there, on=ROWID, suffix=_THERE)
    differs = [
        pl.col(name).ne_missing(pl.col(name + _THERE))
        & (pl.col(name).is_not_null() if name in mode.carried else pl.lit(value=True))
        for name in names
    ]
    return set(both.filter(pl.any_horizontal(pl.lit(value=False), *differs))[ROWID])


def _compared(rows: pl.DataFrame, mode: Mode, route: Route) -> list[str]:
    """The columns that tell of an update: not ours, and not what is made by settings that may be others by now."""
    stored = {c.name.lower() for c in route.source.columns}
    made = {name for name in mode.filled - mode.carried if name.lower() not in stored}
    updates = route.device.updates
    hidden = updates is not None and updates.places_move
    return [name for name in rows.columns if name not in _OURS | made and not (hidden and tells_by_name(name))]


def numbered(
    rows: pl.DataFrame, last: pl.DataFrame, route: Route, carried: frozenset[str] = frozenset()
) -> pl.DataFrame:
    """Rows with the version that comes next, in the generation that the version before is of.

    Args:
        rows: rows as the mode makes them.
        last: see `last_of`.
        route: the route.
        carried: columns that keep the last version's value where the row has none.
    """
    key = str(route.traits.key)
    names = [name for name in carried if name in rows.columns and name in last.columns]
    before = last.select(
        pl.col(ROWID).alias(key), *(pl.col(n).alias(n + _THERE) for n in (GENERATION, VERSION, *names))
    )
    both = rows.join(before, on=key, how="left", maintain_order="left")
    newer = {name: pl.coalesce(name, name + _THERE) for name in names}
    newer[GENERATION] = pl.coalesce(GENERATION + _THERE, GENERATION)
    newer[VERSION] = (pl.col(VERSION + _THERE).fill_null(0) + 1).cast(pl.Int32)
    columns = [*(name for name in rows.columns if name != VERSION), VERSION]
    return both.select(newer.get(name, pl.col(name)).alias(name) for name in columns)
