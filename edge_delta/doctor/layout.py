"""Whether the way a table is laid out suits the devices that write it: told where it does not (docs/fleets.md)."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from edge_delta.core.errors import EdgeDeltaError
from edge_delta.device.state import read_mirror
from edge_delta.doctor.findings import Finding, warning
from edge_delta.sinks.objects import objects_at
from edge_delta.sinks.store_options import store_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_delta.delivery.lane import Lane
    from edge_delta.settings.sections import Settings

LIVE_FILES = 1_000
"""As many as a thousand devices leave in a table between two compactions."""
CHECKPOINT_BYTES = 2_000_000
"""A table that 100 devices share has more after a day, and costs each of them 17 times the bytes received and three
times the dollars of a table of its own (`make layouts`); one of 10 devices has less after a week."""
TRIES = 1.5
_SHARED = (
    "Give each device tables of its own, with {node_id} in table_path, and bring them together by edge-delta gather"
)
_OWN = "Run edge-delta maintain; set a longer interval or fewer maintenance.retention_days if it grows again"


def unsuited(lane: Lane, settings: Settings, live: int) -> Iterator[Finding]:
    """What does not suit.

    Args:
        lane: the table's lane.
        settings: the settings; ``table_path`` as it was set.
        live: files that the table's newest version has.
    """
    cure = _OWN if "{node_id}" in settings.table_path else _SHARED
    uri = lane.sink.uri
    if live > LIVE_FILES:
        yield warning(
            "table", f"{uri} has {live:,} live files, which every process that opens it holds in memory", cure
        )
    size = _checkpoint_bytes(uri, settings)
    if size > CHECKPOINT_BYTES:
        each = "each of its devices reads it at a start and at commits of others, and writes one in twenty commits"
        yield warning("table", f"{uri} has a checkpoint of {size / 1e6:,.1f} MB; {each}", cure)
    tries = read_mirror(settings.state_dir).get("tables", {}).get(lane.name, {}).get("tries_per_commit") or 1
    if tries > TRIES:
        fact = f"{lane.name}: a commit took {tries:.1f} rounds of tries lately, because others committed to {uri} first"
        yield warning("table", fact, cure if cure is _SHARED else "See which other process has this NODE_ID")


def _checkpoint_bytes(uri: str, settings: Settings) -> int:
    """Of the newest checkpoint; 0 where its size is not told."""
    try:
        content = objects_at(uri, store_options(uri, os.environ, settings.storage)).read("_delta_log/_last_checkpoint")
        said: Any = json.loads(content or b"{}")
    except (EdgeDeltaError, ValueError):  # other findings say so where it cannot be read
        return 0
    return int(said.get("sizeInBytes") or 0) if isinstance(said, dict) else 0
