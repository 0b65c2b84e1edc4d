"""How far a source that is not the one of the cursor begins with rows that were delivered before.

A database rolled back to a backup has the rows up to the backup, under the same ids, and then others; some of the
first may have been updated since they were delivered. VACUUM gives the rows of a table without an INTEGER PRIMARY
KEY new ids, in the same order. In both cases the first rows need not be delivered again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from edge_delta.core.errors import TwoSources
from edge_delta.core.model import Cursor
from edge_delta.core.plan import ROWID
from edge_delta.core.questions import within
from edge_delta.delivery.delivered import LIKELY, ON_TIME, Delivered
from edge_delta.delivery.lives import earlier
from edge_delta.delivery.other_ids import GENERATION, Pairs, under_other_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_delta.delivery.route import Route

_ROWS = 50_000
_SURE = 16
"""Twice the rows that must be known before one that was changed altogether, at the same time, counts as an update."""


class Known(NamedTuple):
    """The last row of a source's beginning that was delivered before.

    Attributes:
        now: the id that it has.
        then: the id that it had.
        first: the id that the first of these rows had, if they have others now.
    """

    now: int
    then: int
    first: int | None = None


@dataclass(slots=True)
class Lineage:
    """A source beside what was delivered from the one before it.

    Args:
        route: the way to a table whose rows stand for one source row each.
        stands: where the table stands in the source before.
        refuses: whether rows of a source that another one took the place of are refused.
    """

    route: Route
    stands: Cursor
    refuses: bool = True
    _delivered: Delivered = field(init=False)
    _columns: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._delivered = Delivered(self.route, self.stands)

    def known_until(self) -> Known | None:
        """Up to where the source's beginning was delivered before; None if its first row was not.

        Raises:
            TwoSources: if it begins with the rows of a generation that another one took the place of.
        """
        if not self.route.source.keyed_by_rowid:
            return None
        by_ids = self._by_ids()
        found = [k for k in (None if by_ids is None else Known(by_ids, by_ids), self._by_order()) if k is not None]
        return max(found, key=lambda known: known.now, default=None)

    # -- rows under the ids that they had

    def _by_ids(self) -> int | None:
        """Up to where most rows are those that the table has under their ids, of those that it has.

        One that was changed altogether is known if it lies before one that is known. Behind the last of those it is as
        likely another row, such as of a generator whose clock goes on from the backup's end.
        """
        last, score, best, elsewhere, seen = None, 0, 0, 0, 0
        for rows in self._read(self.stands.rowid):
            where = within(self._delivered.key, rows[ROWID][0], rows[ROWID][-1])
            beside = self._delivered.beside(rows, self._columns, where)
            inside = self._delivered.inside()
            found = beside.group_by(ROWID, maintain_order=True).agg(
                (pl.col(LIKELY) & inside).any().alias("here"),
                (pl.col(ON_TIME) & inside).any().alias("on_time"),
                (pl.col(LIKELY) & ~inside).any().alias("elsewhere"),
                pl.col(GENERATION).is_null().all().alias("missing"),
            )
            for rowid, here, on_time, other, missing in found.iter_rows():
                seen, elsewhere = seen + 1, elsewhere + (other and not here)  # since the last known one
                if missing:  # it came below the cursor: the sweep delivers it
                    continue
                score += 2 if here else -1 if on_time else -2
                sure = on_time and best >= _SURE and 2 * score >= best
                if here and (sure or score >= max(best, 1)):
                    last, best, elsewhere, seen = rowid, max(best, score), 0, 0
        return self._judged(last, elsewhere, seen)

    def _judged(self, last: int | None, elsewhere: int, seen: int) -> int | None:
        if self.refuses and 2 * elsewhere > seen:
            raise TwoSources(
                f"table {self.route.source.table!r} goes on with rows of a source that another one took the place of: "
                f"two databases are delivered as node {self.route.device.node_id}",
                "Give each database a NODE_ID of its own; if an old backup is meant, say so with "
                "edge-delta reset --to-beginning",
            )
        return last

    # -- rows in the order that they had

    def _by_order(self) -> Known | None:
        """Up to where rows were delivered before, whatever ids they had; others may have come between them.

        Those are below where the source goes on, so the sweep delivers them. A few rows that are alike by chance, as
        where a clock begins anew at each start, are no source that goes on: most rows of one of both sides are in both.
        """
        known: Known | None = None
        furthest: int | None = None
        both = ours = theirs = passed = 0
        moved = {life.generation: life.moved for life in earlier(self.route.sink, self.stands)}
        for rows in self._read():
            until_then = pl.col(GENERATION) <= self.stands.generation
            beside = under_other_ids(self._delivered, rows, self._columns, until_then, moved)
            found = _no_chance(rows[ROWID], beside, furthest)
            if not found:
                break
            furthest = max([*beside.equal.values(), *([] if furthest is None else [furthest])], default=None)
            last = max(found)
            known = Known(last, found[last], found[min(found)] if known is None else known.first)
            ours = passed + int((rows[ROWID] <= last).sum())
            both, theirs, passed = both + len(found), theirs + beside.there, passed + rows.height
        return known if 2 * both >= min(ours, theirs) else None

    def _read(self, upto: int | None = None) -> Iterator[pl.DataFrame]:
        """Its rows as the mode makes them, without those that it rejects; none of the frames is empty."""
        cursor = Cursor()
        while (batch := self.route.source.read_after(cursor, limit=_ROWS, upto=upto)) is not None:
            rows, self._columns = self._delivered.kept(batch)
            if rows.height:
                yield rows
            cursor = Cursor(rowid=batch.cursor.rowid)


def _no_chance(ids: pl.Series, found: Pairs, furthest: int | None) -> dict[int, int]:
    """The pairs of which a row that is only like a delivered one is that one, updated since.

    A late reading is at the time of another one, and of the same sensor. Taken for that one, it would be delivered
    never. Rows that were updated lie between others that were not; behind the last of those, they go on in the order
    of the ids that they had, and no new row comes before them.

    Args:
        ids: of all rows, ascending.
        found: the pairs.
        furthest: the largest id that an equal row of those before had; None if there was none.
    """
    both, equal = found.equal | found.alike, [*found.equal.values(), *([] if furthest is None else [furthest])]
    if not equal:
        return both if 2 * len(both) >= _SURE else {}
    last = max(found.equal, default=ids[0] - 1)
    for now in ids.filter(ids > last):
        if found.alike.get(now, max(equal)) <= max(equal):
            break
        last = now
    return {now: then for now, then in both.items() if now <= last}
