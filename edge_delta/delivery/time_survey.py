"""Where rows may have come with a time that had passed, in tables that are read in the order of time.

All rows that are not behind the cursor are counted, which an index on the time makes cheap. Only where they are not as
many as were read is it counted by stretches of time, for which every row is visited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from edge_delta.core.counting import Counts
from edge_delta.delivery.ledger import Ledger
from edge_delta.delivery.survey import Suspect
from edge_delta.delivery.tally import as_many

if TYPE_CHECKING:
    from edge_delta.core.counting import Census
    from edge_delta.core.model import Cursor

_SHORTEST = 60_000
_STRETCHES = 256
_DAY = 86_400_000
Stretches = dict[int, tuple[int, int]]
"""How many rows each has by its number, and the sum of their keys within it."""


class TimeSurvey(Struct):
    """One lane's rows up to its cursor, beside what is known of them.

    Args:
        census: counts the source's rows.
        known: what is known.
        cursor: where the lane stands.
    """

    census: Census
    known: Ledger
    cursor: Cursor
    now: Ledger = field(default_factory=Ledger)
    in_order: bool = False

    def suspects(self) -> list[Suspect]:
        """The stretches to look at; then `now` says what was counted, for the next time."""
        known, upto = self.known, self.cursor.rowid
        behind = self.census.behind(upto)
        rows = self.census.total() - behind
        self.now = Ledger(cursor=self.cursor, tail=Counts(rows, 0), stretches=known.stretches)
        before = known.cursor
        if before is not None and before.generation == self.cursor.generation:
            self.in_order = as_many(before.tally, self.cursor.tally, rows - known.tail.rows)
        width, counted = _kept(known)
        if self.in_order and counted:
            return []
        width = width or _width(upto)
        now = dict(self.census.cells(width, upto))
        while len(now) > _STRETCHES:
            width, now, counted = 2 * width, _doubled(now, width), _doubled(counted, width)
        found = [] if self.in_order else [n for n, counts in now.items() if counts != counted.get(n)]
        if sum(count for count, _ in now.values()) == rows:  # else more have come since; the next time is in time
            rows_of = {str(n): list(counts) for n, counts in now.items()}
            self.now.stretches = {"width": width, "rows": rows_of, "upto": upto}
        begun = known.stretches.get("upto")
        return [_suspect(n, width, upto, (begun, now[n], counted.get(n, (0, 0)))) for n in sorted(found)]


def _suspect(n: int, width: int, upto: int, counts: tuple[int | None, tuple[int, int], tuple[int, int]]) -> Suspect:
    """A stretch to look at.

    Args:
        n: its number.
        width: how long stretches are.
        upto: the last key that counts.
        counts: up to which key was counted before, what it has now, and what it had then.
    """
    begun, (rows, ids), (had, had_ids) = counts
    last = (n + 1) * width - 1
    if begun is None or last > begun:  # rows behind what was counted came in their order
        return Suspect(n * width - 1, min(last, upto))
    return Suspect(n * width - 1, last, grown=rows - had, key=n * width + ids - had_ids if rows == had + 1 else None)


def _kept(known: Ledger) -> tuple[int, Stretches]:
    kept = known.stretches
    return kept.get("width", 0), {int(n): (rows, ids) for n, (rows, ids) in kept.get("rows", {}).items()}


def _width(_upto: int) -> int:
    return _SHORTEST


def _doubled(stretches: Stretches, width: int) -> Stretches:
    """In stretches of twice the width."""
    joined: Stretches = {}
    for n, (rows, ids) in stretches.items():
        before = joined.get(n >> 1, (0, 0))
        joined[n >> 1] = before[0] + rows, before[1] + ids + (n & 1) * rows * width
    return joined
