"""Which table is read, what its columns are, and what their declarations promise."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from edge_delta.core.errors import ConfigurationError, SourceUnavailable
from edge_delta.core.model import Column, Layout
from edge_delta.source import kinds, time_column, time_order
from edge_delta.source.database import Database, quoted
from edge_delta.source.read_options import Options
from edge_delta.source.shape import Described, Shape, kinds_of_tables, shape_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAIN = Options()
_OURS = frozenset({"_rowid", "_suspect", "_rule"})  # what the frames hold beside the source's columns
_REFUSED_BY_SPARK = re.compile(r"[ ,;{}()\n\t=]")
_PATTERN = re.compile(r"^\*$|^\^(?=.*\$$)")  # what Polars takes for all columns, or for a pattern of their names


class Table(Struct, frozen=True):
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
        primary: the columns of its primary key.
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
    primary: tuple[str, ...] = ()

    def behind(self, after: int) -> str:
        """SQL that is true for the rows behind a key."""
        if self.key_is_rowid or self.timestamp is None:
            return f"{self.key} > {after}"
        return f"{time_order.behind(self.timestamp, after)} AND {self.key} > {after}"

    def end(self, upto: int | None) -> int | None:
        """The last key to read, up to another one: of a table in the order of time only what is settled."""
        if self.key_is_rowid or self.timestamp is None:
            return upto
        settled = time_order.settled(self.timestamp)
        return settled if upto is None else min(upto, settled)

    def column(self, name: str) -> Column | None:
        """A column by its SQLite name, in any case."""
        return next((c for c in self.columns if c.name.lower() == name.lower()), None)


def find_table(
    database: Database, name: str | None = None, timestamp: str | None = None, options: Options = _PLAIN
) -> Table:
    """The table to read, its columns and its timestamp column.

    Args:
        database: the source.
        name: the table or view; None takes the only table there is.
        timestamp: the timestamp column; None finds it, see `edge_delta.source.time_column`.
        options: what else the settings say.

    Raises:
        ConfigurationError: if the table or column does not exist, or several could be meant.
    """
    there = kinds_of_tables(database)
    name = _chosen_table(database, name, there)
    return _described(database, shape_of(database, name, there[name]), timestamp, options)


def find_again(database: Database, name: str, timestamp: str | None, options: Options) -> Table:
    """A table that was found before, as it is now; see `find_table`.

    Raises:
        SourceUnavailable: if it is not there now.
    """
    there = kinds_of_tables(database)
    if name not in there:
        raise SourceUnavailable(
            f"table {name!r} is not in {database.path} now",
            "Nothing to do if the application makes it again; otherwise check --table",
        )
    return _described(database, shape_of(database, name, there[name]), timestamp, options)


def _described(database: Database, shape: Shape, timestamp: str | None, options: Options) -> Table:
    name = shape.name
    columns = _columns(shape.columns, options)
    needed, _ = time_column.chosen(database.path, name, columns, timestamp)
    columns = _unread(columns, options, {shape.alias, *shape.primary, needed.name if needed is not None else None})
    columns = _by_cells(database, shape, columns)
    stamp, reason = time_column.chosen(database.path, name, columns, timestamp)
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
        primary=tuple(c.alias for c in columns if c.name in shape.primary),
    )


def _chosen_table(database: Database, name: str | None, listed: dict[str, str]) -> str:
    tables = [n for n, kind in listed.items() if kind == "table"]
    if name is not None:
        match = sorted((n for n in listed if n.lower() == name.lower()), key=lambda n: n != name)
        if match:
            return match[0]
        there = ", ".join(n for n, kind in listed.items() if kind != "shadow") or "none"
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
    refusal = time_order.refusal(timestamp)
    if refusal is not None:
        raise ConfigurationError(
            f"{shape.name!r} in {database.path} has no rowid, and {refusal}", "Name another column"
        )
    return time_order.milliseconds(timestamp), False, None


def _unread(columns: tuple[Column, ...], options: Options, needed: set[str | None]) -> tuple[Column, ...]:
    """The columns, with those marked that are in no table: no cell of them may have a say in anything."""
    if options.unread is None:
        return columns
    names = options.unread(Layout(columns, None, None)) - needed
    return tuple(replace(c, unread=c.name in names) for c in columns)


def _by_cells(database: Database, shape: Shape, columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """The columns, the ambiguous ones as their cells are."""
    ambiguous = [c for c in columns if kinds.is_open(c) and c.name != shape.alias]
    if not ambiguous:
        return columns
    return decided(columns, kinds.seen(database, ambiguous, kinds.ends_of(shape.name, shape.rowid)))


def decided(columns: tuple[Column, ...], cells: Mapping[str, Mapping[str, int]]) -> tuple[Column, ...]:
    """The columns, those whose cells were looked at as these are."""
    return tuple(replace(c, kind=kinds.by_evidence(c, cells[c.name])) if c.name in cells else c for c in columns)


def _columns(described: tuple[Described, ...], options: Options) -> tuple[Column, ...]:
    taken = set(_OURS)
    columns = []
    for one in described:
        name, declared = one.name, one.declared
        alias = base = _PATTERN.sub("_", _REFUSED_BY_SPARK.sub("_", name)) or "_"
        number = 2
        while alias.lower() in taken:
            alias, number = f"{base}_{number}", number + 1
        taken.add(alias.lower())
        affinity, read_as = kinds.affinity_of(declared), options.kind_of(name)
        kind = kinds.READ_AS[read_as] if read_as is not None else kinds.kind_of(declared, affinity)
        columns.append(Column(name, alias, declared, kind, affinity, read_as, options.form_of(name)))
    return tuple(columns)


def refuse_unknown_columns(table: Table, options: Options) -> None:
    """Whether the settings speak of columns that the table has.

    Raises:
        ConfigurationError: if not.
    """
    for key, names in {"columns": options.kinds, "times": options.forms}.items():
        for name in names:
            if table.column(name) is None:
                there = ", ".join(c.name for c in table.columns)
                fact = f"{key} names {name!r}, which is no column of table {table.name!r}; it has: {there}"
                raise ConfigurationError(fact, f"Check [{key}]")
