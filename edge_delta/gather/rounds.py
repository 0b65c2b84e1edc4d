"""One round: what is new of each device goes into the fleet's table, some devices in each commit."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from edge_delta.gather.logs import Log, Unreachable
from edge_delta.gather.takings import FilesGone, Limits, Nothing, Reader, Refused, Shape, Snapshots, Taking, Way

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from edge_delta.gather.logs import Files
    from edge_delta.gather.state import State

_TRIES = 5
_UNREACHABLE = 20
"""After so many devices that cannot be reached, and none that can, the store is down and no other is asked."""
_WARNED_AT = 0.5
"""The share of its log's retention that a device may be behind before it is told."""


class Overtaken(Exception):
    """Another commit came first, or the answer to ours was lost: the log has to be asked how it stands."""


class FleetTable(Protocol):
    """The fleet's table of one mode, as one of the runners writes it."""

    def state(self) -> State:
        """What it holds, from its own log."""

    def prepared(self, taking: Taking) -> Any:
        """What the runner needs to write it.

        Raises:
            FilesGone: if a file is not there any more.
            Refused: if its rows are not the device's, or cannot be read.
        """

    def fit(self, prepared: Any) -> None:
        """Find room for its columns in the table.

        Raises:
            Refused: if one has another type than the table's, or than that of a device before it.
        """

    def commit(self, prepared: Sequence[Any], state: State) -> int:
        """Write them and the state in one commit; all are `Way.REPLACE`, or none is.

        Returns:
            How many rows were written.

        Raises:
            Overtaken: if it may not have been written.
        """


@dataclass
class About:
    """What came of a device in one round.

    Attributes:
        device: its name.
        state: "taken", "nothing new", "no table", "deleted", "unreachable" or "quarantined".
        version: its table's version that is taken; None if none is.
        commits: how many of its commits were taken.
        way: how its rows came in.
        behind: seconds since the oldest of the commits was written that had not been taken before, 0 if there was none.
        last_commit: when the newest of its commits that are taken was written, milliseconds; 0 if that is not known.
        told: what a person should know.
    """

    device: str
    state: str = "nothing new"
    version: int | None = None
    commits: int = 0
    way: str | None = None
    behind: float = 0.0
    last_commit: int = 0
    told: list[str] = field(default_factory=list)


@dataclass
class Gathered:
    """What came of one round of one table.

    Attributes:
        mode: the table's mode.
        devices: by name.
        rows: how many were written.
        commits: to the fleet's table.
        seconds: how long it took.
    """

    mode: str
    devices: dict[str, About] = field(default_factory=dict)
    rows: int = 0
    commits: int = 0
    seconds: float = 0.0

    def in_state(self, state: str) -> list[About]:
        """The devices that are in a state."""
        return [about for about in self.devices.values() if about.state == state]


@dataclass(frozen=True)
class Job:
    """One mode's tables of all devices, and the one that they come into.

    Attributes:
        mode: the mode.
        shape: of its tables.
        tables: the tables' folders, by device.
        files: where they lie.
        snapshots: reads their checkpoints.
        fleet: the table that they come into.
        retention: seconds that a device's log is kept.
    """

    mode: str
    shape: Shape
    tables: Mapping[str, str]
    files: Files
    snapshots: Snapshots
    fleet: FleetTable
    retention: float


class Round:
    """One round.

    Args:
        job: which tables.
        limits: how much is taken at once.
        workers: how many devices are asked at once.
        now: the clock, seconds.
    """

    def __init__(self, job: Job, limits: Limits, *, workers: int = 16, now: Callable[[], float] = time.time) -> None:
        self._job = job
        self._limits = limits
        self._reader = Reader(job.shape, job.snapshots, limits)
        self._now = now
        self._workers = workers
        self._reached = self._unreached = 0
        self._outcome = Gathered(job.mode, {device: About(device) for device in sorted(job.tables)})

    def run(self) -> Gathered:
        """Take what is new.

        Raises:
            Overtaken: if other commits came first again and again.
        """
        started = time.perf_counter()
        with ThreadPoolExecutor(self._workers) as self._pool:
            state, waiting, lost = self._job.fleet.state(), deque(self._outcome.devices), 0
            while waiting:
                chunk = [waiting.popleft() for _ in range(min(len(waiting), self._limits.devices))]
                try:
                    state, more = self._taken(chunk, state)
                    waiting.extend(more)
                except Overtaken:
                    lost += 1
                    if lost >= _TRIES:
                        raise
                    waiting.extendleft(reversed(chunk))
                    state = self._job.fleet.state()
        for device, about in self._outcome.devices.items():
            taken = state.taken.get(device)
            about.version = None if taken is None else taken.version
        self._outcome.seconds = time.perf_counter() - started
        return self._outcome

    def _taken(self, devices: Sequence[str], state: State) -> tuple[State, list[str]]:
        """The state after these devices, and those of which there is more."""
        found = list(self._pool.map(lambda device: self._news(device, state), devices))
        takings = [taking for taking in found if taking is not None]
        for batch in self._batches(takings):
            prepared = [(t, ready) for t, ready in self._pool.map(self._prepared, batch) if t is not None]
            prepared = [(t, ready) for t, ready in prepared if self._fits(t, ready)]
            # What was gone may have come another way, which a commit of its own has.
            for replacing in (False, True):
                both = [(t, ready) for t, ready in prepared if (t.way is Way.REPLACE) is replacing]
                if both:
                    state = self._committed([t for t, _ in both], [ready for _, ready in both], state)
        return state, [taking.device for taking in takings if taking.more]

    def _news(self, device: str, state: State) -> Taking | None:
        about, log = self._outcome.devices[device], Log(self._job.files, self._job.tables[device])
        try:
            return self._reader.news(device, log, state.taken.get(device), strangers=state.strangers)
        except Nothing as said:
            self._reached += 1
            about.last_commit = said.last or about.last_commit
            if said.told:
                about.state, about.told = "deleted", [said.told]
            elif device not in state.taken:
                about.state = "no table"
        except Refused as said:
            self._refuse(about, said)
        except Unreachable as error:
            self._unreachable(about, error)
        return None

    def _unreachable(self, about: About, error: Unreachable) -> None:
        about.state, about.told = "unreachable", [str(error)]
        self._unreached += 1
        if self._unreached > _UNREACHABLE and not self._reached:
            raise error

    def _prepared(self, taking: Taking) -> tuple[Taking | None, Any]:
        about = self._outcome.devices[taking.device]
        about.behind = max(about.behind, self._now() - taking.time / 1000 if taking.time else 0.0)
        try:
            try:
                return taking, self._job.fleet.prepared(taking)
            except FilesGone:
                again = self._reader.again(taking, Log(self._job.files, taking.table))
                return again, self._job.fleet.prepared(again)
        except FilesGone as gone:
            self._refuse(about, Refused(f"a file of its table is not there: {gone}"))
        except Refused as said:
            self._refuse(about, said)
        except Unreachable as error:
            self._unreachable(about, error)
        return None, None

    def _fits(self, taking: Taking, prepared: Any) -> bool:
        try:
            self._job.fleet.fit(prepared)
        except Refused as said:
            self._refuse(self._outcome.devices[taking.device], said)
            return False
        return True

    def _refuse(self, about: About, said: Refused) -> None:
        about.state, about.told = "quarantined", [*about.told, str(said)]

    def _batches(self, takings: Iterable[Taking]) -> Iterator[list[Taking]]:
        batch: list[Taking] = []
        size = 0
        for taking in takings:
            if batch and size + taking.bytes > self._limits.bytes:
                yield batch
                batch, size = [], 0
            batch.append(taking)
            size += taking.bytes
        if batch:
            yield batch

    def _committed(self, takings: Sequence[Taking], prepared: Sequence[Any], state: State) -> State:
        after = state.after({taking.device: taking.upto for taking in takings})
        self._outcome.rows += self._job.fleet.commit(prepared, after)
        self._outcome.commits += 1
        for taking in takings:
            about = self._outcome.devices[taking.device]
            about.state, about.way = "taken", taking.way.value
            about.commits += taking.commits
            about.last_commit = taking.last or about.last_commit
            about.told += [said for said in taking.told if said not in about.told]
            if about.behind > self._job.retention * _WARNED_AT:
                days = f"{about.behind / 86_400:.1f} of the {self._job.retention / 86_400:.1f} days"
                about.told.append(f"it was behind for {days} that its log is kept: gather more often")
        return after
