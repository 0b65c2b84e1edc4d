"""Windows that earlier generations of the same source wrote: they are corrected in place.

A backup, a table whose rows got other ids and a ``reset`` begin a generation that goes on from the one before
(`edge_delta.delivery.lives`). A window that the earlier one wrote is then computed again from its rows and replaced. It
stays where some of its rows can no longer be read, such as those that a backup took back; the rows that came since are
a row of the new generation beside it, so that each reading counts once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from edge_delta.core.model import Cursor, Mark
from edge_delta.core.plan import ROWID
from edge_delta.core.questions import Question, mine, moments, named, within
from edge_delta.delivery.lives import NO_END, Earlier, earlier
from edge_delta.delivery.open_windows import OpenWindows, in_windows
from edge_delta.delivery.window_rows import InTable, stretches
from edge_delta.modes.aggregated import SPAN, WINDOW

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from edge_delta.core.model import Context
    from edge_delta.core.questions import Where
    from edge_delta.delivery.route import Route
    from edge_delta.delivery.window_rows import WindowRows

_GENERATION = "source_generation"


class Version(NamedTuple):
    """A window as an earlier generation wrote it."""

    life: Earlier
    there: InTable

    @property
    def whole(self) -> bool:
        """Whether all of its rows may still be in the source."""
        return self.there.last <= self.life.upto

    @property
    def floor(self) -> int:
        """The last id, as they are now, of a row that may be in it."""
        same_ids = self.life.again and self.life.first is None
        return min(self.life.floor, self.there.last) if same_ids else self.life.floor


class Replaced(NamedTuple):
    """What is written in the place of what.

    Attributes:
        windows: what is computed and written.
        since: the first generation of which rows are replaced.
        kept: rows of the table that are written again as they are.
        replaces: whether there are rows of earlier generations to replace.
    """

    windows: OpenWindows
    since: int
    kept: pl.DataFrame | None = None
    replaces: bool = False


class EarlierWindows:
    """Looks for windows of earlier generations.

    Args:
        route: from where to where.
        rows: reads the rows of windows.
    """

    def __init__(self, route: Route, rows: WindowRows) -> None:
        self._route = route
        self._rows = rows
        self._lives: tuple[int, list[Earlier]] | None = None
        self._stays: dict[int, int] = {}

    def forget(self) -> None:
        """The log decides again."""
        self._lives, self._stays = None, {}

    def _of(self, cursor: Cursor) -> list[Earlier]:
        if self._lives is None or self._lives[0] != cursor.generation:
            self._lives = cursor.generation, earlier(self._route.sink, cursor)
        return self._lives[1]

    def versions(self, starts: Collection[int], cursor: Cursor) -> dict[int, list[Version]]:
        """What earlier generations wrote of some windows, the oldest first."""
        lives = {life.generation: life for life in self._of(cursor)}
        latest = cursor.marks.get(Mark.WRITTEN)
        candidates = [start for start in starts if latest is not None and start <= latest]
        if not lives or not candidates:
            return {}
        where = self._where(candidates, min(lives), cursor.generation - 1)
        asked = self._route.sink.ask(Question(where, named(WINDOW, _GENERATION), totals=SPAN))
        found: dict[int, list[Version]] = {}
        columns = asked.select(pl.col(WINDOW).cast(pl.Int64), _GENERATION, "first", "last", pl.col("n").cast(pl.Int64))
        for start, generation, first, last, n in columns.sort(_GENERATION).iter_rows():
            found.setdefault(start, []).append(Version(lives[generation], InTable(first, last, n)))
        return found

    def _where(self, starts: Iterable[int], first: int, last: int) -> Where:
        own = (*mine(self._route.device.node_id), *within(_GENERATION, first, last))
        return (*own, *moments(WINDOW, starts))

    # -- rows that an earlier version was made of

    def corrected(self, windows: OpenWindows, before: Cursor, context: Context) -> OpenWindows:
        """Open windows as they are found from their first row on, with what earlier versions of them have."""
        firsts: dict[int, int | None] = {start: window.first for start, window in windows.windows.items()}
        taken, old = self.taken_in(firsts, before, context)
        return windows.without(old).joined(taken, self._rows.mode)

    def taken_in(
        self, starts: Mapping[int, int | None], before: Cursor, context: Context
    ) -> tuple[OpenWindows, dict[int, int]]:
        """The windows that earlier versions are to be replaced by, of all rows up to a cursor.

        Args:
            starts: windows, with a row from which on to read them up to the cursor; None to read what is in a version.
            before: where the lane stands.
            context: what the mode may know.

        Returns:
            The windows; and of all that have an earlier version, how many rows of it are to be replaced. Those of a
            reset may all be still to come.
        """
        versions = self.versions(starts, before)
        if not versions:
            return OpenWindows(), {}
        extents = []
        for start, several in versions.items():
            (first, last), since = extent(several), starts[start]
            last = last if since is None else before.rowid
            extents.append((first if since is None else min(first, since), last))
        parts, purged = self._in_parts(extents, versions, before, context), self._first()
        taken, replaces = OpenWindows(), dict[int, int]()
        for start, several in versions.items():
            floor = _floor(
                several,
                {floor: part.windows[start].rows for floor, part in parts.items() if start in part.windows},
                purged,
            )
            if floor is not None:
                self._stays[start] = floor
            for upto, part in parts.items():
                if floor is None or upto > floor:
                    taken = taken.joined(part.only([start]), self._rows.mode)
            replaces[start] = sum(v.there.rows for v in several if floor is None or v.floor > floor)
        return taken.with_written(replaces), replaces

    def _in_parts(
        self,
        extents: list[tuple[int, int]],
        versions: Mapping[int, list[Version]],
        before: Cursor,
        context: Context,
    ) -> dict[int, OpenWindows]:
        """The windows' rows by the generation in which they came: up to which id those lie."""
        floors = sorted({v.floor for several in versions.values() for v in several} | {before.rowid})
        parts = {floor: OpenWindows() for floor in floors}
        for rows in self._rows.read_again(stretches(extents, upto=before.rowid), before, context):
            mine_, low = rows.filter(in_windows(versions)), None
            for floor in floors:
                above = pl.lit(value=True) if low is None else pl.col(ROWID) > low
                some = OpenWindows.of(mine_.filter(above & (pl.col(ROWID) <= floor)), self._rows.mode)
                parts[floor] = parts[floor].joined(some, self._rows.mode)
                low = floor
        return parts

    def fresh(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows without those that come again and are in a version that stays, because others of it were purged."""
        if not self._stays:
            return rows
        start = pl.col(WINDOW).cast(pl.Int64)
        floor = start.replace_strict(list(self._stays), list(self._stays.values()), default=None, return_dtype=pl.Int64)
        return rows.filter((pl.col(ROWID) > floor).fill_null(value=True))

    # -- one writing

    def replaced(self, chosen: OpenWindows, before: Cursor, rows: pl.DataFrame | None, context: Context) -> Replaced:
        """What to write in the place of earlier versions.

        Args:
            chosen: the windows that are to be written.
            before: where the lane stands in the source.
            rows: rows behind it that are in the windows too.
            context: what the mode may know.
        """
        versions = self.versions(chosen.windows, before)
        if not versions:
            return Replaced(chosen, context.generation)
        floors, since = stays(versions), context.generation
        gone = {(start, context.generation) for start in versions}
        for start, several in versions.items():
            window, floor = chosen.windows[start], floors.get(start)
            if floor is not None and window.first <= floor:  # rows that came again, and are in a version that stays
                fresh = self._behind(start, floor, before, rows, context)
                chosen = chosen.without([start]).joined(fresh, self._rows.mode)
                if start not in chosen.windows:
                    continue
                window = chosen.windows[start]
            old = [v for v in several if v.floor >= window.first]
            gone_for_good = not all(v.life.again for v in old) or self._purged(old)
            if window.rows < sum(v.there.rows for v in old) and gone_for_good:
                # Some of its rows will never come again: it stays, and what is new comes beside it.
                fresh = self._behind(start, max(v.there.last for v in old), before, rows, context)
                chosen = chosen.without([start]).joined(fresh, self._rows.mode)
                continue
            gone |= {(start, v.life.generation) for v in old}
            since = min([since, *(v.life.generation for v in old)])
        return Replaced(chosen, since, self._kept(chosen, since, gone, context), since < context.generation)

    def _purged(self, versions: list[Version]) -> bool:
        """Whether the source no longer has the first rows of windows."""
        first = self._first()
        return any(there.first < (first if life.first is None else life.first) for life, there in versions)

    def _first(self) -> int:
        """The id of the source's first row."""
        first = self._route.source.waiting(Cursor()).first_rowid
        return NO_END if first is None else first

    def _behind(
        self, start: int, after: int, before: Cursor, rows: pl.DataFrame | None, context: Context
    ) -> OpenWindows:
        """The rows of a window behind an id."""
        found = OpenWindows()
        frames = [*self._rows.read_again(stretches([(after + 1, before.rowid)], upto=before.rowid), before, context)]
        for some in [*frames, *([] if rows is None else [rows])]:
            own = some.filter(in_windows([start]) & (pl.col(ROWID) > after))
            found = found.joined(OpenWindows.of(own, self._rows.mode), self._rows.mode)
        return found.with_written({start: found.windows[start].rows}) if found.windows else found

    def _kept(
        self, chosen: OpenWindows, since: int, gone: Collection[tuple[int, int]], context: Context
    ) -> pl.DataFrame | None:
        """Rows of the generations from one on that are replaced together with others, but stay."""
        if since == context.generation or not chosen.windows:
            return None
        there = self._route.sink.ask(Question(self._where(chosen.windows, since, context.generation - 1)))
        pairs = zip(there[WINDOW].cast(pl.Int64), there[_GENERATION], strict=True)
        stays = there.filter(pl.Series([pair not in gone for pair in pairs], dtype=pl.Boolean))
        return stays if stays.height else None


def extent(versions: Sequence[Version]) -> tuple[int, int]:
    """The first and the last row of some versions of a window."""
    return min(v.there.first for v in versions), max(v.there.last for v in versions)


def stays(versions: Mapping[int, Sequence[Version]]) -> dict[int, int]:
    """The windows with a version that stays, as rows of it are gone, and the last id of a row that may be in it."""
    lost = {start: [v.floor for v in several if not v.whole] for start, several in versions.items()}
    return {start: max(floors) for start, floors in lost.items() if floors}


def _floor(versions: list[Version], rows: Mapping[int, int], first: int) -> int | None:
    """The last id of the rows that only a version has that stays; None if none does.

    Args:
        versions: of one window, the oldest first.
        rows: how many of its rows are there, by the last id of those that came in the same generation.
        first: the source's first row; those before it were purged.
    """
    floor: int | None = None
    for version in versions:
        life, there = version
        if life.again and version.whole and (there.first >= first or life.first is not None):
            continue  # its rows are still to come
        found = sum(n for upto, n in rows.items() if upto <= version.floor and (floor is None or upto > floor))
        if not version.whole or found < there.rows:
            floor = version.floor if floor is None else max(floor, version.floor)
    return floor
