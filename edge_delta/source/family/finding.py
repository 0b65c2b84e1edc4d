"""Finds what is new in a family's folder.

A look costs one `stat` of the folder and some of files, whatever their number: of those that may still be written each
time, and of the others a few in turn. The folder is listed when it was changed, and a file is opened when it is new or
was written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.core.errors import ConfigurationError, FileUnsure, SourceReset, SourceUnavailable
from edge_delta.core.events import Event
from edge_delta.core.model import Cursor
from edge_delta.source.family.folder import natural
from edge_delta.source.family.telling import facts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_delta.source.family.files import Files, Known, Opened
    from edge_delta.source.family.folder import Folder
    from edge_delta.source.family.put_off import PutOff
    from edge_delta.source.family.stretches import Stat
    from edge_delta.source.family.telling import Facts, Telling
    from edge_delta.source.reader import SQLiteSource

_NEWEST = 3
"""The last files, which may still be written and are looked at each time."""
_IN_TURN = 64
"""How many of the others are looked at each time; and of those without rows so far."""


class Entry(Struct):
    """A name in the folder.

    Attributes:
        inode: the file's.
        stat: as it was when it was looked at.
        number: the known file that it is, or is a copy of; None for one without rows, and for what is no database.
    """

    inode: int
    stat: Stat
    number: int | None = None


class Fresh(Struct):
    """Rows that have no place in the numbering yet.

    Attributes:
        name: the file.
        stat: as it was before its rows were looked at.
        facts: what it has.
        known: the file, None for a new one.
        ranges: own ids behind one and up to another.
    """

    name: str
    stat: Stat
    facts: Facts
    known: Known | None
    ranges: list[tuple[int, int]]


class Looking:
    """Looks at the folder.

    Args:
        folder: where the files lie.
        opened: opens them.
        files: those that are known.
        telling: tells them.
        put_off: those that cannot be read now.
        say: says what was seen.
    """

    def __init__(  # noqa: PLR0913 - what it looks at, and who is told of what
        self,
        folder: Folder,
        opened: Opened,
        files: Files,
        telling: Telling,
        *,
        put_off: PutOff,
        say: Callable[..., None],
    ) -> None:
        self._folder = folder
        self._opened = opened
        self._files = files
        self._telling = telling
        self._put_off = put_off
        self._say = say
        self._entries: dict[str, Entry] = {}
        self._touched: dict[str, None] = {}
        self._empty: dict[str, None] = {}
        self._turn: Iterator[str] = iter(())

    # -- cheap looks

    def changed(self) -> bool:
        """Whether there may be something to find; costs nothing that grows."""
        if self._folder.changed():
            self._compare(self._folder.names())
        for name in self._watched():
            entry = self._entries.get(name)
            if entry is None or (entry.number is not None and self._files[entry.number].grows):
                continue  # of the file that grows, its rows are asked
            if self._folder.stat(name) != entry.stat:
                self._touched[name] = None
        self._touched |= dict.fromkeys(self._put_off.due())
        return bool(self._touched)

    def _compare(self, now: dict[str, int]) -> None:
        for name, inode in now.items():
            entry = self._entries.get(name)
            if entry is None or entry.inode != inode:
                self._touched[name] = None
        for name in [n for n in self._entries if n not in now]:
            self._touched[name] = None

    def _watched(self) -> list[str]:
        newest = len(self._files)
        hot = [self._files[n].name for n in range(max(1, newest - _NEWEST + 1), newest + 1)]
        turn = [name for _, name in zip(range(_IN_TURN), self._turn, strict=False)]
        if len(turn) < _IN_TURN:
            self._turn = iter(list(self._entries))
        empty = [name for _, name in zip(range(_IN_TURN), self._empty, strict=False)]
        return [*(name for name in hot if name is not None), *turn, *empty]

    def touch(self, number: int) -> None:
        """A known file is not as it was."""
        if (name := self._files[number].name) is not None:
            self._touched[name] = None

    # -- what is new

    def found(self) -> list[Fresh]:
        """The rows that have no place yet.

        Raises:
            FileUnsure: if it cannot be told whether rows are new.
        """
        there = {name: self._folder.stat(name) for name in sorted(self._touched, key=natural)}
        for name, stat in there.items():
            self._leave(name, stat)
        # Those that are likely to be known come first: what is a copy of one of them is seen to be one then.
        names = sorted(there, key=lambda name: not self._may_be_known(name, there[name]))
        found = [one for name in names if (one := self._tried(name, there[name])) is not None]
        later = _alike(found)
        self._touched = dict.fromkeys(one.name for one in later)
        return [one for one in found if one not in later]

    def _may_be_known(self, name: str, stat: Stat | None) -> bool:
        return stat is not None and bool(self._files.candidates(name, stat.inode))

    def _tried(self, name: str, stat: Stat | None) -> Fresh | None:
        """What a file has; nothing for now of one that cannot be read, which is told (`PutOff.error`)."""
        try:
            found = self._examined(name, stat)
        except (SourceUnavailable, ConfigurationError) as error:
            self._put_off.add(name, error)
            if (entry := self._entries.get(name)) is not None and stat is not None:
                entry.stat = stat  # the next look comes after a pause, or when it is written
            return None
        self._put_off.over(name, stat)
        return found

    def _leave(self, name: str, stat: Stat | None) -> None:
        """Forget a name that is gone, or has another file now."""
        entry = self._entries.get(name)
        if entry is None or (stat is not None and entry.inode == stat.inode):
            return
        del self._entries[name]
        self._empty.pop(name, None)
        if entry.number is None or self._files[entry.number].name != name:
            return
        known = self._files[entry.number]
        known.name = next((n for n, other in self._entries.items() if other.number == entry.number), None)

    def _examined(self, name: str, stat: Stat | None) -> Fresh | None:
        if stat is None:
            return None
        entry = self._entries.get(name)
        if entry is not None and entry.number is not None and self._files[entry.number].name == name:
            return self._written(name, stat, self._files[entry.number])
        known = self._telling.at_rest(name, stat)
        if known is not None:
            self._bound(name, stat, known)
            return None
        self._entries[name] = Entry(stat.inode, stat)
        self._empty.pop(name, None)
        source = self._opened_database(name)
        return None if source is None else self._told(name, stat, source)

    def _opened_database(self, name: str) -> SQLiteSource | None:
        database = self._folder.is_database(name)
        if database is None:
            self._empty[name] = None
        if database is False:
            self._say(Event.LEFT_OUT, source=name, reason="it is not a SQLite database")
        if not database:
            return None
        try:
            return self._opened.load(name)
        except ConfigurationError as error:
            self._say(Event.LEFT_OUT, source=name, reason=error.fact)
            return None

    def _told(self, name: str, stat: Stat, source: SQLiteSource) -> Fresh | None:
        """What a file is that was not there before under this name."""
        try:
            facts = facts_of(source)
            if facts is None:
                self._empty[name] = None
                return None
            original = self._original(name, facts)
            told = None if original is not None else self._telling.told(name, stat, source, facts)
            known, end = told or (original, 0)
            if known is not None and known.name not in (None, name):
                self._entries[name] = Entry(stat.inode, stat, known.number)
                self._refuse_own_rows(name, source, facts, known)
                return None
        finally:
            source.reopen()
        if known is None:
            return Fresh(name, stat, facts, None, [(facts.first - 1, facts.last)])
        self._bound(name, stat, known)
        return self._grown(name, stat, known, facts, end)

    def _original(self, name: str, facts: Facts) -> Known | None:
        """The file in the folder that a found one is a copy of."""
        for known in self._files.beginning_with(facts.begin):
            if known.name not in (None, name):
                return known
        for known in self._telling.present(facts):
            source = self._opened.of(known) if known.name != name else None
            own = None if source is None else facts_of(source)
            if own is not None and own.begin == facts.begin:
                return known
        return None

    def _refuse_own_rows(self, name: str, copy: SQLiteSource, facts: Facts, known: Known) -> None:
        """A copy of a file that is there may have its rows, or fewer, but no others."""
        source = self._opened.of(known)
        last = None if source is None else source.waiting(Cursor()).last_rowid
        ahead = facts.last > max(known.end, known.end if last is None else last)
        if not ahead and source is not None and last is not None:
            try:
                copy.verify(source.placed(Cursor(), min(facts.last, last)))
            except SourceReset:
                ahead = True
        if ahead:
            raise FileUnsure(
                f"{name} is a copy of {known.name}, and goes on with rows of its own: both cannot be read",
                "Move one of them out of the folder",
            )

    def _bound(self, name: str, stat: Stat, known: Known) -> None:
        if known.was != name:
            self._say(Event.FILE_RENAMED, file=name, was=known.was, number=known.number)
            self._opened.close(known.number)
        known.name = known.was = name
        known.stat = stat
        self._entries[name] = Entry(stat.inode, stat, known.number)

    def _grown(self, name: str, stat: Stat, known: Known, facts: Facts, end: int) -> Fresh | None:
        """What a known file has outside of its stretches."""
        known.end = end = min(known.end, end)
        ranges = [(facts.first - 1, known.low)] if facts.first <= known.low and not known.grows else []
        ranges += [(end, facts.last)] if facts.last > end and not known.grows else []
        return Fresh(name, stat, facts, known, ranges) if ranges else None

    def _written(self, name: str, stat: Stat, known: Known) -> Fresh | None:
        """A known file that was written since it was looked at."""
        source = self._opened.of(known)
        facts = facts_of(source) if source is not None else None
        if source is None or facts is None:  # gone, or emptied: what comes next tells
            self._entries[name].stat = stat
            return None
        end = self._telling.compared(name, known, source, facts, bound=True)
        if end is None:  # it was made again under its name
            self._opened.close(known.number)
            known.name = None
            self._entries[name] = Entry(stat.inode, stat)
            return Fresh(name, stat, facts, None, [(facts.first - 1, facts.last)])
        known.stat = self._entries[name].stat = stat
        return self._grown(name, stat, known, facts, end)

    def taken(self, one: Fresh, known: Known) -> None:
        """Rows that were found have their place now."""
        if known.name is None or one.known is None:
            known.name = known.was = one.name
            known.stat = one.stat
        self._entries[one.name] = Entry(one.stat.inode, one.stat, known.number)


def _alike(found: list[Fresh]) -> list[Fresh]:
    """New files that begin with the row that a longer one begins with: once that has its place, they are told by it."""
    longest: dict[tuple[int, int], Fresh] = {}
    new = [one for one in found if one.known is None]
    for one in new:
        begin = one.facts.begin
        if begin not in longest or one.facts.last > longest[begin].facts.last:
            longest[begin] = one
    return [one for one in new if longest[one.facts.begin] is not one]
