"""What became of batches, for the log and for those that hear of it; and the upkeep that a commit may be due for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.core.model import Waiting
from edge_delta.delivery.told import Told

if TYPE_CHECKING:
    from edge_delta.core.events import Log
    from edge_delta.core.model import Step
    from edge_delta.core.observing import Observer
    from edge_delta.core.retry import Outage
    from edge_delta.delivery.lane import Lane

NOTHING = Waiting(None, None)


class Reports:
    """Reports what became of lanes' batches.

    Args:
        log: where it is told.
        observer: hears of it.
        outage: is over with the first batch that is settled.

    Attributes:
        unsaid: how many rows of each lane were read since its last commit.
    """

    def __init__(self, log: Log, observer: Observer, outage: Outage) -> None:
        self.told = Told(log)
        self.observer = observer
        self.unsaid: dict[Lane, int] = {}
        self._outage = outage

    def settled(self, lane: Lane, step: Step, waiting: Waiting = NOTHING) -> None:
        """A batch of a lane is in its tables; ``waiting`` is what was there when its round began."""
        self._outage.over()
        self.unsaid[lane] = 0 if step.commit is not None else self.unsaid.get(lane, 0) + step.read
        self.told.step(step)
        self.observer.settled(step, Waiting(step.cursor.rowid + 1, waiting.last_rowid))
        if step.commit is not None and (found := lane.route.look_after()) is not None:
            self.observer.looked_after(lane.name, found)

    def aside(self, lane: Lane) -> int:
        """Tell what was seen and committed beside batches; how many rows that was."""
        for cursor in lane.ignored_updates():
            self.observer.updated(lane.name, cursor)
        for step in (steps := lane.aside()):
            self.settled(lane, step)
        return sum(step.written for step in steps)
