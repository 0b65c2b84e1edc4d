"""Lanes whose tables do not answer: they are tried again after a pause, and the other lanes of the source go on.

Only what a table says is a lane's own. What the source says (`SourceUnavailable`) is everybody's, and so is an outage
of all tables: those go up to whoever runs the engine. Of files that rotate, one that cannot be read holds up no other.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from edge_delta.core.errors import CommitConflict, StorageUnavailable
from edge_delta.core.retry import Outage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_delta.core.errors import TransientError
    from edge_delta.core.events import Log
    from edge_delta.core.observing import Observer
    from edge_delta.delivery.lane import Lane


class Unwell:
    """Keeps lanes apart whose tables do not answer.

    Args:
        log: where it is said that one does not, once, and when all do again.
        observer: hears of it.

    Attributes:
        again_at: when they are tried again, by the monotonic clock; None if there are none.
    """

    def __init__(self, log: Log, observer: Observer) -> None:
        self._outage = Outage(log, observer)
        self._of_source = Outage(log, observer)
        self._errors: dict[str, TransientError] = {}
        self._new = False
        self.again_at: float | None = None

    def begin(self, lanes: Sequence[Lane]) -> list[Lane]:
        """Those that are to be worked on now: those that are well, and the others if it is time to try again."""
        if self.again_at is not None and time.monotonic() >= self.again_at:
            self.clear(lanes)
        return self.well(lanes)

    def well(self, lanes: Sequence[Lane]) -> list[Lane]:
        """Those whose tables answer, as far as is known."""
        return [lane for lane in lanes if not lane.away]

    @contextlib.contextmanager
    def apart(self, lane: Lane, *, alone: bool) -> Iterator[None]:
        """What goes wrong here with the lane's table is this lane's own, unless it is the only one."""
        try:
            yield
        except (StorageUnavailable, CommitConflict) as error:
            if alone:
                raise
            lane.forget()
            lane.away, self._new = True, True
            self._errors[lane.name] = error

    def end(self, lanes: Sequence[Lane], *, raises: bool) -> None:
        """A round of work is over.

        Args:
            lanes: all lanes.
            raises: whether nobody works on without those that are unwell.

        Raises:
            TransientError: what the first of them said, if so, and if no other lane is left.
        """
        first = next(iter(self._errors.values()), None)
        if first is None:
            self._outage.over()
            return
        if raises or not self.well(lanes):
            self.clear(lanes)
            raise first
        if self._new:
            pause = self._outage.pause()
            self._outage.failed(first, pause)
            self._new, self.again_at = False, time.monotonic() + pause

    def part_of_source(self, error: TransientError | None, pause: float) -> bool:
        """See whether a part of the source could not be read while the rest was delivered, and say so.

        Args:
            error: what keeps it from being read; None if nothing does.
            pause: seconds until the next cycle, which tries again.
        """
        if error is None:
            self._of_source.over()
            return False
        self._of_source.failed(error, pause)
        return True

    def clear(self, lanes: Sequence[Lane]) -> None:
        """All are to be tried again."""
        for lane in lanes:
            lane.away = False
        self._errors, self._new, self.again_at = {}, False, None
