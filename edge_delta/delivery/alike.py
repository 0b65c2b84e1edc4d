"""Rows that are told by what is in them, because their ids are others by now."""

from __future__ import annotations

from collections import defaultdict, deque
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


def pairs(
    rows: Iterable[tuple[int, CellsOf]], delivered: Iterable[tuple[int, CellsOf]], alike: Alike
) -> tuple[dict[int, int], dict[int, int]]:
    """Which delivered row each row is: each of them stands for one, and for an equal one if there is one.

    Args:
        rows: the source's, with their ids.
        delivered: the table's, with the ids that they had; the first of equal ones is taken.
        alike: whether two are one.

    Returns:
        By the row's id, that of the delivered row: where both are equal, and where they are only alike.
    """
    equal: dict[CellsOf, deque[int]] = defaultdict(deque)
    for then, cells in delivered:
        equal[cells].append(then)
    found, likely, others = dict[int, int](), dict[int, int](), []
    for now, cells in rows:
        same = equal.get(cells)
        if same:
            found[now] = same.popleft()
        else:
            others.append((now, cells))
    if not others:
        return found, likely
    left: dict[Any, list[tuple[int, CellsOf]]] = defaultdict(list)
    for cells, ids in equal.items():
        left[cells[alike.at]].extend((then, cells) for then in ids)
    for now, cells in others:
        beside = left.get(cells[alike.at], [])
        place = next((n for n, (_, there) in enumerate(beside) if alike(there, cells)), None)
        if place is not None:
            likely[now] = beside.pop(place)[0]
    return found, likely
