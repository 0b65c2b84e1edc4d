"""What a table holds of rows that its source has no more: going back cannot deliver it again."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct

from edge_delta.core.questions import Question, between, mine, named
from edge_delta.modes.aggregated import SPAN, WINDOW

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edge_delta.delivery.route import Route

_MOST_STRETCHES = 1_000
"""So many stretches are written of a table at most; where rows were deleted here and there, the others are told."""


class Unreadable(Struct, frozen=True):
    """What cannot be delivered again.

    Attributes:
        stay: stretches of ids, first and last, whose rows of the table stay the ones that count.
        staying: how many rows of the table these are.
        lost: how many rows of the source are in none of those that count afterwards.
    """

    stay: Sequence[tuple[int, int]] = ()
    staying: int = 0
    lost: int = 0

    def stretches(self, after: int, upto: int) -> Iterator[tuple[int, int]]:
        """What lies behind one id and up to another, without those that stay."""
        for first, last in self.stay:
            if after < first - 1:
                yield after, first - 1
            after = last
        yield after, upto

    def __str__(self) -> str:
        told = [f"{self.staying} rows of the table stay, whose rows the source has no more"] if self.staying else []
        told += [f"{self.lost} ROWS ARE LOST to the views, because the source has them no more"] if self.lost else []
        return "; ".join(told)


def unreadable(route: Route, generation: int, after: int, upto: int) -> Unreadable:
    """What a generation has behind one id and up to another that the source has no more.

    Args:
        route: the mode's way.
        generation: the generation that is delivered again.
        after: the id behind which it is.
        upto: its last id.
    """
    if not route.source.keyed_by_rowid or not route.sink.exists():
        return Unreadable()
    own, ids_of = mine(route.device.node_id, generation), route.source.census.ids
    if route.traits.windowed:
        found = route.sink.ask(Question(own, named(WINDOW), totals=SPAN))
        windows = [one for one in found.select("first", "last", "n").rows() if after < one[1] <= upto]
        first = min([after + 1, *(one[0] for one in windows)])  # of one that lies across the position, too
        return _of_windows(windows, [i for i, _ in ids_of(first - 1, upto, timed=False)], after)
    there = [i for i, _ in ids_of(after, upto, timed=False)]
    key = str(route.traits.key)
    ids = route.sink.ask(Question((*own, *between(key, after, upto)), named(key)))[key].sort()
    return _of_rows(ids.filter(~ids.is_in(pl.Series(there, dtype=ids.dtype).implode())).to_list(), there)


def _of_rows(gone: Sequence[int], there: Sequence[int]) -> Unreadable:
    runs: list[tuple[int, int]] = []
    for one in gone:
        if runs and bisect_left(there, one) == bisect_left(there, runs[-1][0]):
            runs[-1] = runs[-1][0], one
        else:
            runs.append((one, one))
    if len(runs) > _MOST_STRETCHES:
        return Unreadable(lost=len(gone))
    return Unreadable(runs, len(gone))


def _of_windows(windows: Iterable[tuple[int, int, int]], there: Sequence[int], after: int) -> Unreadable:
    """Windows whose rows are all gone stay, where no other one lies across their ends; others lose the rows."""
    inside = sorted(windows)
    stay: list[tuple[int, int]] = []
    staying = lost = 0
    before = after
    for place, (first, last, rows) in enumerate(inside):
        left = bisect_right(there, last) - bisect_left(there, first)
        alone = after < first and before < first and (place + 1 == len(inside) or inside[place + 1][0] > last)
        before = max(before, last)
        if not left and alone and len(stay) < _MOST_STRETCHES:
            stay.append((first, last))
            staying += 1
        else:
            lost += max(0, int(rows) - left)
    return Unreadable(stay, staying, lost)
