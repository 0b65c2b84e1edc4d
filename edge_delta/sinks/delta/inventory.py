"""What a table's files come to: live ones, those that the retention keeps, and those that nobody needs."""

from __future__ import annotations

import os
import re
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from msgspec.structs import replace

from edge_delta.core.model import Inventory
from edge_delta.sinks import address as storage
from edge_delta.sinks.delta.durable import folder_of
from edge_delta.sinks.delta.heal import is_whole_parquet

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from deltalake import DeltaTable

_LOG = "_delta_log"
_NUMBERED = r"(\d{20})\.(?:json|crc|checkpoint(?:\.[\w-]+)*\.parquet)"
_CHECKPOINT = r"(\d{20})\.checkpoint\.parquet"


def inventory(table: DeltaTable, uri: str, retention: timedelta, now: datetime, *, listing: bool = True) -> Inventory:
    """Count a table's files.

    In a store, files that are not live are told without their bytes.

    Args:
        table: the table.
        uri: its address.
        retention: how long files that are no longer in the table stay.
        now: the clock, UTC.
        listing: whether all files are looked at, in a store by requests for a thousand each; else only live ones are.

    Raises:
        StorageUnavailable: if the table cannot be read now.
    """
    live = table.get_add_actions()
    sizes = live["size_bytes"].to_pylist()
    found = Inventory(len(sizes), sum(sizes), now.isoformat())
    if not listing:
        return found
    if storage.is_folder(uri):
        return _in_folder(folder_of(uri), {unquote(path) for path in live["path"].to_pylist()}, found, retention)
    with storage.errors(uri, "list"):
        hours = max(1, round(retention / timedelta(hours=1)))
        others = table.vacuum(retention_hours=0, dry_run=True, enforce_retention_duration=False, full=True)
        dead = table.vacuum(hours, dry_run=True, enforce_retention_duration=False, full=True)
    return replace(found, kept=len(others) - len(dead), dead=len(dead))


def _in_folder(root: Path, live: set[str], found: Inventory, retention: timedelta) -> Inventory:
    youngest_dead = time.time() - retention.total_seconds()
    counts: dict[str, Any] = dict.fromkeys(("kept", "kept_bytes", "dead", "dead_bytes", "log", "log_bytes"), 0)
    for folder, _, names in os.walk(root):
        in_log = os.path.basename(folder) == _LOG  # noqa: PTH119 - a path object for each folder of a large table
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118 - and for each file
            if not in_log and os.path.relpath(path, root) in live:
                continue
            try:
                status = os.stat(path)  # noqa: PTH116
            except FileNotFoundError:
                continue
            kind = "log" if in_log else "dead" if status.st_mtime < youngest_dead else "kept"
            counts[kind] += 1
            counts[f"{kind}_bytes"] += status.st_size
    return replace(found, **counts)


def trim_log(root: Path, version: int) -> int:
    """Delete what the log of a table in a folder has before the last whole checkpoint up to a version.

    Each commit visits every file of the folder, so a log that may grow to hundreds of thousands of files within the
    retention makes all commits slow. What goes are older versions only; the table is in the checkpoint.

    Args:
        root: the table's folder.
        version: what is older than the last checkpoint up to this version goes.

    Returns:
        How many files are gone.
    """
    names = os.listdir(root / _LOG)  # noqa: PTH208 - names are all that is needed
    checkpoints = {int(m[1]): name for name in names if (m := re.fullmatch(_CHECKPOINT, name)) and int(m[1]) <= version}
    whole = (v for v in sorted(checkpoints, reverse=True) if is_whole_parquet(root / _LOG / checkpoints[v]))
    first = next(whole, 0)
    # The oldest first: should this be cut off, the log has no gap.
    old = sorted(name for name in names if (m := re.fullmatch(_NUMBERED, name)) and int(m[1]) < first)
    for name in old:
        (root / _LOG / name).unlink(missing_ok=True)
    return len(old)
