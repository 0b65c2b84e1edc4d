"""From settings with several sources to the tables that are read, each with settings of its own."""

from __future__ import annotations

import contextlib
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from edge_delta.core.errors import ConfigurationError, EdgeDeltaError, SourceDamaged, SourceUnavailable
from edge_delta.core.patterns import is_pattern
from edge_delta.core.reach import is_there, refuse_barred
from edge_delta.device.state import directory_of, kept_tables, read_mirror
from edge_delta.settings.declaration import changed
from edge_delta.topology.one_table import OneTable, apart, filled, names_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from edge_delta.settings.sections import Settings
    from edge_delta.source import Database

_PATTERN = r"[*?\[]"
_OF_OTHERS = ("_litestream_*", "android_metadata")
"""Tables that tools keep for themselves in other programs' databases; SQLite's own are never listed."""
BUSY_MS = 250
"""How long one of several sources waits for a lock, while the others wait for it."""


class LeftOut(Struct, frozen=True):
    """A table that a pattern means and that cannot be read in order.

    Attributes:
        key: what it would be called.
        reason: why.
    """

    key: str
    reason: str


class Choice(Struct, frozen=True):
    """Which of several sources a command is about; all where nothing is said.

    Attributes:
        files: database files.
        tables: names of tables.
        labels: what sources are called.
    """

    files: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, flags: Mapping[str, Any]) -> Choice:
        """What the command line says."""
        tables = flags.get("sqlite_table_name") or ()
        files = [str(flags["sqlite"])] if flags.get("sqlite") else []
        return cls(
            tuple(files), (tables,) if isinstance(tables, str) else tuple(tables), tuple(flags.get("source") or ())
        )

    def takes(self, one: OneTable) -> bool:
        """Whether it is about this one."""
        table = one.table.lower()
        named = not self.tables or any(table == name.lower() for name in self.tables)
        return named and self.means(one.label, one.settings.sqlite)

    def means(self, label: str, file: Path) -> bool:
        """Whether it may be about tables of a source."""
        return (not self.labels or label in self.labels) and (
            not self.files or any(file.absolute().match(name) or str(file) == name for name in self.files)
        )


def entries_of(settings: Settings) -> tuple[Settings, ...]:
    """The sources as they stand in the settings."""
    return settings.sources or (settings,)


def tables_of(entry: Settings, *, left_out: Callable[[LeftOut], None] = lambda _left: None) -> list[OneTable]:
    """The tables of one entry of the settings. Where they are named, the file need not be there.

    Args:
        entry: the entry.
        left_out: is told of tables that a pattern means and that cannot be read.

    Raises:
        SourceUnavailable: if the file has to be looked at, and cannot be.
        ConfigurationError: if there is no such table.
    """
    wanted = entry.tables or ((entry.sqlite_table_name,) if entry.sqlite_table_name else ())
    if not wanted or any(re.search(_PATTERN, name) for name in wanted):
        names = list(_found(entry, wanted, left_out))
    else:
        names = list(dict.fromkeys(wanted))
    return [one_table(entry, name) for name in names]


def _found(entry: Settings, wanted: Sequence[str], left_out: Callable[[LeftOut], None]) -> Iterator[str]:
    """The names of the tables that are meant, as the file has them."""
    from edge_delta.source.schema import find_table  # noqa: PLC0415 - not where each table is named
    from edge_delta.source.shape import kinds_of_tables  # noqa: PLC0415 - as above

    refuse_missing(entry.sqlite)
    with contextlib.closing(_looked_at(entry.sqlite)) as database:
        there = kinds_of_tables(database)
        if not wanted:
            yield find_table(database).name
            return
        plain = {name for name, kind in there.items() if kind == "table" and not _matches(name, _OF_OTHERS)}
        by_name = {name.lower(): name for name in there}
        # What a table is called is no pattern, whatever is in it.
        patterns = [name for name in wanted if re.search(_PATTERN, name) and name.lower() not in by_name]
        exact = [by_name.get(name.lower(), name) for name in wanted if name not in patterns]
        yield from exact
        for name in sorted(plain - set(exact)):
            if not _matches(name, patterns):
                continue
            try:
                find_table(database, name)
            except ConfigurationError as error:
                left_out(LeftOut(f"{entry.label}/{name}", error.fact))
                continue
            except SourceDamaged:
                pass  # it says so by itself, and hides no other table of the file
            yield name


def refuse_missing(file: Path) -> None:
    """Whether one of several databases is there: it may come yet, and the others need not wait for it.

    Raises:
        SourceUnavailable: if it is not.
        ConfigurationError: if this user may not look.
    """
    if not is_there(file) and not is_pattern(file):
        refuse_barred(file)
        raise SourceUnavailable(f"there is no database at {file}", "Check sqlite, or wait for who makes it")


def _looked_at(file: Path) -> Database:
    """The file, or of files that rotate the last one by its name that can be read.

    Raises:
        EdgeDeltaError: if it cannot be read now, or there is none yet.
    """
    from edge_delta.source import Database  # noqa: PLC0415 - not where each table is named

    def opened(path: Path) -> Database:
        database = Database(path, busy_timeout_ms=BUSY_MS)
        try:
            database.scalar("PRAGMA schema_version")
        except EdgeDeltaError:
            database.close()
            raise
        return database

    if not is_pattern(file):
        return opened(file)
    from edge_delta.source.family import newest  # noqa: PLC0415 - not where there is one file

    return newest(file, opened)


def by_pattern(entry: Settings) -> bool:
    """Whether the file has to be looked at to tell which tables are meant."""
    return any(re.search(_PATTERN, name) for name in entry.tables) or not (entry.tables or entry.sqlite_table_name)


def finder_of(entry: Settings) -> str:
    """What the search for an entry's tables is called: a file may have several, such as `plant/temp_*`."""
    return _sought(entry, None).key


def _sought(entry: Settings, error: EdgeDeltaError | None) -> OneTable:
    """What stands for the tables of an entry while it cannot be told which they are."""
    return OneTable(entry.label, ",".join(entry.tables) or "?", entry, error)


def schema_of(entry: Settings) -> int | None:
    """A number that is another one after each change of the file's schema; None where it is not there.

    Raises:
        EdgeDeltaError: if it cannot be read.
    """
    if not is_there(entry.sqlite) and not is_pattern(entry.sqlite):
        return None
    with contextlib.closing(_looked_at(entry.sqlite)) as database:
        return int(database.scalar("PRAGMA schema_version"))


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)


def one_table(entry: Settings, table: str) -> OneTable:
    """One table of an entry, with settings of its own."""
    own = changed(
        entry,
        sources=(),
        tables=(),
        sqlite_table_name=table,
        table_path=filled(entry.table_path, entry.label, table),
        state_dir=directory_of(entry.state_dir, entry.label, table),
    )
    return OneTable(entry.label, table, own)


def alone(settings: Settings) -> Settings:
    """The settings of a single source with its table in ``table_path``, where that asks for it.

    Raises:
        EdgeDeltaError: if the table is not named, and the file cannot be looked at.
    """
    if not names_tables(settings.table_path):
        return settings
    table = settings.sqlite_table_name or next(_found(settings, (), lambda _left: None))
    return changed(one_table(settings, table).settings, state_dir=settings.state_dir)


def each(settings: Settings, flags: Mapping[str, Any], *, here: bool = True) -> list[OneTable]:
    """The tables that a command is about, each as if it were alone; of a single source that one, without a label.

    Args:
        settings: the settings of the process.
        flags: what the command line says.
        here: whether the databases are on this machine; if not, what the state directory knows of is taken.

    Raises:
        EdgeDeltaError: if it cannot be told which they are.
    """
    if not settings.several:
        known = None if here else read_mirror(settings.state_dir).get("source_table")
        named = settings.sqlite_table_name or known
        whole = settings if named is None else changed(settings, sqlite_table_name=named)
        return [OneTable("", "", alone(whole) if here or named else settings)]
    found, unknown = all_tables(settings, choice := Choice.of(flags))
    for one in found if not here else ():
        one.refuse_trouble()
    for entry, error in unknown:
        kept = [one_table(entry, table) for table in kept_tables(entry.state_dir, entry.label)]
        if here:
            found.append(_sought(entry, error))
        elif not kept:
            raise error
        else:
            found += [one for one in kept if choice.takes(one)]
    return found


def all_tables(
    settings: Settings, choice: Choice | None = None, *, left_out: Callable[[LeftOut], None] = lambda _left: None
) -> tuple[list[OneTable], list[tuple[Settings, EdgeDeltaError]]]:
    """All tables of all sources that a command is about.

    Args:
        settings: the settings of the process.
        choice: which are meant.
        left_out: see `tables_of`.

    Returns:
        The tables, and the entries whose tables cannot be told now, with the reason.

    Raises:
        ConfigurationError: if rows of two would be mixed, or if none is meant.
    """
    every: list[OneTable] = []
    searched: list[OneTable] = []
    unknown: list[tuple[Settings, EdgeDeltaError]] = []
    for entry in entries_of(settings):
        try:
            every += (own := tables_of(entry, left_out=left_out))
            searched += own if by_pattern(entry) else []
        except EdgeDeltaError as error:
            if choice is None or choice.means(entry.label, entry.sqlite):
                unknown.append((entry, error))
    found = apart(every, searched)
    chosen = [one for one in found if choice is None or choice.takes(one)]
    if found and not chosen and not unknown:
        there = ", ".join(one.key for one in found)
        raise ConfigurationError(f"no source is meant by --sqlite, --table and --source; there are: {there}")
    return chosen, unknown
