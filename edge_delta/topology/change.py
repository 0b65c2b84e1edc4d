"""Settings that change while the process runs, and the modes that are switched by them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_delta.core.errors import ConfigurationError
from edge_delta.core.events import Event
from edge_delta.delivery.pace import Pace
from edge_delta.modes.traits import TRAITS
from edge_delta.settings.watch import SettingsWatch, wanted_of
from edge_delta.topology.lanes import lanes_of, tried

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_delta.core.events import Log
    from edge_delta.delivery.lane import Lane
    from edge_delta.device.observers import Observers
    from edge_delta.device.state import StateDirectory
    from edge_delta.settings.sections import Settings
    from edge_delta.topology.lanes import Session


def pace_of(settings: Settings) -> Pace:
    """When to work and how much at a time."""
    return Pace(settings.interval, settings.fuzz_factor, settings.max_batch_size, settings.retry_for)


def say_of_places(settings: Settings, session: Session, state: StateDirectory) -> None:
    """Say what is published of places, where they are displaced."""
    if settings.gps_fuzzing.enabled:
        from edge_delta.topology.draws import say_what_is_published  # noqa: PLC0415 - OpenSSL, for this only

        say_what_is_published(settings, session, state)


class Wanted:
    """The settings of one of several sources: what is read of the file for all of them is put in here.

    Args:
        settings: the running settings.
        log: the log of its source.

    Attributes:
        check: raises `ConfigurationError` for settings that cannot work with the source.
    """

    def __init__(self, settings: Settings, log: Log) -> None:
        self._running = self._wanted = settings
        self._log = log
        self.check: Callable[[Settings], object] = lambda _settings: None

    def want(self, found: Settings) -> None:
        """These were found in the file."""
        try:
            self._wanted = wanted_of(self._running, found, self._log, self.check)
        except ConfigurationError as error:
            self._log.error(Event.SETTINGS_INVALID, error=str(error))

    def poll(self) -> tuple[Settings, Settings] | None:
        """The running and the wanted settings as long as they differ."""
        return (self._running, self._wanted) if self._wanted != self._running else None

    def taken_over(self) -> None:
        """The wanted settings are the running ones now."""
        self._running = self._wanted


class LiveSettings:
    """Takes over settings that were changed.

    Args:
        settings: the running settings.
        flags: the command line, which goes before the file at every reading.
        session: what the new lanes are made of.
        observers: who hears of it.
        state: the state directory, which knows the last draw of places.
        wanted: where changed settings come from, instead of the file: for one of several sources.
    """

    def __init__(  # noqa: PLR0913 - who takes over what others changed: each from another place
        self,
        settings: Settings,
        flags: Mapping[str, Any],
        session: Session,
        observers: Observers,
        state: StateDirectory,
        *,
        wanted: Wanted | None = None,
    ) -> None:
        self._session = session
        self._state = state
        self._observers = observers
        self._watch: Wanted | SettingsWatch
        if wanted is not None:
            wanted.check = lambda found: tried(found, session)
            self._watch = wanted
        else:
            self._watch = SettingsWatch(settings, flags, session.log, check=lambda found: tried(found, session))

    def poll(self, running: Sequence[Lane]) -> tuple[Sequence[Lane], Pace] | None:
        """The lanes and the pace that are to take over from the running ones; None if nothing changed."""
        changed = self._watch.poll()
        if changed is None:
            return None
        before, after = changed
        lanes = switched(running, before, after, self._session)
        if (before.gps_fuzzing, before.processing_mode) != (after.gps_fuzzing, after.processing_mode):
            say_of_places(after, self._session, self._state)
        self._observers.mirror.follow(lanes)
        self._observers.set_to(before, after)
        self._watch.taken_over()  # not before all of it is done: what fails for the moment is tried again
        return lanes, pace_of(after)


def switched(running: Sequence[Lane], before: Settings, after: Settings, session: Session) -> list[Lane]:
    """The lanes of changed settings, going on from where the running ones stand.

    A mode that was there before keeps its own cursor. A new one goes on from the cursor of those that end (or that
    stay, if none ends), unless the settings say that it catches up from its own. Where they stand apart, the one that
    is behind counts; that of a selective mode, whose table holds no readings, only if it is alone.
    """
    lanes = lanes_of(after, session)
    old = {lane.name: lane for lane in running}
    for lane in running:
        if lane.name not in after.processing_mode:
            lane.finish()
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
        _say_mode_changed(before, after, lanes, session.log)
    return lanes


def _say_mode_changed(before: Settings, after: Settings, lanes: list[Lane], log: Log) -> None:
    old, new = ("+".join(s.processing_mode) for s in (before, after))
    detail = f"processing mode changed from {old!r} to {new!r}"
    routing = [f"routing to {lane.sink.uri}" for lane in lanes]
    log.info(Event.MODE_CHANGED, old=old, new=new, detail=detail, routing=routing)
