"""What is known of the windows that are not closed yet: where their rows lie, and what they come to so far.

It is kept in memory, as large as the windows' groups, and had again from the source: the cursor has the first row of an
open window with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct, field
from msgspec.structs import replace

from edge_delta.core.model import Mark
from edge_delta.core.plan import ROWID
from edge_delta.modes.aggregated import WINDOW

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from edge_delta.modes.aggregated import Aggregated


_CHECKED = 2**40
"""Checksums are smaller than this."""
_COUNTED = 2**21
"""So are, in front of the one of `Mark.WRITTEN_IDS`, numbers of rows."""
_OF_TIMES = 2**62
"""Is added to the one of `Mark.IDS`: smaller ones are of an earlier version, and of ids and windows."""
_MIXES = 0x1E3779B97F4A7C15, 0x3F58476D1CE4E5B9
_MIXED = pl.col(ROWID) * _MIXES[0] ^ pl.col("timestamp").cast(pl.Int64) * _MIXES[1]
CHECKED = (_MIXED ^ (_MIXED // 2**29)) * _MIXES[0]
"""A number for a row's id and time, by whose sum some rows are told from others. The arithmetic wraps around."""
TOO_LATE = "purged"
"""The rule of rejected rows whose window is written, and can no longer be made again."""


class Emission(Struct, frozen=True):
    """When and how windows are written.

    Attributes:
        early: whether open windows are written at the end of every cycle.
        chunk: the most rows of the source to read again at a time.
        folder: where what does not fit into memory is laid down; None for the system's place for such files.
        held: values that are sorted in memory.
    """

    early: bool
    chunk: int
    folder: Path | None
    held: int


class Window(Struct, frozen=True):
    """One window. Times are microseconds since 1970, UTC.

    Attributes:
        first: the first row's id.
        last: the last row's id.
        rows: how many rows it has.
        end: its end.
        earliest: the earliest of their times.
        latest: the latest of them.
        written: how many rows the table's version of it was made of; 0 if it is not there.
        ids: what its rows' ids and times come to, see `CHECKED`.
    """

    first: int
    last: int
    rows: int
    end: int
    earliest: int
    latest: int
    written: int = 0
    ids: int = 0

    @property
    def pending(self) -> int:
        """Rows that are not in the table's version of it."""
        return max(0, self.rows - self.written)

    def joined(self, other: Window) -> Window:
        """Both together."""
        return Window(
            min(self.first, other.first),
            max(self.last, other.last),
            self.rows + other.rows,
            self.end,
            min(self.earliest, other.earliest),
            max(self.latest, other.latest),
            self.written + other.written,
            self.ids + other.ids,
        )


class OpenWindows(Struct, frozen=True):
    """Windows by their start in microseconds, and the parts that they are made of so far.

    Attributes:
        windows: the windows.
        parts: one row a window and group, see `edge_delta.modes.window_functions`; None if there are no windows.
    """

    windows: Mapping[int, Window] = field(default_factory=dict)
    parts: pl.DataFrame | None = None

    @classmethod
    def of(cls, rows: pl.DataFrame, mode: Aggregated) -> OpenWindows:
        """Those of some rows, which are as `Aggregated.plan` makes them."""
        if not rows.height:
            return cls()
        times = pl.col("timestamp").cast(pl.Int64)
        extents = rows.group_by(WINDOW).agg(
            pl.col(ROWID).min().alias("first"),
            pl.col(ROWID).max().alias("last"),
            pl.len().alias("rows"),
            times.min().alias("earliest"),
            times.max().alias("latest"),
            CHECKED.sum().alias("ids"),
        )
        ends = mode.end_of(pl.col(WINDOW)).cast(pl.Int64).alias("end")
        names = "first", "last", "rows", ends, "earliest", "latest", pl.lit(0).alias("written"), "ids"
        listed = extents.select(pl.col(WINDOW).cast(pl.Int64), *names)
        windows = {window: Window(*values) for window, *values in listed.iter_rows()}
        return cls(windows, mode.parts(rows.lazy()).collect())

    def joined(self, other: OpenWindows, mode: Aggregated) -> OpenWindows:
        """Both together."""
        if other.parts is None or self.parts is None:
            return self if other.parts is None else other
        windows = dict(self.windows)
        for start, window in other.windows.items():
            windows[start] = windows[start].joined(window) if start in windows else window
        both = pl.concat([self.parts, other.parts])
        if self.windows.keys() & other.windows.keys():
            both = mode.merged(both.lazy()).select(both.columns).collect()
        return OpenWindows(windows, both)

    def only(self, starts: Collection[int]) -> OpenWindows:
        """Some of the windows."""
        windows = {start: window for start, window in self.windows.items() if start in starts}
        if self.parts is None or not windows:
            return OpenWindows()
        if len(windows) == len(self.windows):
            return self
        return OpenWindows(windows, self.parts.filter(in_windows(windows)))

    def without(self, starts: Collection[int]) -> OpenWindows:
        """The other windows."""
        return self.only([start for start in self.windows if start not in starts])

    def with_written(self, rows: Mapping[int, int]) -> OpenWindows:
        """The same, with how many rows the table's version of some of them was made of."""
        written = {s: replace(self.windows[s], written=n) for s, n in rows.items() if s in self.windows}
        return replace(self, windows={**self.windows, **written})

    # -- questions

    @property
    def pending(self) -> int:
        """Rows that are in no written window."""
        return sum(window.pending for window in self.windows.values())

    @property
    def unwritten(self) -> dict[int, Window]:
        """Those that the table has in no version."""
        return {start: window for start, window in self.windows.items() if not window.written}

    @property
    def checksums(self) -> dict[str, int]:
        """Of ids and times of all rows, by mark: in windows that the table has in no version, and in the others."""
        unwritten = sum(window.ids for window in self.unwritten.values())
        written = [window for window in self.windows.values() if window.written]
        rows, ids = sum(window.written for window in written), sum(window.ids for window in written)
        return {
            Mark.IDS: _OF_TIMES + unwritten % _CHECKED,
            Mark.WRITTEN_IDS: rows % _COUNTED * _CHECKED + ids % _CHECKED,
        }

    def same_written(self, known: Mapping[str, int]) -> bool:
        """Whether as many rows are in written ones as a cursor says, or all of one of them may be gone."""
        return self.checksums[Mark.WRITTEN_IDS] // _CHECKED == known.get(Mark.WRITTEN_IDS, 0) // _CHECKED

    def larger_by(self, known: Mapping[str, int], *, written: bool) -> int | None:
        """How much larger the checksums are than those of a cursor; None where it has none.

        Args:
            known: the cursor's marks.
            written: whether that of windows which the table has is one of them.
        """
        if known.get(Mark.IDS, 0) < _OF_TIMES:
            return None
        marks = (Mark.IDS, *([Mark.WRITTEN_IDS] if written else []))
        return sum(self.checksums[mark] - known.get(mark, 0) for mark in marks) % _CHECKED

    def first(self, default: int) -> int:
        """The first row that is in one of them."""
        return min((window.first for window in self.windows.values()), default=default)

    def closed_by(self, watermark: int | None, lateness: float) -> set[int]:
        """Those that a watermark closes; lateness is in seconds."""
        if watermark is None:
            return set()
        late = round(lateness * 1_000_000)
        return {start for start, window in self.windows.items() if window.end + late <= watermark}

    def latest_before(self, limit: int) -> int | None:
        """The largest of their times that is not after a limit, as far as it is known."""
        bounds = (w.latest if w.latest <= limit else w.earliest for w in self.windows.values())
        return max((time for time in bounds if time <= limit), default=None)

    def after(self, limit: int) -> dict[int, Window]:
        """Those that have no time up to a limit."""
        return {start: window for start, window in self.windows.items() if window.earliest > limit}


def explained(more: int, late: int, numbers: Sequence[int]) -> bool:
    """Whether one or two more rows are what checksums are larger by.

    Args:
        more: by how much, see `OpenWindows.larger_by`.
        late: how many rows are more, 1 or 2.
        numbers: the number of each row that may be one of them, see `CHECKED`.
    """
    single = {n % _CHECKED for n in numbers}
    return more in single if late == 1 else any((more - n) % _CHECKED in single - {n} for n in single)


def in_windows(starts: Iterable[int]) -> pl.Expr:
    """Whether a row is in one of these windows."""
    return pl.col(WINDOW).cast(pl.Int64).is_in(list(starts))


def from_first(firsts: Mapping[int, int]) -> pl.Expr:
    """Whether a row is in one of these windows, and not before its first row: what lies there is in another version."""
    return (pl.col(ROWID) >= _by_window(firsts)).fill_null(value=False)


def up_to(lasts: Mapping[int, int]) -> pl.Expr:
    """Whether a row is in one of these windows, and not behind an id."""
    return (pl.col(ROWID) <= _by_window(lasts)).fill_null(value=False)


def between(extents: Mapping[int, tuple[int, int]]) -> pl.Expr:
    """Whether a row is in one of these windows, and lies from its first row to its last."""
    firsts = {start: first for start, (first, _) in extents.items()}
    lasts = {start: last for start, (_, last) in extents.items()}
    return pl.col(ROWID).is_between(_by_window(firsts), _by_window(lasts)).fill_null(value=False)


def _by_window(values: Mapping[int, int]) -> pl.Expr:
    start = pl.col(WINDOW).cast(pl.Int64)
    return start.replace_strict(list(values), list(values.values()), default=None, return_dtype=pl.Int64)


def latest_of(rows: pl.DataFrame, limit: int) -> int | None:
    """The latest time of rows in microseconds, up to a limit."""
    times = rows["timestamp"].cast(pl.Int64)
    return times.filter(times <= limit).max()  # type: ignore[return-value]
