"""Going on from where an older tool stopped, by its ``last_upload``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edge_delta.core.errors import ConfigurationError, TableReplaced
from edge_delta.core.events import Event, Log
from edge_delta.core.model import Cursor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_delta.delivery.lane import Lane


def take_over(lane: Lane, mirror: Mapping[str, Any], file: Path, log: Log) -> None:
    """Go on from an older tool's ``last_upload``, if that is all there is.

    Args:
        lane: the lane that may go on from there.
        mirror: what the state directory's file says.
        file: the file.
        log: where it is said.

    Raises:
        ConfigurationError: if it cannot be told which rows came after it.
    """
    if not mirror.get("last_upload") or "node_id" in mirror or lane.sink.committed() is not None:
        return
    text = str(mirror["last_upload"])
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"{file} says last_upload {text!r}, which is no ISO 8601 time",
            "Correct it to continue from there, or remove the file to deliver everything",
        ) from None
    source = lane.route.source
    if source.timestamp is None:
        raise ConfigurationError(
            f"{file} says when the last upload was, but table {source.table!r} has no time",
            "Name the column with --timestamp-field, or remove the file to deliver everything",
        )
    utc = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    last = source.waiting(Cursor()).last_rowid
    if last is not None:
        since = round(utc.timestamp() * 1_000_000)
        lane.start_from(Cursor().marked(since=since, since_rowid=last))
        log.info(Event.TAKEN_OVER, last_upload=utc.isoformat(), up_to_id=last)


def refuse_without_cursor(lane: Lane, mirror: Mapping[str, Any], file: Path) -> None:
    """Stop where the table has rows and no cursor of ours, though we delivered to it.

    So it is after a copy of the table took its place, or after Spark dropped our ``txn`` actions, which it does where
    ``delta.setTransactionRetentionDuration`` is set. To begin at the first row would deliver all of them again.

    Args:
        lane: the lane.
        mirror: what the state directory's file says.
        file: the file.

    Raises:
        TableReplaced: if so.
    """
    known = mirror.get("tables", {}).get(lane.name, {})
    here = (lane.sink.uri, lane.route.source.table, lane.route.device.node_id)
    ours = (known.get("table"), mirror.get("source_table"), mirror.get("node_id")) == here
    if not ours or known.get("last_id") is None or lane.sink.committed() is not None or not lane.sink.files()[0]:
        return
    raise TableReplaced(
        f"rows up to id {known['last_id']} were delivered to table {lane.sink.uri}, which has no cursor of ours now",
        f"Put the old table back; or, to deliver all rows to this one again, delete this device's rows and then {file}",
    )
