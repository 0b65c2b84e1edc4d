"""The commands that work beside the main job, put together; what each does is in its own module."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta import modes
from edge_delta.core.errors import NodeUnknown
from edge_delta.core.patterns import is_pattern
from edge_delta.device import steps
from edge_delta.device.settled import set_back
from edge_delta.device.state import StateDirectory, kept_node_id, read_mirror
from edge_delta.modes.privacy.policy import draw_of, policy_of
from edge_delta.modes.traits import TRAITS
from edge_delta.recovery import replay as replaying
from edge_delta.recovery import reset as resetting
from edge_delta.recovery import verify as verifying
from edge_delta.settings.declaration import changed
from edge_delta.topology.lanes import Session, follow_files, lanes_of, open_source
from edge_delta.topology.nodes import node_id_of
from edge_delta.topology.tables import UNKNOWN, DeviceTables

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_delta.core.events import Log
    from edge_delta.core.ports import Sink
    from edge_delta.delivery.lane import Lane
    from edge_delta.recovery.replay import Outcome
    from edge_delta.recovery.reset import Again, Destination
    from edge_delta.recovery.verify import Verification
    from edge_delta.settings.sections import Settings
    from edge_delta.sinks.delta.sink import DeltaSink
    from edge_delta.sinks.delta.upkeep import Report


def _session(
    settings: Settings, state: StateDirectory, log: Log, opened: Callable[[DeltaSink], Sink] = lambda sink: sink
) -> Session:
    """What a command works with, for a device that is known."""
    source = open_source(settings)
    session = Session(source, node_id_of(settings, state, source.table), log, opened=opened)
    follow_files(settings, session)
    return session


def maintain(
    settings: Settings, log: Log, *, z_order: Sequence[str] = (), upgrade: bool = False
) -> dict[str, Report | None]:
    """Look after the tables of the chosen modes and the rejected one now; what was done, by table.

    The database is not needed: it may be done on another machine.

    Args:
        settings: the settings.
        log: where events go.
        z_order: columns to order all rows by.
        upgrade: whether tables of earlier versions get the properties of new ones first.

    Raises:
        EdgeDeltaError: if it cannot be done now.
    """
    node_id = settings.node_id or kept_node_id(settings.state_dir)
    if node_id is None and "{node_id}" in settings.table_path:
        raise NodeUnknown(
            f"table_path has {{node_id}}, but {settings.state_dir} does not say which device this is",
            "Set NODE_ID to the device's id",
        )
    tables = DeviceTables(settings, node_id or UNKNOWN)
    columns = {TRAITS[mode].suffix: z_order for mode in settings.processing_mode} | {modes.REJECTED_SUFFIX: ()}
    if is_pattern(settings.sqlite):
        columns[modes.FILES_SUFFIX] = ()
    keepers = [(tables.keeper(tables.sink(suffix), log), order) for suffix, order in columns.items()]
    for keeper, _ in keepers if upgrade else ():
        keeper.upgrade()
    return {keeper.uri: keeper.run(order) for keeper, order in keepers}


def replay(settings: Settings, log: Log) -> dict[str, Outcome]:
    """Put rejected rows through their modes again; the outcome by mode.

    Raises:
        EdgeDeltaError: if it cannot be done now.
    """
    state = StateDirectory(settings.state_dir)
    with state.locked():
        session = _session(settings, state, log)
        draw = draw_of(policy_of(changed(settings, node_id=session.node_id))) if settings.gps_fuzzing.enabled else None
        lanes = [lane for lane in lanes_of(settings, session) if lane.route.traits.replayable]
        outcomes = {}
        for lane in lanes:
            found = outcomes[lane.name] = replaying.Replay(lane.route, draw).run()
            _say_replayed(state, lane, found)
        return outcomes


def _say_replayed(state: StateDirectory, lane: Lane, found: Outcome) -> None:
    """Let `status` and `health` know, which look at no table."""
    content = state.mirror()
    known = content.get("tables", {}).get(lane.name)
    if known is not None:
        version, now = lane.sink.version(), lane.route.device.now()
        content["tables"][lane.name] = steps.replayed(known, version, now, passed=found.passed, last=found.last)
        with contextlib.suppress(OSError):  # the rows are delivered, whatever is said of them
            state.write_mirror(content)


def verify(settings: Settings, log: Log, *, ignore: Sequence[str] = ()) -> list[Verification]:
    """Compare the source with the tables of the chosen modes. Takes no lock and writes nothing.

    Args:
        settings: the settings.
        log: where events go.
        ignore: columns that are not compared.

    Raises:
        EdgeDeltaError: if it cannot be done now.
    """
    node_id = settings.node_id or kept_node_id(settings.state_dir)
    if node_id is None:
        raise NodeUnknown(f"{settings.state_dir} does not say which device this is", "Set NODE_ID to this device's id")
    mirror = read_mirror(settings.state_dir)  # before the tables are opened, or a commit might come in between
    source = open_source(settings)
    tables = DeviceTables(settings, node_id, source.table)
    names = frozenset(name.lower() for name in ignore)

    def compared(lane: Lane) -> Verification:
        others = partial(_others, tables, lane.name)
        return verifying.check(lane.route, verifying.Elsewhere(mirror, others), names)

    session = Session(source, node_id, log, heals=False)
    follow_files(settings, session, writes=False)
    reports = [compared(lane) for lane in lanes_of(settings, session)]
    if (error := source.unreadable()) is not None:  # its rows are compared with nothing
        for report in reports:
            report.found("unreadable", 1, str(error))
    return reports


class Repaired(Struct, frozen=True):
    """What became of one mode's missing rows.

    Attributes:
        mode: the mode.
        rows: how many were delivered.
        refusal: why they were not; None if they were, or if none was missing.
    """

    mode: str
    rows: int
    refusal: str | None


def repair(settings: Settings, log: Log, *, ignore: Sequence[str] = ()) -> list[Repaired]:
    """Deliver the rows that a verification names as missing, each once, in commits of their own.

    Args:
        settings: the settings.
        log: where events go.
        ignore: columns that are not compared.

    Raises:
        EdgeDeltaError: if it cannot be done now, such as while another process delivers.
    """
    from edge_delta.recovery.verify.repair import NOTE, Repair  # noqa: PLC0415 - only where something is missing

    state = StateDirectory(settings.state_dir)
    with state.locked():
        reports = {report.mode: report for report in verify(settings, log, ignore=ignore)}
        session = _session(settings, state, log, opened=lambda sink: sink.annotated(NOTE))
        lanes = lanes_of(settings, session)
        repairs = [Repair(lane, reports[lane.name]) for lane in lanes]
        done = [Repaired(one.lane.name, one.run(settings.max_batch_size), one.refusal()) for one in repairs]
        if any(one.rows for one in done):  # else the next start would ask who wrote these commits
            state.decided({lane.name: lane.sink.version() for lane in lanes})
        return done


def _others(tables: DeviceTables, mode: str) -> list[Sink]:
    """The sinks of the other modes' tables."""
    return [tables.of_mode(other) for other in TRAITS if other != mode]


def reset(
    settings: Settings,
    log: Log,
    destination: Destination,
    *,
    agreed: Callable[[Sequence[Again]], bool],
) -> bool:
    """Go back with the tables of the chosen modes.

    Args:
        settings: the settings.
        log: where events go.
        destination: where to go back to.
        agreed: is told what would be delivered again, and says whether to do it.

    Returns:
        Whether it was done.

    Raises:
        EdgeDeltaError: if it cannot be done now.
    """
    state = StateDirectory(settings.state_dir)
    with state.locked():
        session = _session(settings, state, log)
        lanes, tables = lanes_of(settings, session), DeviceTables(settings, session.node_id, session.source.table)
        done = resetting.rewind(lanes, destination, agreed=agreed, superseded=tables.superseded)
        if done:  # also about what somebody did to the tables
            stands = {lane.name: cursor.settled for lane in lanes if (cursor := lane.sink.committed()) is not None}
            state.decided({lane.name: lane.sink.version() for lane in lanes})
            set_back(state, stands)
        return done
