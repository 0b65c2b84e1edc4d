"""Single rows, cell by cell and without loss: for rejected rows and for the identity of a source.

The fast way of reading (`reader`) hands over whole columns of one type. Here the type of each cell counts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge_delta.core.cells import RawText
from edge_delta.core.digests import blake2b
from edge_delta.core.model import Cell, Column, Kind, Rejection
from edge_delta.source.database import Database, quoted
from edge_delta.source.values import Misfit, value_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_delta.source.schema import Table


_ROWS_PER_STATEMENT = 500
_COLUMNS_PER_STATEMENT = 1_000
_SMALL_BYTES = 1_000
_ANY_LENGTH = 2**31
_BITS = 21
_MASK = (1 << _BITS) - 1
_OFTEN_UPDATED = (
    *("sync", "upload", "sent", "send", "process", "deliver", "export", "status", "state", "flag", "ack", "retr"),
)
_TOLD_A_PLACE = r"(?i)(^|[_\s.-])(lat|lon|lng|long|latitude|longitude|gps|geo\w*|coord\w*|position)($|[_\s.-])"
# as fingerprints in the tables were made with; what tells a place is in `edge_delta.core.places`
_PARTS = (*_OFTEN_UPDATED, "lat", "lon", "lng", "gps", "geo", "coord", "position")
"""One of these is in each name that is left out, if it is plain: with none of them, no pattern has to be compiled."""


def is_left_out(name: str) -> bool:
    """Whether a column has no part in fingerprints: it is updated in place, or it would let a place be guessed."""
    if name.isascii() and not any(part in name.lower() for part in _PARTS):
        return False
    return bool(re.search("(?i)" + "|".join(_OFTEN_UPDATED), name) or re.search(_TOLD_A_PLACE, name))


def read_cell(database: Database, column: Column, source: str) -> Cell:
    """A column's cell in the first row of FROM and what follows, exactly as it is stored; None if there is no row."""
    text = database.scalar(f"SELECT {tagged(quoted(column.name), database.longest_cell)} FROM {source} LIMIT 1")
    return None if text is None else untagged(text, database.encoding)


def sampled(database: Database, table: Table, count: int) -> dict[str, list[Cell]]:
    """Cells of each column out of the first and the last rows, long ones cut off.

    Args:
        database: the source.
        table: its table.
        count: how many rows at either end.
    """
    ways = ("ASC", "DESC") if table.key_is_rowid else ("",)
    found: dict[str, list[Cell]] = {column.name: [] for column in table.columns}
    for way in ways:
        order = f"ORDER BY {table.key} {way}" if way else ""
        for start in range(0, len(table.columns), _COLUMNS_PER_STATEMENT):
            part = table.columns[start : start + _COLUMNS_PER_STATEMENT]
            asked = ", ".join(tagged(_short(quoted(column.name), database.longest_cell)) for column in part)
            for texts in database.rows(f"SELECT {asked} FROM {quoted(table.name)} {order} LIMIT {count}"):
                for column, text in zip(part, texts, strict=True):
                    found[column.name].append(untagged(text, database.encoding))
    return found


def _short(column: str, longest: int) -> str:
    """SQL for the beginning of a cell; NULL for one that SQLite would not load."""
    start = f"CASE WHEN octet_length({column}) <= {longest} THEN substr({column}, 1, 1000) END"
    return f"(CASE WHEN typeof({column}) IN ('text', 'blob') THEN {start} ELSE {column} END)"


def read_rows(database: Database, table: Table, rowids: Iterable[int]) -> list[tuple[int, dict[str, Cell]]]:
    """Rows by key, each a mapping of column name to cell, exactly as SQLite stores them.

    A key that is a time can stand for several rows.
    """
    wanted = list(rowids)
    found: list[tuple[int, dict[str, Cell]]] = []
    for start in range(0, len(wanted), _ROWS_PER_STATEMENT):
        ids = ", ".join(map(str, wanted[start : start + _ROWS_PER_STATEMENT]))
        rows = f"{quoted(table.name)} WHERE {table.key} IN ({ids}) ORDER BY {table.key}"
        found += _read(database, table, rows)
    return found


def _read(database: Database, table: Table, rows: str) -> list[tuple[int, dict[str, Cell]]]:
    """Rows with all their cells, some columns at a time: a result has at most 2,000 (SQLITE_MAX_COLUMN)."""
    found: list[tuple[int, dict[str, Cell]]] = []
    for start in range(0, len(table.columns), _COLUMNS_PER_STATEMENT):
        part = table.columns[start : start + _COLUMNS_PER_STATEMENT]
        asked = ", ".join("'n'" if c.unread else tagged(quoted(c.name), database.longest_cell) for c in part)
        read = database.rows(f"SELECT {table.key}, {asked} FROM {rows}")
        if not start:
            found = [(rowid, {}) for rowid, *_ in read]
        for (_, cells), (_, *texts) in zip(found, read, strict=True):
            cells.update((c.name, untagged(text, database.encoding)) for c, text in zip(part, texts, strict=True))
    return found


def too_large(database: Database, table: Table, giants: Mapping[int, int], most: int) -> tuple[Rejection, ...]:
    """The records of rows that are too large to be delivered: their sizes, and the cells that are small.

    A cell that is left out is text that is not there, so that no `replay` takes the row for one that is whole.

    Args:
        database: the file.
        table: the table.
        giants: bytes by key.
        most: what was allowed.
    """
    rejections = []
    for rowid, size in giants.items():
        found: dict[str, Cell] = {}
        lengths: dict[str, int] = {}
        found |= {column.alias: None for column in table.columns if column.unread}
        for column in (c for c in table.columns if not c.unread):
            name, where = quoted(column.name), f"{quoted(table.name)} WHERE {table.key} = {rowid}"
            lengths[column.alias] = int(database.scalar(f"SELECT ifnull(octet_length({name}), 0) FROM {where}") or 0)
            small = lengths[column.alias] <= _SMALL_BYTES
            found[column.alias] = read_cell(database, column, where) if small else RawText(b"")
        largest = max(lengths, key=lambda alias: lengths[alias])
        reason = f"{size:,} bytes, {lengths[largest]:,} of them in this column; max_row_bytes is {most:,}"
        rejections.append(Rejection(rowid, "too_large", largest, reason, found))
    return tuple(rejections)


def tagged(column: str, longest: int = _ANY_LENGTH) -> str:
    """SQL for a cell as text that says its storage class, so that one text column can carry all of them.

    Of what is longer than so many bytes only the class comes: nobody loads it.
    """
    digits = f"CASE WHEN octet_length({column}) <= {longest} THEN hex({column}) ELSE '' END"
    return (
        f"CASE typeof({column}) WHEN 'integer' THEN 'i' || {column} WHEN 'real' THEN 'r' || quote({column}) "
        f"WHEN 'text' THEN 't' || {digits} WHEN 'blob' THEN 'b' || {digits} ELSE 'n' END"
    )


def untagged(text: str, encoding: str) -> Cell:
    """The cell that `tagged` gave."""
    tag, text = text[0], text[1:]
    if tag == "i":
        return int(text)
    if tag == "r":
        return float(text)  # quote() writes as many digits as it takes, and 9.0e+999 for infinity
    if tag == "b":
        return bytes.fromhex(text)
    if tag == "t":
        raw = bytes.fromhex(text)
        try:
            return raw.decode(encoding)  # hex() gives the bytes as they are in the file
        except UnicodeDecodeError:
            return RawText(raw)
    return None


def misfit(columns: Iterable[Column], cells: dict[str, Cell]) -> tuple[Column, str] | None:
    """The first cell that its column cannot hold, with the reason; None if all fit."""
    for column in columns:
        try:
            value_of(column, cells[column.name])
        except Misfit as error:
            return column, str(error)
    return None


def rejection(table: Table, rowid: int, cells: dict[str, Cell]) -> Rejection:
    """The record of a row that has a cell which does not fit."""
    found = misfit(table.columns, cells)
    # Only in a table without rowids can a row that fits come here.
    column, reason = found or (
        table.columns[0],
        "it shares its time, the only key there is, with a row that does not fit",
    )
    return Rejection(rowid, "type", column.alias, reason, {c.alias: cells[c.name] for c in table.columns})


def fingerprint(table: Table, rowid: int, cells: dict[str, Cell]) -> int:
    """What a row looked like, as versions without witnesses wrote it (see `edge_delta.source.witness`), in 63 bits.

    Its time, its measurements, and the names and kinds of its columns.

    Three hashes of 21 bits beside each other, because they answer three questions (see `same_row`). Columns that
    applications update in place (upload marks, states, integer flags) are left out. So are those that tell a place:
    who knows the rest of a row could try places until the hash fits, and the log is as public as the table.
    """
    stamp = table.timestamp
    time = cells[stamp.name] if stamp is not None else None
    lasting = [c for c in table.columns if c != stamp and not is_left_out(c.name)]
    measuring = [c for c in lasting if stamp is not None and c.kind in (Kind.REAL, Kind.TEXT, Kind.BLOB)] or lasting
    measured = sorted((c.name, canonical(cells[c.name])) for c in measuring if cells[c.name] is not None)
    columns = sorted((c.name, c.kind.value) for c in table.columns)
    return _hash([rowid, canonical(time)]) << 2 * _BITS | _hash(measured) << _BITS | _hash(columns)


def canonical(cell: Cell) -> str:
    """The same text for a number whatever type its column has."""
    return repr(float(cell) if isinstance(cell, int) and int(float(cell)) == cell else cell)


def same_row(one: int, other: int, *, timed: bool) -> bool:
    """Whether two fingerprints can be of one row.

    A row of another source has another time or, where a simulator repeats its times, other measurements. After a change
    of the table's columns only the time can tell, if there is one.

    Args:
        one: the fingerprint that went with the cursor.
        other: that of the row found there now.
        timed: whether the table has a timestamp column.
    """
    time, measured, columns = ((one ^ other) >> shift & _MASK for shift in (2 * _BITS, _BITS, 0))
    if time:
        return False
    return not measured or bool(columns and timed)


def _hash(value: object) -> int:
    digest = blake2b(repr(value).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) & _MASK
