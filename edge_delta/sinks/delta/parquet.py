"""Parquet settings for each type of column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import arro3.core as arrow
import polars as pl
from deltalake import ColumnProperties, WriterProperties

from edge_delta.core.memory import PLAIN

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_LIMIT = 64


def writer_properties(columns: Mapping[str, pl.DataType], group_rows: int = PLAIN.group_rows) -> WriterProperties:
    """Parquet settings: zstd, and for each type the encoding that pays.

    A dictionary of measurements costs half of the writing time and makes the file larger; integers and times shrink to
    a few bits as differences. BYTE_STREAM_SPLIT would shrink doubles too, but Spark's vectorised reader refuses it.
    Limits of measurements are kept by row group and not by page: they take a third of the writing time, and pages of
    readings in the order of time all have about the same.

    Args:
        columns: the table's columns.
        group_rows: rows that readers can leave out together by their statistics, and that are held in memory until
            they are written.
    """
    repeated = ColumnProperties(dictionary_enabled=True)
    differences = ColumnProperties(dictionary_enabled=False, encoding="DELTA_BINARY_PACKED")
    bulky = ColumnProperties(dictionary_enabled=False, statistics_enabled="NONE")
    chosen: dict[str, ColumnProperties] = {}
    for name, dtype in columns.items():
        if dtype in (pl.String, pl.Boolean):
            chosen[name] = repeated
        elif dtype == pl.Binary:
            chosen[name] = bulky
        elif dtype.is_integer() or dtype.is_temporal():
            chosen[name] = differences
    return WriterProperties(
        compression="ZSTD",
        compression_level=1,
        max_row_group_size=group_rows,
        default_column_properties=ColumnProperties(dictionary_enabled=False, statistics_enabled="CHUNK"),
        column_properties=chosen,
        # Without it, long texts go into minimum and maximum whole, and so into each commit and checkpoint; delta-rs's
        # default of 64 holds only where no properties are given.
        statistics_truncate_length=_LONGEST_LIMIT,
    )


def plain_arrow(frame: pl.DataFrame) -> arrow.Table:
    """A frame as Arrow without string views.

    The file keeps its Arrow schema, and Daft and pyarrow before 15 refuse files whose schema has views. It is what
    ``frame.to_arrow(compat_level=CompatLevel.oldest())`` gives, without importing pyarrow, which takes a quarter of a
    second; 45 ms for a million rows with two texts.
    """
    views = {arrow.DataType.string_view(): arrow.DataType.large_utf8()}
    views[arrow.DataType.binary_view()] = arrow.DataType.large_binary()
    table = arrow.Table.from_arrow(frame)
    columns = [
        column.cast(views[field.type]) if field.type in views else column
        for field, column in zip(map(table.schema.field, table.column_names), table.columns, strict=True)
    ]
    return arrow.Table.from_arrays(columns, names=table.column_names)
