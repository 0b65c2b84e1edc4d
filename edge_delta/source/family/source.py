"""The table of a family's files, read as if it were one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from edge_delta.core.errors import ConfigurationError, SourceReset
from edge_delta.core.model import BEFORE_FIRST, Batch, Column, Cursor, Waiting
from edge_delta.core.swept import Passed
from edge_delta.source.family import merging as merged
from edge_delta.source.family.asking import Asking
from edge_delta.source.family.census import FamilyCensus
from edge_delta.source.family.copy import Unwritten
from edge_delta.source.family.files import Opened
from edge_delta.source.family.folder import Folder, newest
from edge_delta.source.family.merging import moved_by
from edge_delta.source.family.model import OfLastFile
from edge_delta.source.family.numbering import Numbering, Record
from edge_delta.source.family.telling import waiting_behind
from edge_delta.source.reader import SQLiteSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    import polars as pl

    from edge_delta.core.counting import Counts
    from edge_delta.core.errors import SourceUnavailable
    from edge_delta.core.events import Log
    from edge_delta.source.family.stretches import Stat, Stretch
    from edge_delta.source.read_options import Options
    from edge_delta.source.witness import Witnessing

T = TypeVar("T")

_FILES_IN_A_BATCH = 64
_FILES_LOOKED_BACK = 32
"""Files, the last ones first, in which a sensor's last value is looked for."""


class FamilySource(OfLastFile):
    """One table of all files that a pattern means, in the order in which they were found.

    It is a `SQLiteSource` to all who read one, with the family's ids for rowids; each file is one besides.

    Args:
        pattern: the files.
        open_file: opens one of them, to be read as is said or as the settings say.

    Raises:
        SourceUnavailable: if there is no file yet.
        ConfigurationError: if the table cannot be read in the order of its rowids, or has no times.
    """

    reads_ahead = False

    def __init__(self, pattern: Path, open_file: Callable[[Path, Options | None], SQLiteSource]) -> None:
        self._pattern = pattern
        self._folder = Folder(pattern)
        self._open_file = open_file
        self._how: Witnessing | None = None
        self._read_with: Options | None = None
        self._trace: Callable[[str], None] | None = None
        self._opened = Opened(self._folder, self._loaded)
        self._counted: dict[tuple[int, int, int], tuple[Stat, Counts]] = {}
        self._first: SQLiteSource | None = None
        self._go_on(Numbering(self._folder, self._opened, Unwritten()))
        self._model = self._first = newest(pattern, lambda path: open_file(path, None))
        _refuse(self._model, pattern)

    def follow(self, record: Record, log: Log | None, *, lenient: bool = False) -> None:
        """Go on with what was written down of the files.

        Args:
            record: where.
            log: where it is said what is found; None to say nothing.
            lenient: whether a file that cannot be told for sure is taken for what it seems to be.
        """
        self._go_on(Numbering(self._folder, self._opened, record, log, lenient=lenient))

    def _go_on(self, numbering: Numbering) -> None:
        self._numbering = numbering
        self._asking = Asking(self._folder, self._opened, numbering.put_off, self._used)

    def _loaded(self, name: str) -> SQLiteSource:
        source = self._open_file(self._folder.path / name, self._read_with)
        if source.table.lower() != self.table.lower():
            raise ConfigurationError(f"{name} has no table {self.table!r}")
        if self._how is not None:
            source.tell_by(self._how)
        if self._trace is not None:
            source.traced(self._trace)
        _refuse(source, self._folder.path / name)
        return source

    def traced(self, told: Callable[[str], None]) -> None:
        """See `SQLiteSource.traced`."""
        self._trace = told
        self._model.traced(told)

    @property
    def path(self) -> Path:
        """The pattern."""
        return self._pattern

    def tell_by(self, witnessing: Witnessing, options: Options | None = None) -> None:
        """See `SQLiteSource.tell_by`."""
        self._how, self._read_with = witnessing, options or self._read_with
        self._model.tell_by(witnessing, options)
        self._opened.close_all()

    # -- cheap questions

    def changed(self) -> bool:
        """Whether there may be new rows, in whichever file."""
        if self._numbering.changed():
            return True
        last = self._numbering.stretches.last
        return last is not None and last.upto is None and bool(self._ask(last, SQLiteSource.changed))

    def unreadable(self) -> SourceUnavailable | None:
        """See `edge_delta.core.ports.Source.unreadable`."""
        return self._numbering.put_off.error

    def moved(self) -> bool:
        """Never: a file that goes is another one from then on, and is read to its end all the same."""
        return False

    @property
    def file(self) -> tuple[int, int]:
        """None: they are many."""
        return 0, 0

    def gone(self) -> SourceUnavailable | None:
        """Never, for the same reason."""
        return None

    def reopen(self) -> None:
        """Close all files, and read again what was written down of them."""
        self._opened.close_all()
        self._model.reopen()
        self._numbering.forget()

    def _up_to_date(self) -> None:
        if self._numbering.changed():
            self._numbering.settle()

    def waiting(self, cursor: Cursor) -> Waiting:
        """What lies behind the cursor, in all files."""
        self._up_to_date()
        self._numbering.read_to(cursor.rowid)
        first = last = None
        for stretch, own in self._numbering.stretches.behind(cursor.rowid):
            found = self._ask(stretch, partial(waiting_behind, own=own, upto=stretch.upto))
            if found is not None and found.first_rowid is not None:
                first = found.first_rowid + stretch.shift
                break
        if first is not None:
            last = self._last()
        return Waiting(first, last) if last is not None and first is not None and last >= first else Waiting(None, None)

    def _last(self) -> int | None:
        """The last id that there is a place for."""
        stretch = self._numbering.stretches.last
        if stretch is None or stretch.upto is not None:
            return None if stretch is None else stretch.end
        there = self._ask(stretch, lambda source: source.waiting(Cursor()))
        last = None if there is None else there.last_rowid
        return max(stretch.base, (stretch.told if last is None else last) + stretch.shift)

    def _ask(self, stretch: Stretch, question: Callable[[SQLiteSource], T]) -> T | None:
        return self._asking.of(stretch, self._numbering.files[stretch.file], question)

    def _used(self, source: SQLiteSource) -> None:
        if self._first is not None:
            self._first.reopen()
        self._model, self._first = source, None

    def passed(self, cursor: Cursor) -> Passed:  # noqa: ARG002 - as of a source
        """None: rows are read in the order of ids."""
        return Passed(0, 0)

    def between(self, after: int, upto: int) -> tuple[int | None, int | None, int]:
        """See `SQLiteSource.between`."""
        self._up_to_date()
        first, last = self.census.ends(after, upto)
        return first, last, self.census.counts(after, upto).rows

    def first_since(self, time: datetime, *, upto: int) -> int | None:
        """See `SQLiteSource.first_since`."""
        self._up_to_date()
        for stretch, _, end in self._numbering.stretches.between(BEFORE_FIRST, upto):
            own = upto - stretch.shift if end is None else end
            found = self._ask(stretch, partial(SQLiteSource.first_since, time=time, upto=own))
            if found is not None and found > stretch.after:
                return found + stretch.shift
        return None

    # -- whether it is the same

    def _at(self, rowid: int, question: Callable[[SQLiteSource, int], T]) -> tuple[Stretch, T] | None:
        """The stretch that has an id of the family, and what its file says of it by its own id; None if it is gone."""
        stretch = self._numbering.stretches.of(rowid)
        if stretch is None:
            return None
        answer = self._ask(stretch, lambda source: (question(source, rowid - stretch.shift),))
        return None if answer is None else (stretch, answer[0])

    def placed(self, cursor: Cursor, rowid: int) -> Cursor:
        """The cursor at a row, with what tells that row again in its file."""
        self._up_to_date()
        there = self._at(rowid, lambda source, own: source.placed(cursor, own))
        if there is None:
            return cursor.moved_to(rowid, cursor.witnesses if rowid == cursor.rowid else ())
        return cursor.moved_to(rowid, there[1].witnesses)

    def verify(self, cursor: Cursor) -> bool:
        """See `SQLiteSource.verify`: of the file that grows; what the others are was told when they were found.

        Raises:
            SourceReset: if the file is not what it was, and it is not a new one either.
        """
        self._up_to_date()
        self._numbering.read_to(cursor.rowid)
        stretch = self._numbering.stretches.of(cursor.rowid)
        if stretch is None or stretch.upto is not None or cursor.rowid == BEFORE_FIRST:
            return False
        own = replace(cursor, rowid=cursor.rowid - stretch.shift)
        try:
            return bool(self._ask(stretch, lambda source: source.verify(own)))
        except SourceReset:
            self._numbering.touch(stretch.file)
            if self._numbering.settle():
                return False  # it is another file by now
            raise

    def known(self, cursor: Cursor, *, moved: bool = False) -> tuple[int, int] | None:
        """See `SQLiteSource.known`."""
        self._up_to_date()
        there = self._at(cursor.rowid, lambda source, own: source.known(replace(cursor, rowid=own), moved=moved))
        if there is None or there[1] is None:
            return None
        return there[1][0] + there[0].shift, there[1][1] + there[0].shift

    def nearest(self, rowid: int) -> list[int]:
        """The ids of some rows of one file up to one, at growing distance from it."""
        there = self._at(rowid, SQLiteSource.nearest)
        if there is None:
            return [rowid]
        return [own + there[0].shift for own in there[1] if own > there[0].after]

    @property
    def census(self) -> FamilyCensus:  # type: ignore[override]
        """Counts its rows."""
        return FamilyCensus(self._numbering, self._asking.known, self._counted)

    # -- rows

    def read_after(self, cursor: Cursor, *, limit: int, upto: int | None = None) -> Batch | None:
        """See `SQLiteSource.read_after`; a batch has rows of several files where these are small."""
        self.verify(cursor)
        parts: list[Batch] = []
        for part, whole in self._parts(cursor, limit, upto):
            if parts and not merged.fit(parts, part):
                break
            parts.append(part)
            if not whole or len(parts) >= _FILES_IN_A_BATCH or merged.full(parts, limit, self._model.batch_bytes):
                break
        if not parts:
            return None
        self._numbering.read_to(parts[-1].cursor.rowid)
        return merged.of(parts, cursor)

    def _parts(self, cursor: Cursor, limit: int, upto: int | None) -> Iterator[tuple[Batch, bool]]:
        """The rows of one file after the other, and whether all that there is was read."""
        left = limit
        for stretch, own, end in self._numbering.stretches.between(cursor.rowid, upto):
            batch = self._ask(stretch, partial(SQLiteSource.read_after, cursor=Cursor(rowid=own), limit=left, upto=end))
            if batch is None:
                if left < limit:  # what is left out is told by where the next batch begins
                    return
                continue
            left = max(1, left - batch.rows)
            more = self._ask(stretch, partial(waiting_behind, own=batch.cursor.rowid, upto=end))
            yield moved_by(batch, stretch.shift), more is not None and more.first_rowid is None

    def read_ids(self, rowids: Sequence[int]) -> Batch | None:
        """See `SQLiteSource.read_ids`; of rows whose columns differ from those of others, another call gets them."""
        self._up_to_date()
        by_stretch: dict[int, tuple[Stretch, list[int]]] = {}
        for rowid in sorted(rowids):
            stretch = self._numbering.stretches.of(rowid)
            if stretch is not None:
                by_stretch.setdefault(stretch.number, (stretch, []))[1].append(rowid - stretch.shift)
        parts: list[Batch] = []
        for stretch, own in by_stretch.values():
            batch = self._ask(stretch, partial(SQLiteSource.read_ids, rowids=own))
            if batch is None:
                continue
            part = moved_by(batch, stretch.shift)
            if not parts or merged.fit(parts, part):
                parts.append(part)
        return merged.of(parts, Cursor()) if parts else None

    def last_values(
        self,
        sensor: Column | None,
        columns: Mapping[str, tuple[Column, float | None, float | None]],
        *,
        upto: int,
    ) -> pl.DataFrame:
        """See `SQLiteSource.last_values`; of the last files."""
        self._up_to_date()
        parts = list(self._numbering.stretches.between(BEFORE_FIRST, upto))[-_FILES_LOOKED_BACK:]
        found = []
        for stretch, _, end in parts:
            own = upto - stretch.shift if end is None else end
            values = self._ask(stretch, partial(SQLiteSource.last_values, sensor=sensor, columns=columns, upto=own))
            if values is not None:
                found.append(values)
        return merged.last_values(found) if found else self._model.last_values(sensor, columns, upto=BEFORE_FIRST)

    def time_of(self, rowid: int) -> datetime | None:
        """See `SQLiteSource.time_of`."""
        there = self._at(rowid, SQLiteSource.time_of)
        return None if there is None else there[1]

    def learn(self, batch: Batch) -> None:
        """Nothing: each file's batches are examples of its own."""


def _refuse(source: SQLiteSource, path: Path) -> None:
    if not source.keyed_by_rowid:
        raise ConfigurationError(
            f"table {source.table!r} in {path} has no rowid, and files that rotate are read in the order of rowids",
            "Read each file as a source of its own",
        )
    if source.timestamp is None:
        raise ConfigurationError(
            f"table {source.table!r} in {path} has no column with times, by which files that rotate are told apart",
            "Name it with --timestamp-field",
        )
