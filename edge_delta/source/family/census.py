"""Counts the rows of all files of a family that are there, by the family's ids."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from edge_delta.core.counting import NONE, Counts, Times
from edge_delta.core.model import BEFORE_FIRST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from edge_delta.source.family.files import Known
    from edge_delta.source.family.numbering import Numbering
    from edge_delta.source.family.stretches import Stat
    from edge_delta.source.reader import SQLiteSource

T = TypeVar("T")

_KEPT = 100_000


def _ends(source: SQLiteSource, own: int, end: int) -> tuple[int | None, int | None]:
    return source.census.ends(own, end)


def _ids(source: SQLiteSource, own: int, end: int, *, timed: bool) -> list[tuple[int, int]]:
    return source.census.ids(own, end, timed=timed)


def _stamps(source: SQLiteSource, own: Sequence[int]) -> list[tuple[int, int]]:
    return source.census.stamps(own)


class Asked(Protocol):
    """See `edge_delta.source.family.asking.Asking.known`."""

    def __call__(self, known: Known, question: Callable[[SQLiteSource], T]) -> T | None:
        """What a file answers."""


class FamilyCensus:
    """Counts rows; of a file that nobody wrote since, what was counted before is taken.

    Args:
        numbering: which files there are.
        asked: asks a file; None if it is gone or damaged.
        counted: what was counted, by file and own ids.
    """

    def __init__(
        self,
        numbering: Numbering,
        asked: Asked,
        counted: dict[tuple[int, int, int], tuple[Stat, Counts]],
    ) -> None:
        self._numbering = numbering
        self._asked = asked
        self._counted = counted

    def written(self) -> str | None:
        """See `edge_delta.core.counting.Census.written`; a family's files are many, so it is never sure."""
        return None

    def state(self) -> object:
        """None: used ids are not looked for in a family, see `times`."""
        return None

    def _parts(self, after: int, upto: int) -> Iterator[tuple[Known, int, int, int]]:
        """Files with own ids behind one and up to another, and what is added to them."""
        for stretch, own, end in self._numbering.stretches.between(after, upto):
            known = self._numbering.files[stretch.file]
            yield known, own, upto - stretch.shift if end is None else end, stretch.shift

    def counts(self, after: int, upto: int) -> Counts:
        """See `edge_delta.core.counting.Census.counts`."""
        total = NONE
        for known, own, end, shift in self._parts(after, upto):
            found = self._of_file(known, own, end)
            total = Counts(total.rows + found.rows, total.ids + found.ids + shift * found.rows)
        return total

    def _of_file(self, known: Known, own: int, end: int) -> Counts:
        asked = (known.number, own, end)
        if known.name is None:
            return NONE
        if not known.grows and asked in self._counted and self._counted[asked][0] == known.stat:
            return self._counted[asked][1]
        found = self._asked(known, lambda source: source.census.counts(own, end)) or NONE
        if len(self._counted) >= _KEPT:
            self._counted.clear()
        self._counted[asked] = (known.stat, found)
        return found

    def total(self) -> int:
        """All rows that have a place."""
        return self.counts(BEFORE_FIRST, 2**63 - 1)[0]

    def ends(self, after: int, upto: int) -> tuple[int | None, int | None]:
        """See `edge_delta.core.counting.Census.ends`."""
        parts = list(self._parts(after, upto))
        return self._first_of(parts, 0), self._first_of(parts[::-1], 1)

    def _first_of(self, parts: Iterable[tuple[Known, int, int, int]], which: int) -> int | None:
        for known, own, end, shift in parts:
            ends = None if known.name is None else self._asked(known, partial(_ends, own=own, end=end))
            if ends is not None and (found := ends[which]) is not None:
                return found + shift
        return None

    def behind(self, key: int) -> int:
        """How many rows are behind a key."""
        return self.counts(key, 2**63 - 1).rows

    def ids(self, after: int, upto: int, *, timed: bool) -> list[tuple[int, int]]:
        """See `edge_delta.core.counting.Census.ids`."""
        found: list[tuple[int, int]] = []
        for known, own, end, shift in self._parts(after, upto):
            ids = None if known.name is None else self._asked(known, partial(_ids, own=own, end=end, timed=timed))
            found += [(i + shift, time) for i, time in ids or ()]
        return found

    def times(self, ranges: Sequence[tuple[int, int, Counts]], first: int | None, *, most: int) -> Sequence[Times]:  # noqa: ARG002 - as of a census
        """None: that a file's ids were used again is told by its witnesses."""
        return [Times()] * len(ranges)

    def stamps(self, ids: Iterable[int]) -> list[tuple[int, int]]:
        """A checksum of the time of each of some rows, as far as they are there."""
        by_file: dict[int, tuple[Known, int, list[int]]] = {}
        for rowid in ids:
            stretch = self._numbering.stretches.of(rowid)
            if stretch is not None:
                known = self._numbering.files[stretch.file]
                by_file.setdefault(stretch.number, (known, stretch.shift, []))[2].append(rowid - stretch.shift)
        found: list[tuple[int, int]] = []
        for known, shift, own in by_file.values():
            stamps = None if known.name is None else self._asked(known, partial(_stamps, own=own))
            found += [(i + shift, time) for i, time in stamps or ()]
        return found

    # -- what families are refused with

    def last_change(self, column: str) -> int:
        """Updates are not looked for in a family."""
        raise NotImplementedError(column)

    def changed_since(
        self, column: str, since: int | None, *, after: int, upto: int, limit: int
    ) -> tuple[list[int], int]:
        """Updates are not looked for in a family."""
        raise NotImplementedError(column, since, after, upto, limit)

    def primary(self) -> tuple[str, ...]:
        """Only of tables in the order of time, which a family has none of."""
        return ()

    def cells(self, width: int, upto: int) -> dict[int, tuple[int, int]]:
        """Only of tables in the order of time, which a family has none of."""
        raise NotImplementedError(width, upto)
