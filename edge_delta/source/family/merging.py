"""Batches of several files as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from edge_delta.core.model import Batch
from edge_delta.source.read_options import ROWID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    import polars as pl

    from edge_delta.core.model import Cursor


def _polars() -> ModuleType:
    import polars as pl  # noqa: PLC0415 - there are rows, so it is loaded already

    return pl


def moved_by(batch: Batch, shift: int) -> Batch:
    """A file's batch with the family's ids; the file's own ids stay in their column if they have one."""
    pl = _polars()
    return Batch(
        batch.frame.with_columns(pl.col(ROWID) + shift),
        tuple(replace(r, rowid=r.rowid + shift) for r in batch.rejected),
        replace(batch.cursor, rowid=batch.cursor.rowid + shift),
        batch.first_rowid + shift,
        replace(batch.layout, id_column=None),
    )


def fit(parts: Sequence[Batch], one: Batch) -> bool:
    """Whether rows of another file have the same columns as those before them."""
    return parts[0].layout == one.layout and parts[0].frame.schema == one.frame.schema


def full(parts: Sequence[Batch], limit: int, most_bytes: int) -> bool:
    """Whether batches have as many rows or bytes as one may have."""
    rows = sum(part.rows for part in parts)
    return rows >= limit or sum(part.frame.estimated_size() for part in parts) >= most_bytes


def of(parts: Sequence[Batch], cursor: Cursor) -> Batch:
    """Batches that follow each other as one, which ends where the last one does."""
    last = parts[-1].cursor
    end = cursor.moved_to(last.rowid, last.witnesses)
    if len(parts) == 1:
        return replace(parts[0], cursor=end)
    frame = _polars().concat([part.frame for part in parts], rechunk=True)
    return Batch(frame, tuple(r for part in parts for r in part.rejected), end, parts[0].first_rowid, parts[0].layout)


def last_values(found: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Each sensor's last values, out of those of several files in their order."""
    pl = _polars()
    merged = pl.concat(found, how="diagonal_relaxed")
    names = [name for name in merged.columns if name != "sensor_id"]
    return merged.group_by("sensor_id", maintain_order=True).agg(pl.col(n).drop_nulls().last() for n in names)  # type: ignore[no-any-return]
