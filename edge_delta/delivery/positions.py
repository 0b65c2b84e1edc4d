"""When modes that select rows say how far they have come although nothing is selected, as alerts for weeks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

    from edge_delta.delivery.lane import Lane

_EVERY = 3_600.0
"""Seconds between two positions of a table: rows up to one may be purged, and who starts after a kill need not read
them again."""
_ROWS = 10_000
"""Rows that were read since, after which one is due all the same: a database that is purged would grow by an hour's."""


class Positions:
    """Commits where such modes stand: once an hour or after many rows, and at once where a table has no position yet.

    So does each mode whose source is another one by now of which no row has come: `verify` goes by the tables alone.

    A purge goes by the tables alone: until each of them has a position, nothing may go.

    Args:
        unsaid: counts the rows of each lane that were read since its last commit.
    """

    def __init__(self, unsaid: MutableMapping[Lane, int]) -> None:
        self._unsaid = unsaid
        self._last = time.monotonic()
        self._there: set[Lane] = set()

    def now_and_then(self, lanes: Iterable[Lane]) -> None:
        """To be called at the end of each cycle.

        Args:
            lanes: those whose tables answer.
        """
        hourly = time.monotonic() - self._last >= _EVERY
        for lane in lanes:
            due = hourly or self._unsaid.get(lane, 0) >= _ROWS
            if _begins_anew(lane) or (lane.route.traits.selective and (due or self._first_of(lane))):
                lane.settle()
                self._unsaid[lane] = 0
        if hourly:
            self._last = time.monotonic()

    def _first_of(self, lane: Lane) -> bool:
        """Whether the table of this mode has no position of this device, as far as this process has seen."""
        if lane not in self._there and lane.sink.committed() is not None:
            self._there.add(lane)
        return lane not in self._there


def _begins_anew(lane: Lane) -> bool:
    """Whether the table knows nothing of the generation that the lane is in."""
    stands = lane.sink.committed()
    return stands is not None and stands.generation < lane.cursor().generation
