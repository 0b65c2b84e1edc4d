"""What is known of a family's files, and those that are open."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.core.errors import ConfigurationError
from edge_delta.source.family.stretches import Stat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from edge_delta.source.family.folder import Folder
    from edge_delta.source.family.stretches import Stretch
    from edge_delta.source.reader import SQLiteSource

_OPEN = 6
"""Files that are open at a time; each connection has a cache of pages, 2 MB by SQLite's default."""


class Known(Struct):
    """One file.

    Attributes:
        number: its number in the family.
        name: what it is called; None where it is not in the folder.
        was: what it was called when it was written down.
        stat: as it was when its rows were looked at last.
        low: the own id behind which its stretches begin.
        end: the last own id that a stretch has room for; while it may grow, the last one that was there.
        grows: whether the last stretch is of this file and has no end.
        first: the first own id that it had.
        first_word: by what that row is told.
        told: the own id up to which rows are told by `witnesses`.
        witnesses: by what they are told.
        last_time: of its last row, microseconds since 1970, UTC; None where it is not known.
        checked: whether this process has seen that it is in the folder as it was.
    """

    number: int
    name: str | None = None
    was: str = ""
    stat: Stat = Stat()
    low: int = 0
    end: int = 0
    grows: bool = False
    first: int = 0
    first_word: int = 0
    told: int = 0
    witnesses: tuple[int, ...] = ()
    last_time: int | None = None
    checked: bool = False

    @property
    def begin(self) -> tuple[int, int]:
        """Its first row: the own id, and by what it is told."""
        return self.first, self.first_word

    def take(self, one: Stretch) -> None:
        """Learn from a stretch of it."""
        fresh = not self.first_word
        self.was, self.stat, self.grows = one.name, one.stat, one.upto is None
        self.low = one.after if fresh else min(self.low, one.after)
        own = one.told if one.upto is None else one.upto
        self.end = own if fresh else max(self.end, own)
        if fresh or one.told >= self.told:
            self.told, self.witnesses, self.last_time = one.told, one.witnesses, one.last_time
        if fresh or one.first == self.first:
            self.first, self.first_word = one.first, one.first_word


class Files:
    """All files of a family, by their numbers, by their inodes, and by their first rows."""

    def __init__(self, stretches: Iterable[Stretch] = ()) -> None:
        self._all: dict[int, Known] = {}
        self._by_first: dict[tuple[int, int], list[int]] = {}
        self._by_inode: dict[int, int] = {}
        self._by_name: dict[str, int] = {}
        for one in stretches:
            self.take(one)

    def __iter__(self) -> Iterator[Known]:
        return iter(self._all.values())

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, number: int) -> Known:
        return self._all[number]

    def take(self, one: Stretch) -> Known:
        """Learn from a stretch, of a known file or of the next one."""
        known = self._all.get(one.file)
        if known is None:
            known = self._all[one.file] = Known(one.file)
        known.take(one)
        alike = self._by_first.setdefault(known.begin, [])
        if one.file not in alike:
            alike.append(one.file)
        self._by_inode[one.stat.inode] = self._by_name[one.name] = one.file
        return known

    def candidates(self, name: str, inode: int) -> list[Known]:
        """Those that a file may be, going by the file system."""
        numbers = dict.fromkeys(n for n in (self._by_inode.get(inode), self._by_name.get(name)) if n is not None)
        return [self._all[n] for n in numbers]

    def beginning_with(self, begin: tuple[int, int]) -> list[Known]:
        """Those that began with a row, see `Known.begin`."""
        return [self._all[n] for n in self._by_first.get(begin, ())]


class Opened:
    """The files that are open, the last used ones.

    Args:
        folder: where they lie.
        load: opens one.
    """

    def __init__(self, folder: Folder, load: Callable[[str], SQLiteSource]) -> None:
        self._folder = folder
        self._load = load
        self._open: OrderedDict[int, tuple[str, SQLiteSource]] = OrderedDict()

    def load(self, name: str) -> SQLiteSource | None:
        """A file that is not known yet; None if it is gone.

        Raises:
            ConfigurationError: if it is not as it must be.
        """
        try:
            return self._load(name)
        except ConfigurationError:
            if (self._folder.path / name).exists():
                raise
            return None

    def of(self, known: Known) -> SQLiteSource | None:
        """A known file; None if it is gone. What was open when it went can still be read."""
        there = self._open.get(known.number)
        if there is not None and known.name in (None, there[0]):
            self._open.move_to_end(known.number)
            return there[1]
        self.close(known.number)
        if known.name is None:
            return None
        source = self.load(known.name)
        if source is not None:
            self.keep(known, source)
        return source

    def is_open(self, known: Known) -> bool:
        """Whether it can be read although it is gone."""
        return known.number in self._open

    def keep(self, known: Known, source: SQLiteSource) -> None:
        """Keep a file open that was found to be a known one."""
        self.close(known.number)
        self._open[known.number] = (known.name or known.was, source)
        while len(self._open) > _OPEN:
            self.close(next(iter(self._open)))

    def close(self, number: int) -> None:
        """Close a file."""
        if (there := self._open.pop(number, None)) is not None:
            with contextlib.suppress(ConfigurationError):
                there[1].reopen()

    def close_all(self) -> None:
        """Close all of them."""
        for number in list(self._open):
            self.close(number)
