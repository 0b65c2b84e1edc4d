"""Rows of a source that is read in the order of time beside the rows of a table: their key is a time, and no id.

Rows are told by their primary key. Without one, as many rows of a time are missing as the source has more of it than
the table, and they are those that the table has no equal of: a row that was updated has none either.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import polars as pl
from msgspec.structs import replace

from edge_delta.core.model import Cursor
from edge_delta.core.plan import ROWID
from edge_delta.core.questions import COUNT, Question, mine, named, rejected_by, within
from edge_delta.delivery.delivered import Delivered
from edge_delta.delivery.other_ids import GENERATION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_delta.core.model import Batch, Rejection
    from edge_delta.core.questions import Where

_INDEX, _KEY, _NTH = "\0index", "\0key", "\0nth"


class DeliveredTimes(Delivered, frozen=True):
    """What a table holds of a source in the order of time."""

    def missing_rows(self, after: int, upto: int, *, rows: int) -> Iterator[Batch]:
        """The source's rows that are neither in the table nor rejected, as batches.

        Args:
            after: the key behind which to look.
            upto: the last key to look at.
            rows: how many rows to look at together, about.
        """
        cursor = Cursor(rowid=after)
        while (batch := self.route.source.read_after(cursor, limit=rows, upto=upto)) is not None:
            cursor = Cursor(rowid=batch.cursor.rowid)
            where = within(self.key, batch.first_rowid, batch.cursor.rowid)
            # Rows are told by their place in the batch, because several have one key.
            placed = replace(batch, frame=batch.frame.with_columns(pl.int_range(pl.len()).alias(ROWID)))
            kept, columns = self.kept(placed)
            kept = kept.with_columns(batch.frame[ROWID].gather(kept[ROWID]).alias(_KEY)).rename({ROWID: _INDEX})
            wanted = [*self._unknown(kept, columns, where), *self._unrejected(batch, kept, where)]
            refused = self._refused(batch, where)
            if wanted or refused:
                frame = batch.frame.with_row_index(_INDEX).filter(pl.col(_INDEX).is_in(wanted)).drop(_INDEX)
                yield replace(batch, frame=frame, rejected=tuple(refused))

    def _unknown(self, kept: pl.DataFrame, columns: list[str], where: Where) -> list[int]:
        """Places of rows that the table should have and does not."""
        if not kept.height:
            return []
        primary = self.route.source.census.primary()
        told = [n for n in primary if n in columns]
        sure = bool(primary) and len(told) == len(primary)
        told = told if sure else columns
        asked = {ROWID: self.key, GENERATION: GENERATION, **named(*told)}
        there = self.route.sink.ask(Question((*mine(self.route.device.node_id), *where), asked)).filter(self.inside())
        by = [_KEY, *told]
        there = there.rename({ROWID: _KEY}).group_by(by).agg(pl.len().alias("\0there"))
        nth = kept.with_columns(pl.int_range(pl.len()).over(by).alias(_NTH))
        found = nth.join(there, on=by, how="left", nulls_equal=True, maintain_order="left")
        unknown = found.filter(pl.col(_NTH) >= pl.col("\0there").fill_null(0))
        if not sure:
            unknown = self._no_more_than_missing(unknown, kept, there)
        return unknown[_INDEX].to_list()

    @staticmethod
    def _no_more_than_missing(unknown: pl.DataFrame, kept: pl.DataFrame, there: pl.DataFrame) -> pl.DataFrame:
        wanted = kept.group_by(_KEY).agg(pl.len().cast(pl.Int64).alias("\0wanted"))
        has = there.group_by(_KEY).agg(pl.col("\0there").sum().cast(pl.Int64).alias("\0has"))
        both = wanted.join(has, on=_KEY, how="left").with_columns(pl.col("\0has").fill_null(0))
        numbered = unknown.with_columns(
            pl.int_range(pl.len()).over(_KEY).alias(_NTH), pl.len().over(_KEY).cast(pl.Int64).alias("\0of")
        )
        few = numbered.join(both, on=_KEY, maintain_order="left")
        missing = pl.col("\0wanted") - pl.col("\0has")
        return few.filter(pl.col(_NTH) >= pl.col("\0of") - missing)  # the last ones, if some were updated

    def _unrejected(self, batch: Batch, kept: pl.DataFrame, where: Where) -> list[int]:
        """Places of rows that break a rule of the mode and are not in the rejected table."""
        broken = batch.frame.with_row_index(_INDEX).filter(~pl.col(_INDEX).is_in(kept[_INDEX].to_list()))
        return _beyond(broken.select(ROWID, _INDEX).rows(), self._counted_rejected(where))

    def _refused(self, batch: Batch, where: Where) -> list[Rejection]:
        """Rows that do not fit their columns and are not in the rejected table."""
        if not batch.rejected:
            return []
        numbered = [(one.rowid, number) for number, one in enumerate(batch.rejected)]
        return [batch.rejected[n] for n in _beyond(numbered, self._counted_rejected(where))]

    def _counted_rejected(self, where: Where) -> Counter[int]:
        rejects, route = self.route.tables.rejects, self.route
        if not rejects.exists():
            return Counter()
        own = (*mine(route.device.node_id), *rejected_by(route.source.table, route.name))
        as_there = tuple(replace(one, column="reading_id") for one in where)
        found = rejects.ask(Question((*own, *as_there), named("reading_id"), totals={"n": COUNT}))
        return Counter(dict(found.select("reading_id", "n").iter_rows()))


def _beyond(rows: Sequence[tuple[int, int]], there: Counter[int]) -> list[int]:
    """The places of the last rows of each key, as many as it has more than were there."""
    left = Counter(there)
    found = []
    for key, place in rows:
        if left[key] > 0:
            left[key] -= 1
        else:
            found.append(place)
    return found
