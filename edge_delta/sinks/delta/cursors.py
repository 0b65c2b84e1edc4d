"""Where a source stands in a Delta table, as the table's log says it.

The cursor is kept in ``txn`` actions (Delta protocol, "Transaction Identifiers"), which survive checkpoints. Per
table and source::

    <app>/generation       the source's current generation
    <app>/<n>              the last rowid delivered of generation n
    <app>/<n>/w0 to w4     what that row and some before it looked like, see `edge_delta.source.witness`
    <app>/<n>/row          the same, as earlier versions wrote it
    <app>/<n>/<mark>       other numbers that go with it, see `edge_delta.core.model.Mark`
    <app>/<n>/marks        which of them there are, a bit each: asking for one costs a look through the log; above those
                           bits the checksum of the rows that were read, for the same reason
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from deltalake import Transaction

from edge_delta.core.model import Cursor, Mark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deltalake import DeltaTable

_OF_LIVES = (Mark.BEGINS, Mark.AGAIN, Mark.LIFE, Mark.ENDS, Mark.STARTS, Mark.MEANT, Mark.KEPT)
COMMON_MARKS = (
    Mark.SINCE,
    Mark.SINCE_ROWID,
    Mark.REPLAYED,
    Mark.COUNTED,
    Mark.SWEPT,
    Mark.REUSED,
    Mark.LOST,
    *_OF_LIVES,
)
"""The marks that any mode's table may have."""
_BITS = 22
"""The bits that say which marks there are; above them are the 41 of the tally."""
_WITNESSES = 5
"""How many numbers a cursor's witnesses are."""


def application_id(node_id: str, source_table: str, part: str = "", *, source: str | None = None) -> str:
    """The ``txn`` id's beginning: who writes, from which table, and into which part where tables are shared.

    Args:
        node_id: the device.
        source_table: the table that is read.
        part: which part of a shared table.
        source: the source's name, where it has one. Its colon is in no other id, because quoting takes colons away.
    """
    table = quote(source_table, safe="")
    named = table if source is None else f"{quote(source, safe='')}:{table}"
    return "/".join(["edge-delta", *(p for p in (quote(node_id, safe=""), named, quote(part, safe="")) if p)])


def _bit(mark: Mark) -> int:
    """The bit that says that a mark is there: its place among all marks, so new ones come last."""
    return 1 << list(Mark).index(mark)


class Cursors:
    """Reads and writes the cursor of one source in one table.

    Args:
        app_id: from `application_id`.
        marks: the marks that go with the cursor in this table.
    """

    def __init__(self, app_id: str, marks: Sequence[Mark] = COMMON_MARKS) -> None:
        self._app = app_id
        self._marks = marks

    def read(self, handle: DeltaTable) -> Cursor | None:
        """Where the source stands in the opened table; None if it has nothing of it."""
        generation = handle.transaction_version(f"{self._app}/generation")
        if generation is None:
            return None
        own = f"{self._app}/{generation}"
        rowid = handle.transaction_version(own)
        fresh = Cursor(generation=generation)
        first = handle.transaction_version(f"{own}/w0")
        marks, tally = self._marked(handle, own)
        return Cursor(
            generation=generation,
            rowid=fresh.rowid if rowid is None else rowid,
            fingerprint=handle.transaction_version(f"{own}/row") if first is None else None,
            witnesses=() if first is None else (first,),
            marks=marks,
            tally=tally,
        )

    def witnessed(self, handle: DeltaTable, generation: int) -> Cursor | None:
        """Where the source stood in a generation, with all its witnesses; None if it has nothing of that generation.

        The first witness is read with the cursor; asking for the others costs a look through the log each.
        """
        own = f"{self._app}/{generation}"
        rowid = handle.transaction_version(own)
        if rowid is None:
            return None
        words = [handle.transaction_version(f"{own}/w{i}") for i in range(_WITNESSES)]
        there = tuple(word for word in words if word is not None)
        row = handle.transaction_version(f"{own}/row") if not there else None
        marks, _ = self._marked(handle, own)
        return Cursor(generation, rowid, row, marks, there)

    def _marked(self, handle: DeltaTable, own: str) -> tuple[dict[str, int], int]:
        """The marks of a generation, and its tally."""
        flags = handle.transaction_version(f"{own}/marks") if self._marks else 0
        asked = [mark for mark in self._marks if flags is None or flags & _bit(mark)]
        found = {str(mark): handle.transaction_version(f"{own}/{mark}") for mark in asked}
        return {mark: number for mark, number in found.items() if number is not None}, (flags or 0) >> _BITS

    def transactions(self, cursor: Cursor, stands: Cursor | None, *, anew: bool) -> list[Transaction]:
        """The cursor as ``txn`` actions that are not yet there.

        They have the time, by which Spark drops old ones from checkpoints where a table has
        ``delta.setTransactionRetentionDuration``. So those that seldom change are written again with each new handle.

        Args:
            cursor: where the source stands after the commit.
            stands: where it stands before, by the same handle; None if it has nothing of the table.
            anew: whether this is the handle's first commit.
        """
        own = f"{self._app}/{cursor.generation}"
        same = stands is not None and stands.generation == cursor.generation
        before = stands.marks if stands is not None and same else {}
        said = {} if anew else before
        versions = {own: cursor.rowid}
        if cursor.fingerprint is not None:
            versions[f"{own}/row"] = cursor.fingerprint
        versions |= {f"{own}/w{i}": word for i, word in enumerate(cursor.witnesses)}
        if not same or anew:
            versions[f"{self._app}/generation"] = cursor.generation
        if stands is not None and not same:  # so that a rival who still writes the old generation is refused
            versions[f"{self._app}/{stands.generation}"] = stands.rowid
        marks = {**before, **cursor.marks}
        versions |= {f"{own}/{name}": n for name, n in marks.items() if said.get(name) != n}
        if not same or marks.keys() - said.keys() or stands is None or cursor.tally != stands.tally:
            versions[f"{own}/marks"] = sum(_bit(Mark(name)) for name in marks) | cursor.tally << _BITS
        now = round(time.time() * 1000)
        return [Transaction(app, version, now) for app, version in versions.items()]
