"""Lanes: each source table with each mode, as the settings say."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta import modes
from edge_delta.core.errors import ConfigurationError
from edge_delta.core.patterns import is_pattern
from edge_delta.core.time_formats import TimeForm
from edge_delta.core.updates import VERSION, Updates
from edge_delta.delivery.identity import Lanes
from edge_delta.delivery.lane import Lane
from edge_delta.delivery.prefetch import ReadAhead
from edge_delta.delivery.route import Device, Route, Tables
from edge_delta.device.state import kept_witness_key
from edge_delta.modes.names import leaving, same_renames, unread
from edge_delta.modes.traits import TRAITS
from edge_delta.settings.declaration import changed
from edge_delta.source import Database, SQLiteSource, time_order
from edge_delta.source.database import BUSY_TIMEOUT_MS
from edge_delta.source.read_options import Options
from edge_delta.source.witness import Witnessing
from edge_delta.topology.auditing import CURE, Audit
from edge_delta.topology.tables import DeviceTables, now

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_delta.core.events import Log
    from edge_delta.core.ports import Sink
    from edge_delta.delivery.prepared import Prepared
    from edge_delta.delivery.writing import Writing
    from edge_delta.device.vitals import Vitals
    from edge_delta.settings.sections import Settings
    from edge_delta.sinks.delta.sink import DeltaSink
    from edge_delta.source.connections import Connections


class Session:
    """What lanes are made of and what stays the same while the process runs.

    Args:
        source: the opened source.
        node_id: this device.
        log: where events go.
        wait: waits for so many seconds, and returns whether it was told to stop.
        opened: what is done with each sink before a lane gets it.
        heals: whether what a power cut left of a table is set aside, which writes.

    Attributes:
        reader: reads the source for all lanes.
        lanes: all of them.
        vitals: what commits say of the device; None where nothing is.
    """

    def __init__(  # noqa: PLR0913 - the root of a process: each of its parts is handed in from another place
        self,
        source: SQLiteSource,
        node_id: str,
        log: Log,
        wait: Callable[[float], bool] | None = None,
        *,
        opened: Callable[[DeltaSink], Sink] = lambda sink: sink,
        heals: bool = True,
    ) -> None:
        self.source = source
        self.node_id = node_id
        self.log = log
        self.wait = wait
        self.opened = opened
        self.heals = heals
        self.reader: ReadAhead[Prepared] = ReadAhead(source)
        self.lanes = Lanes()
        self.left_to_say: Callable[[], None] | None = None
        self.audit: Audit | None = None
        self.vitals: Vitals | None = None

    def before_places(self) -> None:
        """Before displaced places are committed: see that they are all, and say once what is left to be said of them.

        Raises:
            ConfigurationError: if rows that came since the start may tell a place.
        """
        if self.audit is not None:
            self.audit.before_commit()
        left, self.left_to_say = self.left_to_say, None
        if left is not None:
            left()


class Opening(Struct, frozen=True):
    """How databases are opened.

    Attributes:
        busy_ms: how long to wait for a lock.
        connections: those of all sources of the process, where several read one file.
    """

    busy_ms: int = BUSY_TIMEOUT_MS
    connections: Connections | None = None


ALONE = Opening()
_BUSY_MS_OF_SEVERAL = 1_000
"""How long one of several files waits for a lock, while the others wait for it."""


def open_source(settings: Settings, opening: Opening = ALONE) -> SQLiteSource:
    """The source of these settings: a file, or files that rotate."""
    busy_ms = opening.busy_ms if not is_pattern(settings.sqlite) else min(opening.busy_ms, _BUSY_MS_OF_SEVERAL)

    def one_file(path: Path, options: Options | None = None) -> SQLiteSource:
        database = Database(path, busy_timeout_ms=busy_ms, shared=opening.connections)
        return SQLiteSource(database, settings.sqlite_table_name, settings.timestamp_col, options or reading(settings))

    if is_pattern(settings.sqlite):
        from edge_delta.source.family import FamilySource  # noqa: PLC0415 - not where there is one file

        source: SQLiteSource = FamilySource(settings.sqlite, one_file)
    else:
        source = one_file(settings.sqlite)
    source.tell_by(witnessing(settings))
    return source


def follow_files(settings: Settings, session: Session, *, writes: bool = True) -> None:
    """Let the source of files that rotate go on with what the target knows of them; nothing for a single file.

    Args:
        settings: the settings of one table.
        session: with the opened source, and who this device is.
        writes: whether new files are written down; else they are only looked at.
    """
    if is_pattern(settings.sqlite):
        from edge_delta.topology.families import follow  # noqa: PLC0415 - not where there is one file

        follow(settings, session, writes=writes)


def reading(settings: Settings) -> Options:
    """How the settings say that a table is read."""
    form = TimeForm(settings.timestamp_format, settings.source_time_zone)
    forms = {name: TimeForm(own.format or form.format, own.zone or form.zone) for name, own in settings.times.items()}
    budget = settings.budget
    return Options(
        form, forms, settings.columns, budget.row_bytes, partial(unread, settings), batch_bytes=budget.batch_bytes
    )


def witnessing(settings: Settings) -> Witnessing:
    """By what a source is told again: a key, and the columns that leave the device in the table of every mode."""
    secret = settings.witness_key
    key = kept_witness_key(settings.state_dir) if secret is None else secret.reveal().encode()
    return Witnessing(
        key,
        lambda layout: frozenset.intersection(*(leaving(settings, mode, layout) for mode in settings.processing_mode)),
    )


def lanes_of(settings: Settings, session: Session) -> list[Lane]:
    """One lane for each mode in the settings; from now on they are the source's lanes.

    Raises:
        ConfigurationError: if a mode's settings cannot work with this source.
    """
    lanes = tried(settings, session)
    session.audit = Audit(settings, session.source)
    session.source.tell_by(witnessing(settings), reading(settings))
    session.reader.renew()
    session.lanes.are(lanes)
    return lanes


def tried(settings: Settings, session: Session) -> list[Lane]:
    """The lanes that settings would come to.

    Raises:
        ConfigurationError: if a mode's settings cannot work with this source.
    """
    problems = [p for mode in settings.processing_mode for p in _problems(settings, mode, session.source)]
    problems += same_renames(session.source.layout, settings.schematize.rename)
    problems += Audit(settings, session.source).problems()
    problems += _of_updates(settings, session.source)
    if problems:
        raise ConfigurationError("; ".join(problems), CURE)
    return [_lane(settings, mode, session) for mode in settings.processing_mode]


def _problems(settings: Settings, mode: str, source: SQLiteSource) -> list[str]:
    if TRAITS[mode].fits_always:
        return []  # an idle run must not import Polars
    return modes.load(mode, settings).problems(source.layout)


def _of_updates(settings: Settings, source: SQLiteSource) -> list[str]:
    """What speaks against delivering new states of updated rows."""
    if settings.on_update != "append":
        return []
    if is_pattern(settings.sqlite):
        return ["on_update = 'append' is for a single file, and sqlite is a pattern for files that rotate"]
    wrong = []
    if not any(TRAITS[mode].replayable for mode in settings.processing_mode):
        wrong.append("on_update = 'append' is for raw, schematized and sanitized, none of which is a mode here")
    if not source.keyed_by_rowid or source.layout.id_column is None:
        wrong.append(
            f"on_update = 'append' needs a table with an INTEGER PRIMARY KEY: {source.table!r} has none, "
            "so its ids may change"
        )
    if source.layout.named(VERSION) is not None:
        wrong.append(f"on_update = 'append' makes a column {VERSION}, and {source.table!r} has one of that name")
    column = source.layout.named(settings.updated_column) if settings.updated_column is not None else None
    if settings.updated_column is not None and column is None:
        wrong.append(f"updated_column: table {source.table!r} has no column {settings.updated_column!r}")
    if column is not None and column.unread:
        wrong.append(f"updated_column: {column.name} does not leave the device, so nothing may depend on it")
    refusal = time_order.refusal(column) if column is not None else None
    return [*wrong, refusal] if refusal is not None else wrong


def updates_of(settings: Settings) -> Updates | None:
    """How updated rows are found whose new states are delivered; None where they are not."""
    if settings.on_update != "append":
        return None
    return Updates(settings.window, settings.updated_column, settings.gps_fuzzing.enabled)


def _lane(settings: Settings, mode: str, session: Session) -> Lane:
    healed = session.log if session.heals else None
    tables = DeviceTables(settings, session.node_id, session.source.table, session.wait, healed, session.before_places)
    sink, rejects = tables.of_mode(mode), tables.rejected(mode)
    if session.vitals is not None:
        sink.saying(session.vitals.of_mode(mode))
        rejects.saying(session.vitals.of_rejected(mode))
    ends = Tables(
        session.opened(sink),
        session.opened(rejects),
        tables.keepers(sink, rejects, session.log),
        lambda: session.opened(tables.superseded(mode)),
    )
    stops = settings.on_source_reset == "stop"
    device = Device(session.node_id, now, session.log, stops, updates_of(settings))
    route = Route(
        mode, session.source, partial(modes.load, mode, changed(settings, node_id=session.node_id)), ends, device
    )
    urgent = settings.emergency.min_pause if TRAITS[mode].urgent else None
    return Lane(route, session.reader, partial(_writing, settings), urgent=urgent, lanes=session.lanes)


def _writing(settings: Settings, route: Route) -> Writing:
    """What writes the batches of a route; imported when there are some."""
    from edge_delta.topology import writers  # noqa: PLC0415 - Polars

    return writers.of(settings, route)
