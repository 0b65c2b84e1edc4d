"""What a column holds: its declaration says it, and where that is ambiguous, so do the cells that are there.

SQLite keeps any type anywhere, and takes a declaration's letters for its meaning: POINT has an INT in it. So
declarations of integers, and those that SQLite knows nothing of, are held against a sample of their cells.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge_delta.core.model import Column, Kind
from edge_delta.source.database import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_delta.source.database import Database

READ_AS = {
    "text": Kind.TEXT,
    "integer": Kind.INTEGER,
    "real": Kind.REAL,
    "boolean": Kind.BOOLEAN,
    "blob": Kind.BLOB,
    "timestamp": Kind.TIMESTAMP,
    "json": Kind.TEXT,
}
"""What the settings can say that a column is."""

_INTEGERS = r"^(UNSIGNED\s+|SIGNED\s+)?((TINY|SMALL|MEDIUM|BIG|LONG)\s*)*INT(EGER|[248]|16|32|64)?\b(?!_)"
_UUIDS = r"^(UUID|GUID|UNIQUEIDENTIFIER|BINARY\s*\(\s*16\s*\))$"
_OFTEN = 0.1
_MOSTLY = 0.5
_SAMPLED = 200
_COLUMNS_AT_ONCE = 200
_CLASSES = ("integer", "real", "text", "blob")


def affinity_of(declared: str) -> str:
    """SQLite's type affinity for a declared type (https://sqlite.org/datatype3.html, 3.1)."""
    upper = declared.upper()
    if "INT" in upper:
        return "INTEGER"
    if any(word in upper for word in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if "BLOB" in upper or not upper:
        return "BLOB"
    if any(word in upper for word in ("REAL", "FLOA", "DOUB")):
        return "REAL"
    return "NUMERIC"


def kind_of(declared: str, affinity: str) -> Kind:
    """What a column's cells must be. Where the declaration leaves it open, text: it can hold any of the others."""
    upper = declared.upper()
    if affinity == "INTEGER":
        return Kind.INTEGER
    if affinity == "REAL":
        return Kind.REAL
    if affinity == "BLOB":
        return Kind.BLOB if upper else Kind.TEXT
    if affinity == "NUMERIC":
        if "BOOL" in upper:
            return Kind.BOOLEAN
        if any(word in upper for word in ("NUM", "DEC", "MONEY")):
            return Kind.REAL
    return Kind.TEXT


def is_uuid(column: Column) -> bool:
    """Whether blobs of 16 bytes in it are identifiers, which are read as text."""
    return column.kind is Kind.TEXT and bool(re.match(_UUIDS, column.declared.upper().strip()))


def is_open(column: Column) -> bool:
    """Whether its cells have a say in what it holds."""
    if column.unread or column.read_as is not None or is_uuid(column):
        return False
    upper = column.declared.upper().strip()
    return column.affinity == "INTEGER" or upper == "NUM" or (column.affinity == "NUMERIC" and column.kind is Kind.TEXT)


def seen(database: Database, columns: Iterable[Column], sources: Iterable[str]) -> dict[str, dict[str, int]]:
    """How many cells of each storage class there are among some rows, by column, NULL left out.

    No cell is read: its class stands in the row's header.

    Args:
        database: the file.
        columns: the columns to look at.
        sources: FROM and what follows, once or several times.
    """
    wanted, froms = list(columns), list(sources)
    counts: dict[str, dict[str, int]] = {}
    for start in range(0, len(wanted), _COLUMNS_AT_ONCE):
        part = wanted[start : start + _COLUMNS_AT_ONCE]
        types = ", ".join(f"typeof({quoted(c.name)}) AS c{number}" for number, c in enumerate(part))
        rows = " UNION ALL ".join(f"SELECT * FROM (SELECT {types} FROM {source})" for source in froms)
        sums = ", ".join(f"total(c{number} = '{kind}')" for number in range(len(part)) for kind in _CLASSES)
        [found] = database.rows(f"SELECT {sums} FROM ({rows})")
        for number, column in enumerate(part):
            own = found[number * len(_CLASSES) : (number + 1) * len(_CLASSES)]
            counts[column.name] = {kind: int(n) for kind, n in zip(_CLASSES, own, strict=True) if n}
    return counts


def ends_of(table: str, rowid: str | None) -> list[str]:
    """FROM for some rows at both ends of a table, or of its beginning if it has no rowid."""
    if rowid is None:
        return [f"{quoted(table)} LIMIT {_SAMPLED}"]
    return [f"{quoted(table)} ORDER BY {rowid} {way} LIMIT {_SAMPLED // 2}" for way in ("ASC", "DESC")]


def by_evidence(column: Column, cells: Mapping[str, int]) -> Kind:
    """What an ambiguous column holds, by its cells.

    A few that do not fit change nothing: they are what is rejected. Numbers with fractions in a column of integers
    make it one of real numbers, text where SQLite only thinks that it reads INT makes it one of text.
    """
    every = sum(cells.values())
    if not every:
        return column.kind
    share = {kind: n / every for kind, n in cells.items()}
    text, blob, real = (share.get(kind, 0) for kind in ("text", "blob", "real"))
    upper = column.declared.upper().strip()
    if blob > _MOSTLY:
        return Kind.BLOB
    if text > _MOSTLY or (text > _OFTEN and not re.match(_INTEGERS, upper)):
        return Kind.TEXT
    if real > _OFTEN and column.kind is Kind.INTEGER:
        return Kind.REAL
    return column.kind
