"""How a lane's batches are written: as rows (`edge_delta.delivery.rows`) or windows (`edge_delta.delivery.windows`)."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from msgspec import Struct

from edge_delta.delivery.known_rows import ANY, Gone

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from collections.abc import Set as AbstractSet

    import polars as pl

    from edge_delta.core.model import Batch, Cursor, Step
    from edge_delta.delivery.prepared import Prepared


class Came(NamedTuple):
    """What is known of rows between two keys that came below the cursor.

    Attributes:
        ids: those that are known to be new.
        used: those of them that have ids which other rows had.
        all_known: whether each new row is one of these.
        others: new rows anywhere, of all that one sweep found.
        looked: the windows that it has looked at, which have all of these rows by now, or can take none.
        gone: rows that went by, and are there no more: new ones may make up for them in a window.
    """

    ids: AbstractSet[int] = frozenset()
    used: AbstractSet[int] = frozenset()
    all_known: bool = True
    others: AbstractSet[int] = frozenset()
    looked: AbstractSet[int] = frozenset()
    gone: Gone = ANY


class Unsure(Struct):
    """Open windows that were had again from the source, and may lack rows that late ones make up for.

    Attributes:
        windows: their starts.
        late: how many more rows they have than were known.
        after: the id that their rows are behind.
        upto: the last id that they may have.
        looked: whether a sweep has looked since.
    """

    windows: Collection[int]
    late: int
    after: int
    upto: int
    looked: bool = False


class Corrected(NamedTuple):
    """What became of rows that came below the cursor.

    Attributes:
        step: the commit, if there was one.
        late: how many of these rows are in it.
        there: how many rows are not in the table, and in windows that have all rows which are there now.
        new: how many of the new ones each window has, without those that have used ids.
        left: how many of the new ones are in no window, and not rejected.
    """

    step: Step | None = None
    late: int = 0
    there: int = 0
    new: Mapping[int, int] = MappingProxyType({})
    left: int = 0


class Writing(Protocol):
    """How a lane's batches are written: as rows (`edge_delta.delivery.rows`) or as windows."""

    def prepare(self, batch: Batch, columns: Mapping[str, pl.DataType | None]) -> Prepared | None:
        """What another thread can do of the work ahead of the batch's turn; None if nothing.

        Args:
            batch: the batch.
            columns: the columns of the mode's table, empty if there is none yet.
        """

    def deliver(self, batch: Batch, prepared: Prepared | None, before: Cursor) -> Step:
        """Write a batch.

        Args:
            batch: the batch.
            prepared: what `prepare` made of it.
            before: where the lane stood before the batch.
        """

    def renewed(self, batch: Batch, last: pl.DataFrame, before: Cursor) -> Step | None:
        """Write the new state of rows that were updated since they were delivered; None where that is not done.

        Args:
            batch: the rows.
            last: the last state of each that was delivered, see `edge_delta.delivery.versions.last_of`.
            before: where the lane stands.
        """

    def forget(self) -> None:
        """Drop what is kept from batch to batch; it is had again from the source and the tables."""

    def source_gone(self, cursor: Cursor) -> tuple[Step | None, int]:
        """The source was replaced by another one: write what can be written without it.

        Args:
            cursor: where the lane stood in it.

        Returns:
            The commit, if there was one, and how many rows that were read are in no table.
        """

    def cycle_over(self, cursor: Cursor) -> Step | None:
        """All that was there when the cycle began is delivered; write what is written at such a time."""

    def finish(self, cursor: Cursor, *, quick: bool = False) -> Step | None:
        """Write what waits for more rows, because the source is about to go, or the process.

        Args:
            cursor: where the lane stands.
            quick: whether to leave what would take long.
        """

    def corrected(self, after: int, upto: int, cursor: Cursor, came: Came) -> Corrected:
        """Write again what rows between two keys, which came below the cursor, change.

        Args:
            after: the key behind which they are.
            upto: the last key.
            cursor: where the lane stands.
            came: what is known of these rows.
        """

    def adopted(self, cursor: Cursor) -> Cursor:
        """Another mode's cursor with the marks that matter here.

        Args:
            cursor: where the other mode stands.
        """

    def rewound(self, cursor: Cursor, stands: Cursor) -> Cursor:
        """The cursor from which rows are delivered again, with the marks that this needs.

        Args:
            cursor: where the lane goes on.
            stands: where it stood before.
        """

    @property
    def unsure(self) -> Unsure | None:
        """What a sweep alone can tell of open windows."""

    def no_rows(self) -> pl.DataFrame:
        """A frame without rows in the shape of the mode's table."""
