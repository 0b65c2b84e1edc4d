"""Gives the rows of a family's files their place in one numbering, and writes that down before any of them is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from edge_delta.core.errors import ConfigurationError, SourceUnavailable
from edge_delta.core.events import Event
from edge_delta.source.family.files import Files
from edge_delta.source.family.finding import Looking
from edge_delta.source.family.folder import natural
from edge_delta.source.family.put_off import PutOff
from edge_delta.source.family.stretches import Stretch, Stretches
from edge_delta.source.family.telling import Telling, facts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_delta.core.events import Log
    from edge_delta.source.family.files import Known, Opened
    from edge_delta.source.family.finding import Fresh
    from edge_delta.source.family.folder import Folder
    from edge_delta.source.family.telling import Facts

_QUIET = (Event.FILE_FOUND, Event.FILE_RENAMED)


_TOLD = 20
"""The most files that are told one by one."""


class Record(Protocol):
    """Where the stretches of a family are written down, so that they are the same after a loss of everything else."""

    def read(self) -> Sequence[Stretch]:
        """All of them, as they are now."""

    def write(self, stretches: Sequence[Stretch]) -> None:
        """The next ones, the first of which may take the place of the last one so far; all or none.

        Raises:
            CommitConflict: if others were written since they were read.
            StorageUnavailable: if that cannot be done now.
        """

    def reached(self) -> int:
        """The furthest id of the family that any table at the target has; 0 if none has."""


class Numbering:
    """The files of a family, and how they are numbered.

    Args:
        folder: where the files lie.
        opened: opens them.
        record: where stretches are written down.
        log: where it is said what was found; None to say nothing.
        lenient: see `edge_delta.source.family.telling.Telling`.

    Attributes:
        stretches: all of them.
        files: those that are known.
        put_off: those that cannot be read now.
    """

    def __init__(
        self, folder: Folder, opened: Opened, record: Record, log: Log | None = None, *, lenient: bool = False
    ) -> None:
        self._lenient = lenient
        self._folder = folder
        self._opened = opened
        self._record = record
        self._log = log
        self._said: set[tuple[object, ...]] = set()
        self._reached: int | None = None
        self._read_to = 0
        self._looking: Looking | None = None
        self.put_off = PutOff()
        self.stretches = Stretches()
        self.files = Files()

    def forget(self) -> None:
        """Read the record again, and look at each file."""
        self._looking = None

    def changed(self) -> bool:
        """Whether there may be something to find; costs nothing that grows."""
        return self._looking is None or self._looking.changed()

    def touch(self, number: int) -> None:
        """A file is not as it was."""
        if self._looking is not None:
            self._looking.touch(number)

    def read_to(self, rowid: int) -> None:
        """A lane stands at this id, or reads up to it."""
        self._read_to = max(self._read_to, rowid)

    def settle(self) -> bool:
        """Give all that is new its place; whether there was something.

        Raises:
            FileUnsure: if it cannot be told whether rows are new.
            StorageUnavailable: if it cannot be written down now.
        """
        try:
            looking = self._looking or self._begun()
            some = False
            while placed := self._place(looking.found()):
                for one, number in placed:
                    looking.taken(one, self.files[number])
                self._tell(placed)
                some = True
        except BaseException:
            self.forget()
            raise
        return some

    def _begun(self) -> Looking:
        known = self._record.read()
        self.stretches, self.files = Stretches(known), Files(known)
        telling = Telling(self.files, lenient=self._lenient)
        self._looking = Looking(self._folder, self._opened, self.files, telling, put_off=self.put_off, say=self._say)
        self._folder.forget()
        self._looking.changed()
        return self._looking

    def _place(self, found: list[Fresh]) -> list[tuple[Fresh, int]]:
        last, new = self.stretches.last, []
        if last is not None and last.upto is None and (found or self.files[last.file].name is None):
            last = self._ended(last, self.files[last.file])
            new.append(last)
        placed: list[tuple[Fresh, int]] = []
        number = len(self.files)
        for one in _in_order(found):
            number += one.known is None
            placed.append((one, number if one.known is None else one.known.number))
            for after, upto in one.ranges:
                last = self.stretches.following(last, placed[-1][1], one.name, after)
                last = _told(replace(last, upto=upto, stat=one.stat, first=one.facts.first), one.facts)
                new.append(last)
        if placed and last is not None and last.upto == placed[-1][0].facts.last:
            new[-1] = replace(last, upto=None)  # that file may grow yet
        if new:
            self._record.write(new)
        for stretch in new:
            self.stretches.put(stretch)
            self.files.take(stretch)
        return placed

    def _ended(self, last: Stretch, known: Known) -> Stretch:
        """The stretch that could grow, with its end: behind all that was read of it."""
        if self._reached is None:
            self._reached = self._record.reached()
        read_to = max(last.after, max(self._reached, self._read_to) - last.shift)
        facts = self._facts_of(known)
        upto = max(read_to, last.told, facts.last if facts is not None else read_to)
        if known.name is None:
            self._say(Event.FILE_GONE, file=known.was, read_to=read_to, rows_left=upto - read_to)
        if facts is None:
            return replace(last, upto=upto)
        stat = None if known.name is None else self._folder.stat(known.name)
        return _told(replace(last, name=known.was, upto=upto, stat=stat or known.stat), facts)

    def _facts_of(self, known: Known) -> Facts | None:
        """What a file has; None if it is gone or cannot be read now: what it has besides comes when it can be."""
        try:
            source = self._opened.of(known)
            return facts_of(source) if source is not None else None
        except (SourceUnavailable, ConfigurationError) as error:
            self.put_off.add(known.was, error)
            self._opened.close(known.number)
            return None

    # -- what is said

    def _tell(self, placed: list[tuple[Fresh, int]]) -> None:
        """Say what was found, each file by itself unless they are many."""
        for one, number in placed if len(placed) <= _TOLD else placed[-1:]:
            ids = sum(upto - after for after, upto in one.ranges)
            event = Event.FILE_FOUND if one.known is None else Event.FILE_GREW
            self._say(event, file=one.name, number=number, ids=ids, files=len(placed))

    def _say(self, event: Event, **keys: object) -> None:
        once = (event, *keys.values())
        if self._log is None or once in self._said:
            return
        if event is Event.LEFT_OUT:
            self._said.add(once)
        (self._log.info if event in _QUIET else self._log.warning)(event, **keys)


def _in_order(found: list[Fresh]) -> list[Fresh]:
    """Late rows of known files, then new files by the time of their first row, and by their names."""
    timed = all(one.facts.first_time is not None for one in found if one.known is None)
    late = sorted((one for one in found if one.known is not None), key=lambda one: one.known.number if one.known else 0)
    new = [one for one in found if one.known is None]
    return [*late, *sorted(new, key=lambda one: (one.facts.first_time if timed else 0, natural(one.name)))]


def _told(one: Stretch, facts: Facts) -> Stretch:
    """A stretch with what tells its file's rows again, as they are now and under the key of now."""
    return replace(
        one,
        told=facts.last,
        witnesses=facts.witnesses,
        first_word=facts.first_word if facts.first == one.first else one.first_word,
        first_time=one.first_time or facts.first_time,
        last_time=facts.last_time,
    )
