"""The one place where concrete parts meet."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edge_delta import modes, storage
from edge_delta.engine import Engine, Pace
from edge_delta.errors import ConfigurationError
from edge_delta.lane import Lane, Step
from edge_delta.model import Cursor, Waiting
from edge_delta.retry import Outage, Persistence
from edge_delta.sink import DeltaSink, application_id
from edge_delta.source import Database, SQLiteSource
from edge_delta.state import StateDirectory
from edge_delta.telemetry import Event

if TYPE_CHECKING:
    from threading import Event as Flag

    import structlog

    from edge_delta.config import Settings


@dataclass(frozen=True, slots=True)
class Application:
    """The parts of one process, put together."""

    engine: Engine
    source: SQLiteSource
    lanes: list[Lane]
    node_id: str


def now() -> datetime:
    """The clock, UTC."""
    return datetime.now(UTC)


def sink_for(settings: Settings, suffix: str, node_id: str, source_table: str, part: str = "") -> DeltaSink:
    """The sink of one of this device's tables."""
    uri = storage.address(settings.table_path, node_id=node_id) + suffix
    place = settings.storage
    options = storage.options(
        uri,
        os.environ,
        endpoint_url=place.endpoint_url,
        region=place.region,
        virtual_hosted_style=place.virtual_hosted_style,
        request_timeout=place.request_timeout,
        connect_timeout=place.connect_timeout,
    )
    return DeltaSink(uri, options, application_id(node_id, source_table, part))


def run(settings: Settings, log: structlog.stdlib.BoundLogger, stop: Flag, *, new_node: bool = False) -> bool:
    """The main job: deliver once or until told to stop.

    Returns:
        Whether all that was there when it began (with ``once``) is delivered.

    Raises:
        EdgeDeltaError: if it cannot go on; transient errors only with ``once``, after ``retry_for`` seconds.
    """
    state = StateDirectory(settings.state_dir)
    with state.locked():
        starting = Persistence(Outage(log), stop, for_seconds=settings.retry_for if settings.once else None)
        application = starting.call(lambda: build(settings, state, log, new_node=new_node))
        if application is None:
            return False
        if settings.once:
            application.engine.once(stop)
        else:
            application.engine.run(stop)
        return not application.engine.behind


def build(
    settings: Settings, state: StateDirectory, log: structlog.stdlib.BoundLogger, *, new_node: bool = False
) -> Application:
    """Put the parts together for these settings.

    Args:
        settings: the settings.
        state: the state directory.
        log: where events go.
        new_node: make a new node id even if the target exists.

    Raises:
        EdgeDeltaError: if something that is needed is not there.
    """
    source = SQLiteSource(Database(settings.sqlite), settings.sqlite_table_name, settings.timestamp_col)
    if not source.keyed_by_rowid:
        log.warning(Event.NO_ROWID, table=source.table, order_by=source.timestamp.name if source.timestamp else None)
    name = settings.processing_mode
    suffix = modes.SUFFIXES[name]

    def target_exists() -> bool:
        # A folder per device cannot be asked for without knowing the device.
        if "{node_id}" in settings.table_path:
            return False
        return sink_for(settings, suffix, "unknown", source.table).exists()

    node_id = state.node_id(settings.node_id, new_node=new_node, target_exists=target_exists)
    lane = Lane(
        name,
        source=source,
        load_mode=lambda: modes.load(name, settings),
        sink=sink_for(settings, suffix, node_id, source.table),
        rejects=sink_for(settings, modes.REJECTED_SUFFIX, node_id, source.table, part=name),
        node_id=node_id,
        stop_on_reset=settings.on_source_reset == "stop",
        now=now,
        log=log,
    )
    _take_over(lane, source, state, log)
    listeners = [Mirror(state, settings, source, node_id, log).record]
    if sys.stderr.isatty():
        from edge_delta.progress import Bar  # noqa: PLC0415

        listeners.append(Bar().record)
    pace = Pace(settings.interval, settings.fuzz_factor, settings.max_batch_size, settings.retry_for)
    engine = Engine(source, [lane], pace, log=log, listeners=listeners)
    return Application(engine, source, [lane], node_id)


def _take_over(lane: Lane, source: SQLiteSource, state: StateDirectory, log: structlog.stdlib.BoundLogger) -> None:
    """Go on from an older tool's ``last_upload``, if that is all there is."""
    found = state.mirror()
    if "last_upload" not in found or "node_id" in found or lane.sink.committed() is not None:
        return
    text = str(found["last_upload"])
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"{state.path / 'last_upload.json'} says last_upload {text!r}, which is no ISO 8601 time",
            "Mend it to go on from there, or remove the file to deliver everything",
        ) from None
    if source.timestamp is None:
        raise ConfigurationError(
            f"{state.path / 'last_upload.json'} says when the last upload was, but table {source.table!r} has no time",
            "Name the column with --timestamp-field, or remove the file to deliver everything",
        )
    utc = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    last = source.waiting(Cursor()).last_rowid
    if last is not None:
        since = round(utc.timestamp() * 1_000_000)
        lane.start_from(Cursor(since=since, since_rowid=last))
        log.info(Event.TAKEN_OVER, last_upload=utc.isoformat(), up_to_id=last)


class Mirror:
    """`last_upload.json`: where it stands, for people and health checks."""

    def __init__(
        self,
        state: StateDirectory,
        settings: Settings,
        source: SQLiteSource,
        node_id: str,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self._state = state
        self._log = log
        self._complained = False
        before = state.mirror()
        self._content: dict[str, Any] = {
            "last_upload": before.get("last_upload"),
            "node_id": node_id,
            "source": str(settings.sqlite),
            "source_table": source.table,
            "tables": before.get("tables", {}),
        }

    def record(self, lane: Lane, step: Step, waiting: Waiting) -> None:
        """One batch was settled."""
        content = self._content
        if step.last_time is not None:
            newest = step.last_time.astimezone(UTC).isoformat()
            content["last_upload"] = max(newest, content["last_upload"] or newest)
        before = content["tables"].get(lane.name, {})
        content["tables"][lane.name] = {
            "table": lane.sink.uri,
            "version": step.commit.version if step.commit is not None else before.get("version"),
            "generation": step.cursor.generation,
            "last_id": step.cursor.rowid,
            "rows_waiting": waiting.rows,
            "rows_written": before.get("rows_written", 0) + step.written,
            "rows_rejected": before.get("rows_rejected", 0) + step.rejected,
            "committed_at": now().isoformat(),
        }
        try:
            self._state.write_mirror(content)
            self._complained = False
        except OSError as error:
            if not self._complained:
                self._log.warning(Event.STATE_NOT_WRITTEN, directory=str(self._state.path), error=error.strerror)
            self._complained = True
