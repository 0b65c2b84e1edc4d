"""Which table is read, what its columns are, and what their declarations promise."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge_delta.core.errors import ConfigurationError
from edge_delta.core.model import Column, Kind
from edge_delta.source import stamps
from edge_delta.source.database import Database, quoted
from edge_delta.source.shape import Described, Shape, kinds_of_tables, shape_of

_OURS = frozenset({"_rowid", "_suspect", "_rule"})  # what the frames hold beside the source's columns
_REFUSED_BY_SPARK = re.compile(r"[ ,;{}()\n\t=]")
_PATTERN = re.compile(r"^\*$|^\^(?=.*\$$)")  # what Polars takes for all columns, or for a pattern of their names


@dataclass(frozen=True, slots=True)
class Table:
    """The source table.

    Attributes:
        name: its name.
        kind: table, view, virtual or shadow.
        columns: its columns in order, generated ones included, hidden ones not.
        key: the SQL expression that rows are read in order of, an integer per row.
        key_is_rowid: whether that is the table's own b-tree; if not, the key is a time in milliseconds, and ties stay
            together.
        id_column: the column that is an alias of the key, if there is one.
        autoincrement: whether `sqlite_sequence` may know the largest id that was ever used.
        timestamp: the column with the reading's time, if there is one.
        timestamp_reason: why it is that one, or why there is none.
    """

    name: str
    kind: str
    columns: tuple[Column, ...]
    key: str
    key_is_rowid: bool
    id_column: Column | None
    autoincrement: bool
    timestamp: Column | None
    timestamp_reason: str = ""

    def column(self, name: str) -> Column | None:
        """A column by its SQLite name, in any case."""
        return next((c for c in self.columns if c.name.lower() == name.lower()), None)


def find_table(database: Database, name: str | None = None, timestamp: str | None = None) -> Table:
    """The table to read, its columns and its timestamp column.

    Args:
        database: the source.
        name: the table or view; None takes the only table there is.
        timestamp: the timestamp column; None finds it, see `edge_delta.source.stamps`.

    Raises:
        ConfigurationError: if the table or column does not exist, or several could be meant.
    """
    kinds = kinds_of_tables(database)
    name = _chosen_table(database, name, kinds)
    shape = shape_of(database, name, kinds[name])
    columns = _columns(shape.columns)
    stamp, reason = stamps.chosen(database.path, name, columns, timestamp)
    key, key_is_rowid, id_column = _key(database, shape, {c.name: c for c in columns}, stamp)
    return Table(
        name=name,
        kind=shape.kind,
        columns=columns,
        key=key,
        key_is_rowid=key_is_rowid,
        id_column=id_column,
        autoincrement=shape.has_sequence,
        timestamp=stamp,
        timestamp_reason=reason,
    )


def _chosen_table(database: Database, name: str | None, kinds: dict[str, str]) -> str:
    tables = [n for n, kind in kinds.items() if kind == "table"]
    if name is not None:
        match = sorted((n for n in kinds if n.lower() == name.lower()), key=lambda n: n != name)
        if match:
            return match[0]
        there = ", ".join(n for n, kind in kinds.items() if kind != "shadow") or "none"
        raise ConfigurationError(f"{database.path} has no table {name!r}; its tables are: {there}", "Check --table")
    if len(tables) == 1:
        return tables[0]
    if not tables:
        raise ConfigurationError(f"{database.path} has no table", "Start the sensor's process first, or check --sqlite")
    raise ConfigurationError(
        f"{database.path} has {len(tables)} tables: {', '.join(tables)}", "Name the one to read with --table"
    )


def _key(
    database: Database, shape: Shape, columns: dict[str, Column], timestamp: Column | None
) -> tuple[str, bool, Column | None]:
    """SQL for the integer that rows are read in order of, whether it is an id, and the column that it is, if one."""
    if shape.rowid is not None:
        return shape.rowid, True, columns[shape.alias] if shape.alias is not None else None
    single = columns[shape.primary[0]] if len(shape.primary) == 1 else None
    if single is not None and single.affinity == "INTEGER":
        return quoted(single.name), True, single  # the b-tree's own key
    if timestamp is None:
        raise ConfigurationError(
            f"{shape.name!r} in {database.path} has neither a rowid nor an INTEGER PRIMARY KEY nor a timestamp column "
            "to read it in order of",
            "Name the column that holds the time with --timestamp-field",
        )
    return milliseconds(quoted(timestamp.name)), False, None


def milliseconds(column: str) -> str:
    """SQL for a time of any of the usual forms as milliseconds since 1970; no time at all sorts first."""
    julian = f"CAST(round((julianday({column}) - 2440587.5) * 86400000.0) AS INTEGER)"
    size = f"abs(CAST({column} AS REAL))"  # of the smallest integer, abs() is an error
    number = (
        f"CASE WHEN {column} BETWEEN 2000000 AND 3000000 THEN {julian} "
        f"WHEN {size} < 100000000000 THEN CAST({column} * 1000 AS INTEGER) "
        f"WHEN {size} < 100000000000000 THEN CAST({column} AS INTEGER) "
        f"ELSE CAST({column} / 1000 AS INTEGER) END"
    )
    return f"coalesce(CASE typeof({column}) WHEN 'text' THEN {julian} ELSE {number} END, 0)"


def _columns(described: tuple[Described, ...]) -> tuple[Column, ...]:
    taken = set(_OURS)
    columns = []
    for one in described:
        name, declared = one.name, one.declared
        alias = base = _PATTERN.sub("_", _REFUSED_BY_SPARK.sub("_", name)) or "_"
        number = 2
        while alias.lower() in taken:
            alias, number = f"{base}_{number}", number + 1
        taken.add(alias.lower())
        affinity = affinity_of(declared)
        columns.append(Column(name, alias, declared, kind_of(declared, affinity), affinity))
    return tuple(columns)


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
