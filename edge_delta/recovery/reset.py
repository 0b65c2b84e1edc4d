"""Going back: rows that were delivered are delivered again, as the next generation.

A generation of its own keeps both deliveries apart: no row is taken for one that is there already, in the table or in
the rejected one, and a reader tells them by ``source_generation``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from edge_delta.core.errors import ConfigurationError, SourceReset
from edge_delta.core.model import BEFORE_FIRST, Cursor, Mark
from edge_delta.delivery.asked_again import AskedAgain
from edge_delta.delivery.identity import Identity, Lanes
from edge_delta.delivery.lives import NO_END, earlier, life, lives_on
from edge_delta.delivery.two_sources import LOOKED_BACK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from edge_delta.core.ports import Sink
    from edge_delta.delivery.lane import Lane
    from edge_delta.delivery.unreadable import Unreadable


class Destination(Struct, frozen=True):
    """Where to go back to: the first row of an id or of a time; the very first row if neither is given."""

    id: int | None = None
    time: datetime | None = None


class Again(Struct, frozen=True):
    """What one table would get again.

    Attributes:
        mode: the mode.
        table: the table's address.
        generation: the generation that the rows come as.
        rows: how many rows of the source lie between.
        first_id: the first of them, None if there is none.
        last_id: the last of them.
        unreadable: what the table has and the source has no more, in words; empty if there is nothing.
    """

    mode: str
    table: str
    generation: int
    rows: int
    first_id: int | None
    last_id: int | None
    unreadable: str = ""

    def __str__(self) -> str:
        ids = f", ids {self.first_id} to {self.last_id}" if self.rows else ""
        told = f"; {self.unreadable}" if self.unreadable else ""
        return f"{self.mode}: {self.rows} rows{ids}, again into {self.table} as generation {self.generation}{told}"


def rewind(
    lanes: Sequence[Lane],
    destination: Destination,
    *,
    agreed: Callable[[Sequence[Again]], bool],
    superseded: Callable[[str], Sink],
) -> bool:
    """Go back with the tables of these lanes; whether it was done.

    Args:
        lanes: the lanes.
        destination: where to go back to.
        agreed: is told what would be delivered again, and says whether to do it.
        superseded: the sink in which it is recorded, by mode.
    """
    ways = [Rewind(lane, destination, tuple(lanes)) for lane in lanes]
    plans = {way: plan for way in ways if (plan := way.plan()) is not None}
    if not agreed(list(plans.values())):
        return False
    for way in plans:
        way.act(superseded(way.lane.name))
    return True


class _Before(Struct, frozen=True):
    """What the rows that come again took the place of.

    Attributes:
        cursor: where the table stands, or stood, in the source that there is now; None if it has none of its rows.
        goes_on: whether the source is the one of now, or goes on from it, such as from its backup.
        upto: the last id of a row that comes again under it.
        reason: in what it is not the one of now; empty if it is.
    """

    cursor: Cursor | None
    goes_on: bool
    upto: int = BEFORE_FIRST
    reason: str = ""


class Rewind(Struct, frozen=True):
    """Going back with one mode's table.

    Args:
        lane: the mode's way.
        destination: where to.
        lanes: all that go back.
    """

    lane: Lane
    destination: Destination
    lanes: tuple[Lane, ...]

    def plan(self) -> Again | None:
        """What would be delivered again; None if nothing was delivered yet.

        Raises:
            ConfigurationError: if the destination lies behind what is delivered.
            SourceReset: if the source is not the one that the rows came from, or none that was ever delivered.
        """
        stands = self.lane.sink.committed()
        if stands is None:
            return None
        of_before = self._before(stands)
        same = not of_before.reason
        if of_before.cursor is None:  # a run finds what of the other source is lost, and tells it
            raise SourceReset(
                f"{self.lane.sink.uri} was last delivered from another source than {self.lane.route.source.table!r} is "
                "now, and no run has seen this one yet",
                "Run edge-delta run --once first, then reset; to go on with the other, put it back first",
            )
        if self.destination != Destination() and not same:  # from the beginning on, it need not be that of before
            raise SourceReset(
                f"{self.lane.sink.uri} was last delivered from another source than {self.lane.route.source.table!r} is "
                "now, whose ids say nothing about this one's",
                "To deliver all rows of this one, pass --to-beginning; to go on with the other, put it back first",
            )
        behind = self._behind(stands)
        if behind >= stands.rowid:
            raise ConfigurationError(
                f"{self.lane.sink.uri} holds rows up to id {stands.rowid}, and reset only goes back",
                "Name an earlier id or time",
            )
        upto = stands.rowid if same else self.lane.route.source.waiting(Cursor()).last_rowid
        first, last, rows = self.lane.route.source.between(behind, stands.rowid if upto is None else upto)
        told = str(self._unreadable(of_before, behind))
        return Again(self.lane.name, self.lane.sink.uri, self._generation(stands), rows, first, last, told)

    def act(self, superseded: Sink) -> None:
        """Record what will come again, then commit the new position.

        Args:
            superseded: where it is recorded.
        """
        stands = self.lane.sink.committed()
        if stands is not None:
            behind = self._behind(stands)
            of_before = self._before(stands)
            unreadable = self._unreadable(of_before, behind)
            if of_before.cursor is not None and self._after(behind) != NO_END:
                self._record(superseded, stands, of_before.cursor, behind, unreadable)
            cursor = self._cursor(stands, behind, goes_on=of_before.goes_on)
            if of_before.goes_on and of_before.reason and self.lane.route.device.stop_on_reset:
                cursor = self._asked().cut_short(cursor, of_before.reason)  # which else the next run does
            if unreadable.lost:  # so that verify and status go on telling it
                before = stands.marks.get(Mark.LOST, 0) if self.lane.route.traits.windowed else 0
                lost = {Mark.LOST: before + unreadable.lost}
                cursor, stands = cursor.marked(**lost), stands.marked(**lost)
            self.lane.go_back(cursor, stands)

    def _before(self, stands: Cursor) -> _Before:
        """What the rows that come again took the place of.

        A source that goes on from the one of before, such as its backup, is treated as if it had taken its place after
        the reset: `edge_delta.delivery.asked_again` cuts what is recorded.
        """
        try:
            Identity(self.lane.route, Lanes()).confirmed(stands)
        except SourceReset as reset:
            whole = self.lane.sink.witnessed(stands.generation) or stands
            taken, kept = self._taken_over(stands), self._asked().kept(whole)
            if kept is None or (taken is not None and taken.rowid >= kept.then):
                return _Before(
                    taken, goes_on=False, upto=BEFORE_FIRST if taken is None else taken.rowid, reason=reset.fact
                )
            upto = kept.then if kept.then == kept.now else BEFORE_FIRST
            return _Before(stands, goes_on=True, upto=upto, reason=reset.fact)
        return _Before(stands, goes_on=True, upto=stands.rowid)

    def _asked(self) -> AskedAgain:
        lanes = Lanes()
        lanes.are(self.lanes)
        return AskedAgain(self.lane.route, lanes)

    def _taken_over(self, stands: Cursor) -> Cursor | None:
        """The source's end in an earlier generation, if another one took its place since, and it is there again."""
        for generation in range(stands.generation - 1, max(-1, stands.generation - 1 - LOOKED_BACK), -1):
            before = self.lane.sink.witnessed(generation)
            found = None if before is None else self.lane.route.source.known(before)
            if before is not None and found is not None and found[0] == found[1]:
                return replace(before, rowid=min(before.rowid, self._known_until(generation) or found[1]))
        return None

    def _known_until(self, generation: int) -> int | None:
        """The last id of the rows that came in a generation and are there; None if no table can say."""
        from edge_delta.delivery.lineage import Lineage  # noqa: PLC0415 - Polars, where something is delivered again

        for lane in self.lanes:
            stood = lane.sink.witnessed(generation) if lane.route.traits.replayable else None
            known = None if stood is None else Lineage(lane.route, stood).known_until()
            if known is not None and known.now == known.then:
                return known.now
        return None

    def _after(self, behind: int) -> int:
        """The id behind which rows come again: those that were purged do not; of a table without rows none do."""
        first = self.lane.route.source.waiting(Cursor(rowid=behind)).first_rowid
        return NO_END if first is None else first - 1

    def _unreadable(self, of_before: _Before, behind: int) -> Unreadable:
        """What cannot come again, see `edge_delta.delivery.unreadable`."""
        from edge_delta.delivery import unreadable as found  # noqa: PLC0415 - Polars, only where rows come again

        after, route = self._after(behind), self.lane.route
        if of_before.cursor is None:
            return found.Unreadable()
        told = found.Unreadable()
        if of_before.upto > after:
            told = found.unreadable(route, of_before.cursor.generation, after, of_before.upto)
        of_open = 0 if of_before.reason else found.of_open_windows(route, of_before.cursor)
        return replace(told, lost=told.lost + of_open)

    def _record(self, superseded: Sink, stands: Cursor, of_before: Cursor, behind: int, unreadable: Unreadable) -> None:
        """Say which rows of which generation the new one takes the place of; again if this was cut short.

        Args:
            superseded: where.
            stands: where the table stands.
            of_before: where it stands, or stood, in the source that there is now.
            behind: the id behind which its rows come again.
            unreadable: what does not.
        """
        from edge_delta.sinks import superseded as table  # noqa: PLC0415 - Polars, where something is delivered again

        route = self.lane.route
        after = self._after(behind)
        rows = [(of_before.generation, *ends, False) for ends in unreadable.stretches(after, of_before.rowid)]
        for one in earlier(route.sink, of_before):
            start = after
            if one.first is not None:  # with other ids: between two rows lay no fewer ids than there are now
                start = one.first - 1 if behind == BEFORE_FIRST else max(one.first - 1, one.upto - (one.floor - after))
            rows.append((one.generation, start, one.upto, one.first is not None))
        context = route.context(self._generation(stands))
        where = table.of_generation(context, self.lane.name)
        frame = table.as_frame([row for row in rows if row[1] < row[2]], context, mode=self.lane.name)
        if frame.height:
            superseded.append(frame, Cursor(context.generation, 0), replacing=where if superseded.exists() else None)

    def _generation(self, stands: Cursor) -> int:
        rejected = (
            self.lane.route.tables.rejects.committed() or stands
        )  # its rows may be a generation ahead after a crash
        return max(stands.generation, rejected.generation) + 1

    def _cursor(self, stands: Cursor, behind: int, *, goes_on: bool) -> Cursor:
        kept = {name: n for name, n in stands.marks.items() if name in (Mark.SINCE, Mark.SINCE_ROWID)}
        kept[Mark.AGAIN] = self._generation(stands) - 1
        if goes_on:
            kept[Mark.MEANT] = self._meant(stands)
        cursor = replace(Cursor(self._generation(stands)), marks=kept)
        # Said of another source too, or it would be taken for one that goes on from the generation before.
        kept |= lives_on(cursor, life(stands)) if goes_on else {Mark.LIFE: cursor.generation}
        if behind == BEFORE_FIRST:
            return cursor
        kept[Mark.BEGINS] = behind
        return replace(self.lane.route.source.placed(cursor, behind), marks=kept)

    def _meant(self, stands: Cursor) -> int:
        """The generation whose end is that of the rows which come again: that of a reset before, if its did not."""
        before = stands.marks.get(Mark.MEANT)
        ended = None if before is None or Mark.KEPT in stands.marks else self.lane.sink.witnessed(before)
        return stands.generation if before is None or ended is None or stands.rowid >= ended.rowid else before

    def _behind(self, stands: Cursor) -> int:
        """The id behind which rows are delivered again."""
        if self.destination.id is not None:
            first = self.lane.route.source.waiting(Cursor()).first_rowid
            all_of_them = first is not None and self.destination.id <= first
            return BEFORE_FIRST if all_of_them else max(self.destination.id - 1, BEFORE_FIRST)
        if self.destination.time is None:
            return BEFORE_FIRST
        first = self.lane.route.source.first_since(self.destination.time, upto=stands.rowid)
        return first - 1 if first is not None else stands.rowid
