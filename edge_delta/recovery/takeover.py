"""Going on from where an older tool stopped, by its ``last_upload``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edge_delta.core.errors import ConfigurationError, TableReplaced
from edge_delta.core.events import Event, Log
from edge_delta.core.model import Cursor
from edge_delta.core.questions import COUNT, Question, mine

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
_LOOKED_AT, _LOOKED_AT_ONCE = 200, 20
"""Commits of others since the last start that are looked at for a RESTORE."""
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


def refuse_another_table(lane: Lane, mirror: Mapping[str, Any], file: Path, *, new_node: bool, once: bool) -> None:
    """Stop where the table is not as it was left: to go on could repeat rows, or leave some out for ever.

    Its cursor is gone after a copy of the table took its place, or after Spark dropped our ``txn`` actions, which it
    does where ``delta.setTransactionRetentionDuration`` is set; to begin at the first row would deliver all of them
    again. RESTORE takes rows back and leaves the cursor.

    Args:
        lane: the lane.
        mirror: what the state directory's file says.
        file: the file.
        new_node: whether it was said that the device never delivered before.
        once: whether it is a single run, one of many: then fewer commits of others are looked at, each a request.

    Raises:
        TableReplaced: if so.
    """
    known = mirror.get("tables", {}).get(lane.name, {})
    here = (lane.sink.uri, lane.route.source.table, lane.route.device.node_id)
    ours = (known.get("table"), mirror.get("source_table"), mirror.get("node_id")) == here
    if ours and known.get("last_id") is not None:
        _refuse_what_changed(lane, known, file, _LOOKED_AT_ONCE if once else _LOOKED_AT)
    elif not mirror.get("tables") and not new_node:
        _refuse_rows_of_an_unknown_past(lane)


def _refuse_what_changed(lane: Lane, known: Mapping[str, Any], file: Path, most: int) -> None:
    sink = lane.sink
    if sink.committed() is not None:
        version = sink.restored(known["version"], most) if known.get("version") is not None else None
        if version is None:
            return
        raise TableReplaced(
            f"an earlier version of table {sink.uri} was restored (version {version}) after rows up to id "
            f"{known['last_id']} were delivered: it takes rows back, and not the cursor",
            "Run edge-delta verify to see which are missing, then edge-delta reset --to-id with the first of them",
        )
    # An alert table of several devices need not have a row of each of them, nor its cursor after a power cut.
    if sink.files().live and (known.get("version") is not None or known.get("committed_id") is not None):
        raise TableReplaced(
            f"rows up to id {known['last_id']} were delivered to table {sink.uri}, which has no cursor of ours now",
            "Put the old table back; or, to deliver all rows to this one again, delete this device's rows and then "
            f"{file}",
        )


def _refuse_rows_of_an_unknown_past(lane: Lane) -> None:
    """Without a state directory only the rows can tell that this device delivered before."""
    sink, node_id = lane.sink, lane.route.device.node_id
    if sink.committed() is not None or not sink.exists() or "node_id" not in sink.columns():
        return
    [(rows,)] = sink.ask(Question(mine(node_id), totals={"n": COUNT})).rows()
    if rows:
        raise TableReplaced(
            f"table {sink.uri} has {rows:,} rows of node {node_id}, but no cursor that says up to where they go",
            "Put the table back that has it; or delete those rows to deliver all of them again; or start with "
            "--new-node if they came from another source",
        )
