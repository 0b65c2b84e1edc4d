"""What resets took the place of: the rows that the current views leave out, as `sql/03_views.sql` has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from edge_delta.core.questions import Question, mine, named, rejected_by

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_delta.recovery.verify.base import Compared

GENERATION = "source_generation"
Record = tuple[int, int, int, int, bool]
"""Generation, the ids behind and up to which, by which generation, and whether under other ids."""
_RECORD = (GENERATION, "after_id", "upto_id", "by_generation", "other_ids")


def record(parts: Compared) -> list[Record]:
    """All that is recorded of a mode's table; asks the table of the records."""
    sink = parts.route.tables.recorded()
    if sink is None:
        return []
    where = (*mine(parts.node_id), *rejected_by(parts.source.table, parts.name))
    return sink.ask(Question(where, named(*_RECORD))).select(_RECORD).rows()


def left_out(recorded: Iterable[Record], first: str, last: str, newest: pl.Expr | None = None) -> pl.Expr:
    """Whether rows are left out.

    Args:
        recorded: what `record` gave of the table that they are of.
        first: the column with their first id.
        last: the one with their last id, which is the same where they stand for one row.
        newest: the newest generation that has such a row, where only one that came again is left out.
    """
    found = [pl.col(GENERATION) < 0]  # none
    for generation, after, upto, by, others in recorded:
        there = (pl.col(GENERATION) == generation) & (pl.col(first) > after) & (pl.col(last) <= upto)
        found.append(there if newest is None or others else there & (newest >= by))
    return pl.any_horizontal(found)
