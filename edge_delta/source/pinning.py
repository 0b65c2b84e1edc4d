"""SQL for cells in the types of their columns, and what tells a cell that is of another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_delta.core.model import Column, Kind
from edge_delta.source.database import quoted

if TYPE_CHECKING:
    import polars as pl

_CHECKS_PER_STATEMENT = 200


def portions(columns: tuple[Column, ...]) -> list[tuple[Column, ...]]:
    """The columns, as many at a time as SQLite takes in one expression."""
    starts = range(0, len(columns), _CHECKS_PER_STATEMENT)
    return [columns[start : start + _CHECKS_PER_STATEMENT] for start in starts]


def pinned(column: Column) -> str:
    """SQL for a cell in its column's type, or in another type where it does not fit."""
    name = quoted(column.name)
    if column.kind is Kind.TEXT and column.affinity != "TEXT":
        # A number in an untyped column: the shortest text that reads back as the same number.
        short = f"CAST({name} AS TEXT)"
        real = f"CASE WHEN CAST({short} AS REAL) = {name} THEN {short} ELSE printf('%!.17g', {name}) END"
        return f"CASE typeof({name}) WHEN 'integer' THEN CAST({name} AS TEXT) WHEN 'real' THEN {real} ELSE {name} END"
    if column.kind is Kind.REAL and column.affinity != "REAL":
        exact = f"CASE WHEN CAST(CAST({name} AS REAL) AS INTEGER) = {name} THEN CAST({name} AS REAL) ELSE 'inexact' END"
        return f"CASE typeof({name}) WHEN 'integer' THEN {exact} ELSE {name} END"
    return name


def fits(column: Column) -> str:
    """SQL that is true where a cell is of its column's kind. Text is checked for UTF-8 elsewhere."""
    name = quoted(column.name)
    if column.kind is Kind.TEXT:
        return f"typeof({name}) <> 'blob'"
    if column.kind is Kind.BOOLEAN:
        return f"({name} IS NULL OR (typeof({name}) = 'integer' AND {name} IN (0, 1)))"
    if column.kind is Kind.REAL:
        return (
            f"(typeof({name}) IN ('real', 'null') OR "
            f"(typeof({name}) = 'integer' AND CAST(CAST({name} AS REAL) AS INTEGER) = {name}))"
        )
    storage = "integer" if column.kind is Kind.INTEGER else "blob"
    return f"typeof({name}) IN ('{storage}', 'null')"


def not_utf8(frame: pl.DataFrame, columns: tuple[Column, ...], key: str) -> set[int]:
    """The keys of rows that have a text which is none.

    Text that is not UTF-8 passes SQLite and Parquet, and then no reader can open the file.

    Args:
        frame: the rows, their texts as bytes.
        columns: the source's columns.
        key: the name of the key.
    """
    import polars as pl  # noqa: PLC0415

    bad: set[int] = set()
    for column in columns:
        if column.kind is not Kind.TEXT:
            continue
        raw = frame[column.alias]
        try:
            raw.cast(pl.String)
        except pl.exceptions.ComputeError:
            bad.update(rowid for rowid, cell in zip(frame[key], raw, strict=True) if not _is_utf8(cell))
    return bad


def _is_utf8(cell: Any) -> bool:
    try:
        return cell is None or bool(cell.decode() is not None)
    except UnicodeDecodeError:
        return False
