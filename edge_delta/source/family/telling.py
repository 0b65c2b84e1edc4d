"""Which of the known files a found one is: told by its rows, not by its name.

The names and inodes of files only say which ones to compare with. A file is the known one if the row that was its last
is there as it was, or others before it are; it is another one if not even its first row is. What lies between, such as
an old copy that went on by itself, cannot be told, and is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.core.errors import FileUnsure, SourceReset
from edge_delta.core.model import Cursor, Waiting

if TYPE_CHECKING:
    from datetime import datetime

    from edge_delta.source.family.files import Files, Known
    from edge_delta.source.family.stretches import Stat
    from edge_delta.source.reader import SQLiteSource

_ROW, _COLUMNS = 31, 16
"""Bits of a witness' first word: the row, and above it the columns, see `edge_delta.source.witness`."""
_LENGTH_OF_A_DAY = 10
"""Characters of 2026-01-31."""


class Facts(Struct, frozen=True):
    """What a file has.

    Attributes:
        first: its first own id.
        last: its last one.
        first_word: by what the first row is told.
        witnesses: by what the rows up to the last one are told.
        first_time: microseconds since 1970, UTC; None where there is none, or it may not be told.
        last_time: of the last row.
    """

    first: int
    last: int
    first_word: int
    witnesses: tuple[int, ...]
    first_time: int | None
    last_time: int | None

    @property
    def begin(self) -> tuple[int, int]:
        """By what files are found that may be the same: the first row."""
        return self.first, self.first_word


def facts_of(source: SQLiteSource) -> Facts | None:
    """What a file has; None if it has no row."""
    there = source.waiting(Cursor())
    if there.first_rowid is None or there.last_rowid is None:
        return None
    first, last = (source.placed(Cursor(), rowid).witnesses for rowid in (there.first_rowid, there.last_rowid))
    times: tuple[int | None, ...] = (None, None)
    if source.tells_times:
        times = tuple(map(_micros, source.span()))
    return Facts(there.first_rowid, there.last_rowid, first[0], last, *times)


class Telling:
    """Tells files.

    Args:
        files: those that are known.
        lenient: whether a file that cannot be told for sure is taken for what it seems to be: for who only looks.
    """

    def __init__(self, files: Files, *, lenient: bool = False) -> None:
        self._files = files
        self._lenient = lenient

    def at_rest(self, name: str, stat: Stat) -> Known | None:
        """The known file that nobody touched since it was written down; its content need not be looked at."""
        for known in self._files.candidates(name, stat.inode):
            if (known.stat.size, known.stat.mtime) == (stat.size, stat.mtime) and known.name is None:
                return known
        return None

    def told(self, name: str, stat: Stat, source: SQLiteSource, facts: Facts) -> tuple[Known, int] | None:
        """The known file that a found one is, and up to which own id it is so; None if it is a new one.

        Raises:
            FileUnsure: if that cannot be told.
        """
        likely = self._files.candidates(name, stat.inode)
        alike = self._files.beginning_with(facts.begin)
        others = (known for known in self._files if known.name is None and _in_time_of(facts, known))
        numbers = dict.fromkeys(known.number for known in (*likely, *alike, *others))
        for known in map(self._files.__getitem__, numbers):
            end = self.compared(name, known, source, facts, bound=known in likely)
            if end is not None:
                return known, end
        if not self._lenient:
            self._refuse_unknowable(name, facts)
        return None

    def compared(self, name: str, known: Known, source: SQLiteSource, facts: Facts, *, bound: bool) -> int | None:
        """Up to which own id a file has the rows of a known one; None if it is another.

        Args:
            name: what it is called.
            known: the known one.
            source: the file.
            facts: what it has.
            bound: whether it has the name or the inode of the known one.

        Raises:
            FileUnsure: if that cannot be told.
        """
        cursor = Cursor(rowid=known.told, witnesses=known.witnesses)
        try:
            source.verify(cursor)
        except SourceReset as reset:
            return self._other_or_not(
                name, known, source, facts, bound=bound, likely=reset.unsure and reset.likely_same
            )
        if facts.first > known.told:  # all of its rows were deleted, or it is another one whose ids go on
            return known.end if bound else None
        return known.end

    def _other_or_not(  # noqa: PLR0913 - as of `compared`, and what the witnesses said
        self, name: str, known: Known, source: SQLiteSource, facts: Facts, *, bound: bool, likely: bool
    ) -> int | None:
        ours, now = known.witnesses[0] >> _ROW, facts.witnesses[0] >> _ROW
        if self.lost_key_of(known, facts):
            return known.end if bound and likely and _ends_alike(known, source) else None
        found = source.known(Cursor(rowid=known.told, witnesses=known.witnesses))
        if found is not None and found[0] == facts.last:  # its last rows were taken back, or it is an older copy
            return found[0]
        begins_alike = facts.begin == known.begin
        if found is not None or begins_alike or (bound and likely and ours != now):
            if self._lenient:
                return known.end
            raise FileUnsure(
                f"{name} has rows of {known.was}, which was delivered up to id {known.end}, and then others, or fewer: "
                "it cannot be told which of them are new",
                "Move it out of the folder if it is an old copy; put the whole file in its place if it was restored",
            )
        if bound and self._updated(name, known, source):
            return known.end
        if bound and not self._lenient:
            self._refuse_renumbered(name, known, source, facts)
        return None

    @staticmethod
    def _refuse_renumbered(name: str, known: Known, source: SQLiteSource, facts: Facts) -> None:
        """A file in its place with rows of the times that were delivered, whose rowids VACUUM may have changed."""
        may_be = source.layout.id_column is None and _is_in_place(known, source)
        if may_be and _begins_before_the_end(facts, known):
            raise FileUnsure(
                f"rows of {name} were deleted and others have their ids, as after a VACUUM, which numbers rows afresh: "
                "it cannot be told which of them were delivered",
                "Move the file out of the folder; VACUUM keeps the ids of an INTEGER PRIMARY KEY",
            )

    def _updated(self, name: str, known: Known, source: SQLiteSource) -> bool:
        """Whether all rows have other values, and their times: an UPDATE of all, and not another file of that name."""
        if not source.times_as_before(Cursor(rowid=known.told, witnesses=known.witnesses)):
            return False
        if _is_in_place(known, source) or self._lenient or not _has_days_for_times(source):
            return True
        raise FileUnsure(
            f"rows of {name} have the days of those of {known.was} and other values: whether they were updated, or the "
            "file was made again on the same day, cannot be told",
            "Give the file another name if it was made again; name a column with times by --timestamp-field",
        )

    @staticmethod
    def lost_key_of(known: Known, facts: Facts) -> bool:
        """Whether the key that a file is told by was lost with the state directory."""
        return known.witnesses[0] >> (_ROW + _COLUMNS) != facts.witnesses[0] >> (_ROW + _COLUMNS)

    def present(self, facts: Facts) -> list[Known]:
        """Known files in the folder that a found one may be a copy of, where the key that would tell it was lost."""
        there = [known for known in self._files if known.name is not None and self.lost_key_of(known, facts)]
        return [known for known in there if facts.first_time is None or _in_time_of(facts, known)]

    def _refuse_unknowable(self, name: str, facts: Facts) -> None:
        """A file that may be one of those whose witnesses were made with a key that is lost."""
        lost = [known for known in self._files if known.name is None and self.lost_key_of(known, facts)]
        if not lost:
            return
        latest = max((k.last_time for k in lost if k.last_time is not None), default=None)
        sure = facts.first_time is not None and latest is not None and all(k.last_time is not None for k in lost)
        if sure and facts.first_time > latest:  # type: ignore[operator]
            return
        raise FileUnsure(
            f"{name} may be one of {len(lost)} files that were delivered before the state directory was lost, such as "
            f"{lost[-1].was}, under another name: with the directory the key went by which files are told",
            "Give it the name that it had, or move it out of the folder; WITNESS_KEY keeps such a key elsewhere",
        )


def _ends_alike(known: Known, source: SQLiteSource) -> bool:
    """Whether a file may have the row that a known one was told up to, as far as times say it."""
    time = source.time_of(known.told) if known.last_time is not None and source.tells_times else None
    return time is None or _micros(time) == known.last_time


def _micros(time: datetime | None) -> int | None:
    """Microseconds since 1970, UTC."""
    return None if time is None else round(time.timestamp() * 1_000_000)


def _is_in_place(known: Known, source: SQLiteSource) -> bool:
    """Whether it is the file that was written down, and not another one that was put in its place."""
    return source.path.stat().st_ino == known.stat.inode


def _has_days_for_times(source: SQLiteSource) -> bool:
    """Whether rows of one day have the same time."""
    stamp = source.timestamp
    cells = [] if stamp is None else source.sample(1)[stamp.name]
    return all(isinstance(cell, str) and len(cell) <= _LENGTH_OF_A_DAY and not cell.isdecimal() for cell in cells)


def _in_time_of(facts: Facts, known: Known) -> bool:
    """Whether a file may be a known one by its ids and times; almost all new ones begin after all others ended."""
    return facts.first <= known.told <= facts.last and _begins_before_the_end(facts, known)


def _begins_before_the_end(facts: Facts, known: Known) -> bool:
    return facts.first_time is not None and known.last_time is not None and facts.first_time <= known.last_time


def waiting_behind(source: SQLiteSource, own: int, upto: int | None) -> Waiting:
    """The rows of a file behind an own id and up to another."""
    found = source.waiting(Cursor(rowid=own))
    if found.first_rowid is None or (upto is not None and found.first_rowid > upto):
        return Waiting(None, None)
    return found if upto is None else Waiting(found.first_rowid, min(upto, found.last_rowid or upto))
