"""What a table is, as SQLite itself says it: never read out of the text that made it.

Comments, quotes and the order of clauses make that text say anything (``WITHOUT /*c*/ ROWID``, or AUTOINCREMENT in a
comment). The PRAGMAs that are asked instead: https://sqlite.org/pragma.html#pragma_table_list and below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.source.database import quoted

if TYPE_CHECKING:
    from edge_delta.source.database import Database

_ROWID_NAMES = ("rowid", "_rowid_", "oid")
_HIDDEN = 1  # table_xinfo: a column of a virtual table that is no data


class Described(Struct, frozen=True):
    """A column as it was declared."""

    name: str
    declared: str


class Shape(Struct, frozen=True):
    """What a table or view is.

    Attributes:
        name: its name.
        kind: table, view, virtual or shadow.
        columns: its columns in their order, generated ones included, hidden ones not.
        primary: the names of its primary key's columns, in the key's order.
        rowid: SQL that names the key of its own b-tree, None if there is none that can be named.
        alias: the column that is the rowid under another name, if there is one.
        has_sequence: whether ids may be counted by ``sqlite_sequence``, as those of AUTOINCREMENT are.
    """

    name: str
    kind: str
    columns: tuple[Described, ...]
    primary: tuple[str, ...]
    rowid: str | None
    alias: str | None
    has_sequence: bool


def kinds_of_tables(database: Database) -> dict[str, str]:
    """Every table and view of the file with its kind; SQLite's own are left out."""
    listed = database.rows(
        "SELECT name, type FROM pragma_table_list WHERE schema = 'main' "
        "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    )
    return {str(name): str(kind) for name, kind in listed}


def shape_of(database: Database, name: str, kind: str) -> Shape:
    """What a table is.

    Args:
        database: the file.
        name: the table.
        kind: what `kinds_of_tables` says of it.
    """
    described = [r for r in database.rows(f"PRAGMA table_xinfo({quoted(name)})") if r[6] != _HIDDEN]
    columns = tuple(Described(str(r[1]), str(r[2] or "")) for r in described)
    primary = tuple(str(r[1]) for r in sorted(described, key=lambda r: r[5]) if r[5])
    alias = _alias(database, name, columns, primary) if kind == "table" else None
    literal = name.replace("'", "''")
    without = database.scalar(f"SELECT wr FROM pragma_table_list('{literal}') WHERE schema = 'main'")
    rowid = None
    if kind != "view" and not without:
        taken = {column.name.lower() for column in columns}
        free = next((n for n in _ROWID_NAMES if n not in taken), None)
        rowid = quoted(alias) if alias is not None else free
    has_sequence = database.scalar("SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'")
    return Shape(name, kind, columns, primary, rowid, alias if rowid else None, bool(has_sequence))


def _alias(database: Database, table: str, columns: tuple[Described, ...], primary: tuple[str, ...]) -> str | None:
    """The column that is the rowid: an INTEGER PRIMARY KEY for which SQLite made no index.

    ``INTEGER PRIMARY KEY DESC`` gets one, as ``INT PRIMARY KEY`` and every key of a WITHOUT ROWID table do
    (https://sqlite.org/lang_createtable.html#rowid).
    """
    if len(primary) != 1:
        return None
    [only] = [c for c in columns if c.name == primary[0]]
    indexed = any(row[3] == "pk" for row in database.rows(f"PRAGMA index_list({quoted(table)})"))
    return only.name if only.declared.upper() == "INTEGER" and not indexed else None
