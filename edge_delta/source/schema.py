"""Which table is read, what its columns are, and what their declarations promise."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge_delta.core.errors import ConfigurationError
from edge_delta.core.model import Column, Kind
from edge_delta.source.database import Database, quoted

_ROWID_NAMES = ("rowid", "_rowid_", "oid")
_TIME_NAMES = ("timestamp", "ts", "time", "datetime", "date", "created_at", "recorded_at", "event_time", "measured_at")
_OURS = frozenset({"_rowid", "_suspect", "_rule"})  # what the frames hold beside the source's columns
_REFUSED_BY_SPARK = re.compile(r"[ ,;{}()\n\t=]")


@dataclass(frozen=True, slots=True)
class Table:
    """The source table.

    Attributes:
        name: its name.
        columns: its columns in order, generated ones included, hidden ones not.
        key: the SQL expression that rows are read in order of, an integer per row.
        key_is_rowid: whether that is the table's own b-tree; if not, the key is a time in milliseconds, and ties stay
            together.
        id_column: the column that is an alias of the key, if there is one.
        autoincrement: whether ids are never used twice.
        timestamp: the column with the reading's time, if there is one.
    """

    name: str
    columns: tuple[Column, ...]
    key: str
    key_is_rowid: bool
    id_column: Column | None
    autoincrement: bool
    timestamp: Column | None

    def column(self, name: str) -> Column | None:
        """A column by its SQLite name, in any case."""
        return next((c for c in self.columns if c.name.lower() == name.lower()), None)


def find_table(database: Database, name: str | None = None, timestamp: str | None = None) -> Table:
    """The table to read, its columns and its timestamp column.

    Args:
        database: the source.
        name: the table or view; None takes the only table there is.
        timestamp: the timestamp column; None detects it by declared type, then by name.

    Raises:
        ConfigurationError: if the table or column does not exist, or several could be meant.
    """
    objects = {
        str(row[0]): (str(row[1]), str(row[2] or ""))
        for row in database.rows(
            "SELECT name, type, sql FROM sqlite_master WHERE type IN ('table', 'view') "
            "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
        )
    }
    name = _chosen_table(database, name, {n: kind for n, (kind, _) in objects.items()})
    kind, sql = objects[name]
    # table_xinfo also shows generated columns; hidden = 1 marks those of virtual tables that are no data.
    described = [r for r in database.rows(f"PRAGMA table_xinfo({quoted(name)})") if r[6] != 1]
    columns = _columns([(str(r[1]), str(r[2] or "")) for r in described])
    by_name = {c.name: c for c in columns}
    stamp = _chosen_timestamp(database, name, columns, timestamp)
    primary = [by_name[r[1]] for r in sorted(described, key=lambda r: r[5]) if r[5]]
    without_rowid = kind == "view" or bool(re.search(r"\bWITHOUT\s+ROWID\b[\s,\w]*$", sql, re.IGNORECASE))
    key, key_is_rowid, id_column = _key(database, name, by_name, primary, stamp, without_rowid=without_rowid)
    return Table(
        name=name,
        columns=columns,
        key=key,
        key_is_rowid=key_is_rowid,
        id_column=id_column,
        autoincrement=bool(re.search(r"\bAUTOINCREMENT\b", sql, re.IGNORECASE)),
        timestamp=stamp,
    )


def _chosen_table(database: Database, name: str | None, kinds: dict[str, str]) -> str:
    tables = [n for n, kind in kinds.items() if kind == "table"]
    if name is not None:
        match = [n for n in kinds if n.lower() == name.lower()]
        if match:
            return match[0]
        there = ", ".join(kinds) or "none"
        raise ConfigurationError(f"{database.path} has no table {name!r}; its tables are: {there}", "Check --table")
    if len(tables) == 1:
        return tables[0]
    if not tables:
        raise ConfigurationError(f"{database.path} has no table", "Start the sensor's process first, or check --sqlite")
    raise ConfigurationError(
        f"{database.path} has {len(tables)} tables: {', '.join(tables)}", "Name the one to read with --table"
    )


def _chosen_timestamp(database: Database, table: str, columns: tuple[Column, ...], name: str | None) -> Column | None:
    names = ", ".join(c.name for c in columns)
    if name is not None:
        for column in columns:
            if column.name.lower() == name.lower():
                return column
        raise ConfigurationError(
            f"table {table!r} in {database.path} has no column {name!r}; its columns are: {names}",
            "Check --timestamp-field",
        )
    by_type = [c for c in columns if re.search(r"DATE|TIME", c.declared, re.IGNORECASE)]
    by_name = [c for c in columns if c.name.lower() in _TIME_NAMES]
    for candidates in ([c for c in by_type if c in by_name], by_type, by_name):
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            raise ConfigurationError(
                f"table {table!r} in {database.path} has {len(candidates)} columns that could be the timestamp: "
                + ", ".join(c.name for c in candidates),
                "Name one with --timestamp-field",
            )
    return None


def _key(  # noqa: PLR0913 - the facts of one table, used once
    database: Database,
    table: str,
    columns: dict[str, Column],
    primary: list[Column],
    timestamp: Column | None,
    *,
    without_rowid: bool,
) -> tuple[str, bool, Column | None]:
    single = primary[0] if len(primary) == 1 else None
    if single is not None and single.declared.upper() == "INTEGER":
        # An alias of the rowid, or the b-tree's own key where there is no rowid.
        return quoted(single.name), True, single
    if not without_rowid:
        taken = {name.lower() for name in columns}
        free = [name for name in _ROWID_NAMES if name not in taken]
        if free:
            return free[0], True, None
    if timestamp is None:
        raise ConfigurationError(
            f"{table!r} in {database.path} has neither a rowid nor an INTEGER PRIMARY KEY nor a timestamp column to "
            "read it in order of",
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


def _columns(described: list[tuple[str, str]]) -> tuple[Column, ...]:
    taken = set(_OURS)
    columns = []
    for name, declared in described:
        alias = base = _REFUSED_BY_SPARK.sub("_", name) or "_"
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
