"""Rows of a table that its source cannot show any more: deleted after delivery, or their id was used again.

An application may do both, and nothing is wrong with the table then. Such rows are left out of the comparison, are
checked for duplicates among themselves, and are told with how many they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct

from edge_delta.core.plan import ROWID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_delta.core.model import Batch

NOW = "\0now"
"""The column with a row's time as the source shows it."""


def shown(batch: Batch, kept: pl.DataFrame, time: str | None) -> pl.DataFrame:
    """What the source shows of a range: its ids, and the time of each row that the mode does not reject.

    Args:
        batch: the rows of the range.
        kept: those that the mode does not reject, as it makes them.
        time: the mode's column with the reading's time; None if there is none.

    Returns:
        ``_rowid`` and a time, null where it is not known.
    """
    ids = pl.Series(ROWID, [*batch.frame[ROWID], *(r.rowid for r in batch.rejected)], dtype=pl.Int64).unique()
    if time is None or time not in kept.columns:
        return ids.to_frame().with_columns(pl.lit(None, dtype=pl.Int64).alias(NOW))
    return ids.to_frame().join(kept.select(ROWID, pl.col(time).alias(NOW)).unique(ROWID), on=ROWID, how="left")


class Expected(Struct):
    """What the mode makes of a range.

    Attributes:
        source: see `shown`.
        rows: its rows, with their keys.
        rejects: ids that it rejects.
        read: rows of the source.
        not_selected: how many it passes over.
    """

    source: pl.DataFrame
    rows: pl.DataFrame
    rejects: set[int]
    read: int
    not_selected: int


class Gone(Struct):
    """How many rows of a table went from its source, and among which ids.

    Attributes:
        deleted: rows whose id the source does not have.
        replaced: rows whose id another row has.
        low: the first id of both.
        high: the last one.
    """

    deleted: int = 0
    replaced: int = 0
    low: int | None = None
    high: int | None = None

    def left(  # noqa: PLR0913 - what is compared, and the four things that say how
        self,
        table: pl.DataFrame,
        source: pl.DataFrame,
        *,
        upto: int,
        keys: Sequence[str],
        time: str | None,
        alone: bool,
    ) -> tuple[pl.DataFrame, list[tuple[int, int]]]:
        """Take the rows that went out of a range of the table.

        Args:
            table: the range's rows; ``_rowid`` and the reading's time among its columns.
            source: see `shown`, of the same range or more.
            upto: the cursor; a row behind it did not come from this source at all.
            keys: by what rows are told, besides their time.
            time: the name of the table's time column, if it has one.
            alone: whether a row of the table with another time is the source's row only if no other row of the table
                has that id. Else, as with alerts, which not every row raises, it never is.

        Returns:
            What is to be compared with the source, and ids of what went that are there more than once, with how often.
        """
        if not table.height:
            return table, []
        both = table.join(source, on=ROWID, how="left", maintain_order="left")
        known = table[ROWID].is_in(source[ROWID].implode())
        deleted = ~known & (table[ROWID] <= upto)
        replaced = pl.Series([False] * table.height, dtype=pl.Boolean)
        if time in table.columns and NOW in both.columns and both[NOW].null_count() < both.height:
            same = (both[str(time)] == both[NOW]).fill_null(value=True)
            others = ~same & known
            first = both.select(ROWID, same.alias("same")).select(pl.col("same").any().over(ROWID)).to_series()
            replaced = others & first if alone else others
        went = deleted | replaced
        self._note(table.filter(went)[ROWID], int(deleted.sum()), int(replaced.sum()))
        told_by = [n for n in (*keys, time) if n in table.columns]
        counts = table.filter(went).group_by(told_by).len("\0n").filter(pl.col("\0n") > 1).sort(told_by)
        return table.filter(~went), counts.select(ROWID, "\0n").rows()

    def _note(self, ids: pl.Series, deleted: int, replaced: int) -> None:
        if len(ids):
            self.deleted, self.replaced = self.deleted + deleted, self.replaced + replaced
            self.low = min(_numbers(self.low, ids.min()))
            self.high = max(_numbers(self.high, ids.max()))

    def notes(self) -> list[str]:
        """In words; none if nothing went."""
        if not self.deleted + self.replaced:
            return []
        parts = [f"{self.deleted} rows were deleted"] if self.deleted else []
        parts += [f"{self.replaced} rows gave their ids to others"] if self.replaced else []
        return [f"{' and '.join(parts)} after delivery, ids {self.low} to {self.high}: only checked for duplicates"]


def _numbers(*numbers: object) -> list[int]:
    """Those that are numbers."""
    return [number for number in numbers if isinstance(number, int)]
