"""The rows of an extent as a frame, as fast as SQLite visits them, with every cell accounted for.

Each column's kind is pinned by its declaration. When a cell is of another one, the rows are read again with the misfits
told apart by ``typeof()``, in the same transaction.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from msgspec.structs import replace

from edge_delta.core.errors import SourceUnavailable
from edge_delta.core.model import Column, Kind, Rejection
from edge_delta.source import cells
from edge_delta.source.columns import KINDS, TEXT_AS_BYTES
from edge_delta.source.extents import weight_of
from edge_delta.source.kinds import is_open, seen
from edge_delta.source.pinning import fits, pinned, portions
from edge_delta.source.read_options import ROWID
from edge_delta.source.refusals import TooLong
from edge_delta.source.schema import decided

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    import polars as pl

    from edge_delta.source.database import Database
    from edge_delta.source.extents import Extent
    from edge_delta.source.schema import Table


def _frames() -> ModuleType:
    from edge_delta.source import frames  # noqa: PLC0415 - Polars, and not before there are rows

    return frames


def read(
    database: Database, table: Table, extent: Extent, max_row_bytes: int
) -> tuple[Table, pl.DataFrame, tuple[Rejection, ...]]:
    """All rows of an extent, in the transaction that is open.

    Args:
        database: the file, with `Options.longest_cell` as its limit.
        table: the table.
        extent: the rows.
        max_row_bytes: a larger row is rejected; those that SQLite would not load are not loaded.

    Returns:
        The table with its columns as their cells are, the rows that fit, and the others.

    Raises:
        SourceUnavailable: if it cannot be read now.
    """
    frame: pl.DataFrame | None = None
    rejected: tuple[Rejection, ...] = ()
    with contextlib.suppress(TooLong):
        table, frame, rejected = _read(database, table, extent)
    if frame is not None and _frames().long_bytes(frame) <= max_row_bytes:
        return table, frame, rejected
    giants = dict(database.rows(_giants(table, extent, max_row_bytes)))
    if giants:
        table, frame, rejected = _read(database, table, extent.without(table.key, giants))
        rejected += cells.too_large(database, table, giants, max_row_bytes)
    if frame is None:
        raise SourceUnavailable(f"{database.path}: table {table.name!r} has a row that cannot be read or measured")
    return table, frame, tuple(sorted(rejected, key=lambda r: r.rowid))


def _giants(table: Table, extent: Extent, most: int) -> str:
    """SQL for the keys and bytes of rows that are too large; octet_length() reads no overflow page."""
    return f"SELECT k, n FROM (SELECT {table.key} AS k, {weight_of(table)} AS n FROM {extent.source}) WHERE n > {most}"


def _read(database: Database, table: Table, extent: Extent) -> tuple[Table, pl.DataFrame, tuple[Rejection, ...]]:
    """All rows of an extent, none of which is too large."""
    frame = _fast(database, table, extent)
    if frame is None:
        learned = _learned(database, table, extent)
        if learned != table:
            table, frame = learned, _fast(database, learned, extent)
    if frame is not None:
        return table, frame, ()
    whole = {
        c: (
            TEXT_AS_BYTES if c.kind in (Kind.TEXT, Kind.TIMESTAMP) else KINDS[c.kind],
            f"CASE WHEN {fits(c)} THEN {pinned(c)} END",
        )
        for c in table.columns
    }
    frame = _select(database, table, extent, whole)
    if frame is None:
        raise SourceUnavailable(f"{database.path}: table {table.name!r} cannot be read as it is declared")
    bad = _misfits(database, table, extent) | _frames().not_utf8(frame, table.columns, ROWID)
    frame, timeless = _frames().times_read(_frames().without(table, frame, bad), table.columns, ROWID)
    found = cells.read_rows(database, table, sorted(bad | timeless))
    rejected = tuple(cells.rejection(table, rowid, row) for rowid, row in found)
    return table, _frames().without(table, frame, timeless), rejected


def _fast(database: Database, table: Table, extent: Extent) -> pl.DataFrame | None:
    """The rows of an extent, None if not every cell of theirs fits."""
    frame = _select(database, table, extent, {c: (KINDS[c.kind], pinned(c)) for c in table.columns})
    if frame is None:
        return None
    frame, timeless = _frames().times_read(frame, table.columns, ROWID)
    return None if timeless else frame


def _learned(database: Database, table: Table, extent: Extent) -> Table:
    """The table, with ambiguous columns as the cells of this extent are."""
    ambiguous = [c for c in table.columns if is_open(c) and c != table.id_column]
    if not ambiguous:
        return table
    columns = decided(table.columns, seen(database, ambiguous, [extent.source]))
    stamp = table.timestamp and next(c for c in columns if c.name == table.timestamp.name)
    return replace(table, columns=columns, timestamp=stamp)


def _select(
    database: Database, table: Table, extent: Extent, asked: Mapping[Column, tuple[str, str]]
) -> pl.DataFrame | None:
    """The rows in their order, None if a cell is not of its column's kind."""
    own = table.id_column  # the key under another name comes once
    columns = {ROWID: (KINDS[Kind.INTEGER], table.key)}
    columns |= {column.alias: cell for column, cell in asked.items() if column != own}
    frame = database.frame(columns, extent.source, rows=extent.rows)
    if frame is None:
        return None
    if not frame[ROWID].is_sorted():
        frame = frame.sort(ROWID, maintain_order=True)
    return frame if own is None else frame.with_columns(frame[ROWID].alias(own.alias))


def _misfits(database: Database, table: Table, extent: Extent) -> set[int]:
    """The keys of the batch's rows that have a cell which does not fit."""
    bad: set[int] = set()
    for part in portions(table.columns):
        all_fit = " AND ".join(fits(c) for c in part)
        inner = f"SELECT {table.key} AS k, ({all_fit}) AS ok FROM {extent.source}"
        bad.update(k for (k,) in database.rows(f"SELECT k FROM ({inner}) WHERE NOT ok"))
    return bad
