"""Going on from where an older tool stopped, by its ``last_upload``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edge_delta.core.errors import ConfigurationError, TableReplaced
from edge_delta.core.events import Event, Log
from edge_delta.core.model import Cursor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_delta.delivery.lane import Lane


_ELSEWHERE = (
    "last_upload_state.json",
    "s3-uploader/upload_state.json",
    "s3-uploader/last_upload_state.json",
    "upload_state.json",
)
"""Where the uploaders kept their state, below their state directory."""
_TIMES = ("last_upload", "last_timestamp", "last_upload_timestamp", "last_upload_time")


def older_state(lane: Lane, mirror: Mapping[str, Any], own: Path, database: Path) -> tuple[Mapping[str, Any], Path]:
    """What an older tool left behind, and in which file: our own if it wrote that, or if there is none.

    Args:
        lane: the lane that may continue from there; its table is asked only if there is such a file.
        mirror: what our own file says.
        own: our own file.
        database: the source's file; the uploaders' state may lie beside it.

    Raises:
        ConfigurationError: if there is such a file, and it cannot be told what it says.
    """
    if mirror.get("last_upload") or "node_id" in mirror:
        return mirror, own
    for folder in (own.parent, database.parent, database.parent / "state"):
        for file in (folder / name for name in _ELSEWHERE):
            if file.is_file() and lane.sink.committed() is None:
                return {"last_upload": _last_upload(file)}, file
    return mirror, own


def _last_upload(file: Path) -> str:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    value = next((found[key] for key in _TIMES if found.get(key)), None) if isinstance(found, dict) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC).isoformat()
    if not isinstance(value, str):
        raise ConfigurationError(
            f"{file} was left by an uploader, but does not say when the last upload was",
            'Write {"last_upload": "…"} with an ISO 8601 time into it to continue from there, or remove it',
        )
    return value


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
    if not ours or known.get("last_id") is None or lane.sink.committed() is not None or not lane.sink.files().live:
        return
    raise TableReplaced(
        f"rows up to id {known['last_id']} were delivered to table {lane.sink.uri}, which has no cursor of ours now",
        f"Put the old table back; or, to deliver all rows to this one again, delete this device's rows and then {file}",
    )
