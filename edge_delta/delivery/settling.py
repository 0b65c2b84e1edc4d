"""Rows that are held back until they have been there for a while, because their writer completes them.

What counts is how long ago this device first saw that a row with such an id is there, and not the row's own time: rows
are filled in with old times, clocks of sensors are wrong, and a row says nothing of when it was inserted. Ids that were
seen are kept with the time since the machine started, which no correction of its clock changes. After a restart of the
machine, or where they are lost, rows wait once more; they are never delivered too early by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from edge_delta.core.machine import boot, since_boot
from edge_delta.core.model import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

_KEPT = "settle"
_SLOTS = 64
"""Looks are kept apart by so many parts of the time that rows are held; it is how exact that time is."""


class Settling(Struct):
    """Tells up to which id rows are settled.

    Args:
        seconds: how long rows are held; 0 for not at all.
        load: gives what `save` was given last; empty if that is lost.
        save: keeps when ids were seen.
        clock: seconds that only go on.
        off: whether nothing is held now, because the process or the source is about to go.
    """

    seconds: float
    load: Callable[[], dict[str, Any]] = dict
    save: Callable[[dict[str, Any]], None] = lambda _kept: None
    clock: Callable[[], float] = since_boot
    off: bool = False
    _seen: list[tuple[float, int]] = field(default_factory=list)
    _generation: int | None = None
    _used: int | None = None

    @property
    def holds(self) -> bool:
        """Whether rows are held back."""
        return self.seconds > 0 and not self.off

    def look(self, last: int | None, generation: int) -> None:
        """Rows up to an id are there.

        Args:
            last: the id; None if there is no row at all, so that whatever comes is new, whatever id it gets.
            generation: of the source. In another one, ids say nothing of those before.
        """
        if self._generation is None:
            self._recall(generation)
        if generation != self._generation:
            self._generation, self._seen, self._used = generation, [], None
        if last is None:
            self._seen = []
            return
        # The newest rows may have been deleted, and what gets their ids is new.
        beyond = [at for at, rowid in self._seen if rowid >= last][:1]
        self._seen = [one for one in self._seen if one[1] < last] + [(at, last) for at in beyond]
        if self._seen and self._seen[-1][1] == last:
            return
        now, slot = self.clock(), self.seconds / _SLOTS
        if len(self._seen) > 1 and self._seen[-1][0] // slot == now // slot:
            self._seen.pop()  # its rows wait a little longer than they must
        self._seen = [*self._current(), (now, last)]

    def _current(self) -> list[tuple[float, int]]:
        """What was seen, of all that is settled the last one alone."""
        until = self.clock() - self.seconds
        old = [one for one in self._seen if one[0] <= until]
        return [*old[-1:], *self._seen[len(old) :]]

    def _recall(self, generation: int) -> None:
        kept = self.load().get(_KEPT, {})
        # Where starts of the machine cannot be told apart, its seconds say nothing; then rows wait once more.
        if kept.get("boot") is not None and kept["boot"] == boot() and kept.get("generation") == generation:
            now = self.clock()
            self._seen = [(at, rowid) for at, rowid in kept["seen"] if at <= now]
        self._generation = generation

    def _settled(self) -> int | None:
        """The last id that has been there for long enough; None if there is none."""
        until = self.clock() - self.seconds
        return next((rowid for at, rowid in reversed(self._seen) if at <= until), None)

    def limit(self, waiting: Waiting) -> Waiting:
        """Those of the rows that wait which are settled."""
        if not self.holds or waiting.first_rowid is None or waiting.last_rowid is None:
            return waiting
        self._used = self._settled()
        if self._used is None or self._used < waiting.first_rowid:
            return Waiting(None, None)
        return Waiting(waiting.first_rowid, min(self._used, waiting.last_rowid))

    def ripe(self) -> bool:
        """Whether rows have been settled since the limit was asked for."""
        return self.holds and self._settled() != self._used

    def keep(self) -> None:
        """Keep when ids were seen, for the next process: those that are settled are one."""
        if not self.seconds or self._generation is None:
            return
        self._seen = self._current()
        what = {"boot": boot(), "generation": self._generation, "seen": self._seen}
        kept = self.load()
        if kept.get(_KEPT) != {**what, "seen": [list(one) for one in self._seen]}:
            self.save({**kept, _KEPT: what})
