"""What both kinds of verification share: what is compared, and what a table can be asked without its source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.core.errors import SourceReset
from edge_delta.core.model import BEFORE_FIRST, Context, Cursor, Mark
from edge_delta.core.places import tells_by_name
from edge_delta.core.plan import ROWID
from edge_delta.core.questions import COUNT, Condition, Question, between, mine, named, rejected_by, within
from edge_delta.delivery.asked_again import AskedAgain
from edge_delta.delivery.identity import Identity, Lanes

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator
    from datetime import datetime

    import polars as pl

    from edge_delta.core.ports import Mode, Sink, Source
    from edge_delta.core.questions import Where
    from edge_delta.delivery.route import Route
    from edge_delta.modes.traits import Traits
    from edge_delta.recovery.verify.report import Verification

ROWS = 100_000
"""Rows that are held at a time."""
GONE = (
    "are in no table and not in the source, which leaves out no other ids: deleted before they were delivered, "
    "or lost with a commit that another one replaced"
)
_NEVER = frozenset({"databricks_inserted_at", "silenced"})


class Compared(Struct, frozen=True):
    """What is compared.

    Attributes:
        route: the source, the mode as it is set now, and its tables; the handles stay at the version that they are
            opened at.
        mode: the mode; another one where what came before the first row is not known.
        ignore: columns that are not compared, because the sensor's application changes them after delivery.
        rows: how many are held at a time, about.
    """

    route: Route
    mode: Mode
    ignore: frozenset[str] = frozenset()
    rows: int = ROWS

    @property
    def name(self) -> str:
        """The mode's name."""
        return self.route.name

    @property
    def source(self) -> Source:
        """The device's database."""
        return self.route.source

    @property
    def sink(self) -> Sink:
        """The mode's table."""
        return self.route.sink

    @property
    def rejects(self) -> Sink:
        """The rejected table."""
        return self.route.tables.rejects

    @property
    def node_id(self) -> str:
        """This device."""
        return self.route.device.node_id

    def now(self) -> datetime:
        """The clock."""
        return self.route.device.now()

    @property
    def traits(self) -> Traits:
        """What the mode is."""
        return self.route.traits

    @property
    def time(self) -> str | None:
        """The table's column with the reading's time."""
        stamp = self.source.timestamp
        return self.traits.time or (stamp.alias if stamp is not None else None)

    def telling(self, names: Iterable[str], there: Container[str]) -> Iterator[tuple[str, str]]:
        """What is read of the table: what the source has too, and what tells rows under one id from each other.

        The source may have no row of a range any more, and so no columns.

        Args:
            names: what is compared.
            there: the table's columns, in small letters.

        Returns:
            Each column in small letters, and as it is to be called.
        """
        told_by = (n for n in (*self.traits.key_parts, self.time) if n is not None)
        wanted = ((n.lower(), n) for n in dict.fromkeys([*names, *told_by]) if n != ROWID)
        return ((low, name) for low, name in wanted if low in there)

    def mine(self, generation: int) -> Where:
        """This device's rows of a generation."""
        return mine(self.node_id, generation)

    def context(self, generation: int, memory: pl.DataFrame | None = None) -> Context:
        """What the mode may know."""
        return Context(self.node_id, generation, self.now(), self.source.table, memory)

    def not_compared(self, column: str) -> bool:
        """Whether a column is left out: it has the batch's time, depends on rows before it, or is to be ignored."""
        return column in _NEVER or column.lower() in self.ignore

    def generations(self) -> list[int]:
        """The generations of which the table has rows."""
        question = Question(mine(self.node_id), {"g": "source_generation"}, distinct=True, order=("g",))
        return self.sink.ask(question)["g"].to_list()

    def rejected(self, generation: int | None, after: int, last: int, since: datetime) -> set[int]:
        """Source rows in the rejected table, of one or all generations, that had not passed a replay at a time."""
        if not self.rejects.exists():
            return set()
        where = (
            *mine(self.node_id, generation),
            *rejected_by(self.source.table, self.name),
            *between("reading_id", after, last),
            Condition("replayed_at", "null or >=", since),
        )
        return set(self.rejects.ask(Question(where, named("reading_id")))["reading_id"].to_list())


def tells_a_place(column: str) -> bool:
    """Whether a column may hold a place, going by its name; aggregates have a prefix."""
    return tells_by_name(column)


def begins(cursor: Cursor) -> int:
    """The id behind which the table's rows of this generation begin."""
    return cursor.marks.get(Mark.BEGINS, BEFORE_FIRST)


def account_for_lost(cursor: Cursor, report: Verification) -> None:
    """Say how many rows other modes have that went with their source before this one had them."""
    lost = cursor.marks.get(Mark.LOST, 0)
    if lost:
        report.lost(lost, f"{lost} rows that were read went with their source before they came to this table")


def same_source(parts: Compared, cursor: Cursor, report: Verification) -> bool:
    """Whether the source still is the one that the cursor belongs to; says so if not."""
    try:
        Identity(parts.route, Lanes()).confirmed(cursor)
    except SourceReset as reset:
        waiting = parts.source.waiting(Cursor()).rows
        report.found("another source", max(waiting, 1), f"the cursor is not of this source: {reset.fact}")
        return False
    replaced = AskedAgain(parts.route, Lanes()).differs(cursor)
    if replaced:
        fact = f"{replaced}, and a reset asked for them again; the next run lets those that are gone count as they are"
        report.found("another source", 1, fact)
        return False
    return True


def leaves_out_no_id(source: Source) -> bool:
    """Whether the rows that the source has are numbered without a gap, so that a gap elsewhere means lost rows."""
    last = source.waiting(Cursor()).last_rowid
    if last is None:
        return False
    first, _, rows = source.between(BEFORE_FIRST, last)
    return first is not None and rows > 1 and rows == last - first + 1


def checksum(frame: pl.DataFrame) -> str:
    """A sum over the rows, so that their order does not count and a row that is there twice does."""
    if not frame.height:
        return "0" * 16
    hashes = frame.select(sorted(frame.columns)).hash_rows()
    return f"{hashes.sum():016x}"


def bisected(parts: Compared, condition: Where, key: str, low: int, high: int) -> list[tuple[int, int, int]]:
    """Ranges of a key (first, last, rows), none with many more rows than are held at a time."""
    where = (*condition, *within(key, low, high))
    rows = int(parts.sink.ask(Question(where, totals={"n": COUNT}))["n"][0])
    if not rows:
        return []
    if rows <= 5 * parts.rows or low == high:
        return [(low, high, rows)]
    middle = (low + high) // 2
    return [*bisected(parts, condition, key, low, middle), *bisected(parts, condition, key, middle + 1, high)]
