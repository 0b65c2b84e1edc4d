"""Witnesses: what some delivered rows looked like, by which a source is told again.

One row may be updated, so eight more are kept beside the last one, each farther behind it. They travel with the cursor
as `WORDS` numbers of 63 bits, because a Delta ``txn`` holds nothing else::

    word 0      key (15 bits) | columns (16) | the cursor's row: time (16), values (16)
    words 1-4   two rows each: time (15), values (16); 0 where there is no row that far back

Every part is a hash under the device's key (BLAKE2b, RFC 7693, 2.9), so that nobody who reads the log can try values
until one fits. Only columns that leave the device have a part in it, and none that applications update in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from edge_delta.core.digests import blake2b
from edge_delta.core.model import BEFORE_FIRST, Cell, Column, Cursor, Kind, Layout
from edge_delta.source import cells
from edge_delta.source.database import quoted

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_delta.source.database import Database
    from edge_delta.source.schema import Table

RANKS = (1, 2, 4, 8, 16, 48, 144, 432)
"""How many rows behind the cursor's a witness is."""
WORDS = 1 + len(RANKS) // 2
_LOOKED_AT = 1_024
"""Rows behind the cursor among which witnesses are looked for; rows that were put in or deleted move them."""
_MOST_COLUMNS = 16
_MOST_CHARACTERS = 64
_TIME, _VALUES, _COLUMNS, _KEY = 15, 16, 16, 15
_ROW = _TIME + _VALUES


class Verdict(Struct, frozen=True):
    """Whether a source is the one that a cursor belongs to.

    Attributes:
        same: it is.
        updated: it is, and its last delivered row was changed since.
        unsure: witnesses cannot tell; the rows in the table may.
        likely_same: what to believe where those cannot be asked.
        reason: what speaks against it, in words.
    """

    same: bool
    updated: bool = False
    unsure: bool = False
    likely_same: bool = False
    reason: str = ""


class Witnessing(Struct, frozen=True):
    """How witnesses are made on this device.

    Attributes:
        key: the device's key.
        leaving: gives the names of the columns that leave the device, of all that there are.
    """

    key: bytes = b""
    leaving: Callable[[Layout], frozenset[str]] | None = None

    def hashed(self, bits: int, *parts: object) -> int:
        """A keyed hash, never 0."""
        text = repr(parts).encode("utf-8", "surrogatepass")
        digest = blake2b(text, digest_size=8, key=self.key[:64]).digest()
        return int.from_bytes(digest) % ((1 << bits) - 1) + 1


Values = tuple[str | None, list[tuple[str, str]]]
"""A row's time, and its columns by name as far as there is something in them."""


class Seen(Struct, frozen=True):
    """One row as its witness has it: two hashes."""

    time: int
    values: int

    @property
    def packed(self) -> int:
        """Both in one number."""
        return self.time << _VALUES | self.values


class Kept(Struct, frozen=True):
    """Witnesses out of their words."""

    key: int
    columns: int
    own: Seen
    behind: tuple[Seen, ...]
    whole: bool

    @classmethod
    def of(cls, words: tuple[int, ...]) -> Kept:
        """Out of a cursor's numbers."""
        first, *rest = words
        packed = [part for word in rest for part in (word >> _ROW, word & ((1 << _ROW) - 1))]
        return cls(
            first >> (_ROW + _COLUMNS),
            first >> _ROW & ((1 << _COLUMNS) - 1),
            _seen(first),
            tuple(_seen(part) for part in packed if part),
            len(words) == WORDS,
        )


def _seen(packed: int) -> Seen:
    return Seen(packed >> _VALUES & ((1 << _TIME) - 1), packed & ((1 << _VALUES) - 1))


class Witnesses:
    """Makes witnesses of a table's rows and compares them.

    Args:
        database: the source.
        table: the table as it is now.
        how: the device's key, and what leaves it.

    Attributes:
        timed: whether the rows have times by which they can be told.
    """

    def __init__(self, database: Database, table: Table, how: Witnessing) -> None:
        self.database = database
        self.table = table
        self.how = how
        leaving = self._leaving()
        stamp = table.timestamp
        self._stamp = stamp if stamp in leaving and stamp != table.id_column else None
        self._columns = self._lasting(leaving)
        self.timed = self._stamp is not None
        names = sorted((c.name.lower(), c.kind.value) for c in self._columns)
        self._columns_id = how.hashed(_COLUMNS, self._stamp.name.lower() if self._stamp is not None else None, names)
        self._key_id = how.hashed(_KEY, "key")
        self._others: dict[int, Witnesses | None] = {}

    def made_of(self, table: Table, how: Witnessing) -> bool:
        """Whether these are the witnesses of a table as it is now."""
        return self.table is table and self.how is how

    def _leaving(self) -> list[Column]:
        table = self.table
        if self.how.leaving is None:
            return list(table.columns)
        names = self.how.leaving(Layout(table.columns, table.timestamp, table.id_column))
        return [c for c in table.columns if c.name in names]

    def _lasting(self, leaving: list[Column]) -> list[Column]:
        """The columns that an application does not change by habit, of those that leave the device."""
        lasting = [
            c
            for c in leaving
            if c not in (self.table.timestamp, self.table.id_column)
            and not cells.is_left_out(c.name)
            and c.kind is not Kind.BLOB
        ]
        measuring = [c for c in lasting if self._stamp is not None and c.kind in (Kind.REAL, Kind.TEXT)] or lasting
        return measuring[:_MOST_COLUMNS]

    # -- making them

    def ids(self, rowid: int) -> list[int]:
        """The ids of the row and of those that are witnesses with it, as far as they are there; the row's own first."""
        behind = [
            f"(SELECT {self._key} FROM {self._name} WHERE {self._key} < {rowid} ORDER BY {self._key} DESC "
            f"LIMIT 1 OFFSET {rank - 1})"
            for rank in RANKS
        ]
        found = self.database.rows(f"SELECT {', '.join(behind)}")[0]
        return [rowid, *(i for i in found if i is not None)]

    def at(self, rowid: int) -> tuple[int, ...]:
        """The words for a cursor at a row, which need not be there any more; none where keys are no ids."""
        if not self.table.key_is_rowid:
            return ()
        ids = self.ids(rowid)
        rows = self._rows(f"{self._key} IN ({', '.join(map(str, ids))})")
        own, *behind = [rows[i].packed if i in rows else 0 for i in [*ids, *[None] * (len(RANKS) + 1 - len(ids))]]
        first = self._key_id << (_COLUMNS + _ROW) | self._columns_id << _ROW | own
        return (first, *(a << _ROW | b for a, b in zip(behind[::2], behind[1::2], strict=True)))

    @property
    def _key(self) -> str:
        return self.table.key

    @property
    def _name(self) -> str:
        return quoted(self.table.name)

    def _rows(self, where: str) -> dict[int, Seen]:
        return {rowid: self.seen(rowid, values) for rowid, values in self._read(where)}

    def _read(self, where: str) -> list[tuple[int, Values]]:
        stamp, columns = self._stamp, self._columns
        asked = [*([stamp] if stamp is not None else []), *columns]
        tagged = ", ".join(cells.tagged(_shortened(c, self.database.longest_cell)) for c in asked)
        found = self.database.rows(
            f"SELECT {self._key}{', ' + tagged if tagged else ''} FROM {self._name} WHERE {where}"
        )
        return [(row[0], self._values(row[1:])) for row in found]

    def _values(self, texts: tuple[str, ...]) -> Values:
        values: list[Cell] = [cells.untagged(text, self.database.encoding) for text in texts]
        time = cells.canonical(values.pop(0)) if self._stamp is not None else None
        pairs = zip(self._columns, values, strict=True)
        return time, sorted((c.name.lower(), cells.canonical(v)) for c, v in pairs if v is not None)

    def seen(self, rowid: int, values: Values) -> Seen:
        """What a row is as a witness, under an id."""
        time, there = values
        return Seen(self.how.hashed(_TIME, rowid, time), self.how.hashed(_VALUES, rowid, there))

    def last_values(self, upto: int, count: int) -> list[tuple[int, Values]]:
        """The last rows up to an id, the last first."""
        return self._read(f"{self._key} <= {upto} ORDER BY {self._key} DESC LIMIT {count}")

    def fits(self, kept: Kept) -> bool:
        """Whether witnesses were made under this key, of the columns that there are."""
        return (kept.key, kept.columns) == (self._key_id, self._columns_id)

    # -- comparing them

    def verdict(self, cursor: Cursor) -> Verdict:
        """Whether this is the source of a cursor.

        The cost is that of one row as long as that row is as it was.
        """
        if not cursor.witnesses:
            return self._by_fingerprint(cursor)
        kept = Kept.of(cursor.witnesses)
        now = self._rows(f"{self._key} = {cursor.rowid}").get(cursor.rowid)
        if kept.key != self._key_id:
            reason = f"{self._place} was delivered with another witness key"
            return self._gone_back(cursor, now) or Verdict(same=False, unsure=True, likely_same=True, reason=reason)
        alike = kept.columns == self._columns_id
        if not alike and (other := self._with_another_time(kept)) is not None:
            return other.verdict(cursor)
        if now is not None:
            if now == kept.own or (not alike and self.timed and now.time == kept.own.time):
                return Verdict(same=True)
            return self._of_changed(kept, now, cursor, alike=alike)
        return self._of_gone(kept, cursor, alike=alike)

    def _with_another_time(self, kept: Kept) -> Witnesses | None:
        """Those of the same columns where the settings named another one as the time, or none; None if not one fits."""
        if kept.columns not in self._others:
            stamps = [None, *self.table.columns]
            all_ = (Witnesses(self.database, replace(self.table, timestamp=stamp), self.how) for stamp in stamps)
            self._others[kept.columns] = next((one for one in all_ if one.fits(kept)), None)
        return self._others[kept.columns]

    def _of_changed(self, kept: Kept, now: Seen, cursor: Cursor, *, alike: bool) -> Verdict:
        """The cursor's row is another one, or an updated one."""
        reason = f"row {cursor.rowid} of {self._place} is not the row that was delivered under that id"
        if not alike or not kept.whole:
            return Verdict(same=False, unsure=True, likely_same=not self.timed, reason=reason)
        there = set(self._around(cursor).values())
        found = sum(seen in there for seen in kept.behind)
        if self.timed and now.time == kept.own.time and found:
            return Verdict(same=True, updated=True)
        return Verdict(same=False, unsure=True, likely_same=2 * found > len(kept.behind), reason=reason)

    def _of_gone(self, kept: Kept, cursor: Cursor, *, alike: bool) -> Verdict:
        """The cursor's row is not there: purged, unless ids went back or other rows are there."""
        back = self._gone_back(cursor, None)
        if back is not None:
            return back
        around = self._around(cursor)
        if not around:
            return Verdict(same=True)  # all of them were purged
        reason = f"rows up to {cursor.rowid} of {self._place} are not those that were delivered under their ids"
        there = set(around.values())
        if alike and any(seen in there for seen in kept.behind):
            return Verdict(same=True)
        return Verdict(same=False, unsure=True, likely_same=not (alike and kept.whole), reason=reason)

    def _gone_back(self, cursor: Cursor, now: object) -> Verdict | None:
        """The verdict where ids end before the cursor."""
        if now is not None:
            return None
        last = self.database.scalar(f"SELECT max({self._key}) FROM {self._name}")
        if self.table.autoincrement:
            last = self._sequence() if last is None else max(last, self._sequence() or 0)
        if last is None or last >= cursor.rowid:
            return None
        return Verdict(
            same=False, reason=f"ids of {self._place} end at {last}, but rows up to {cursor.rowid} were delivered"
        )

    def _by_fingerprint(self, cursor: Cursor) -> Verdict:
        """By the one hash that earlier versions kept."""
        columns = tuple(replace(c, unread=False) for c in self.table.columns)  # as they were hashed then
        rows = cells.read_rows(self.database, replace(self.table, columns=columns), [cursor.rowid])
        if not rows:
            return self._gone_back(cursor, None) or Verdict(same=True)
        before, now = cursor.fingerprint or 0, cells.fingerprint(self.table, *rows[0])
        if cells.same_row(before, now, timed=self.table.timestamp is not None):
            return Verdict(same=True)
        reason = f"row {cursor.rowid} of {self._place} is not the row that was delivered under that id"
        return Verdict(same=False, unsure=True, reason=reason)

    @property
    def _place(self) -> str:
        return f"table {self.table.name!r} in {self.database.path}"

    def _around(self, cursor: Cursor) -> dict[int, Seen]:
        return self._rows(
            f"{self._key} IN (SELECT {self._key} FROM {self._name} WHERE {self._key} <= {cursor.rowid} "
            f"ORDER BY {self._key} DESC LIMIT {_LOOKED_AT})"
        )

    def _sequence(self) -> int | None:
        name = self.table.name.replace("'", "''")
        found = self.database.scalar(f"SELECT seq FROM sqlite_sequence WHERE name = '{name}'")
        return int(found) if found is not None else None

    def known(self, cursor: Cursor) -> int | None:
        """The last row of those behind a cursor that are as they were; None if none is."""
        if len(cursor.witnesses) < WORDS or cursor.rowid == BEFORE_FIRST:
            return None
        kept = Kept.of(cursor.witnesses)
        if kept.key != self._key_id:
            return None
        wanted = {kept.own, *kept.behind}
        return max((rowid for rowid, seen in self._around(cursor).items() if seen in wanted), default=None)

    def times_as_before(self, cursor: Cursor) -> bool:
        """Whether a cursor's row and those behind it are there with their times."""
        kept, around = Kept.of(cursor.witnesses), self._around(cursor)
        if not self.timed or kept.key != self._key_id or cursor.rowid not in around:
            return False
        there = {seen.time for seen in around.values()}
        return around[cursor.rowid].time == kept.own.time and all(seen.time in there for seen in kept.behind)


def _shortened(column: Column, longest: int) -> str:
    """SQL for a cell, a long text by its beginning; nothing of one that may not be loaded."""
    name = quoted(column.name)
    start = f"CASE WHEN octet_length({name}) <= {longest} THEN substr({name}, 1, {_MOST_CHARACTERS}) ELSE '' END"
    return f"CASE typeof({name}) WHEN 'text' THEN {start} WHEN 'blob' THEN NULL ELSE {name} END"
