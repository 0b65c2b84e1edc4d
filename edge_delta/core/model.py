"""Values that cross module borders."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from edge_delta.core.time_formats import TimeForm

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import polars as pl

BEFORE_FIRST = -(2**63)
"""The cursor's position before any row: rowids are signed 64-bit integers."""


class Mark(StrEnum):
    """The names of the numbers that travel with a cursor. Times are microseconds since 1970, UTC."""

    SINCE = "since"
    """Rows up to `SINCE_ROWID` count only if their time is later: an older tool delivered the others."""
    SINCE_ROWID = "since_rowid"
    WATERMARK = "watermark"  # the largest event time that windows are closed by
    OPEN = "open"  # the first row of a window that is not written yet
    WRITTEN = "written"  # the start of the latest window that is written
    REPLAYED = "replayed"  # counts the replays of rejected rows, none of which moves the rowid
    BEGINS = "begins"
    """Rows up to here came to this table in an earlier generation, or went to other modes' tables."""
    PENDING = "pending"  # rows that were read and are in no written window
    AHEAD = "ahead"  # the earliest time of rows that are too far ahead of the clock to close a window; 0 if none is
    LOST = "lost"  # rows that were read, came into no window, and can no longer be read; in all generations so far
    COUNTED = "counted"  # rows that were not behind the cursor, in a table that is read in the order of time
    SWEPT = "swept"  # counts the commits with rows from below the cursor
    AGAIN = "again"  # rows of generations up to this one were delivered again because somebody asked for it
    LIFE = "life"  # the first generation of this source, where that is an earlier one: rows of it are in the table
    STARTS = "starts"
    ENDS = "ends"
    """Where rows got other ids: those that the source's first row and the one at `BEGINS` had before."""
    REUSED = "reused"  # 1 where ids of the source were used again
    SHAPE = "shape"  # what windows and groups the table has
    MEANT = "meant"  # the generation whose rows a reset asked for again
    KEPT = "kept"  # the last of them, by its id of now, that was there when the source was seen to be another one
    IDS = "ids"  # a checksum of the rows in open windows that the table has in no version; 0 if unknown
    WRITTEN_IDS = "written_ids"  # number and checksum of those in the others


class Cursor(Struct, frozen=True):
    """How far one table has come in one source.

    Attributes:
        generation: counts the sources that had this name: a re-created database is the next one.
        rowid: the last row delivered; rows above it are waiting.
        fingerprint: what the row at ``rowid`` looked like, as earlier versions wrote it; None beside witnesses.
        marks: more numbers that a mode keeps with its rows, by name (see `Mark`).
        witnesses: what the row at ``rowid`` and some before it looked like (see `edge_delta.source.witness`); the first
            number alone until the others are asked for, none before the first row.
        tally: a checksum of the rows read in order up to there, in 41 bits (`edge_delta.delivery.tally`); 0 if unknown.
    """

    generation: int = 0
    rowid: int = BEFORE_FIRST
    fingerprint: int | None = None
    marks: Mapping[str, int] = field(default_factory=dict)
    witnesses: tuple[int, ...] = ()
    tally: int = 0

    @property
    def settled(self) -> int:
        """The last row that nothing depends on any more: delivered, and in no open window."""
        first_open = self.marks.get(Mark.OPEN)
        return self.rowid if first_open is None else min(self.rowid, first_open - 1)

    def next_generation(self) -> Cursor:
        """The cursor before the first row of the source that replaced this one."""
        marks = {name: n for name, n in self.marks.items() if name == Mark.AGAIN}
        return Cursor(generation=self.generation + 1, marks=marks)

    def moved_to(self, rowid: int, witnesses: tuple[int, ...] = ()) -> Cursor:
        """The same cursor, further on."""
        return replace(self, rowid=rowid, fingerprint=None, witnesses=witnesses)

    def swept(self) -> Cursor:
        """The cursor of a commit with rows from below it."""
        return self.marked(**{Mark.SWEPT: self.marks.get(Mark.SWEPT, 0) + 1})

    def marked(self, **marks: int) -> Cursor:
        """The same cursor with some marks set."""
        return replace(self, marks={**self.marks, **marks})


Cell = int | float | str | bytes | None
"""What SQLite stores in a column of a row."""


class Kind(Enum):
    """What a source column holds, pinned from its declaration."""

    INTEGER = "BIGINT"
    REAL = "DOUBLE"
    TEXT = "STRING"
    BLOB = "BINARY"
    BOOLEAN = "BOOLEAN"
    TIMESTAMP = "TIMESTAMP"
    """Only where the settings say so: declarations of times say nothing of their form."""


class Column(Struct, frozen=True):
    """One column of the source table.

    Attributes:
        name: as SQLite has it.
        alias: as the frames and Delta tables have it: no character that Spark refuses, unique whatever the case.
        declared: the declared type, possibly empty.
        kind: what its cells must be.
        affinity: SQLite's type affinity, which tells what may be stored (https://sqlite.org/datatype3.html, 3.1).
        read_as: what the settings say that it is, None where they leave it to the declaration.
        time: how its times are written, if it holds times.
        unread: its cells stay in the database, and every one is NULL to whoever asks: it leaves the device in no table.
    """

    name: str
    alias: str
    declared: str
    kind: Kind
    affinity: str
    read_as: str | None = None
    time: TimeForm = field(default_factory=TimeForm)
    unread: bool = False


class Layout(Struct, frozen=True):
    """What is known of the source's columns.

    Attributes:
        columns: all of them.
        timestamp: the one with the reading's time.
        id_column: the one that is the rowid under another name.
    """

    columns: tuple[Column, ...]
    timestamp: Column | None
    id_column: Column | None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names in their order; two readers of one table may take different kinds for their cells."""
        return tuple(c.name for c in self.columns)

    def named(self, name: str) -> Column | None:
        """A column by its name, in any case."""
        return next((c for c in self.columns if c.name.lower() == name.lower()), None)


class Rejection(Struct, frozen=True):
    """One source row that is not written to the mode's table, and why.

    Attributes:
        rowid: the source row.
        rule: the rule's name.
        column: the first column that broke it.
        reason: in words, without the value.
        cells: the whole row, exactly as stored, by the columns' aliases.
    """

    rowid: int
    rule: str
    column: str
    reason: str
    cells: Mapping[str, Cell]


class Batch(Struct, frozen=True):
    """Rows read from the source in one go.

    Attributes:
        frame: ``_rowid`` (Int64, ascending) and the source's columns by alias, pinned types.
        rejected: the rows with a cell that does not fit its column; they are not in ``frame``.
        cursor: where the batch ends.
        first_rowid: where it begins.
        layout: the columns as they were when the rows were read.
        made: what was made of a frame of its rows, beside that frame, for the next one who takes the batch.
    """

    frame: pl.DataFrame
    rejected: tuple[Rejection, ...]
    cursor: Cursor
    first_rowid: int
    layout: Layout
    made: dict[str, tuple[pl.DataFrame, pl.Series]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows read, kept or rejected."""
        return self.frame.height + len(self.rejected)


class Waiting(Struct, frozen=True):
    """What lies behind a cursor, told by the ends of the table's b-tree and so without a scan.

    ``rows`` is the width of the id range: exact while ids have no gaps, never too low.
    """

    first_rowid: int | None
    last_rowid: int | None

    @property
    def rows(self) -> int:
        """The most rows that can be waiting."""
        if self.first_rowid is None or self.last_rowid is None:
            return 0
        return self.last_rowid - self.first_rowid + 1


class Inventory(Struct, frozen=True):
    """What a table's files come to; None for what was not looked at.

    Attributes:
        live: data files that the newest version has.
        live_bytes: their bytes.
        at: when, ISO 8601.
        kept: files that no longer are in the table and stay for the retention, for readers of older versions.
        kept_bytes: their bytes.
        dead: files that are older than the retention and in no version.
        dead_bytes: their bytes.
        log: files in the table's log.
        log_bytes: their bytes.
    """

    live: int
    live_bytes: int
    at: str
    kept: int | None = None
    kept_bytes: int | None = None
    dead: int | None = None
    dead_bytes: int | None = None
    log: int | None = None
    log_bytes: int | None = None

    def __str__(self) -> str:
        parts = [("live files", self.live, self.live_bytes), ("kept for the retention", self.kept, self.kept_bytes)]
        parts += [("dead", self.dead, self.dead_bytes), ("in the log", self.log, self.log_bytes)]
        return ", ".join(f"{count:,} {word}{_megabytes(size)}" for word, count, size in parts if count is not None)


def _megabytes(size: int | None) -> str:
    return "" if size is None else f" ({size / 1e6:,.1f} MB)"


class Commit(Struct, frozen=True):
    """One commit in a Delta table.

    Attributes:
        table: the table's address.
        version: the version that the commit made; None where nothing had to be written.
        rows: rows appended.
        cursor: the cursor that it carries.
        seconds: how long it took.
        bytes: what the rows take in memory, before Parquet compresses them.
        tries: how often it was tried, where others write the table too.
    """

    table: str
    version: int | None
    rows: int
    cursor: Cursor
    seconds: float
    bytes: int = 0
    tries: int = 1


class Refused(Struct, frozen=True):
    """What went to the rejected table at one go.

    Attributes:
        rows: how many rows.
        bytes: what they take in memory, before Parquet compresses them.
        by_rule: how many rows by the rule that they break.
    """

    rows: int = 0
    bytes: int = 0
    by_rule: Mapping[str, int] = field(default_factory=dict)


GONE_CURE = "Purge only up to the settled id that `edge-delta status --settled` prints"


class Step(Struct, frozen=True):
    """What one batch came to: read = written + rejected + not selected.

    Attributes:
        mode: the mode's name.
        table: the address of its table.
        read: rows read from the source.
        rejected: rows of the batch that are in the rejected table.
        refused: what went there now; not what had come there before a crash.
        commit: the commit that carries the kept rows; None if there were none to write.
        first_rowid: where the batch began.
        cursor: where it ended.
        last_time: the largest time among the kept rows, None if they have none.
        first_time: the smallest of them.
        late: how many of the rows came from below the cursor, found by a sweep.
        gone: how many ids before the batch are left out, by a source that otherwise leaves out none.
        updated: how many of the rows are new states of rows that were delivered before.
    """

    mode: str
    table: str
    read: int
    rejected: int
    refused: Refused
    commit: Commit | None
    first_rowid: int
    cursor: Cursor
    last_time: datetime | None
    first_time: datetime | None = None
    late: int = 0
    gone: int = 0
    updated: int = 0

    @property
    def written(self) -> int:
        """Rows in the mode's table."""
        return self.commit.rows if self.commit is not None else 0


class Context(Struct, frozen=True):
    """What a mode may know besides the rows: it reads no clock and no settings by itself.

    Attributes:
        node_id: the device.
        generation: the source's generation.
        inserted_at: the batch's time, UTC.
        source_table: the table that the rows come from.
        memory: what earlier batches left behind, for modes that look back (see `edge_delta.core.ports.Mode`).
        late: whether the rows came below the cursor, so that rows which follow them are in the table already.
    """

    node_id: str
    generation: int
    inserted_at: datetime
    source_table: str = ""
    memory: pl.DataFrame | None = None
    late: bool = False
