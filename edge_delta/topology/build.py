"""The main job, put together."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edge_delta.core.errors import ConfigurationError
from edge_delta.core.events import Event, Log
from edge_delta.core.model import Cursor
from edge_delta.core.retry import Outage, Persistence
from edge_delta.delivery.engine import Engine
from edge_delta.delivery.prefetch import ReadAhead, Room
from edge_delta.delivery.settling import Settling
from edge_delta.delivery.sweep import Sweeping
from edge_delta.delivery.updating import Updating
from edge_delta.device.observers import beating, observed
from edge_delta.device.state import MIRROR, StateDirectory
from edge_delta.recovery.takeover import older_state, refuse_another_table, take_over
from edge_delta.topology.change import LiveSettings, pace_of, say_of_places
from edge_delta.topology.lanes import ALONE, Opening, Session, follow_files, lanes_of, open_source, updates_of
from edge_delta.topology.nodes import node_id_of
from edge_delta.topology.sources import alone

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from threading import Event as Flag

    from edge_delta.core.updates import Updates
    from edge_delta.delivery.lane import Lane
    from edge_delta.device.heartbeat import Heartbeat
    from edge_delta.device.mirror import Mirror
    from edge_delta.device.observers import Observers
    from edge_delta.settings.sections import Settings
    from edge_delta.source import SQLiteSource
    from edge_delta.topology.change import Wanted

_SHOWN = 500
"""Characters of a statement that the log shows."""


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
    if flags.get("flush") and not settings.once:
        raise ConfigurationError("--flush writes open windows and what settle holds in a single run", "Add --once")
    if settings.several:
        from edge_delta.topology import many  # noqa: PLC0415 - not where there is one source

        return many.run(settings, log, stop, flags=flags)
    own, state = alone(settings), StateDirectory(settings.state_dir)
    with state.locked(), beating(settings, state, log) as heartbeat:
        return _run_alone(own, state, log, stop, flags=flags, heartbeat=heartbeat)


def _run_alone(  # noqa: PLR0913 - the root of a process
    settings: Settings,
    state: StateDirectory,
    log: Log,
    stop: Flag,
    *,
    flags: Mapping[str, Any],
    heartbeat: Heartbeat | None,
) -> bool:
    with observed(settings, state, log) as observers:
        if heartbeat is not None:
            observers.add(heartbeat.of_source("", observers.mirror))
        outage = Outage(log, observers)
        starting = Persistence(outage, stop, for_seconds=settings.retry_for if settings.once else None)
        engine = starting.call(
            lambda: build(settings, _session(settings, state, log, flags, stop.wait), state, observers, flags)
        )
        if engine is None:
            return False
        if settings.once:
            engine.once(stop, flush=bool(flags.get("flush")))
        else:
            engine.run(stop)
        return not engine.behind


def _session(
    settings: Settings, state: StateDirectory, log: Log, flags: Mapping[str, Any], wait: Callable[[float], bool]
) -> Session:
    state.witness_key()
    source = opened(settings, log)
    _refuse_a_renamed_table(settings, state, source)
    node_id = node_id_of(settings, state, source.table, new_node=bool(flags.get("new_node")))
    session = Session(source, node_id, log, wait)
    session.reader = ReadAhead(source, Room(settings.budget.ahead))
    return session


def _refuse_a_renamed_table(settings: Settings, state: StateDirectory, source: SQLiteSource) -> None:
    """The database's only table may be the one that was delivered so far, under another name: all would come again."""
    before = state.mirror().get("source_table") if settings.sqlite_table_name is None else None
    if before and before.lower() != source.table.lower():
        raise ConfigurationError(
            f"table {before!r}, which was delivered so far, is not in {settings.sqlite}, where {source.table!r} is now",
            f"Rename it back, or say --table {source.table} if it is another one: then all of its rows are delivered",
        )


def opened(settings: Settings, log: Log, opening: Opening = ALONE) -> SQLiteSource:
    """The source, opened; the log has how it is read."""
    source = open_source(settings, opening)
    if log.verbose:
        source.traced(lambda sql: log.debug(Event.STATEMENT, sql=sql[:_SHOWN]))
    _say_how_it_is_read(source, log)
    return source


def _say_how_it_is_read(source: SQLiteSource, log: Log) -> None:
    """Which column holds the time, and what its first and last time mean: a wrong guess is seen at once."""
    stamp = source.timestamp
    if not source.keyed_by_rowid:
        ahead = source.passed(Cursor(rowid=0)).ahead
        log.warning(Event.NO_ROWID, table=source.table, order_by=stamp.name if stamp else None, ahead=ahead)
    first, last = source.span()
    log.info(
        Event.TIME_COLUMN,
        table=source.table,
        column=stamp.name if stamp else None,
        reason=source.timestamp_reason,
        format=stamp.time.format if stamp else None,
        zone=stamp.time.zone if stamp else None,
        first=first.isoformat() if first else None,
        last=last.isoformat() if last else None,
    )


def _say_what_becomes_of_updates(updates: Updates, lanes: Sequence[Lane], log: Log) -> None:
    log.info(
        Event.UPDATES,
        append=[lane.name for lane in lanes if lane.route.versioned],
        ignore=[lane.name for lane in lanes if not lane.route.versioned],
        window=updates.window,
        column=updates.column,
    )


def _lanes(
    settings: Settings, session: Session, state: StateDirectory, flags: Mapping[str, Any], seen: Mirror
) -> list[Lane]:
    """The lanes, where they go on from what an older tool or an earlier run left."""
    session.vitals = seen.vitals
    follow_files(settings, session)
    lanes, mirror = lanes_of(settings, session), state.mirror()
    for lane in lanes:
        lane.was_chosen = lane.name in mirror.get("modes", ())
        left = older_state(lane, mirror, state.path / MIRROR, settings.sqlite)
        take_over(lane, *left, session.log)
        said = {"new_node": bool(flags.get("new_node")), "once": settings.once}
        refuse_another_table(lane, left[0], state.path / MIRROR, **said)
    seen.follow(lanes)
    return lanes


def build(  # noqa: PLR0913 - the root of an engine: each of its parts is handed in from another place
    settings: Settings,
    session: Session,
    state: StateDirectory,
    observers: Observers,
    flags: Mapping[str, Any],
    *,
    wanted: Wanted | None = None,
) -> Engine:
    """Put the parts together for these settings.

    Args:
        settings: the settings.
        session: the opened source, and who this device is.
        state: the state directory.
        observers: who hears of what it does.
        flags: what was typed.
        wanted: where changed settings come from, for one of several sources.

    Raises:
        EdgeDeltaError: if something that is needed is not there.
    """
    lanes = _lanes(settings, session, state, flags, observers.mirror)
    say_of_places(settings, session, state)
    observers.opened(session.source, session.node_id)
    updating = None
    if (updates := updates_of(settings)) is not None:
        updating = Updating(updates, state.sweep, state.write_sweep)
        _say_what_becomes_of_updates(updates, lanes, session.log)
    sweeping = Sweeping(settings.sweep, state.sweep, state.write_sweep, updating)
    return Engine(
        session.reader,
        lanes,
        pace_of(settings),
        log=session.log,
        observer=observers,
        sweeping=sweeping,
        settling=Settling(settings.settle, state.sweep, state.write_sweep),
        reload=LiveSettings(settings, flags, session, observers, state, wanted=wanted).poll,
    )
