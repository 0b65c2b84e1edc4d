"""Rows that are told by what is in them, because their ids are others by now."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CellsOf = tuple[Any, ...]
"""A row's, in the columns that can be compared."""


class Alike(Struct, frozen=True):
    """Whether a delivered row is one of the source that was updated since: at its time, like it in most.

    Attributes:
        at: the place of the time among the columns; behind the last where there is none, and nothing is alike.
        weights: how much an equal cell of each column tells, see `Delivered.weights`.
    """

    at: int
    weights: Sequence[float]

    def __call__(self, delivered: CellsOf, now: CellsOf) -> bool:
        """Whether they are one row."""
        if self.at >= len(now) or delivered[self.at] is None or delivered[self.at] != now[self.at]:
            return False
        told = [(a == b, w) for a, b, w in zip(delivered, now, self.weights, strict=True) if a is not None]
        return 2 * sum(w for equal, w in told if equal) > sum(w for _, w in told)


def told_apart(rows: Iterable[tuple[int, CellsOf]], delivered: Iterable[CellsOf], alike: Alike) -> set[int]:
    """The ids of rows that were delivered: each delivered row stands for one, and for an equal one if there is one.

    Args:
        rows: the source's, with their ids.
        delivered: the table's.
        alike: whether two are one.
    """
    left: dict[Any, list[CellsOf]] = defaultdict(list)
    for cells in delivered:
        left[cells[alike.at]].append(cells)
    found, others = set(), []
    for rowid, cells in rows:
        if cells in left[cells[alike.at]]:
            left[cells[alike.at]].remove(cells)
            found.add(rowid)
        else:
            others.append((rowid, cells))
    for rowid, cells in others:
        same = next((one for one in left[cells[alike.at]] if alike(one, cells)), None)
        if same is not None:
            left[cells[alike.at]].remove(same)
            found.add(rowid)
    return found
