"""`edge-delta check`: before the first start, and when something is wrong. Each finding says what to do.

Tables and the state directory are only read; what is tried on the store is in `edge_delta.doctor.probe`.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from edge_delta.core.errors import REPORT, ConfigurationError, EdgeDeltaError, SourceReset, failure
from edge_delta.core.model import Cursor, Mark
from edge_delta.core.patterns import is_pattern
from edge_delta.core.places import tells_by_name
from edge_delta.core.reach import is_there, not_permitted
from edge_delta.core.time_formats import ODD_CURE, doubtful
from edge_delta.delivery.identity import Identity, Lanes
from edge_delta.device.addressed import refuse_unreadable
from edge_delta.device.health import Verdict, duration, examine, now
from edge_delta.device.state import is_held, kept_node_id, read_mirror
from edge_delta.doctor import privacy
from edge_delta.doctor.findings import Finding, Level, failed, ok, warning
from edge_delta.doctor.layout import unsuited
from edge_delta.doctor.probe import probed
from edge_delta.doctor.rehearsal import Stage
from edge_delta.modes.names import idle_renames
from edge_delta.modes.traits import TRAITS
from edge_delta.topology.one_table import names_tables
from edge_delta.topology.sources import Choice, all_tables, each, entries_of
from edge_delta.topology.tables import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edge_delta.delivery.lane import Lane
    from edge_delta.settings.sections import Settings
    from edge_delta.source import SQLiteSource
    from edge_delta.topology.one_table import OneTable

_NO_TIME = "Set timestamp_col, or --timestamp-field, to the column that holds it"
_SAMPLE = 5
_SMALL_FILES, _SMALL_BYTES = 200, 8_000_000
_DEAD_FILES = 100


def check_privacy(load: Callable[[], Settings], flags: Mapping[str, Any] = MappingProxyType({})) -> Iterator[Finding]:
    """What becomes of the columns, and what is published already."""
    try:
        ones = each(load(), flags)
    except EdgeDeltaError as error:
        yield failed("settings", error)
        return
    for one in ones:
        yield from _named(one, _privacy(one))


def _privacy(one: OneTable) -> Iterator[Finding]:
    settings = one.settings
    try:
        one.refuse_trouble()
        stage = Stage(settings)
    except EdgeDeltaError as error:
        yield failed("settings", error)
        return
    if not stage.settings.gps_fuzzing.enabled:
        yield warning(
            "privacy", "gps_fuzzing is off: places leave as they are", "Set gps_fuzzing.enabled if they must not"
        )
    yield from _guarded("privacy", privacy.columns, stage)
    yield from _guarded("privacy", privacy.published, stage)


def _named(one: OneTable, findings: Iterator[Finding]) -> Iterator[Finding]:
    """Findings with the name of their source, where there are several."""
    for found in findings:
        yield replace(found, fact=f"{one.key}: {found.fact}") if one.label else found


def check(load: Callable[[], Settings], flags: Mapping[str, Any] = MappingProxyType({})) -> Iterator[Finding]:
    """Everything that can be found out, in the order in which a start would need it."""
    try:
        settings = load()
    except EdgeDeltaError as error:
        yield failed("settings", error)
        return
    modes = dict.fromkeys(mode for entry in entries_of(settings) for mode in entry.processing_mode)
    yield ok("settings", f"complete; mode {', '.join(modes)}, a cycle every {settings.interval:g} s")
    yield from _guarded("state", _state, settings)
    ones, unknown = _sources(settings, flags)
    for one in ones:
        yield from _named(one, _guarded("state", _running, one.settings))
    yield from (failed("database", reason) for reason in unknown)
    for one in ones:
        if one.trouble is not None:
            yield from _named(one, iter([failed("database", one.trouble)]))
    ones = [one for one in ones if one.trouble is None]
    if not ones and names_tables(settings.table_path):
        return  # where the tables would be is not known either
    stored = [*_guarded("storage", probed, ones[0].settings if ones else settings)]
    yield from stored
    reached = all(found.level is not Level.FAILED for found in stored)
    for one in ones:
        yield from _named(one, _one(one.settings, reached=reached))


def _sources(settings: Settings, flags: Mapping[str, Any]) -> tuple[list[OneTable], list[EdgeDeltaError]]:
    """The tables, and why others cannot be told."""
    try:
        if not settings.several:
            return each(settings, flags), []
        found, unknown = all_tables(settings, Choice.of(flags))
    except EdgeDeltaError as error:
        return [], [error]
    return found, [error for _, error in unknown]


def _one(settings: Settings, *, reached: bool) -> Iterator[Finding]:
    """What can be found out of one table.

    Args:
        settings: its settings.
        reached: whether the storage answers.
    """
    try:
        stage = Stage(settings)
        yield from _guarded("privacy", privacy.columns, stage)
        lanes = stage.lanes()
    except EdgeDeltaError as error:
        yield failed("database", error)
        return
    yield from _guarded("database", _database, stage)
    if not reached:
        yield warning("table", "not checked, because the storage failed", "Fix that first, then check again")
        return
    for lane in lanes:
        yield from _guarded("table", _table, stage, lane)


def _guarded(area: str, part: Callable[..., Iterator[Finding]], *arguments: object) -> Iterator[Finding]:
    try:
        yield from part(*arguments)
    except EdgeDeltaError as error:
        yield failed(area, error)
    except PermissionError as error:
        yield failed(area, not_permitted(error))
    except Exception as error:  # noqa: BLE001 - what is wrong with one part must not hide what is with the others
        yield failed(area, EdgeDeltaError(f"could not be checked: {failure(error)}", REPORT))


# -- state and database


def _state(settings: Settings) -> Iterator[Finding]:
    place = settings.state_dir
    there = next((p for p in (place, *place.absolute().parents) if is_there(p)), Path("/"))
    refuse_unreadable(place)
    if not os.access(there, os.W_OK):
        raise ConfigurationError(
            f"the state directory {place} cannot be written", f"Give user {os.getuid()} write permission on {there}"
        )
    node = settings.node_id or kept_node_id(place)
    if node is None and read_mirror(place).get("source"):
        yield warning("state", f"{place} has lost this device's id", "Set NODE_ID to the id in the table's rows")
    busy = ", in use by a running process" if is_held(place) else ""
    yield ok("state", f"{place}{busy}; this device is {node or 'new and gets an id at the first start'}")


def _running(settings: Settings) -> Iterator[Finding]:
    """What `edge-delta status` knows of the process that runs, or ran."""
    found = examine(settings.state_dir)
    if found.verdict is Verdict.NEVER:
        return
    if found.full is not None:
        yield warning(
            "state",
            f"the disk that {found.full} is on is full: the sensor cannot write, and status may be out of date",
            "Free some space, such as rows up to the id that edge-delta status --settled prints",
        )
    if found.error is not None:
        fact = f"the last of {found.error['failures']} tries failed: {found.error['error']}"
        yield warning("state", fact.rstrip("."), "What follows says whether it would work now")
    if (found.growth or 0) > 0:
        yield warning(
            "state",
            f"{found.rows_waiting:,} rows wait, and {found.growth:,.0f} more come each second than are delivered",
            "Raise --max-batch-size, or send less with --processing-mode aggregated; look at the line and the disk",
        )
    elif not found.ok:
        yield warning(
            "state",
            f"{found.rows_waiting:,} rows wait, and nothing was delivered for {duration(found.waited)}",
            "Start it, or set a smaller --max-batch-size if it runs" if found.error is None else "Fix the cause",
        )
    if (found.quiet or 0) > found.allowed:
        yield warning(
            "database",
            f"nothing waits, and the last row came {duration(found.quiet or 0)} ago",
            "If rows should be coming, look whether the sensor's process runs; edge-delta has nothing to deliver",
        )


def _database(stage: Stage) -> Iterator[Finding]:
    settings, source = stage.settings, stage.source
    wal = source.path.with_name(source.path.name + "-wal")
    log = "its -wal file is visible" if wal.exists() else "no -wal file: no writer has it open in WAL mode now"
    if is_pattern(settings.sqlite):
        from edge_delta.source.family import Folder  # noqa: PLC0415 - not where there is one file

        count = len(Folder(settings.sqlite).names())
        yield ok("database", f"{settings.sqlite} means {count:,} files; the last of them by its name is readable")
    else:
        yield ok("database", f"{settings.sqlite} is readable; {log}")
    yield ok("database", f"table {source.table}, columns {', '.join(c.name for c in source.columns)}")
    idle = idle_renames(source.layout, settings.schematize.rename)
    yield from (warning("database", fact, "Check schematize.rename") for fact in idle)
    yield from _times(source, settings.processing_mode)
    yield _updates(settings)
    if not source.keyed_by_rowid:
        ahead = source.passed(Cursor(rowid=0)).ahead
        yield warning(
            "database",
            f"table {source.table} has no rowid: it is read in the order of time, {ahead:,} rows wait for their time, "
            "and rows that come with a time that is passed are counted, but not delivered",
            "Make it without WITHOUT ROWID, or name a table instead of a view with --table",
        )


def _updates(settings: Settings) -> Finding:
    """What becomes of rows that the application updates after they were delivered."""
    tables = read_mirror(settings.state_dir).get("tables", {})
    seen = max((table.get("updates_ignored", 0) for table in tables.values()), default=0)
    if settings.on_update == "ignore":
        cure = 'Set on_update = "append" if the table is to get new states, or settle if rows are completed'
        fact = "updates of delivered rows are ignored"
        return warning("database", f"{fact}; {seen:,} were seen", cure) if seen else ok("database", fact)
    how = f"column {settings.updated_column}" if settings.updated_column is not None else ""
    how = " and ".join(filter(None, [how, f"{settings.window:,} ids behind the cursor" if settings.window else ""]))
    deaf = [mode for mode in settings.processing_mode if not TRAITS[mode].replayable]
    but = f"; {', '.join(deaf)} ignore them" if deaf else ""
    return ok("database", f"new states of updated rows are delivered, found by {how}{but}")


def _times(source: SQLiteSource, modes: Sequence[str]) -> Iterator[Finding]:
    """Which column holds the time, why, and what its first and last time are understood as."""
    stamp, (first, last) = source.timestamp, source.span()
    if stamp is None:
        fact = f"no column holds the reading's time: {source.timestamp_reason}"
        timeless = all(TRAITS[mode].time is None for mode in modes)
        yield ok("database", f"{fact}; timestamp_col can name one") if timeless else warning("database", fact, _NO_TIME)
        return
    shown = [time.isoformat() if time is not None else "(no time)" for time in (first, last)]
    how = f"read as {stamp.time.format}, zone {stamp.time.zone}; the first is {shown[0]}, the last {shown[1]}"
    yield ok("database", f"time in {stamp.name} ({source.timestamp_reason}), {how}")
    for time in (first, last):
        word = doubtful(time, now()) if time is not None else None
        if time is not None and word is not None:
            yield warning("database", f"time {time.isoformat()} in {stamp.name} is {word}", ODD_CURE)
            return


# -- tables


def _table(stage: Stage, lane: Lane) -> Iterator[Finding]:
    uri = lane.sink.uri
    if not lane.sink.exists():
        yield ok("table", f"{uri} is not there yet; the first commit makes it")
    else:
        yield ok("table", f"{uri} version {lane.sink.version()} is plain: every Delta reader can use it")
        yield from _cursor(stage, lane)
        yield from _files(stage, lane)
    found = stage.rehearse(lane, limit=_SAMPLE)
    if found is None:
        yield ok("table", f"{lane.name}: nothing waits")
        return
    if found.rejected is not None:
        reasons = ", ".join(sorted(set(found.rejected["reason"].to_list())))
        yield warning(
            "table",
            f"{lane.name}: {found.rejected.height} of the next {found.read} rows would be rejected: {reasons}",
            "Fix the rule or the sensor; the rows are kept in the rejected table",
        )
    if found.kept is not None and found.kept.height:
        sample = found.kept.row(0, named=True)
        shown = ", ".join(f"{k}={_shown(k, v)}" for k, v in sample.items() if v is not None)
        yield ok("table", f"{lane.name}: rows fit; the next one would be {shown}")


def _shown(name: str, value: object) -> object:
    """A value of a sample row, but no place: what is printed here is sent around."""
    return "…" if tells_by_name(name) else value


def _cursor(stage: Stage, lane: Lane) -> Iterator[Finding]:
    cursor = lane.sink.committed()
    if cursor is None:
        if stage.node_id == UNKNOWN:
            yield warning(
                "table",
                f"{lane.sink.uri} exists, but not which device this is",
                "Set NODE_ID, or start with --new-node if it never delivered before",
            )
        return
    try:
        Identity(lane.route, Lanes()).confirmed(cursor)
    except SourceReset as reset:
        if stage.settings.on_source_reset == "stop":
            yield failed("table", reset)
        else:
            yield warning("table", reset.fact, "Nothing to do: all of it is read as a new generation")
        return
    waiting = stage.source.waiting(cursor).rows
    yield ok(
        "table", f"{lane.name}: delivered up to id {cursor.rowid:,}, which the source agrees with; {waiting:,} wait"
    )
    ahead = cursor.marks.get(Mark.AHEAD, 0)
    if ahead:
        yield warning(
            "time",
            f"{lane.name}: rows are in no window: their times, from {_moment(ahead)} on, are ahead of the clock",
            "They wait for it. If the sensor's clock is meant to be another zone's, set source_time_zone",
        )


def _moment(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1_000_000, UTC).isoformat(timespec="seconds")


def _files(stage: Stage, lane: Lane) -> Iterator[Finding]:
    found = lane.sink.files(listing=True)
    yield ok("table", f"{lane.sink.uri} has {found}")
    count, size = found.live, found.live_bytes
    if count > _SMALL_FILES and size / count < _SMALL_BYTES:
        yield warning(
            "table",
            f"{lane.sink.uri} has {count:,} files of {size / count / 1e6:.1f} MB on average",
            "Run edge-delta maintain, which compacts them, or set a longer interval",
        )
    if found.dead and (found.dead > _DEAD_FILES or (found.dead_bytes or 0) > size):
        yield warning(
            "table",
            f"{lane.sink.uri} has {found.dead:,} files that no version within the retention needs",
            "Run edge-delta maintain, or set maintenance.keeper on the device that is to do it",
        )
    yield from unsuited(lane, stage.settings, count)
