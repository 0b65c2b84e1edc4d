"""What databases hold, as far as a settings file has to say it: tables, their columns, and what their times mean."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.core.errors import ConfigurationError, EdgeDeltaError
from edge_delta.core.reach import is_there, refuse_barred
from edge_delta.core.time_formats import PLAUSIBLE_SINCE, TimeForm, moment
from edge_delta.source.cells import sampled
from edge_delta.source.database import Database, quoted
from edge_delta.source.read_options import Options
from edge_delta.source.schema import find_table
from edge_delta.source.shape import kinds_of_tables

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from pathlib import Path

    from edge_delta.core.model import Cell
    from edge_delta.source.schema import Table

_MAGIC = b"SQLite format 3\x00"
_SAMPLED = 50
_TIMES = re.compile(r"(?i)date|time|(^|_)ts$|_at$|_on$|^start$|^created$|^last_(changed|updated)")
_NOT_THE_READINGS = re.compile(r"(?i)creat|insert|upload|sync|sent|updat|chang|modif|delet|expir|reset|last_seen")
_MEASURED = frozenset({"temperature", "humidity", "pressure", "vibration", "voltage"})
_OF_TOOLS = re.compile(
    r"(?i)^(alembic_version|android_metadata|schema_migrations|schema_changes|migration_changes|django_migrations|"
    r"_litestream_.*|_prisma_migrations|flyway_schema_history)$"
)
_OFFSET = re.compile(r"([zZ]|[+-]\d\d:?\d\d)$")


class Found(Struct, frozen=True):
    """A table that can be delivered.

    Attributes:
        name: the table.
        rows: how many it has, by the width of its ids where it has any.
        keyed: whether it has ids that grow; else it is read in the order of its times.
        columns: its columns, each with what it holds.
        mode: the mode that suits it.
        time: the column with the readings' time, if there is one.
        why: why it is that one, or why there is none.
        first: its first time, as it is understood.
        last: its last one.
        zoneless: whether times are texts that do not say where they were written.
        named: whether the settings have to name the column: somebody did, or by itself another one would be taken.
    """

    name: str
    rows: int
    keyed: bool
    columns: Sequence[str]
    mode: str
    time: str | None
    why: str
    first: datetime | None = None
    last: datetime | None = None
    zoneless: bool = False
    named: bool = False


class Seen(Struct, frozen=True):
    """A database.

    Attributes:
        path: the file.
        tables: those that can be delivered.
        left: the others, each with the reason.
    """

    path: Path
    tables: Sequence[Found]
    left: Sequence[tuple[str, str]]


def databases(place: Path) -> list[Path]:
    """The database at a path, or those in a folder.

    Raises:
        ConfigurationError: if there is none.
    """
    if not is_there(place):
        refuse_barred(place)
        raise ConfigurationError(f"there is nothing at {place}", "Name a SQLite file, or a folder with some")
    if not place.is_dir():
        if os.access(place, os.R_OK) and place.stat().st_size and not _is_database(place):
            raise ConfigurationError(f"{place} is not a SQLite database", "Name a SQLite file, or a folder with some")
        return [place]
    if not os.access(place, os.R_OK | os.X_OK):
        raise ConfigurationError(
            f"folder {place} cannot be read by user {os.geteuid()}",
            "Give that user permission to read and enter it, or run this as a user who may",
        )
    found = [path for path in sorted(place.iterdir()) if path.is_file() and _is_database(path)]
    if not found:
        raise ConfigurationError(f"no file in {place} is a SQLite database", "Name a SQLite file, or another folder")
    return found


def _is_database(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def look(path: Path, timestamp: str | None = None, zone: str = "UTC", named: Collection[str] = ()) -> Seen:
    """What a database holds. Reads some rows at both ends of each table.

    Args:
        path: the file.
        timestamp: the column with the time, where it was named.
        zone: where times without an offset were written.
        named: tables that were asked for by name, which a tool may keep for itself.

    Raises:
        EdgeDeltaError: if it cannot be read.
    """
    database, found, left = Database(path), list[Found](), list[tuple[str, str]]()
    wanted = {name.lower() for name in named}
    with contextlib.closing(database), database.snapshot():
        for name, kind in kinds_of_tables(database).items():
            if kind == "shadow":
                continue
            if _OF_TOOLS.match(name) and name.lower() not in wanted:
                left.append((name, "a tool keeps it for itself; add it under tables to deliver it, too"))
                continue
            if kind != "table":
                left.append((name, f"a {kind} is delivered only where it is named"))
                continue
            try:
                found.append(_table(database, name, timestamp, zone))
            except EdgeDeltaError as error:
                left.append((name, error.fact))
    return Seen(path, found, left)


def _table(database: Database, name: str, timestamp: str | None, zone: str) -> Found:
    form = Options(TimeForm(zone=zone))
    by_itself: Table | None = None
    refused: EdgeDeltaError | None = None
    try:
        by_itself = find_table(database, name, timestamp, form)
    except ConfigurationError as error:
        refused = error
    table, why = by_itself, by_itself.timestamp_reason if by_itself is not None else ""
    if timestamp is None and (table is None or not _tells(database, table)):
        better = _by_cells(database, name, form)
        if better is not None:
            table, why = better, "the cells of the first and the last rows are times"
    if table is None:
        raise refused or ConfigurationError(f"{name!r} cannot be read")
    chosen = table.timestamp.name if table.timestamp is not None else None
    own = by_itself.timestamp.name if by_itself is not None and by_itself.timestamp is not None else None
    times = _times(database, table)
    named = {column.name.lower() for column in table.columns}
    texts = [cell for cell in _cells(database, table) if isinstance(cell, str)]
    return Found(
        name=name,
        rows=_rows(database, table),
        keyed=table.key_is_rowid,
        columns=[f"{c.name} {c.kind.value}" for c in table.columns],
        mode="schematized" if chosen is not None and named & _MEASURED else "raw",
        time=chosen,
        why=why,
        first=min(times, default=None),
        last=max(times, default=None),
        zoneless=any(not _OFFSET.search(text.strip()) and moment(text) is not None for text in texts),
        named=chosen is not None and (timestamp is not None or chosen != own),
    )


def _rows(database: Database, table: Table) -> int:
    name, key = quoted(table.name), table.key
    if not table.key_is_rowid:
        return int(database.scalar(f"SELECT count(*) FROM {name}"))
    first, last = (database.scalar(f"SELECT {which}({key}) FROM {name}") for which in ("min", "max"))
    return 0 if first is None else int(last - first + 1)


def _cells(database: Database, table: Table) -> list[Cell]:
    return sampled(database, table, _SAMPLED)[table.timestamp.name] if table.timestamp is not None else []


def _times(database: Database, table: Table) -> list[datetime]:
    form = table.timestamp.time if table.timestamp is not None else TimeForm()
    return [time for cell in _cells(database, table) if (time := moment(cell, form)) is not None]


def _tells(database: Database, table: Table) -> bool:
    """Whether the column has times; that of a table without rows may."""
    cells = [cell for cell in _cells(database, table) if cell is not None]
    if table.timestamp is None:
        return False
    any_row = database.scalar(f"SELECT 1 FROM {quoted(table.name)} LIMIT 1") is not None
    return not any_row or bool(cells and _times(database, table))


def _by_cells(database: Database, name: str, form: Options) -> Table | None:
    """The table with the column whose name speaks of a time and whose cells are times; None if there is none."""
    described = database.rows(f"PRAGMA table_xinfo({quoted(name)})")
    names = [str(row[1]) for row in described if _TIMES.search(str(row[1])) and not row[5]]
    names.sort(key=lambda one: bool(_NOT_THE_READINGS.search(one)))
    for one in names:
        table = find_table(database, name, one, form)
        times = _times(database, table)
        if times and min(times) >= PLAUSIBLE_SINCE:
            return table
    return None
