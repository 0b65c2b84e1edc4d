"""Rows that the open connection alone has: their file was deleted or replaced before they were delivered.

They are read as long as the process goes on. If it ends before, as where the store does not answer, they are gone. So
how many they are is kept beside what sweeps keep, and the next process tells them as lost.
"""

from __future__ import annotations

import contextlib
from threading import Event as Flag
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from edge_delta.core.errors import SourceReset, SourceUnavailable, TransientError
from edge_delta.core.events import Event
from edge_delta.core.model import BEFORE_FIRST, Cursor, Mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from edge_delta.core.events import Log
    from edge_delta.core.ports import Source
    from edge_delta.delivery.lane import Lane

_KEY = "left"
_TRIES = 8
"""So often a file that has gone may refuse to be read, until the one in its place is."""


class LeftBehind(Struct):
    """What is left in a file that has gone.

    Args:
        source: the file, and what has its name.
        load: gives what was saved last, perhaps by another process.
        save: keeps it.
        log: where it is told that rows are lost.
    """

    source: Source
    load: Callable[[], dict[str, Any]]
    save: Callable[[dict[str, Any]], None]
    log: Log
    _untold: bool = True
    _told: set[str] = field(default_factory=set)
    _noted: bool = False
    _refused: int = 0

    @property
    def aside(self) -> bool:
        """Whether what is open has no name any more, and nobody else will read it."""
        return self.source.moved() or self.source.gone() is not None

    def given_up(self) -> bool:
        """Whether what is open, and does not let itself be read, is to be closed for what has its name now."""
        if self.source.gone() is not None:
            return False
        self._refused += 1
        moved = self.source.moved()
        if moved and self._refused < _TRIES:
            return False
        if moved and not self._noted:  # nobody knows how many
            self.log.warning(Event.LOST, rows=None)
        self._untold = self._noted
        return True

    def read_to_its_end(self, turns: Callable[[Flag], Iterable[None]], lanes: Sequence[Lane]) -> None:
        """Read what has gone since the last cycle, though the process is told to stop: nobody can open it again.

        Args:
            turns: a cycle.
            lanes: all of them.
        """
        self.note(lanes)
        if self.aside:
            with contextlib.suppress(SourceUnavailable):  # such as that there is no other file yet
                for _ in turns(Flag()):
                    pass
            self.note(lanes)

    def note(self, lanes: Sequence[Lane]) -> None:
        """Keep how many rows are left, if it has gone."""
        if not self.aside:
            return
        with contextlib.suppress(TransientError):  # as far as tables answer; else where they stood last counts
            for lane in lanes:
                lane.cursor()
        stood = [lane.stood for lane in lanes if lane.stood is not None]
        furthest = max(stood, key=lambda cursor: (cursor.generation, cursor.rowid), default=Cursor())
        with contextlib.suppress(TransientError):
            begin, generation = furthest.rowid, furthest.generation
            try:
                self.source.verify(furthest)
            except SourceReset:  # no row of it was read: they will be of the next one
                begin, generation = BEFORE_FIRST, generation + 1
            rows, last = self.source.census.behind(begin), self.source.waiting(Cursor()).last_rowid
            if rows or self._noted:
                left = {"rows": rows, "generation": generation, "upto": last, "file": self.source.file}
                self.save({**self.load(), _KEY: left})
                self._noted = True

    def tell(self, lanes: Sequence[Lane]) -> None:
        """Tell of each lane what another process could not read to its end."""
        if not self._untold:
            return
        if (left := self.load().get(_KEY)) is not None:
            for lane in lanes if not self._there(lanes, left) else ():
                self._tell(lane, left)
            self._forget()
        self._untold, self._told = False, set()

    def _tell(self, lane: Lane, left: dict[str, Any]) -> None:
        cursor = lane.cursor()
        rows = _behind(left, cursor)
        if rows and lane.name not in self._told:
            self.log.warning(Event.LOST, mode=lane.name, rows=rows, generation=cursor.generation)
            lane.note(Mark.LOST, cursor.marks.get(Mark.LOST, 0) + rows)
            lane.settle()
            self._told.add(lane.name)

    def over(self) -> None:
        """A cycle came to its end: what is open now has nothing that is not delivered."""
        self._refused = 0
        if self._noted and not self.aside:
            self._forget()

    def _there(self, lanes: Sequence[Lane], left: dict[str, Any]) -> bool:
        """Whether the file has its name again, with these rows."""
        cursor = max((lane.cursor() for lane in lanes), key=lambda one: (one.generation, one.rowid))
        begin = cursor.rowid if cursor.generation >= left["generation"] else BEFORE_FIRST
        there = self.source.census.behind(begin)  # opens the file, if it is not open
        return there >= _behind(left, cursor) and [*self.source.file] == [*left["file"]]

    def _forget(self) -> None:
        self.save({key: value for key, value in self.load().items() if key != _KEY})
        self._noted = False


def _behind(left: dict[str, Any], cursor: Cursor) -> int:
    """How many of the rows that were left lie behind a cursor: some may have been delivered after they were counted."""
    rows = int(left["rows"])
    read = rows > 0 and cursor.generation >= left["generation"]
    return max(0, min(rows, left["upto"] - max(cursor.rowid, 0))) if read else rows
