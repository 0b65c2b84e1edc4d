"""Rows that several generations of a table have.

Ids and times alone do not tell: a database that is made again by a simulator has the same ids and times with other
values, and what was written behind a backup may be written again after it was restored once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl
from msgspec import Struct

from edge_delta.core.questions import COUNT, Condition, Question, Total, mine, moments, named, within
from edge_delta.modes import aggregated
from edge_delta.recovery.verify import superseded
from edge_delta.recovery.verify.base import Compared, bisected, tells_a_place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_delta.core.questions import Where

_GENERATION = "source_generation"
_OURS = frozenset({"node_id", _GENERATION, "databricks_inserted_at", "alert_id", "row_version"})
_FIRST, _LAST, _EQUAL, _ROWS = "_first_generation", "_last_generation", "_equal_rows", "_rows_again"
_COUNTS = pl.Schema({_FIRST: pl.Int32(), _LAST: pl.Int32(), _ROWS: pl.UInt32(), _EQUAL: pl.UInt32()})
_DIGITS = 9
"""Sums of doubles depend on the order of their terms."""


class Repeated(NamedTuple):
    """What of a table is there again.

    Attributes:
        rows: how many rows.
        pairs: the first generations that have them and those that repeat them, ascending.
    """

    rows: int
    pairs: list[tuple[int, int]]


class Repeats(Struct, frozen=True):
    """Looks for the rows that several generations have.

    Args:
        parts: what is compared.
        after: the last generation that does not count, because a ``reset`` delivered its rows again.
        recorded: what resets took the place of.
    """

    parts: Compared
    after: int
    recorded: Sequence[superseded.Record]

    def found(self) -> Repeated:
        """Each row of a later generation that an earlier one has, with the same values unless it was updated since."""
        parts, keys = self.parts, self._keys()
        where = (*mine(parts.node_id), Condition(_GENERATION, ">", self.after))
        key = parts.traits.key or aggregated.FIRST_ID
        ends = {"low": Total("min", key), "high": Total("max", key)}
        [(low, high)] = parts.sink.ask(Question(where, totals=ends)).select("low", "high").rows()
        counts = pl.DataFrame(schema=_COUNTS)
        for first, last, _ in bisected(parts, where, key, low, high) if low is not None else ():
            there = self._counted((*where, *within(key, first, last)), keys)
            counts = pl.concat([counts, there.select(_COUNTS.names()).cast(_COUNTS)])
        by_generation = counts.group_by(_LAST).agg(pl.col(_ROWS, _EQUAL).sum())
        again = by_generation.filter(2 * pl.col(_EQUAL) >= pl.col(_ROWS))  # the others may have been updated since
        pairs = counts.join(again, on=_LAST, how="semi").select(_FIRST, _LAST).unique().sort(_FIRST, _LAST)
        return Repeated(int(again[_ROWS].sum()), pairs.rows())

    def _counted(self, where: Where, keys: list[str]) -> pl.DataFrame:
        """How many rows have the keys of an earlier generation's, and how many of them its values, by generations."""
        ends = {_FIRST: Total("min", _GENERATION), _LAST: Total("max", _GENERATION)}
        groups = self.parts.sink.ask(Question(where, named(*keys), totals={"n": COUNT, **ends}, repeated=True))
        groups = groups.filter(pl.col(_FIRST) != pl.col(_LAST)).drop_nulls(keys).select(keys)
        if not groups.height:
            return pl.DataFrame(schema=_COUNTS)
        others = self._others(keys)
        rows = self.parts.sink.ask(Question(where, named(*keys, _GENERATION, *others))).join(
            groups, on=keys, how="semi"
        )
        rows = rows.filter(~self._left_out(rows)).with_columns(pl.selectors.float().round_sig_figs(_DIGITS))
        first = pl.col(_GENERATION).min()
        return (
            rows.with_columns(
                first.over(keys).alias(_FIRST), (pl.col(_GENERATION) > first.over([*keys, *others])).alias(_EQUAL)
            )
            .filter(pl.col(_GENERATION) > pl.col(_FIRST))
            .group_by(_FIRST, pl.col(_GENERATION).alias(_LAST))
            .agg(pl.len().alias(_ROWS), pl.col(_EQUAL).sum())
        )

    def _left_out(self, rows: pl.DataFrame) -> pl.Series:
        """Whether a reset took the place of rows: what the current views leave out is there once."""
        parts, key = self.parts, self.parts.traits.key
        if key:
            newest = None if parts.traits.selective else pl.col(_GENERATION).max().over(key)
            return rows.select(superseded.left_out(self.recorded, key, key, newest)).to_series()
        window = [_GENERATION, aggregated.WINDOW]
        starts = rows[aggregated.WINDOW].unique().cast(pl.Int64)
        where = (*mine(parts.node_id), *moments(aggregated.WINDOW, starts))
        whole = parts.sink.ask(Question(where, named(*window), totals=aggregated.SPAN)).select(*window, "first", "last")
        both = rows.select(window).join(whole, on=window, how="left", maintain_order="left")
        return both.select(superseded.left_out(self.recorded, "first", "last").fill_null(value=False)).to_series()

    def _keys(self) -> list[str]:
        """The columns that a row of several generations has in common whether or not it was updated since."""
        parts, there = self.parts, self.parts.sink.columns()
        if isinstance(parts.mode, aggregated.Aggregated):
            window = (aggregated.WINDOW, aggregated.FIRST_ID, aggregated.LAST_ID, aggregated.COUNT)
            return [*dict.fromkeys([*window, *parts.mode.group_by])]
        keys = [parts.traits.key, *parts.traits.key_parts]
        if parts.time in there:
            return [*keys, parts.time]
        return [*keys, *(c.alias for c in parts.source.columns if c.alias in there and c.alias not in keys)]

    def _others(self, keys: list[str]) -> list[str]:
        """The columns whose values tell; a place is displaced anew, and what was filled depends on rows before it."""
        left_out = {*keys, *_OURS, *self.parts.mode.filled}
        named_so = [n for n in self.parts.sink.columns() if n not in left_out and not tells_a_place(n)]
        return [n for n in named_so if not self.parts.not_compared(n)]
