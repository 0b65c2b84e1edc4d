"""The table of a family's files: which file's rows have which numbers in the other tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_UTC = pl.Datetime("us", "UTC")
_LONG = (
    "record stretch reading_id_after file_number id_after id_upto first_id last_id inode bytes modified_ns first_word"
)
_TIMES = ("first_time", "last_time")
SCHEMA = pl.Schema(
    {
        "node_id": pl.String(),
        "source": pl.String(),
        "source_table": pl.String(),
        "file": pl.String(),
        **{name: pl.Int64() for name in _LONG.split()},
        **{f"w{i}": pl.Int64() for i in range(5)},
        **dict.fromkeys(_TIMES, _UTC),
        "databricks_inserted_at": _UTC,
    }
)
"""A later ``record`` of a ``stretch`` takes the place of an earlier one. Rows of the file with ids behind ``id_after``
and up to ``id_upto`` (NULL while it may grow) have the ids behind ``reading_id_after`` in the other tables."""


def as_frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows of the table, whose times are microseconds since 1970, UTC, or None."""
    frame = pl.DataFrame(rows, schema={**SCHEMA, **dict.fromkeys(_TIMES, pl.Int64())})
    return frame.with_columns(pl.col(name).cast(_UTC) for name in _TIMES)
