"""What is counted of a source, so that it can be told whether rows came which are not behind the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FEW_ROWS = 10_000
"""The most rows of a range whose latest time is looked for; it costs five times as much as counting."""
MOST_SUMMED = 1_000_000
"""The most rows of a table whose times are all looked at; it costs as much as counting them again."""
SUM_BITS = 62
"""How long a sum of times is."""
SAMPLES = 16
"""The rows of a range whose times are kept."""


class Counts(NamedTuple):
    """How many rows a range has, and the sum of their keys."""

    rows: int
    ids: int


NONE = Counts(0, 0)


class Times(NamedTuple):
    """By what used ids are told.

    Attributes:
        latest: the latest time of a range where its rows are few.
        samples: checksums of the times of some rows, by their ids.
        sum: one number for the times of all rows; None where the table has too many.
    """

    latest: str = ""
    samples: tuple[tuple[int, int], ...] = ()
    sum: int | None = None

    def changed(self, now: Times, there: Iterable[tuple[int, int]], *, same: bool) -> bool:
        """Whether rows have other times.

        Args:
            now: what the range has now; its samples are not looked at.
            there: those of the rows sampled before that are still there, as `Census.stamps` gives them.
            same: whether the range has the ids that it had.
        """
        before = dict(self.samples)
        if same and self.sum is not None and now.sum is not None and self.sum != now.sum:
            return True
        return bool(self.latest and now.latest and self.latest != now.latest) or any(before[i] != t for i, t in there)


class Census(Protocol):
    """Counts the rows of one table. Each question is a read transaction of its own."""

    def written(self) -> str | None:
        """What changes whenever the source is written; None while that is not sure."""

    def state(self) -> object:
        """What changes at once whenever it is written, for this process alone; None of a family."""

    # -- of tables with ids

    def counts(self, after: int, upto: int) -> Counts:
        """What a range of ids has; visits each of its rows, but no cell."""

    def total(self) -> int:
        """All rows, whatever their keys are; steps over pages alone."""

    def ends(self, after: int, upto: int) -> tuple[int | None, int | None]:
        """The first and the last id of a range."""

    def behind(self, key: int) -> int:
        """How many rows are behind a key."""

    def ids(self, after: int, upto: int, *, timed: bool) -> list[tuple[int, int]]:
        """The ids of a range in their order, with a checksum of each row's time, or 0."""

    def times(self, ranges: Sequence[tuple[int, int, Counts]], first: int | None, *, most: int) -> Sequence[Times]:
        """The times of ranges, each with the key that it is behind, its last key, and what it has.

        Args:
            ranges: the ranges.
            first: the lowest id, if each one from there up to the last has a row.
            most: the most rows whose times are all looked at.
        """

    def stamps(self, ids: Iterable[int]) -> list[tuple[int, int]]:
        """A checksum of the time of each of some rows, as far as they are there."""

    # -- of rows that were updated

    def last_change(self, column: str) -> int:
        """The latest time of a column, in milliseconds since 1970, and no later than now; visits all rows."""

    def changed_since(
        self, column: str, since: int | None, *, after: int, upto: int, limit: int
    ) -> tuple[list[int], int]:
        """The ids of rows with a later time in a column, and the latest of these times, no later than now.

        Args:
            column: the column with the time of a row's last change.
            since: milliseconds since 1970; None for all rows.
            after: the id that they are behind.
            upto: the last id.
            limit: the most ids.
        """

    # -- of tables in the order of time

    def primary(self) -> tuple[str, ...]:
        """The columns of the primary key, as frames name them; none of a view."""

    def cells(self, width: int, upto: int) -> Mapping[int, tuple[int, int]]:
        """How many rows each stretch of time has, and the sum of their keys within it; visits all rows.

        Args:
            width: of a stretch, in milliseconds; the first begins in 1970.
            upto: the last key that counts.
        """
