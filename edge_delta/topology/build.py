"""The one place where concrete parts meet."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edge_delta import modes
from edge_delta.core.errors import ConfigurationError, NodeUnknown
from edge_delta.core.events import Event, Log
from edge_delta.core.model import Cursor, Mark
from edge_delta.core.retry import Outage, Persistence
from edge_delta.delivery.engine import Engine, Pace
from edge_delta.delivery.lane import Lane
from edge_delta.delivery.prefetch import ReadAhead
from edge_delta.delivery.route import Device, Route, Tables
from edge_delta.device.observers import observed
from edge_delta.device.state import StateDirectory, kept_node_id
from edge_delta.modes.traits import TRAITS
from edge_delta.settings.sections import changed
from edge_delta.settings.watch import SettingsWatch
from edge_delta.sinks import address as storage
from edge_delta.sinks.delta.sink import COMMON_MARKS, DeltaSink, application_id
from edge_delta.source import Database, SQLiteSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from threading import Event as Flag

    from edge_delta.core.ports import Sink
    from edge_delta.delivery.lane import Writing
    from edge_delta.delivery.prepared import Prepared
    from edge_delta.device.observers import Observers
    from edge_delta.recovery.replay import Outcome
    from edge_delta.recovery.reset import Again, Target
    from edge_delta.recovery.verify import Report as Verified
    from edge_delta.settings.sections import Settings
    from edge_delta.sinks.delta.upkeep import Keeper, Report


@dataclass(frozen=True, slots=True)
class Parts:
    """What lanes are made of and what stays the same while the process runs."""

    source: SQLiteSource
    node_id: str
    log: Log
    wait: Callable[[float], bool] | None = None
    opened: Callable[[Sink], Sink] = lambda sink: sink
    reader: ReadAhead[Prepared] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reader", ReadAhead(self.source))


def now() -> datetime:
    """The clock, UTC."""
    return datetime.now(UTC)


def run(
    settings: Settings,
    log: Log,
    stop: Flag,
    *,
    flags: Mapping[str, Any] = MappingProxyType({}),
) -> bool:
    """The main job: deliver once or until told to stop.

    Args:
        settings: the settings.
        log: where events go.
        stop: ends it after the batch in flight.
        flags: what the command line said, for `--flush`, `--new-node` and for reading the settings again.

    Returns:
        Whether all that was there when it began (with ``once``) is delivered.

    Raises:
        EdgeDeltaError: if it cannot go on; transient errors only with ``once``, after ``retry_for`` seconds.
    """
    state = StateDirectory(settings.state_dir)
    with state.locked(), observed(settings, state, log) as observers:
        outage = Outage(log, observers)
        starting = Persistence(outage, stop, for_seconds=settings.retry_for if settings.once else None)
        engine = starting.call(lambda: build(settings, state, log, observers, flags=flags, wait=stop.wait))
        if engine is None:
            return False
        if settings.once:
            engine.once(stop, flush=bool(flags.get("flush")))
        else:
            engine.run(stop)
        return not engine.behind


def build(  # noqa: PLR0913 - the parts that the process has when it starts
    settings: Settings,
    state: StateDirectory,
    log: Log,
    observers: Observers,
    *,
    flags: Mapping[str, Any] = MappingProxyType({}),
    wait: Callable[[float], bool] | None = None,
) -> Engine:
    """Put the parts together for these settings.

    Args:
        settings: the settings.
        state: the state directory.
        log: where events go.
        observers: who hears of what it does.
        flags: what the command line said.
        wait: waits for so many seconds, and returns whether it was told to stop.

    Raises:
        EdgeDeltaError: if something that is needed is not there.
    """
    source = _source(settings)
    if not source.keyed_by_rowid:
        log.warning(Event.NO_ROWID, table=source.table, order_by=source.timestamp.name if source.timestamp else None)
    node_id = _node_id(settings, state, source, new_node=bool(flags.get("new_node")))
    parts = Parts(source, node_id, log, wait)
    lanes = lanes_of(settings, parts)
    for lane in lanes:
        _take_over(lane, source, state, log)
    observers.opened(source, node_id)
    watch = SettingsWatch(settings, flags, log, check=lambda wanted: lanes_of(wanted, parts))

    def reload(running: Sequence[Lane]) -> tuple[Sequence[Lane], Pace] | None:
        changed = watch.poll()
        if changed is None:
            return None
        before, after = changed
        lanes = switched(running, before, after, parts)
        observers.set_to(before, after)
        watch.taken_over()  # not before all of it is done: what fails for the moment is tried again
        return lanes, pace_of(after)

    pace = pace_of(settings)
    return Engine(parts.reader, lanes, pace, log=log, observer=observers, reload=reload)


def pace_of(settings: Settings) -> Pace:
    """When to work and how much at a time."""
    return Pace(settings.interval, settings.fuzz_factor, settings.max_batch_size, settings.retry_for)


def _source(settings: Settings) -> SQLiteSource:
    return SQLiteSource(Database(settings.sqlite), settings.sqlite_table_name, settings.timestamp_col)


def _parts(settings: Settings, state: StateDirectory, log: Log) -> Parts:
    """The parts of a command that works once beside the main job, for a device that is known."""
    source = _source(settings)
    return Parts(source, _node_id(settings, state, source, new_node=False), log)


def _node_id(settings: Settings, state: StateDirectory, source: SQLiteSource, *, new_node: bool) -> str:
    def target_exists() -> bool:
        # A folder per device cannot be asked for without knowing the device.
        if "{node_id}" in settings.table_path:
            return False
        suffixes = [TRAITS[name].suffix for name in settings.processing_mode]
        return any(sink_for(settings, suffix, "unknown", source.table).exists() for suffix in suffixes)

    return state.node_id(settings.node_id, new_node=new_node, target_exists=target_exists)


# -- lanes


def sink_for(  # noqa: PLR0913 - one argument a property of the table
    settings: Settings,
    suffix: str,
    node_id: str,
    source_table: str,
    *,
    part: str = "",
    append_only: bool = True,
    marks: Sequence[Mark] = COMMON_MARKS,
    notes: Mapping[str, str] | None = None,
    wait: Callable[[float], bool] | None = None,
) -> DeltaSink:
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
    app_id = application_id(node_id, source_table, part)
    return DeltaSink(
        uri,
        options,
        app_id,
        append_only=append_only,
        retention=_retention(settings, uri),
        marks=marks,
        notes=notes,
        wait=wait,
    )


def lanes_of(settings: Settings, parts: Parts) -> list[Lane]:
    """One lane for each mode in the settings.

    Raises:
        ConfigurationError: if a mode's settings cannot work with this source.
    """
    problems = [p for name in settings.processing_mode for p in _problems(settings, name, parts.source)]
    if problems:
        raise ConfigurationError("; ".join(problems), "Mend the settings")
    return [_lane(settings, name, parts) for name in settings.processing_mode]


def _problems(settings: Settings, name: str, source: SQLiteSource) -> list[str]:
    if TRAITS[name].fits_always:
        return []  # they have nothing that could not work, and an idle run must not import Polars
    return modes.load(name, settings).problems(source.layout)


def _lane(settings: Settings, name: str, parts: Parts) -> Lane:
    traits = TRAITS[name]
    table = parts.source.table
    sink = sink_for(
        settings,
        traits.suffix,
        parts.node_id,
        table,
        append_only=traits.append_only,
        marks=tuple(Mark) if traits.windowed else COMMON_MARKS,
        notes=_privacy_policy(settings, name),
        wait=parts.wait,
    )
    rejects = sink_for(
        settings,
        modes.REJECTED_SUFFIX,
        parts.node_id,
        table,
        part=name,
        append_only=False,
        marks=(),
        wait=parts.wait,
    )
    tables = Tables(parts.opened(sink), parts.opened(rejects), _keepers(settings, sink, rejects, parts.log))
    device = Device(parts.node_id, now, parts.log, settings.on_source_reset == "stop")
    route = Route(name, parts.source, lambda: modes.load(name, settings), tables, device)
    urgent = settings.emergency.min_pause if traits.urgent else None
    return Lane(route, parts.reader, partial(_writing, settings), urgent=urgent)


def _writing(settings: Settings, route: Route) -> Writing:
    """What writes the batches of a route; imported when there are some."""
    if route.traits.windowed:
        from edge_delta.delivery.windows import Windows  # noqa: PLC0415 - Polars

        return Windows(route, chunk=settings.max_batch_size)
    from edge_delta.delivery.rows import Rows  # noqa: PLC0415 - Polars

    return Rows(route)


def _keepers(settings: Settings, sink: DeltaSink, rejects: DeltaSink, log: Log) -> tuple[Keeper, Keeper] | None:
    own = settings.maintenance
    if not ("{node_id}" in settings.table_path if own.keeper is None else own.keeper):
        return None
    return keeper_of(settings, sink, log), keeper_of(settings, rejects, log)


def keeper_of(settings: Settings, sink: DeltaSink, log: Log) -> Keeper:
    """Who looks after a sink's table."""
    from edge_delta.sinks.delta.upkeep import Keeper, Plan  # noqa: PLC0415

    own = settings.maintenance
    kept = _retention(settings, sink.uri)
    plan = Plan(own.every_commits, own.hours, own.target_file_mb * 1_000_000, kept)
    return Keeper(sink.uri, sink.options, plan, now=now, log=log)


def _retention(settings: Settings, uri: str) -> timedelta:
    """How long a table's older versions can be read.

    In a folder each commit visits every file of the log, where a store lists only those behind the last version; three
    days are enough for a stream that stood still over a weekend.
    """
    days = settings.maintenance.retention_days
    if days is None:
        days = 3 if storage.is_folder(uri) else 7
    return timedelta(days=days)


def maintain(settings: Settings, log: Log, *, z_order: Sequence[str] = ()) -> dict[str, Report | None]:
    """Look after the tables of the chosen modes and the rejected one now; what was done, by table.

    Raises:
        EdgeDeltaError: if it cannot be done now.
    """
    state = StateDirectory(settings.state_dir)
    parts = _parts(settings, state, log)
    suffixes = [*(TRAITS[name].suffix for name in settings.processing_mode), modes.REJECTED_SUFFIX]
    sinks = [sink_for(settings, suffix, parts.node_id, parts.source.table) for suffix in suffixes]
    found = {}
    for sink in sinks:
        columns = z_order if not sink.uri.endswith(modes.REJECTED_SUFFIX) else ()
        found[sink.uri] = keeper_of(settings, sink, log).run(columns)
    return found


def _privacy_policy(settings: Settings, mode: str) -> dict[str, str]:
    if not settings.gps_fuzzing.enabled:
        return {}
    from edge_delta.modes.privacy import gps  # noqa: PLC0415

    found = gps.of(settings, mode)
    return found.fuzzing.policy() if found is not None else {}


def switched(running: Sequence[Lane], before: Settings, after: Settings, parts: Parts) -> list[Lane]:
    """The lanes of changed settings, going on from where the running ones stand.

    A mode that was there before keeps its own cursor. A new one goes on from the cursor of those that end (or that
    stay, if none ends), unless the settings say that it catches up from its own. Where they stand apart, the one that
    is behind counts; that of emergency, which holds no readings, only if it is alone.
    """
    lanes = lanes_of(after, parts)
    old = {lane.name: lane for lane in running}
    for lane in running:
        if lane.name not in after.processing_mode:
            lane.finish_source()
        lane.settle()
    ended = [lane for lane in running if lane.name not in after.processing_mode] or list(running)
    ended = [lane for lane in ended if not TRAITS[lane.name].selective] or ended
    behind = min((lane.cursor() for lane in ended), key=lambda c: (c.generation, c.rowid))
    for lane in lanes:
        if lane.name in old:
            lane.start_from(old[lane.name].cursor())
        elif after.on_mode_change == "continue":
            lane.adopt(behind)
    if before.processing_mode != after.processing_mode:
        _say_mode_changed(before, after, lanes, parts.log)
    return lanes


def _say_mode_changed(before: Settings, after: Settings, lanes: list[Lane], log: Log) -> None:
    old, new = ("+".join(s.processing_mode) for s in (before, after))
    detail = f"processing mode changed from {old!r} to {new!r}"
    routing = [f"routing to {lane.sink.uri}" for lane in lanes]
    log.info(Event.MODE_CHANGED, old=old, new=new, detail=detail, routing=routing)


def replay(settings: Settings, log: Log) -> dict[str, Outcome]:
    """Put rejected rows through their modes again; the outcome by mode.

    Raises:
        EdgeDeltaError: if it cannot be done now.
    """
    from edge_delta.recovery.replay import Replay  # noqa: PLC0415

    state = StateDirectory(settings.state_dir)
    plain = changed(settings, gps_fuzzing=changed(settings.gps_fuzzing, enabled=False))
    with state.locked():
        parts = _parts(settings, state, log)
        outcomes = {}
        for lane in lanes_of(settings, parts):
            if TRAITS[lane.name].replayable:
                mode, unfuzzed = (modes.load(lane.name, s) for s in (settings, plain))
                work = Replay(lane.name, parts.source, mode, unfuzzed, lane.sink, lane.rejects, parts.node_id, now)
                outcomes[lane.name] = work.run()
        return outcomes


def verify(settings: Settings, log: Log, *, ignore: Sequence[str] = ()) -> list[Verified]:
    """Compare the source with the tables of the chosen modes. Takes no lock and writes nothing.

    Args:
        settings: the settings.
        log: where events go.
        ignore: columns that are not compared.

    Raises:
        EdgeDeltaError: if it cannot be done now.
    """
    from edge_delta.recovery import verify  # noqa: PLC0415

    node_id = settings.node_id or kept_node_id(settings.state_dir)
    if node_id is None:
        raise NodeUnknown(f"{settings.state_dir} does not say which device this is", "Set NODE_ID to this device's id")
    source = _source(settings)
    names = frozenset(name.lower() for name in ignore)
    reports = []
    for lane in lanes_of(settings, Parts(source, node_id, log)):
        mode = modes.load(lane.name, settings)
        work = verify.Parts(lane.name, source, mode, lane.sink, lane.rejects, node_id, now, names)
        check = verify.WindowsCheck if TRAITS[lane.name].windowed else verify.RowsCheck
        reports.append(check(work).run())
    return reports


def reset(
    settings: Settings,
    log: Log,
    target: Target,
    *,
    agreed: Callable[[Sequence[Again]], bool],
) -> bool:
    """Go back with the tables of the chosen modes.

    Args:
        settings: the settings.
        log: where events go.
        target: where to go back to.
        agreed: is told what would be delivered again, and says whether to do it.

    Returns:
        Whether it was done.

    Raises:
        EdgeDeltaError: if it cannot be done now.
    """
    from edge_delta.recovery.reset import Rewind  # noqa: PLC0415

    state = StateDirectory(settings.state_dir)
    with state.locked():
        parts = _parts(settings, state, log)
        ways = [Rewind(parts.source, lane, target) for lane in lanes_of(settings, parts)]
        plans = {way: plan for way in ways if (plan := way.plan()) is not None}
        if not agreed(list(plans.values())):
            return False
        for way in plans:
            way.act()
    return True


# -- coming from another tool


def _take_over(lane: Lane, source: SQLiteSource, state: StateDirectory, log: Log) -> None:
    """Go on from an older tool's ``last_upload``, if that is all there is."""
    found = state.mirror()
    if not found.get("last_upload") or "node_id" in found or lane.sink.committed() is not None:
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
        lane.start_from(Cursor().marked(since=since, since_rowid=last))
        log.info(Event.TAKEN_OVER, last_upload=utc.isoformat(), up_to_id=last)
