"""Rows that come below the cursor: ids that were filled in, given by hand, or used again.

Ids that only grow are what a source promises by its cursor; many tables do not keep that promise. So now and then the
rows up to the cursor are counted. Where they are those that were read, nothing came. Where not, the rows of the range
are looked at, and those that are new are delivered, in a commit that leaves the cursor where it is. What was delivered
is decided by the tables; the counts only say where to look:

- a table of readings has each row, or the rejected one has it;
- a window says how many rows it was made of, and is made again of those that are there now;
- an alert is looked for by its row and rule. That a row raised none is in no table: `delivery.known_rows` has which
  rows went by, or a table of readings, which gets a late row after the alerts for that reason.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

from edge_delta.core.errors import SourceReplaced
from edge_delta.core.model import BEFORE_FIRST
from edge_delta.core.swept import Swept
from edge_delta.delivery.tally import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from threading import Event as Flag

    from edge_delta.core.counting import Census
    from edge_delta.core.model import Cursor, Step
    from edge_delta.delivery.lane import Lane
    from edge_delta.delivery.updating import Updating


class Sweeping(Struct):
    """Sweeps all lanes of a source when it is due.

    Args:
        every: seconds between two sweeps.
        load: gives what `save` was given last, perhaps by another process; empty if that is lost.
        save: keeps what was counted. Nothing depends on it but the time that the next sweep takes.
        updating: looks for rows that were updated; None where their new states are not delivered.
    """

    every: float
    load: Callable[[], dict[str, Any]]
    save: Callable[[dict[str, Any]], None]
    updating: Updating | None = None
    _dirty: bool = False
    _fresh: dict[str, Cursor] = field(default_factory=dict)
    _older: bool = False
    _began: object = None
    _stood: dict[str, Cursor] = field(default_factory=dict)

    def begins(self, lane: Lane) -> None:
        """A lane is about to read; one that begins with the source's first row has nothing below its cursor."""
        if self.updating is not None:
            self.updating.begins(lane)
        cursor = lane.cursor()
        self._stood.setdefault(lane.name, cursor)
        if cursor.rowid == BEFORE_FIRST:
            self._began = lane.route.source.census.state() if not self._fresh else self._began
            self._fresh[lane.name] = replace(cursor, tally=NOTHING)
        elif lane.name not in self._fresh:
            self._older = True

    def finish(self, lanes: Sequence[Lane]) -> None:
        """The process is about to end: keep what no table has of the rows that went by."""
        passed = [lane for lane in lanes if not lane.passed.nothing]
        if not passed:
            return
        kept = self._with_fresh(self.load())
        for lane in passed:
            before = kept.get(lane.name)
            lane.passed.add_kept(before)
            if isinstance(before, dict):
                kept[lane.name] = {**before, "passed": lane.passed.kept()}
            lane.passed.begin()
        self.save(kept)

    def changed(self) -> None:
        """The source was written."""
        self._dirty = True
        if self.updating is not None:
            self.updating.due = True

    def updates(self, lanes: Sequence[Lane], limit: int, stop: Flag) -> Iterator[tuple[Lane, Step]]:
        """Deliver new states of rows that were updated since they were delivered; see `run`."""
        if self.updating is not None:
            yield from self.updating.run(lanes, limit, stop)

    def due(self, lanes: Sequence[Lane]) -> bool:
        """Whether there is something to look for by now; at once where nothing else can tell what windows lack."""
        if not self._dirty:
            return False
        if any(lane.unsure is not None and not lane.unsure.looked for lane in lanes):
            return True
        kept = self.load()
        at = kept.get("at")
        if at is None and self.every > 0 and self._older:
            self.save({**self._with_fresh(kept), "at": time.time()})
            return False
        return at is None or time.time() - at >= self.every

    def _with_fresh(self, kept: dict[str, Any]) -> dict[str, Any]:
        if not self._fresh:
            return kept
        from edge_delta.delivery.ledger import Ledger  # noqa: PLC0415 - a start need not pay for it

        fresh, self._fresh = self._fresh, {}
        return {**kept, **{name: Ledger(cursor=cursor).kept() for name, cursor in fresh.items()}}

    def run(self, lanes: Sequence[Lane], limit: int, stop: Flag) -> Iterator[tuple[Lane, Step] | Swept]:
        """Deliver what came below the cursors.

        Args:
            lanes: the lanes.
            limit: the most rows in a commit.
            stop: ends it after the commit in flight.

        Yields:
            Each commit with its lane; at last what the sweep came to.
        """
        from edge_delta.delivery import lane_sweeps, survey, sweep_parts  # noqa: PLC0415 - a start need not pay for them

        began, swept, whole = time.perf_counter(), Swept(), True
        if not (there := [lane for lane in lanes if lane.cursor().rowid != BEFORE_FIRST]):
            return
        kept = self._with_fresh(_of_same_times(self.load(), there[0]))
        written = there[0].route.source.census.written()
        if written is not None and written == kept.get("written") and all(_stands(lane, kept) for lane in there):
            self._dirty = False
            self.save({**kept, "at": time.time()})
            return
        census = survey.Shared(there[0].route.source.census)
        round_ = sweep_parts.Round(there, census, limit, swept, self._is_first(kept, census.census), self._stood)
        # A table of readings comes last: until it has a row, the others find it again after a kill.
        for lane in sorted(there, key=lambda one: (one.route.traits.replayable, one.route.traits.selective)):
            if stop.is_set():
                return
            lane.passed.add_kept(kept.get(lane.name))
            sweep = lane_sweeps.of(lane, kept.get(lane.name), round_)
            try:
                for step in sweep.run():
                    yield lane, step
            except SourceReplaced:  # the next cycle closes what is open of the one before, while it is in memory
                return
            kept[lane.name] = sweep.now.folded().kept()
            whole = whole and sweep.whole
        self._looked(kept, there, written if whole else None, whole=whole)
        swept.seconds = time.perf_counter() - began
        yield swept

    def _is_first(self, kept: dict[str, Any], census: Census) -> bool:
        """Whether nothing was swept before, and nobody has written since lanes began with the first row."""
        return "at" not in kept and census.state() == self._began

    def _looked(self, kept: dict[str, Any], lanes: Sequence[Lane], written: str | None, *, whole: bool) -> None:
        """Keep what was counted; the next sweep begins with the first range, or goes on in the next cycle."""
        self._dirty = not whole
        if whole:
            anew = {lane.name: {**kept[lane.name], "looked": None} for lane in lanes}
            kept = {**kept, **anew, "at": time.time()}
        self.save({**kept, "written": written, "time": _time(lanes[0])})


def _time(lane: Lane) -> str | None:
    stamp = lane.route.source.timestamp
    return None if stamp is None else stamp.name


def _of_same_times(kept: dict[str, Any], lane: Lane) -> dict[str, Any]:
    """What was kept; nothing where rows were told by another column, which the settings named as the time then."""
    return kept if kept.get("time", now := _time(lane)) == now else {}


def _stands(lane: Lane, kept: dict[str, Any]) -> bool:
    """Whether a lane stands where it stood at the last sweep."""
    before, cursor = kept.get(lane.name), lane.cursor()
    return isinstance(before, dict) and (before["generation"], before["cursor"]) == (cursor.generation, cursor.rowid)
