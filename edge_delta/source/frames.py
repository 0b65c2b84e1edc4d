"""Rows as a frame, and what is looked at in it; imported when there are some, because Polars is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from edge_delta.core import time_columns
from edge_delta.core.capsules import Exported
from edge_delta.core.model import Column, Kind
from edge_delta.core.plan import ROWID
from edge_delta.source.columns import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_delta.source.schema import Table

_BYTES_OF_A_VIEW = 16


def of_results(cells: Mapping[str, tuple[str, str]], results: Sequence[str | None]) -> pl.DataFrame | None:
    """What a statement of `edge_delta.source.columns` came to, None if a cell was not of its column's kind.

    Nothing is copied, and each column's memory is freed when Polars needs it no more.

    Args:
        cells: those of the statement.
        results: the values of its one row.
    """
    found = map(int, " ".join(filter(None, results)).split())
    columns = [pl.Series(Exported(schema, array)) for schema, array in zip(found, found, strict=True)]
    if None in results:  # what other calls came to had to be taken all the same: it is freed by that
        return None
    if not columns:  # there was no row
        of = {Kind.INTEGER: pl.Int64, Kind.REAL: pl.Float64, Kind.TEXT: pl.String, Kind.BOOLEAN: pl.Boolean}
        dtypes = {KINDS[kind]: dtype for kind, dtype in of.items()}
        return pl.DataFrame(schema={name: dtypes.get(kind, pl.Binary) for name, (kind, _) in cells.items()})
    return pl.DataFrame([column.alias(name) for name, column in zip(cells, columns, strict=True)])


def long_bytes(frame: pl.DataFrame) -> int:
    """The bytes of texts and blobs, less what their views take, which every row has."""
    long = [c for c in frame.get_columns() if c.dtype in (pl.String, pl.Binary)]
    return sum(int(c.estimated_size()) - _BYTES_OF_A_VIEW * len(c) for c in long)


def not_utf8(frame: pl.DataFrame, columns: tuple[Column, ...], key: str) -> set[int]:
    """The keys of rows that have a text which is none.

    Text that is not UTF-8 passes SQLite and Parquet, and then no reader can open the file.

    Args:
        frame: the rows, their texts as bytes.
        columns: the source's columns.
        key: the name of the key.
    """
    bad: set[int] = set()
    for column in columns:
        if column.kind not in (Kind.TEXT, Kind.TIMESTAMP):
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


def times_read(frame: pl.DataFrame, columns: tuple[Column, ...], key: str) -> tuple[pl.DataFrame, set[int]]:
    """The frame with the texts of times as times, and the keys of rows with a text that is none.

    Args:
        frame: the rows.
        columns: the source's columns.
        key: the name of the key.
    """
    named = [c for c in columns if c.kind is Kind.TIMESTAMP]
    if not named:
        return frame, set()
    bad: set[int] = set()
    for column in named:
        texts = frame[column.alias]
        if texts.dtype != time_columns.UTC:
            read = time_columns.parse(texts, column.time)
            bad.update(frame[key].filter(texts.is_not_null() & read.is_null()))
            frame = frame.with_columns(read.alias(column.alias))
    return frame, bad


def without(table: Table, frame: pl.DataFrame, bad: set[int]) -> pl.DataFrame:
    """The other rows, and texts as such again."""
    raw = [c.alias for c in table.columns if c.kind in (Kind.TEXT, Kind.TIMESTAMP)]
    texts = [pl.col(name).cast(pl.String) for name in raw if frame.schema[name] == pl.Binary]
    return frame.filter(~pl.col(ROWID).is_in(list(bad))).with_columns(texts)
