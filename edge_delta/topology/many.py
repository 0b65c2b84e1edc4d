"""The main job for several sources in one process."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edge_delta import __version__
from edge_delta.core.errors import ConfigurationError, SourcesFailed
from edge_delta.core.events import Event, Log
from edge_delta.core.observing import SilentObserver
from edge_delta.core.retry import Outage, Persistence
from edge_delta.delivery.prefetch import ReadAhead, Room
from edge_delta.delivery.turns import Share, Turns
from edge_delta.device.mirror import Mirror
from edge_delta.device.observers import Observers, beating
from edge_delta.device.state import StateDirectory
from edge_delta.device.thrift import Thrift
from edge_delta.modes.traits import TRAITS
from edge_delta.settings.load import file_of, load
from edge_delta.settings.watch import FileWatch
from edge_delta.source.connections import Connections
from edge_delta.topology import build
from edge_delta.topology.change import Wanted
from edge_delta.topology.finding import Finding
from edge_delta.topology.lanes import Opening, Session
from edge_delta.topology.nodes import has_tables
from edge_delta.topology.one_table import OneTable, refuse_mixing
from edge_delta.topology.sources import (
    BUSY_MS,
    Choice,
    LeftOut,
    all_tables,
    by_pattern,
    entries_of,
    finder_of,
    refuse_missing,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from threading import Event as Flag

    from edge_delta.core.errors import EdgeDeltaError, TransientError
    from edge_delta.core.observing import Observer
    from edge_delta.delivery.engine import Engine
    from edge_delta.device.heartbeat import Heartbeat
    from edge_delta.device.metrics import Metrics
    from edge_delta.settings.sections import Settings


def run(settings: Settings, log: Log, stop: Flag, *, flags: Mapping[str, Any] = MappingProxyType({})) -> bool:
    """Deliver several sources once or until told to stop.

    Args:
        settings: the settings.
        log: where events go.
        stop: ends it after the batch in flight.
        flags: what the command line said.

    Returns:
        Whether all that was there when it began (with ``once``) is delivered.

    Raises:
        SourcesFailed: if one of them ended by an error, after the others came to their end.
        EdgeDeltaError: if none can begin.
    """
    state = StateDirectory(settings.state_dir)
    with state.locked(), contextlib.ExitStack() as until:
        process = _Process(settings, state, log, stop, flags=flags, heard=_observers_of_the_process(until))
        if settings.with_metrics:
            from edge_delta.device.metrics import Metrics  # noqa: PLC0415 - its packages are heavy, and it is seldom on

            process.metrics = until.enter_context(Metrics(settings).served(log))
        process.heartbeat = until.enter_context(beating(settings, state, log))
        return process.run()


class _Process:
    """All sources of one process."""

    def __init__(  # noqa: PLR0913 - the root of a process: each of its parts is handed in from another place
        self,
        settings: Settings,
        state: StateDirectory,
        log: Log,
        stop: Flag,
        *,
        flags: Mapping[str, Any],
        heard: Sequence[Observer],
    ) -> None:
        self._settings = settings
        self._state = state
        self._log = log
        self._stop = stop
        self._flags = flags
        self._choice = Choice.of(flags)
        self._tables: dict[str, OneTable] = {}
        self._room = Room(settings.budget.ahead)
        self._connections = Connections()
        self.metrics: Metrics | None = None
        self.heartbeat: Heartbeat | None = None
        self._told: set[str] = set()
        self._finding: set[str] = set()
        self._not_found: dict[str, Any] = {}
        self._node_id = ""
        self._turns = Turns(self._tick)
        self._wanted: dict[str, Wanted] = {}
        self._file = FileWatch(file_of(flags))
        self._file.changed()
        self._heard = heard

    def run(self) -> bool:
        settings = self._settings
        self._state.witness_key()
        found, unknown = all_tables(settings, self._choice, left_out=self._left_out)
        asked = Persistence(Outage(self._log), self._stop, for_seconds=settings.retry_for if settings.once else None)
        node_id = asked.call(lambda: self._named(found))
        if node_id is None:
            return False
        self._node_id = node_id
        self.add(found)
        late = {finder_of(entry) for entry, _ in unknown}
        for key, entry in self._finders(settings).items():
            self._find(entry, resolved=key not in late)
        self._write(stopped=None)
        if settings.once:
            self._turns.once(self._stop, retry_for=settings.retry_for, flush=bool(self._flags.get("flush")))
        else:
            self._turns.run(self._stop)
        return self._ended()

    def _named(self, found: list[OneTable]) -> str:
        """Which device this is; asked once for all, before the first of them could answer for the others."""

        def target_exists() -> bool:
            return any(has_tables(one.settings, one.table) for one in found)

        new = bool(self._flags.get("new_node"))
        return self._state.node_id(self._settings.node_id, new_node=new, target_exists=target_exists)

    # -- its sources

    def _finders(self, settings: Settings) -> dict[str, Settings]:
        """The entries whose tables have to be looked for, by what their search is called."""
        meant = (e for e in entries_of(settings) if by_pattern(e) and self._choice.means(e.label, e.sqlite))
        return {finder_of(entry): entry for entry in meant}

    def _find(self, entry: Settings, *, resolved: bool) -> None:
        """Look for tables of this entry from now on."""
        key = finder_of(entry)
        log, heard = self._log.of_source(key), _NotFound(entry, self._not_found, self._write)

        def load() -> Finding:
            return Finding(entry, self.add_found, self._left_out, resolved=resolved, log=log, observer=heard)

        self._finding.add(key)
        self._turns.add(Share(key, load, log=log, observer=heard, ended=heard.ended))

    def add_found(self, tables: list[OneTable]) -> None:
        """Tables of an entry, those that are known included."""
        fresh = [one for one in tables if one.key not in self._tables and self._choice.takes(one)]
        if fresh:
            refuse_mixing([*self._tables.values(), *fresh])
            for one in fresh:
                self._log.info(Event.SOURCE_ADDED_OR_LEFT, source=one.key, added=True)
            self.add(fresh)
            self._write()

    def add(self, tables: list[OneTable]) -> None:
        """One share for each; those with alerts first, so that these do not wait until all others are open."""
        for one in sorted(tables, key=lambda one: not _alerts(one.settings)):
            self._tables[one.key] = one
            self._turns.add(self._share(one))

    def _share(self, one: OneTable) -> Share:
        settings, log = one.settings, self._log.of_source(one.key)
        state = StateDirectory(settings.state_dir)
        _take_over_state(self._state, state, one)
        observers = Observers(Mirror(state, settings, log))
        for observer in self._heard:
            observers.add(observer)
        if self.metrics is not None:
            observers.add(self.metrics.of_source(self._node_id, one.label, one.table))
        if self.heartbeat is not None:
            observers.add(self.heartbeat.of_source(one.key, observers.mirror))
        if not self._settings.once:
            observers.mirror.started()
        wanted = self._wanted[one.key] = Wanted(settings, log)

        def load() -> Engine:
            one.refuse_trouble()
            refuse_missing(settings.sqlite)
            source = build.opened(settings, log, Opening(BUSY_MS, self._connections))
            session = Session(source, self._node_id, log, self._stop.wait)
            session.reader = ReadAhead(source, self._room)
            return build.build(settings, session, state, observers, self._flags, wanted=wanted)

        return Share(one.key, load, log=log, observer=observers, ended=observers.mirror.stopped)

    # -- while it runs

    def _tick(self) -> None:
        """Say that the process goes on, and look at the settings."""
        for observer in (*self._heard, *([self.metrics] if self.metrics is not None else [])):
            observer.alive()
        self._see_settings()

    def _see_settings(self) -> None:
        """See whether the settings file names others, or other settings for them."""
        if not self._file.changed():
            return
        try:
            settings = load(self._flags)
            found, unknown = all_tables(settings, self._choice, left_out=self._left_out)
        except ConfigurationError as error:
            self._log.error(Event.SETTINGS_INVALID, error=str(error))
            return
        self._settings = settings
        for one in found:
            if one.key in self._wanted:
                self._wanted[one.key].want(one.settings)
        finders, late = self._finders(settings), {finder_of(entry) for entry, _ in unknown}
        kept, unsure = {one.key for one in found}, {entry.label for entry, _ in unknown}
        for key in [key for key, one in self._tables.items() if key not in kept and one.label not in unsure]:
            self._remove(key)
        for key in self._finding - finders.keys():
            self._remove(key)
        self.add_found(found)
        for key in finders.keys() - self._finding:
            self._find(finders[key], resolved=key not in late)

    def _remove(self, key: str) -> None:
        """It is no source any more: what waits for more rows is written, and it ends."""
        self._log.info(Event.SOURCE_ADDED_OR_LEFT, source=key, added=False)
        self._tables.pop(key, None)
        self._wanted.pop(key, None)
        self._not_found.pop(key, None)
        self._finding.discard(key)
        self._turns.remove(key, self._stop)
        self._write()

    def _left_out(self, left: LeftOut) -> None:
        if left.key not in self._told:
            self._told.add(left.key)
            self._log.warning(Event.LEFT_OUT, source=left.key, reason=left.reason)

    # -- what became of them

    def _ended(self) -> bool:
        failed = [(share.key, share.error) for share in self._turns.shares if share.error is not None]
        code = max((error.exit_code for _, error in failed), default=0)
        self._write(stopped=code)
        if failed:
            names = ", ".join(key for key, _ in failed)
            every = self._tables.keys() | {key for key, _ in failed}  # also one whose tables cannot be told
            raise SourcesFailed(
                f"{len(failed)} of {len(every)} sources ended by an error: {names}",
                "The log says why for each; the others went on",
                exit_code=code,
            )
        return not any(share.behind for share in self._turns.shares)

    def _write(self, *, stopped: int | None = None) -> None:
        """Say in the process' own file which sources it has; each has a file of its own."""
        now = datetime.now(UTC).isoformat()
        with contextlib.suppress(OSError):  # nothing depends on it
            self._state.write_mirror(
                {
                    "node_id": self._node_id,
                    "sources": sorted(
                        str(one.settings.state_dir.relative_to(self._state.path)) for one in self._tables.values()
                    ),
                    "not_found": self._not_found,
                    "process": {"pid": os.getpid(), "host": os.uname().nodename, "version": __version__},
                    "stopped": None if stopped is None else {"at": now, "exit_code": stopped},
                },
                lasting=False,
            )


def _alerts(settings: Settings) -> bool:
    return any(TRAITS[mode].urgent for mode in settings.processing_mode)


class _NotFound(SilentObserver):
    """Notes that the tables of an entry cannot be told, so that nobody takes it for healthy.

    Args:
        entry: the entry.
        noted: where, by what it is called.
        write: keeps it.
    """

    def __init__(self, entry: Settings, noted: dict[str, Any], write: Callable[[], None]) -> None:
        self._entry = entry
        self._noted = noted
        self._write = write

    def failed(self, error: TransientError, _failures: int, _pause: float) -> None:
        """Once more."""
        self.ended(error)

    def recovered(self) -> None:
        """They were found."""
        if self._noted.pop(finder_of(self._entry), None) is not None:
            self._write()

    def ended(self, error: EdgeDeltaError | None) -> None:
        """It is looked for no more."""
        if error is None:
            return
        key = finder_of(self._entry)
        before = self._noted.get(key, {})
        since = before.get("since", datetime.now(UTC).isoformat())
        own = {
            "label": self._entry.label,
            "sqlite": str(self._entry.sqlite.absolute()),
            "health_after": self._entry.health_after,
        }
        self._noted[key] = {**own, "error": str(error), "since": since}
        self._write()


def _take_over_state(process: StateDirectory, own: StateDirectory, one: OneTable) -> None:
    """Go on with what the process kept of a table while it was its only one."""
    before = process.mirror()
    same = (before.get("source"), before.get("source_table")) == (str(one.settings.sqlite.absolute()), one.table)
    if one.settings.name is None and same and not own.mirror():
        with contextlib.suppress(OSError):
            own.write_sweep(process.sweep())
            own.write_mirror(before)


def _observers_of_the_process(until: contextlib.ExitStack) -> list[Observer]:
    """Who hears of all sources."""
    if not os.environ.get("NOTIFY_SOCKET"):
        return [Thrift()]
    from edge_delta.device.systemd import ServiceManager  # noqa: PLC0415 - sockets, only under systemd

    return [Thrift(), until.enter_context(ServiceManager(os.environ["NOTIFY_SOCKET"]))]
