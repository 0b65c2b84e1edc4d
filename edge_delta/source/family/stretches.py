"""How the ids of a family's files lie in the family's own numbering."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.core.errors import ConfigurationError
from edge_delta.core.model import BEFORE_FIRST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LARGEST = 2**62


class Stat(Struct, frozen=True):
    """What the file system says of a file: two times the same means that nobody wrote it in between.

    Attributes:
        inode: its number in the file system, which a rename keeps.
        size: bytes, of the file and of the log beside it.
        mtime: nanoseconds since 1970, the later one of the two.
    """

    inode: int = 0
    size: int = 0
    mtime: int = 0


class Stretch(Struct, frozen=True):
    """Rows of one file that follow each other in the family's numbering.

    Attributes:
        number: counts the stretches of the family, from 1.
        base: the family's id behind which its rows are numbered.
        file: counts the files of the family, from 1.
        name: what the file was called when it was looked at last.
        after: the file's own id behind which the stretch begins.
        upto: the file's own id at which it ends; None while it is the last one and its file may grow.
        stat: of the file when this was written.
        first: the file's first own id then.
        first_word: by what that row is told again, see `edge_delta.source.witness`.
        told: the file's own id up to which rows are told again by `witnesses`: the last one when this was written.
        witnesses: by what these rows are told.
        first_time: the time of the file's first row, microseconds since 1970, UTC; None where it may not be told.
        last_time: of the last one.
    """

    number: int
    base: int
    file: int
    name: str
    after: int
    upto: int | None = None
    stat: Stat = Stat()
    first: int = 0
    first_word: int = 0
    told: int = 0
    witnesses: tuple[int, ...] = ()
    first_time: int | None = None
    last_time: int | None = None

    @property
    def shift(self) -> int:
        """What is added to the file's ids."""
        return self.base - self.after

    @property
    def end(self) -> int | None:
        """The last id of the family that it has room for; None while it may grow."""
        return None if self.upto is None else self.upto + self.shift


class Stretches:
    """All stretches of a family, in their order."""

    def __init__(self, known: Iterable[Stretch] = ()) -> None:
        self._all: list[Stretch] = []
        self._bases: list[int] = []
        for one in known:
            self.put(one)

    def __iter__(self) -> Iterator[Stretch]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def last(self) -> Stretch | None:
        """The last one."""
        return self._all[-1] if self._all else None

    def put(self, one: Stretch) -> None:
        """The next one, or the last one as it is now."""
        if one.number == len(self._all):
            self._all[-1] = one
        elif one.number == len(self._all) + 1:
            self._all.append(one)
            self._bases.append(one.base)
        else:
            msg = f"stretch {one.number} does not follow {len(self._all)}"
            raise ValueError(msg)

    def following(self, last: Stretch | None, file: int, name: str, after: int) -> Stretch:
        """A stretch behind the last one, which has its end.

        Raises:
            ConfigurationError: if ids are so far apart that there are not enough numbers.
        """
        base = (last.end or 0) if last is not None else 0
        if base >= _LARGEST:
            raise ConfigurationError(
                f"ids of the table in {name} and the files before it lie too far apart to be numbered one after the "
                "other",
                "Read each file as a source of its own",
            )
        return Stretch((last.number if last is not None else 0) + 1, base, file, name, after)

    def of(self, rowid: int) -> Stretch | None:
        """The stretch that has an id of the family; None before the first."""
        place = bisect_left(self._bases, rowid) - 1
        return self._all[place] if place >= 0 else None

    def behind(self, rowid: int) -> Iterator[tuple[Stretch, int]]:
        """The stretches with rows behind an id of the family, each with the own id behind which these are."""
        place = max(0, bisect_left(self._bases, rowid + 1) - 1) if rowid != BEFORE_FIRST else 0
        for one in self._all[place:]:
            yield one, max(one.after, rowid - one.shift) if rowid != BEFORE_FIRST else one.after

    def between(self, after: int, upto: int | None) -> Iterator[tuple[Stretch, int, int | None]]:
        """Parts of stretches: own ids behind one and up to another, None for all there are."""
        for one, own in self.behind(after):
            if upto is not None and one.base >= upto:
                return
            ends = [] if one.upto is None else [one.upto]
            ends += [] if upto is None else [upto - one.shift]
            end = min(ends, default=None)
            if end is None or own < end:
                yield one, own, end
