"""Which files are joined, so that upkeep writes what is new and not the whole table each time.

Joining all small files again and again would write a file of 60 MB anew for each megabyte that comes. So a file is
joined with smaller ones only if it is not much larger than all of them together, as in a log-structured merge tree
(O'Neil et al., Acta Informatica 33, 1996): a row is written again a number of times that grows with the logarithm of
the table, and as many small files stay.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import arro3.core as arrow

from edge_delta.core.memory import PLAIN
from edge_delta.sinks.delta.lease import after_commits
from edge_delta.sinks.delta.parquet import writer_properties
from edge_delta.sinks.delta.types import to_polars

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from deltalake import DeltaTable

    from edge_delta.sinks.delta.durable import Disk

_ALWAYS = 128_000
"""Bytes up to which a file is joined whatever the others are."""
_TIMES = 2
"""How many times as large as all smaller ones a file may be that is joined with them."""
_FEWEST = 2
ORDERED = "edge-delta/z-order/"
"""With the columns behind it: the time of the newest file that was ordered by them, milliseconds."""
Files = dict[tuple[str | None, ...], list[tuple[int, int]]]
"""Size and time of each live file, by partition."""


def joinable(sizes: Iterable[int], target: int) -> int | None:
    """Up to which size files are to be joined.

    Args:
        sizes: bytes of each live file of one partition.
        target: bytes that a file may grow to.

    Returns:
        That size, which is what they come to together unless that is more than the target; None if it is not worth it.
    """
    total = count = 0
    for size in sorted(sizes):
        much_larger = size > max(_ALWAYS, _TIMES * total)
        if size >= target // 2 or (much_larger and count >= _FEWEST):
            break
        # A small one by itself does not keep larger ones from being joined with each other.
        total, count = total + size, 1 if much_larger else count + 1
    return min(total, target) if count >= _FEWEST else None


def live_files(table: DeltaTable) -> Files:
    """The table's files, by partition."""
    found = arrow.Table.from_arrow(table.get_add_actions(flatten=True))
    parts = [f"partition.{name}" for name in table.metadata().partition_columns]
    values = zip(*(found.column(name).to_pylist() for name in parts), strict=True) if parts else None
    sizes = found.column("size_bytes").to_pylist()
    times = found.column("modification_time").to_pylist()
    files: Files = {}
    for at, (size, time) in enumerate(zip(sizes, times, strict=True)):
        key = next(values) if values is not None else ()
        files.setdefault(tuple(None if v is None else str(v) for v in key), []).append((size, _number(time, at)))
    return files


def _number(time: Any, _at: int) -> int:
    return int(time) if isinstance(time, int) else round(time.timestamp() * 1000)


def size_to_join(files: Files, target: int) -> int | None:
    """`joinable` for the partition that needs most; joining is done in all of them up to that size."""
    sizes = [size for part in files.values() if (size := joinable((s for s, _ in part), target)) is not None]
    return max(sizes, default=None)


class Compaction:
    """Joins and orders the files of one table.

    Args:
        target: bytes that files grow to.
        disk: puts what is written on the disk, for a table in a folder.
        group_rows: rows that are held in memory until they are written.
    """

    def __init__(self, target: int, disk: Disk | None, group_rows: int = PLAIN.group_rows) -> None:
        self._target = target
        self._group_rows = group_rows
        self._disk = disk

    def join(self, table: DeltaTable, size: int) -> int:
        """Join the files up to a size; bytes of files that were written again."""
        # One task at a time: a small device has no memory for more.
        return _bytes(
            table.optimize.compact(
                target_size=size,
                max_concurrent_tasks=1,
                writer_properties=writer_properties(_columns(table), self._group_rows),
                post_commithook_properties=after_commits(self._disk),
            )
        )

    def order(self, table: DeltaTable, columns: Sequence[str], partitions: Sequence[tuple[str | None, ...]]) -> int:
        """Order the rows of some partitions by columns, all of them if the table has none; bytes written again."""
        names = table.metadata().partition_columns
        written = 0
        for values in partitions if names else [()]:
            written += _bytes(
                table.optimize.z_order(
                    list(columns),
                    partition_filters=[(n, "=", v or "") for n, v in zip(names, values, strict=True)] or None,
                    target_size=self._target,
                    max_concurrent_tasks=1,
                    writer_properties=writer_properties(_columns(table), self._group_rows),
                    post_commithook_properties=after_commits(self._disk),
                )
            )
        return written


def unordered(table: DeltaTable, files: Files, columns: Sequence[str]) -> list[tuple[str | None, ...]]:
    """The partitions that have files which are not ordered by the columns yet."""
    ordered = table.transaction_version(ORDERED + ",".join(columns))
    return [key for key, part in files.items() if ordered is None or max(time for _, time in part) > ordered]


def newest(files: Files) -> int:
    """The time of the newest file, milliseconds."""
    return max((time for part in files.values() for _, time in part), default=0)


def _columns(table: DeltaTable) -> dict[str, Any]:
    return {name: dtype for name, dtype in to_polars(table.schema()).items() if dtype is not None}


def _bytes(metrics: dict[str, Any]) -> int:
    said = metrics["filesRemoved"]
    return int((json.loads(said) if isinstance(said, str) else said)["totalSize"])
