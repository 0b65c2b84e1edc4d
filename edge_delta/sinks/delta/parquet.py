"""Parquet settings for each type of column."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deltalake import ColumnProperties, WriterProperties

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

_ROWS_PER_GROUP = 262_144
"""Rows that readers can leave out together by their statistics, and that a compaction has to hold in memory."""


def writer_properties(columns: Mapping[str, pl.DataType]) -> WriterProperties:
    """Parquet settings: zstd, and for each type the encoding that pays.

    A dictionary of measurements costs half of the writing time and makes the file larger; integers and times shrink to
    a few bits as differences. BYTE_STREAM_SPLIT would shrink doubles too, but Spark's vectorised reader refuses it.
    Limits of measurements are kept by row group and not by page: they take a third of the writing time, and pages of
    readings in the order of time all have about the same.
    """
    import polars as pl  # noqa: PLC0415 - upkeep and commits only

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
        max_row_group_size=_ROWS_PER_GROUP,
        default_column_properties=ColumnProperties(dictionary_enabled=False, statistics_enabled="CHUNK"),
        column_properties=chosen,
    )
