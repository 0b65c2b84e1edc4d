"""Whether a source is still the one that a lane's cursor belongs to, and which generation its rows are of.

Witnesses decide it as far as they can (`edge_delta.source.witness`). Where they cannot, because a row was changed or
the key is another one, the rows of a table are asked whose rows stand for one source row each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from edge_delta.core.errors import SourceReplaced, SourceReset
from edge_delta.core.events import Event
from edge_delta.core.model import BEFORE_FIRST, Cursor, Mark
from edge_delta.core.questions import COUNT, Question, between, mine
from edge_delta.delivery import two_sources
from edge_delta.delivery.coming_back import come_back
from edge_delta.delivery.lives import life, lives_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_delta.core.ports import Source
    from edge_delta.core.questions import Where
    from edge_delta.delivery.route import Route

_LAST = 2**63 - 1


class Positioned(Protocol):
    """What a lane is for the others of its source: a route, and where it stands."""

    @property
    def route(self) -> Route:
        """The route."""

    def cursor(self) -> Cursor:
        """Behind the last row that it settled."""


class Lanes:
    """The lanes of one source: their rows are of one generation, and their tables know the source's rows."""

    def __init__(self) -> None:
        self._lanes: Sequence[Positioned] = ()

    def are(self, lanes: Sequence[Positioned]) -> None:
        """Set the lanes that the settings name now."""
        self._lanes = lanes

    def generation(self) -> int:
        """The one that all of them are to be in."""
        return max((lane.cursor().generation for lane in self._lanes), default=0)

    def life(self) -> int:
        """The generation that the source of the newest generation began with."""
        newest = max((lane.cursor() for lane in self._lanes), key=lambda cursor: cursor.generation)
        return life(newest)

    def furthest(self, generation: int) -> Cursor | None:
        """The cursor in a generation that has read most; None if none has read anything."""
        there = [c for lane in self._lanes if (c := lane.cursor()).generation == generation and c.rowid != BEFORE_FIRST]
        return max(there, key=lambda cursor: cursor.rowid, default=None)

    def kept_until(self) -> int:
        """The last id, as the generation before had it, of a row that the newest one has still."""
        newest = max((lane.cursor() for lane in self._lanes), key=lambda cursor: cursor.generation)
        return newest.marks.get(Mark.ENDS, newest.marks.get(Mark.BEGINS, BEFORE_FIRST))

    def again(self) -> bool:
        """Whether a ``reset`` began the newest generation."""
        newest = max((lane.cursor() for lane in self._lanes), key=lambda cursor: cursor.generation)
        return newest.marks.get(Mark.AGAIN, -1) == newest.generation - 1

    def replayable(self) -> list[Route]:
        """The routes to tables that can say whether a row was delivered."""
        return [lane.route for lane in self._lanes if lane.route.traits.replayable]

    def judges(self, route: Route) -> list[Route]:
        """The same for a lane, its own table first, which it may be alone with."""
        own = [route] if route.traits.replayable else []
        return [*own, *(other for other in self.replayable() if other is not route)]


class Identity:
    """Tells for one lane whether its source is still the same.

    Args:
        route: the lane's route.
        lanes: all lanes of the source.

    Attributes:
        updated: cursors whose row was updated, with its new witness; whoever reads them takes them out.
        still_there: the last id, as the source before had it, of a row that the one which came after it has, as
            `succeeded` found; None if it has none.
    """

    def __init__(self, route: Route, lanes: Lanes) -> None:
        self._route = route
        self._lanes = lanes
        self.updated: list[Cursor] = []
        self.still_there: int | None = None

    def confirmed(self, cursor: Cursor) -> Cursor:
        """The cursor to go on with: the same, or one with new witnesses where rows were updated.

        Raises:
            SourceReset: if the source is another one.
        """
        self.agrees_with_others(cursor)
        try:
            updated = self._route.source.verify(cursor)
        except SourceReset as reset:
            if not reset.unsure:
                raise
            if cursor.marks.get(Mark.REUSED):  # as a ring's last slot at each turn; the sweep delivers such rows
                return self._refreshed(cursor, updated=False)
            return self._weighed(cursor, reset)
        if not updated:
            two_sources.refuse_what_came_back(self._route, cursor)
        return self._refreshed(cursor, updated=True) if updated else come_back(self._route, cursor)

    def _weighed(self, cursor: Cursor, reset: SourceReset) -> Cursor:
        """Decide what the witness that goes with every cursor cannot."""
        whole = self._route.sink.witnessed(cursor.generation)
        if whole is not None and whole.rowid == cursor.rowid and whole.witnesses != cursor.witnesses:
            try:
                return self._refreshed(cursor, updated=self._route.source.verify(whole))
            except SourceReset as again:
                if not again.unsure:
                    raise
                reset = again
        told = self._told_by_tables(cursor)
        same, updated = (reset.likely_same, False) if told is None else told
        if not same:
            raise SourceReset(reset.fact)
        if told is None:
            self._route.device.log.warning(Event.SOURCE_UNSURE, mode=self._route.name, reason=reset.fact)
        return self._refreshed(cursor, updated=updated)

    def agrees_with_others(self, cursor: Cursor) -> None:
        """Where no row of this lane's tells the source, see that it is that of the furthest one in the same generation.

        Raises:
            SourceReset: if it is another one.
        """
        ahead = self._lanes.furthest(cursor.generation) if cursor.rowid == BEFORE_FIRST else None
        if ahead is None:
            return
        try:
            self._route.source.verify(ahead)
        except SourceReset as reset:
            told = self._told_by_tables(ahead) if reset.unsure else (False, False)
            if reset.unsure and (ahead.marks.get(Mark.REUSED) or (reset.likely_same if told is None else told[0])):
                return
            raise SourceReset(reset.fact) from None

    def _told_by_tables(self, cursor: Cursor) -> tuple[bool, bool] | None:
        for route in self._lanes.judges(self._route):
            from edge_delta.delivery.delivered import Delivered  # noqa: PLC0415 - Polars, and seldom needed

            stands = route.sink.committed()
            if stands is None or stands.generation != cursor.generation:
                continue
            found = Delivered(route, stands).same(cursor.rowid)
            if found is not None:
                return found
        return None

    def _refreshed(self, cursor: Cursor, *, updated: bool) -> Cursor:
        placed = self._route.source.placed(cursor, cursor.rowid)
        if updated and not self._route.versioned:
            self._route.device.log.warning(Event.ROWS_UPDATED, mode=self._route.name, id=cursor.rowid)
            self.updated.append(placed)
        return placed

    # -- another source

    def succeeded(self, cursor: Cursor) -> tuple[Cursor, int | None]:
        """Where to begin in the source that came after the cursor's.

        Returns:
            A cursor of the next generation, before the first row that was not delivered; `Mark.BEGINS` says which rows
            are known, if some are. And up to which id rows behind it may have come before, because nobody can tell;
            None if none has.

        Raises:
            TwoSources: if it is a source that another one took the place of before.
        """
        known = self._known_until(cursor)
        unsure = (
            cursor.rowid if not self._lanes.judges(self._route) and (known is None or known[1] < cursor.rowid) else None
        )
        if unsure is not None and known is not None and self._route.traits.windowed:
            from edge_delta.delivery import known_windows  # noqa: PLC0415 - Polars, and seldom needed

            unsure = unsure if known_windows.unsure_behind(self._route, self._reached(cursor), known[0]) else None
        fresh = Cursor(generation=max(self._lanes.generation(), cursor.generation + 1))
        self.still_there = None if known is None else known[3]
        if known is None:
            two_sources.refuse_an_earlier_one(self._route, cursor)
            return fresh, unsure
        now, then, first, _ = known
        marks: dict[str, int] = {Mark.BEGINS: now, **lives_on(fresh, life(cursor))}
        if then != now and first is not None:
            marks |= {Mark.ENDS: then, Mark.STARTS: first}
        return self._route.source.placed(fresh, now).marked(**marks), unsure

    def _known_until(self, cursor: Cursor) -> tuple[int, int, int | None, int] | None:
        """The last row of the new source's beginning that came from the one before, such as from its backup.

        Returns:
            The id that it has now, the one that it had, and the one that the first had if they are others; both not
            behind what this lane has read. And the one that it had, whatever was read.
        """
        reached = self._reached(cursor)
        for route in self._lanes.judges(self._route):
            stands = route.sink.committed()
            if stands is not None and route is not self._route and self._went_on(stands, reached):
                begins = stands.marks[Mark.BEGINS]
                then = stands.marks.get(Mark.ENDS, begins)
                behind = max(0, then - reached.rowid)
                return begins - behind, then - behind, stands.marks.get(Mark.STARTS), then
            if stands is not None and stands.generation == reached.generation:
                from edge_delta.delivery.lineage import Lineage  # noqa: PLC0415 - Polars, and seldom needed

                known = Lineage(route, stands).known_until()
                if known is None:
                    return None
                behind = max(0, known.then - reached.rowid)  # between two rows lie no more rows than ids
                return known.now - behind, known.then - behind, known.first, known.then
        whole = self._route.sink.witnessed(reached.generation)
        found = None if whole is None else self._route.source.known(whole, moved=True)
        found = self._in_table(reached, found)
        if found is None:
            return None
        now, then = found
        return now, then, then - now + 1, then  # the first row's old id, if ids lay close together

    def _in_table(self, stands: Cursor, found: tuple[int, int] | None) -> tuple[int, int] | None:
        """As far as windows or alerts tell of rows behind the last one that witnesses know, under the ids they had."""
        windowed = self._route.traits.windowed
        if (found is not None and found[0] != found[1]) or (found is None and not windowed):
            return found
        from edge_delta.delivery import known_alerts, known_windows  # noqa: PLC0415 - Polars, and seldom needed

        known = None if found is None else found[0]
        if windowed:
            known = known_windows.known_until(self._route, stands, known)
        else:
            known = known_alerts.known_until(self._route, stands, known, equal=True)
        return None if known is None else (known, known)

    def _went_on(self, stands: Cursor, reached: Cursor) -> bool:
        """Whether another lane knew already how the source goes on; a process that was killed left this one behind."""
        follows = stands.generation == reached.generation + 1 and Mark.BEGINS in stands.marks
        return follows and Mark.AGAIN not in stands.marks

    def _reached(self, cursor: Cursor) -> Cursor:
        """Where the lane stands in the last generation that it has rows of: of the cursor's it may have read none."""
        stands = self._route.sink.committed()
        nothing = cursor.rowid == cursor.marks.get(Mark.BEGINS, BEFORE_FIRST)
        return stands if nothing and stands is not None and stands.generation < cursor.generation else cursor

    def kept_until(self) -> int:
        """See `Lanes.kept_until`."""
        return self._lanes.kept_until()

    def taken_back(self, before: Cursor, generation: int) -> int:
        """Rows that a backup took back before this lane read them; after a ``reset`` none, because all come again."""
        return 0 if self._lanes.again() else self.missed(before, generation, self.kept_until())

    def missed(self, before: Cursor, generation: int, there: int | None) -> int:
        """Rows that other tables of the source have, and this lane can no longer read.

        Args:
            before: where the lane stands in a source that is gone.
            generation: of the source that is there now. Others may have come and gone in between.
            there: the last id, as the one before had it, of a row that both have, which this lane reads yet.
        """
        # The log counts: a generation that was only agreed on was not read yet.
        stands = self._route.sink.committed() or before
        cursor = before if stands.generation == before.generation else stands
        cursor = cursor if there is None else replace(cursor, rowid=max(cursor.rowid, there))
        counts = [0]
        for route in self._lanes.judges(self._route):
            if route is self._route or route.traits.key is None or not route.sink.exists():
                continue
            own = route.device.node_id
            behind = (*mine(own, cursor.generation), *between(route.traits.key, cursor.rowid, _LAST))
            later = (*mine(own), *between("source_generation", cursor.generation, generation - 1))
            counts.append(sum(_count(route, where) for where in (behind, later)))
        return max(counts)

    def agreed(self, cursor: Cursor) -> Cursor:
        """The cursor in the generation that all lanes of the source are in; its own rows stay known."""
        generation = self._lanes.generation()
        if cursor.generation >= generation:
            return cursor
        marks = {name: n for name, n in cursor.marks.items() if name not in (Mark.ENDS, Mark.STARTS, Mark.LIFE)}
        moved = replace(cursor, generation=generation)
        if cursor.rowid == BEFORE_FIRST:  # it has no rows of a source that may be another one by now
            return replace(moved, marks={**marks, **lives_on(moved, self._lanes.life())})
        return replace(moved, marks={**marks, Mark.BEGINS: cursor.rowid, **lives_on(moved, life(cursor))})


def still_there(source: Source, cursor: Cursor) -> None:
    """Ask after rows were read that are not behind a cursor: a source that went does not come back.

    Args:
        source: what they were read from.
        cursor: one in the source that they are thought to be of.

    Raises:
        SourceReplaced: if they may be rows of another source.
    """
    try:
        source.verify(cursor)
    except SourceReset as reset:
        if reset.unsure and cursor.marks.get(Mark.REUSED):
            return
        raise SourceReplaced(f"{reset.fact}: it was replaced while it was read again") from reset


def _count(route: Route, where: Where) -> int:
    return int(route.sink.ask(Question(where, totals={"n": COUNT}))["n"][0])
