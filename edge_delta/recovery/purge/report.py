"""What a purge came to, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, to_builtins

from edge_delta.core.model import BEFORE_FIRST

if TYPE_CHECKING:
    from collections.abc import Iterable


class Purged(Struct):
    """What became of one source table's rows.

    Attributes:
        table: the source table.
        settled_id: up to where rows could go.
        dry: whether nothing was deleted, and `rows` is how many would be.
        rows: how many were deleted.
        first_id: the first of them.
        last_id: the last one.
        not_delivered: rows old enough that no table has, which stay.
        not_delivered_ids: the first and the last of those.
        too_large: rows that were rejected unread, which stay: no table has what is in them.
        timeless: rows without a time that says something, which stay.
        changed: rows that were written while they were looked at, which stay.
        single_rows_gone: whether the modes deliver windows and alerts alone, so that a single row is in no table.
        longest_ms: the longest that the write lock was held, waiting for it not included.
        seconds: how long it took.
        free_bytes: what is free in the file and will be used again.
        returned_bytes: by how much the file became smaller.
        incremental: whether the database gives room back (``auto_vacuum = INCREMENTAL``).
    """

    table: str
    settled_id: int
    dry: bool = False
    rows: int = 0
    first_id: int | None = None
    last_id: int | None = None
    not_delivered: int = 0
    not_delivered_ids: tuple[int, int] | None = None
    too_large: int = 0
    timeless: int = 0
    changed: int = 0
    single_rows_gone: bool = False
    longest_ms: float = 0.0
    seconds: float = 0.0
    free_bytes: int = 0
    returned_bytes: int = 0
    incremental: bool = False

    @property
    def whole(self) -> bool:
        """Whether all rows went that were old enough."""
        return not self.not_delivered

    def stay(self, ids: Iterable[int]) -> None:
        """Rows are in no table."""
        listed = sorted(ids)
        if listed:
            first, last = self.not_delivered_ids or (listed[0], listed[-1])
            self.not_delivered += len(listed)
            self.not_delivered_ids = (min(first, listed[0]), max(last, listed[-1]))

    def as_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**to_builtins(self), "whole": self.whole}

    def lines(self) -> list[str]:
        """In words."""
        ids = f", ids {self.first_id:,} to {self.last_id:,}" if self.rows else ""
        found = [f"{self.table}: {self.rows:,} rows {'would be ' if self.dry else ''}deleted{ids}; {self._settled}"]
        if self.not_delivered and self.not_delivered_ids is not None:
            first, last = self.not_delivered_ids
            found.append(
                f"  NOT DELETED: {self.not_delivered:,} rows among ids {first:,} to {last:,} are in no table as they "
                "are. Rows that came below the cursor are delivered by the next sweep; `edge-delta verify` says more"
            )
        if self.too_large:
            found.append(f"  not deleted: {self.too_large:,} rows larger than max_row_bytes, which no table has")
        if self.timeless:
            found.append(f"  not deleted: {self.timeless:,} rows without a time; --upto-id deletes by id")
        if self.changed:
            found.append(f"  not deleted: {self.changed:,} rows that were updated just now")
        if self.rows and self.single_rows_gone:
            found.append("  windows and alerts alone are delivered: the single rows are in no table")
        return found if self.dry else [*found, *self._room()]

    @property
    def _settled(self) -> str:
        if self.settled_id == BEFORE_FIRST:
            return "none is settled: all are in open windows"
        return f"rows up to id {self.settled_id:,} are settled"

    def _room(self) -> list[str]:
        if self.incremental:
            return [f"  the file is {self.returned_bytes / 1e6:,.1f} MB smaller"]
        free = f"  {self.free_bytes / 1e6:,.1f} MB are free in the file, and new rows use them before it grows"
        return [f"{free}; it gives none back, because its auto_vacuum is not INCREMENTAL"]
