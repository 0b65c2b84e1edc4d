"""How far each device's taking is, as a small table that is written again after each round that changed something."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, write_deltalake

from edge_delta.gather.fleet import RETENTION
from edge_delta.gather.store import opened
from edge_delta.sinks import address as storage
from edge_delta.sinks.delta.creation import durable_properties
from edge_delta.sinks.delta.durable import disk_of
from edge_delta.sinks.delta.parquet import plain_arrow, writer_properties

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_delta.gather.rounds import Gathered

SUFFIX = "_gather"
"""It stands beside the fleet's other tables."""
_UTC = pl.Datetime("us", "UTC")
SCHEMA = pl.Schema(
    {
        "node_id": pl.String(),
        "mode": pl.String(),
        "state": pl.String(),
        "version": pl.Int64(),
        "last_commit_at": _UTC,
        "behind_seconds": pl.Float64(),
        "told": pl.String(),
        "checked_at": _UTC,
    }
)
"""``version`` and ``last_commit_at`` of the device's table are what was taken up to; ``behind_seconds`` is how old the
oldest commit was that was taken in this round, 0 if there was none."""
_AT_LEAST = timedelta(hours=1)
_QUIET = ("nothing new", "no table")


def as_frame(outcomes: Iterable[Gathered], now: datetime) -> pl.DataFrame:
    """A row for each table of each device that has one."""
    found = [
        (
            *(about.device, outcome.mode, about.state, about.version),
            datetime.fromtimestamp(about.last_commit / 1000, UTC) if about.last_commit else None,
            *(about.behind, "; ".join(about.told) or None, now),
        )
        for outcome in outcomes
        for about in outcome.devices.values()
        if about.state != "no table"
    ]
    return pl.DataFrame(found, schema=SCHEMA, orient="row")


def write(uri: str, options: Mapping[str, str], outcomes: Iterable[Gathered], now: datetime) -> DeltaTable | None:
    """Write it, unless nothing happened and it was written within the hour.

    Returns:
        The table as it is then; None if it was not written.

    Raises:
        EdgeDeltaError: if it cannot be written.
    """
    frame, disk = as_frame(outcomes, now), disk_of(uri)
    with storage.errors(uri, "gather"):
        table = opened(uri, options)
        if table is not None and frame.get_column("state").is_in(_QUIET).all():
            last = datetime.fromtimestamp(table.history(1)[0]["timestamp"] / 1000, UTC)
            if now - last < _AT_LEAST:
                return None
        write_deltalake(
            uri if table is None else table,
            plain_arrow(frame),
            mode="overwrite",
            configuration=durable_properties(SCHEMA, RETENTION) if table is None else None,
            storage_options=(dict(options) or None) if table is None else None,
            writer_properties=writer_properties(SCHEMA),
            commit_properties=CommitProperties(max_commit_retries=0),
            post_commithook_properties=PostCommitHookProperties(
                create_checkpoint=disk is None, cleanup_expired_logs=False
            ),
        )
        made = table or DeltaTable(uri, storage_options=dict(options) or None)
        if disk is not None:
            disk.committed(made.version())
            disk.checkpoint(made)
        return made
