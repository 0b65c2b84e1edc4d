"""Rows that a ``reset`` asked for again, where the source is another one before all of them came.

A reset says at once what it takes the place of (`edge_delta.sinks.superseded`), by the source as it is then. A backup
that is restored before its rows came again has some of them no more: those stay the ones that count, in the table and
in its windows. So until the last of them has come, the source is held to the witnesses of the one that the reset saw,
and where it is another one, what is superseded is cut to what comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.core.errors import SourceReset
from edge_delta.core.events import Event
from edge_delta.core.model import BEFORE_FIRST, Cursor, Mark
from edge_delta.core.questions import between, mine, rejected_by
from edge_delta.delivery.lives import life, lives_on

if TYPE_CHECKING:
    import polars as pl

    from edge_delta.core.ports import Sink
    from edge_delta.core.questions import Where
    from edge_delta.delivery.identity import Lanes
    from edge_delta.delivery.lineage import Known
    from edge_delta.delivery.route import Route


class Kept(Struct, frozen=True):
    """The last row that comes again: the ids that it has and had; and the first's one, where they have others."""

    now: int
    then: int
    first: int | None

    @property
    def marks(self) -> dict[str, int]:
        """Them as marks of a cursor."""
        marks: dict[str, int] = {Mark.KEPT: self.now}
        if self.then != self.now and self.first is not None:
            marks |= {Mark.ENDS: self.then, Mark.STARTS: self.first}
        return marks


class AskedAgain:
    """Tells for one lane whether its source still is the one that a reset saw.

    Args:
        route: the lane's route.
        lanes: all lanes of the source.
    """

    def __init__(self, route: Route, lanes: Lanes) -> None:
        self._route = route
        self._lanes = lanes
        self._meant: tuple[int, Cursor | None] | None = None
        self._counted: int | None = None

    def differs(self, cursor: Cursor) -> str:
        """In what the source is not the one that a reset saw whose rows did not all come yet; empty if it is."""
        meant = self._of(cursor)
        if meant is None:
            return ""
        try:
            self._route.source.verify(meant)
        except SourceReset as reset:
            return "" if reset.unsure and self._told_same(meant, reset) else reset.fact
        return ""

    def holds(self, cursor: Cursor) -> None:
        """As `differs`, after rows were read.

        Raises:
            SourceReset: if it is another one.
        """
        reason = self.differs(cursor)
        if reason:
            raise SourceReset(reason)

    def checked(self, cursor: Cursor) -> Cursor:
        """The cursor, with what is known of the rows that come again, where the source is another one.

        Raises:
            SourceReset: if it is and the settings say to stop.
        """
        reason, meant = self.differs(cursor), self._of(cursor)
        if meant is None:
            return cursor
        if not reason:
            return self._recounted(cursor, meant)
        if self._route.device.stop_on_reset:
            raise SourceReset(
                f"{reason}, as they were when a reset asked for them again",
                'If it is meant to be new, set on_source_reset = "new_generation"; if not, put the old one back',
            )
        return self._cut_short(cursor, meant, reason)

    def cut_short(self, cursor: Cursor, reason: str) -> Cursor:
        """As `checked`, where a reset itself found another source: whoever asked for its rows need not be asked."""
        meant = self._of(cursor)
        return cursor if meant is None else self._cut_short(cursor, meant, reason)

    def _cut_short(self, cursor: Cursor, meant: Cursor, reason: str) -> Cursor:
        kept = self.kept(meant)
        self._cut(cursor, meant, kept, None if kept is None else kept.then)
        self._tell(reason, cursor, meant, kept)
        cursor = self._told_lost(cursor, meant, BEFORE_FIRST if kept is None else kept.then)
        if kept is None:
            return cursor.marked(**{Mark.KEPT: BEFORE_FIRST, Mark.LIFE: cursor.generation})
        return cursor.marked(**kept.marks)

    def broken_off(self, reason: str, before: Cursor, fresh: Cursor) -> Cursor:
        """Where to begin in a source that took the place of one whose rows were to come again.

        Args:
            reason: what speaks against its being the same.
            before: where the lane stood.
            fresh: the cursor of the next generation.

        Returns:
            The same cursor; where rows have other ids by now, one from which on all of them come again.
        """
        meant = self._of(before)
        if meant is None:
            return fresh
        kept = self.kept(meant) if Mark.ENDS in fresh.marks else None
        upto = before.rowid
        self._tell(reason, before, meant, Kept(upto, upto, None))
        if kept is None or kept.first is None:
            self._cut(before, meant, kept, upto)
            return self._told_lost(fresh, meant, upto)
        known = {name: n for name, n in fresh.marks.items() if name not in (Mark.BEGINS, Mark.ENDS, Mark.STARTS)}
        again = {**known, **kept.marks, **lives_on(fresh, life(before)), Mark.AGAIN: fresh.generation - 1}
        self._cut(before, meant, kept, kept.then, by=fresh.generation)
        return Cursor(fresh.generation, marks=again)

    # -- what is known

    def _of(self, cursor: Cursor) -> Cursor | None:
        """Where the source stood that a reset saw; None if there was none, or all of its rows came."""
        generation = cursor.marks.get(Mark.MEANT)
        if generation is None or Mark.KEPT in cursor.marks or generation >= cursor.generation:
            return None
        if self._meant is None or self._meant[0] != generation:
            self._meant = generation, self._route.sink.witnessed(generation)
        meant = self._meant[1]
        return meant if meant is not None and cursor.rowid < meant.rowid else None

    def _told_same(self, meant: Cursor, reset: SourceReset) -> bool:
        from edge_delta.delivery.delivered import Delivered  # noqa: PLC0415 - Polars, and seldom needed

        for route in self._lanes.judges(self._route):
            stood = route.sink.witnessed(meant.generation)
            found = None if stood is None else Delivered(route, stood).same(meant.rowid)
            if found is not None:
                return found[0]
        return reset.likely_same

    def kept(self, meant: Cursor) -> Kept | None:
        """The last row of those that came up to a cursor which is there; None if none is."""
        from edge_delta.delivery.lineage import Lineage  # noqa: PLC0415 - Polars, and seldom needed

        for route in self._lanes.judges(self._route):
            stood = route.sink.witnessed(meant.generation)
            if stood is not None:
                known: Known | None = Lineage(route, stood, refuses=False).known_until()
                return None if known is None else Kept(known.now, known.then, known.first)
        found = self._route.source.known(meant, moved=True)
        if found is not None and found[0] != found[1]:
            return Kept(*found, found[1] - found[0] + 1)
        from edge_delta.delivery import known_alerts, known_windows  # noqa: PLC0415 - Polars, and seldom needed

        tells = known_windows if self._route.traits.windowed else known_alerts
        last = tells.known_until(self._route, meant, None if found is None else found[0])
        return None if last is None else Kept(last, last, None)

    # -- what is superseded

    def _recounted(self, cursor: Cursor, meant: Cursor) -> Cursor:
        """The cursor, where rows are about to come again: what is superseded is cut to those that are there still."""
        record, begins = self._route.tables.recorded(), cursor.marks.get(Mark.BEGINS, BEFORE_FIRST)
        if record is None or cursor.rowid != begins or self._counted == cursor.generation:
            return cursor
        from edge_delta.delivery import unreadable  # noqa: PLC0415 - Polars, and seldom needed

        self._counted = cursor.generation
        where = self._recorded_by(meant.generation, cursor.generation)
        there, lost = unreadable.recounted(self._route, record, where)
        self._record(record, there, where, cursor.generation)
        # What the reset told is in this number, or in that of the generation which it saw.
        before = meant.marks.get(Mark.LOST, 0) if self._route.traits.windowed else 0
        lost += before + unreadable.of_open_windows(self._route, meant)
        more = lost - cursor.marks.get(Mark.LOST, 0)
        if more <= 0:
            return cursor
        self._route.device.log.warning(Event.LOST, mode=self._route.name, rows=more, generation=meant.generation)
        return cursor.marked(**{Mark.LOST: lost})

    def _recorded_by(self, first: int, last: int) -> Where:
        own = (*mine(self._route.device.node_id), *rejected_by(self._route.source.table, self._route.name))
        return (*own, *between("by_generation", first, last))

    def _record(self, sink: Sink, there: pl.DataFrame, where: Where, generation: int) -> None:
        stands = sink.committed()
        place = stands.rowid + 1 if stands is not None and stands.generation == generation else 0
        sink.append(there, Cursor(generation, place), replacing=where)

    def _cut(
        self, cursor: Cursor, meant: Cursor, kept: Kept | None, upto: int | None, *, by: int | None = None
    ) -> None:
        """Cut what is superseded to rows that come again.

        Args:
            cursor: where the lane stands.
            meant: where the source stood that the reset saw.
            kept: what is there of it.
            upto: the last id, as it was then, of a row that comes again; None if none does.
            by: the generation that all rows come again as, those before the reset's too, under other ids.
        """
        sink = self._route.tables.recorded()
        if sink is None:
            return
        from edge_delta.sinks import superseded as table  # noqa: PLC0415 - Polars, and seldom needed

        route = self._route
        where = self._recorded_by(meant.generation, cursor.generation)
        first = kept.first if kept is not None and kept.then != kept.now else None
        left = table.cut(sink, where, (meant.rowid, upto), first=first)
        if by is not None and kept is not None and kept.first is not None:
            context = route.context(by)
            rows = [(g, kept.first - 1, kept.then, True) for g in range(life(cursor), cursor.generation + 1)]
            left = left.vstack(table.as_frame(rows, context, mode=route.name))
            where = self._recorded_by(meant.generation, by)
        self._record(sink, left, where, cursor.generation if by is None else by)

    def _told_lost(self, cursor: Cursor, meant: Cursor, upto: int) -> Cursor:
        """The cursor, with rows of open windows that were to come again and do not.

        Args:
            cursor: the cursor.
            meant: where the source stood that the reset saw.
            upto: the last id, as it was then, of a row that comes again.
        """
        open_rows = meant.marks.get(Mark.PENDING, 0) if self._route.traits.windowed else 0
        lost = min(open_rows, max(0, meant.rowid - upto))
        if not lost:
            return cursor
        self._route.device.log.warning(Event.LOST, mode=self._route.name, rows=lost, generation=meant.generation)
        return cursor.marked(**{Mark.LOST: cursor.marks.get(Mark.LOST, 0) + lost})

    def _tell(self, reason: str, cursor: Cursor, meant: Cursor, kept: Kept | None) -> None:
        self._route.device.log.warning(
            Event.RESET_CUT,
            mode=self._route.name,
            reason=reason,
            generation=cursor.generation,
            asked_until=meant.rowid,
            come_until=None if kept is None else kept.now,
        )
