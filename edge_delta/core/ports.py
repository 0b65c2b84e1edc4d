"""The ports: what delivery, device and recovery ask of the parts that they work with.

`edge_delta.source.SQLiteSource` is a `Source`, `edge_delta.sinks.delta.sink.DeltaSink` a `Sink`,
`edge_delta.sinks.delta.upkeep.Keeper` an `Upkeep`, and each module of `edge_delta.modes` has a `Mode`; who hears of
a run is an `edge_delta.core.observing.Observer`. mypy holds it, where `edge_delta.topology` puts them together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    import polars as pl

    from edge_delta.core.counting import Census
    from edge_delta.core.errors import SourceUnavailable
    from edge_delta.core.model import (
        Batch,
        Column,
        Commit,
        Context,
        Cursor,
        Inventory,
        Layout,
        Rejection,
        Waiting,
    )
    from edge_delta.core.plan import LastValues, Plan, TableQuery
    from edge_delta.core.questions import Question, Where
    from edge_delta.core.swept import Passed


class Source(Protocol):
    """One table on the device, read in the order of a key."""

    @property
    def table(self) -> str:
        """The table's name."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns, as they were when last looked at."""

    @property
    def timestamp(self) -> Column | None:
        """The column with the reading's time."""

    @property
    def layout(self) -> Layout:
        """What is known of the columns."""

    @property
    def keyed_by_rowid(self) -> bool:
        """False where rows can only be read in the order of their time."""

    # -- cheap questions, the same for any size of table

    def changed(self) -> bool:
        """Whether another process wrote since the last call."""

    def moved(self) -> bool:
        """Whether the path names another file now; what is open can still be read to its end."""

    @property
    def file(self) -> tuple[int, int]:
        """By what the file that is open can be told from others of this machine: device and inode."""

    def gone(self) -> SourceUnavailable | None:
        """Why the path names no file now, if what is open can still be read to its end; None otherwise."""

    def waiting(self, cursor: Cursor) -> Waiting:
        """What lies behind the cursor."""

    def passed(self, cursor: Cursor) -> Passed:
        """What a table in the order of time has besides the rows that wait; nothing where there are ids."""

    def verify(self, cursor: Cursor) -> bool:
        """Check that the source is still the one that the cursor belongs to.

        Returns:
            Whether the row at the cursor was updated since it was delivered.

        Raises:
            SourceReset: if it is not, or if it cannot be told without the rows that were delivered.
        """

    def known(self, cursor: Cursor, *, moved: bool = False) -> tuple[int, int] | None:
        """The last row of a cursor's witnesses that is still there: its id, and the one that it had; None if none is.

        Args:
            cursor: the cursor.
            moved: whether to look under other ids as well, such as VACUUM gives to a table without an INTEGER PRIMARY
                KEY.
        """

    def nearest(self, rowid: int) -> list[int]:
        """The ids of some rows up to one, at growing distance from it."""

    @property
    def census(self) -> Census:
        """Counts its rows."""

    def placed(self, cursor: Cursor, rowid: int) -> Cursor:
        """The cursor at a row, with what tells that row again."""

    def unreadable(self) -> SourceUnavailable | None:
        """What keeps a part of it from being read while the rest is delivered; None if nothing does."""

    def reopen(self) -> None:
        """Close the file; the next read opens the one that is there then."""

    # -- rows

    def read_after(self, cursor: Cursor, *, limit: int, upto: int | None = None) -> Batch | None:
        """At most ``limit`` rows behind the cursor, in the order of their keys; None where there are none.

        Raises:
            SourceReset: if the row at the cursor is not the one that was delivered.
            SourceUnavailable: if the database cannot be read now.
        """

    def read_ids(self, rowids: Sequence[int]) -> Batch | None:
        """Those of the rows that are still there; None if none is."""

    def between(self, after: int, upto: int) -> tuple[int | None, int | None, int]:
        """The first and the last key behind one and up to another, and how many rows have one of those."""

    def first_since(self, time: datetime, *, upto: int) -> int | None:
        """The lowest key, up to one, of a row that is not older than a time. Visits all rows."""

    def last_values(
        self,
        sensor: Column | None,
        columns: Mapping[str, tuple[Column, float | None, float | None]],
        *,
        upto: int,
    ) -> pl.DataFrame:
        """Each sensor's last value within limits, by column. Visits all rows."""


class Sink(Protocol):
    """One table that rows go to, with the cursor in the same commit."""

    @property
    def uri(self) -> str:
        """The table's address."""

    def exists(self) -> bool:
        """Whether there is a table at the address."""

    def committed(self) -> Cursor | None:
        """Where the table's log says that this source stands; None if it has nothing of it."""

    def witnessed(self, generation: int) -> Cursor | None:
        """Where the source stood in a generation, with all its witnesses; None if there is nothing of it."""

    def columns(self) -> dict[str, pl.DataType | None]:
        """The table's columns as frame types, none if there is no table."""

    def columns_later(self) -> Callable[[], dict[str, pl.DataType | None]]:
        """`columns` as of now, for another thread and for one that has not imported Polars yet."""

    def version(self) -> int | None:
        """The table's version as of the last look at it."""

    def noted(self, name: str) -> int | None:
        """A number that the log has under a name; None if it has none."""

    def restored(self, since: int, most: int) -> int | None:
        """The version by which an earlier one was restored after a version; None if none was.

        Args:
            since: the version.
            most: how many commits are looked at, the newest first.
        """

    def files(self, *, listing: bool = False) -> Inventory:
        """What the table's files come to: live ones, and the others too where they are listed."""

    def ask(self, question: Question) -> pl.DataFrame:
        """What the table answers."""

    def check(self, frame: pl.DataFrame) -> None:
        """Whether the table could take these rows.

        Raises:
            SchemaMismatch: if not.
        """

    def refused(self, frame: pl.DataFrame) -> Mapping[int, tuple[str, str]]:
        """The rows that the table's own conditions refuse, by their places: the condition's name, and its text.

        Raises:
            SchemaMismatch: if the table could take none of them.
        """

    def append(self, frame: pl.DataFrame, cursor: Cursor, *, replacing: Where | None = None) -> Commit:
        """Rows and cursor in one commit.

        Args:
            frame: the rows; may be empty.
            cursor: where the source stands after them.
            replacing: which rows go in the same commit; all rows of ``frame`` must be such.

        Raises:
            CommitConflict: if another commit of this source came first, or ours was stored unheard.
            SchemaMismatch: if the table cannot take the rows.
            StorageUnavailable: if the store did not take it.
        """

    def stamp(self, column: str, time: datetime, where: Where) -> None:
        """Set a column of some rows to a time."""

    def forget(self) -> None:
        """Drop what is cached; the next call reads the log again."""


class Noting(Protocol):
    """A table whose log has notes of those who look after it."""

    def version(self) -> int | None:
        """The table's version as of the last look at it."""

    def noted(self, name: str) -> int | None:
        """A number that the log has under a name; None if it has none."""


class Upkeep(Protocol):
    """Who looks after a table."""

    def committed(self, table: Noting) -> Inventory | None:
        """After a commit, look after the table if that is due; what it has then, None if it was left alone."""


class Mode(Protocol):
    """A processing mode. What it is whatever its settings are stands in `edge_delta.modes.traits`."""

    @property
    def name(self) -> str:
        """The mode's name."""

    @property
    def filled(self) -> frozenset[str]:
        """The columns in which it may put a value where the source has none."""

    @property
    def carried(self) -> frozenset[str]:
        """Those of them into which it puts values of other rows."""

    def uncarried(self) -> Mode:
        """The mode without that."""

    def keeping_places(self) -> Mode:
        """The mode for rows whose coordinates are displaced already."""

    def plan(self, frame: pl.LazyFrame, layout: Layout, context: Context) -> Plan:
        """The batch as the mode's table holds it. Collects nothing and works on a frame without rows."""

    def problems(self, layout: Layout) -> list[str]:
        """What in the mode's settings cannot work with this source."""

    def redacted(self, rejections: list[Rejection], layout: Layout) -> list[Rejection]:
        """Rejected rows without what the mode's table does not show."""

    # A mode that looks back behind the batch has a memory, which can be had again from the source or the table.

    def wanted(self, layout: Layout, context: Context) -> LastValues | TableQuery | None:
        """What to fetch before the first batch; None if this mode, as it is set, does not look back."""

    def remembered(self, memory: pl.DataFrame, batch: pl.DataFrame, kept: pl.DataFrame, layout: Layout) -> pl.DataFrame:
        """The memory after a batch: of the same form, and not larger than one row a sensor (and rule)."""

    def of_lives(self, memory: pl.DataFrame, lives: Sequence[int], *, after: int) -> pl.DataFrame:
        """What counts of all generations' memory: ``lives`` are the source's own, those up to ``after`` come again."""

    def counted_from(self, memory: pl.DataFrame) -> tuple[pl.DataFrame, int | None]:
        """The memory as the table has it, made whole, and behind which id rows are remembered again, if some are."""

    def forgetful(self) -> Mode:
        """The same mode without what depends on rows of its table that came before."""
