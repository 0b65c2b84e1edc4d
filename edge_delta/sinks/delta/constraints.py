"""Rows that a table's own conditions refuse: CHECK constraints, invariants and NOT NULL.

delta-rs refuses a commit as a whole and says how many of its rows broke a condition. Which they are is asked of the
same engine (DataFusion) before anything is written, over a copy of the columns that the conditions name: so that such a
row goes to the rejected table alone, and both tables get what is theirs exactly once. A condition has to be true; NULL
refuses the row, as in Spark.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from typing import TYPE_CHECKING

import polars as pl
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from deltalake.exceptions import DeltaError

from edge_delta.sinks.delta import sql
from edge_delta.sinks.delta.parquet import plain_arrow

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHECK = "delta.constraints."
_INVARIANT = "delta.invariants"
_PLACE = "_place"


def conditions(table: DeltaTable) -> dict[str, str]:
    """A table's conditions as SQL, by the name of the constraint or the column."""
    found = {
        name.removeprefix(_CHECK): text
        for name, text in table.metadata().configuration.items()
        if name.startswith(_CHECK) and text
    }
    for field in table.schema().fields:
        if not field.nullable:
            found[field.name] = f"{sql.column(field.name)} IS NOT NULL"
        if said := field.metadata.get(_INVARIANT):
            found[field.name] = json.loads(said)["expression"]["expression"]
    return found


def refused(frame: pl.DataFrame, having: Mapping[str, str]) -> dict[int, tuple[str, str]]:
    """The rows that break a condition, by their places in the frame: the condition's name, and its text.

    Args:
        frame: the rows, with the table's columns.
        having: from `conditions`.
    """
    text = " ".join(having.values()).lower()
    named = frame.select(name for name in frame.columns if name.lower() in text)
    found: dict[int, tuple[str, str]] = {}
    # What cannot be evaluated here cannot be appended either, and the commit says so.
    with contextlib.suppress(DeltaError, OSError), tempfile.TemporaryDirectory(prefix="edge-delta-") as place:
        write_deltalake(place, plain_arrow(named.with_row_index(_PLACE).cast({_PLACE: pl.Int64})))
        engine = QueryBuilder().register(sql.TABLE, DeltaTable(place))
        for name, condition in having.items():
            asked = f"SELECT {_PLACE} FROM {sql.TABLE} WHERE ({condition}) IS NOT TRUE"
            for row in pl.DataFrame(engine.execute(asked).read_all())[_PLACE]:
                found.setdefault(row, (name, condition))
    return found
