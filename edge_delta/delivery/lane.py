"""A lane: a route, where it stands, and how what goes along it is written."""

from __future__ import annotations

import threading
from types import MappingProxyType
from typing import TYPE_CHECKING

from msgspec.structs import replace

from edge_delta.core.errors import SourceReset
from edge_delta.core.events import Event
from edge_delta.core.model import BEFORE_FIRST, Batch, Commit, Cursor, Mark, Step
from edge_delta.delivery.asked_again import AskedAgain
from edge_delta.delivery.identity import Identity, Lanes
from edge_delta.delivery.known_rows import WentBy
from edge_delta.delivery.tally import counted, left_out, place
from edge_delta.delivery.updating import Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import polars as pl

    from edge_delta.core.ports import Sink
    from edge_delta.delivery.prefetch import ReadAhead
    from edge_delta.delivery.prepared import Prepared
    from edge_delta.delivery.route import Route
    from edge_delta.delivery.writing import Came, Corrected, Unsure, Writing


class Lane:
    """One mode's way.

    Args:
        route: from where to where.
        reader: reads the route's source, for all its lanes.
        load_writing: builds what writes the batches; called when there is something to write.
        urgent: for modes where a new row counts at once: seconds between looks at the source; None for the others.
        lanes: all lanes of the source.
    """

    def __init__(
        self,
        route: Route,
        reader: ReadAhead[Prepared],
        load_writing: Callable[[Route], Writing],
        *,
        urgent: float | None = None,
        lanes: Lanes | None = None,
    ) -> None:
        self.route = route
        lanes = lanes or Lanes()
        self._identity, self._asked = Identity(route, lanes), AskedAgain(route, lanes)
        self.urgent = urgent
        self._reader = reader
        self._load_writing = load_writing
        self._loaded: Writing | None = None
        self._loading = threading.Lock()
        self._start = Cursor()
        self._ahead: Cursor | None = None
        self._read: Cursor | None = None
        self.away = False  # whether its table does not answer: where it stood last counts meanwhile
        self.stood: Cursor | None = None  # where it stood last, which is known while no table answers
        self.was_chosen = False  # so that rows which others read before a mode is chosen are none that it missed
        self._aside: list[Step] = []
        self._passed_by = 0
        self.passed = WentBy()
        self.seen = Seen()

    @property
    def name(self) -> str:
        """The mode's name."""
        return self.route.name

    @property
    def sink(self) -> Sink:
        """The mode's table."""
        return self.route.sink

    @property
    def _writing(self) -> Writing:
        with self._loading:  # a reader's thread may be the first to need it
            if self._loaded is None:
                self._loaded = self._load_writing(self.route)
            return self._loaded

    # -- where it stands

    def cursor(self) -> Cursor:
        """Where this lane goes on: behind the last row that it settled."""
        if self.away and self.stood is not None:
            return self.stood
        stands = self._ahead or self.sink.committed() or self._start
        if self._read is not None and (self._read.generation, self._read.rowid) > (stands.generation, stands.rowid):
            stands = self._ahead = self._read
        self.stood = stands
        return stands

    def start_from(self, cursor: Cursor) -> None:
        """Where to begin if the table has no cursor of this source."""
        self._start = cursor

    def forget(self) -> None:
        """Drop what is cached after an error; the log decides again, but it has nothing of open windows."""
        self._read, self._ahead = (self._ahead or self._read) if self.route.traits.windowed else None, None
        if self._loaded is not None:
            self._loaded.forget()
        self.route.forget()

    def check_source(self) -> None:
        """Start a new generation now if the source is not the one that the cursor belongs to.

        Raises:
            SourceReset: if it is another one and the settings say to stop.
        """
        cursor = self.cursor()
        try:
            found = self._identity.confirmed(cursor)
        except SourceReset as reset:
            self._new_generation(reset)
            self._say_what_is_passed_by()
            return
        found = self._identity.agreed(found)
        found, asked = self._asked.checked(found), found
        if asked is not found and self._loaded is not None:
            self._loaded.forget()  # what it knows of earlier generations
        begun = cursor.rowid == BEFORE_FIRST and (self.was_chosen or self.sink.committed() is not None)
        self.was_chosen = True
        if begun and found.generation > cursor.generation:  # no row tells that the source is another one by now
            there = self._identity.kept_until()
            found = self._left(replace(cursor, rowid=there), found, there)
        elif cursor.rowid != BEFORE_FIRST and found.generation > cursor.generation:
            found = self._told_lost(cursor, found, self._identity.taken_back(cursor, found.generation))
        self._ahead = found if found is not cursor else self._ahead
        self._say_what_is_passed_by()

    def _say_what_is_passed_by(self) -> None:
        """Rows that came with a time before the cursor's, in a table that has no ids: they are not delivered."""
        if self.route.source.keyed_by_rowid:
            return
        late = self.route.source.passed(self.cursor()).late
        if late > self._passed_by:
            self.route.device.log.warning(Event.PASSED_BY, mode=self.name, rows=late - self._passed_by)
        self._passed_by = late

    def _new_generation(self, reset: SourceReset) -> None:
        if self.route.device.stop_on_reset:
            raise SourceReset(
                reset.fact,
                'If it is meant to be new, set on_source_reset = "new_generation"; if not, put the old one back',
            ) from None
        before = self.cursor()
        if not self.route.traits.windowed and before.rowid != before.marks.get(Mark.BEGINS):
            self.settle()  # else a table without a row of this generation does not know that it has been
        fresh, unsure = self._identity.succeeded(before)
        fresh = self._asked.broken_off(reset.fact, before, self._left(before, fresh, self._identity.still_there))
        told = {"generation": fresh.generation, "known_until": fresh.marks.get(Mark.BEGINS)}
        told |= {"unsure_until": unsure} if unsure is not None else {}
        self.route.device.log.warning(Event.SOURCE_RESET, mode=self.name, reason=reset.fact, **told)
        self._ahead = fresh

    def _left(self, before: Cursor, fresh: Cursor, there: int | None) -> Cursor:
        """Write what can be written of a source that is gone, and tell what is lost with it.

        Args:
            before: where the lane stood in it.
            fresh: where it begins in the one that came after; returned with what is known of lost rows.
            there: the last id, as the one before had it, of a row that both have; None if there is none.
        """
        step, pending = None, 0
        if self.route.traits.windowed or self._loaded is not None:
            step, pending = self._writing.source_gone(before)
            self._committed_aside(step)
        known = fresh.marks.get(Mark.BEGINS)
        written = (before if step is None else step.cursor).marks.get(Mark.WRITTEN)
        if known is not None and written is not None:
            fresh = fresh.marked(**{Mark.WRITTEN: written})
        if pending and known is not None:
            # A backup has the open windows' rows still, perhaps under other ids; those that it does not have are
            # missed when it is read.
            same_ids = Mark.ENDS not in fresh.marks
            kept = (Mark.PENDING, Mark.WATERMARK, *([Mark.IDS] if same_ids else []))
            fresh = fresh.marked(**{mark: before.marks[mark] for mark in kept if mark in before.marks})
            fresh, pending = fresh.marked(**{Mark.OPEN: BEFORE_FIRST + 1}), 0
        return self._told_lost(before, fresh, pending + self._identity.missed(before, fresh.generation, there))

    def _told_lost(self, before: Cursor, fresh: Cursor, lost: int) -> Cursor:
        """The fresh cursor, with the number of lost rows."""
        if lost:
            self.route.device.log.warning(Event.LOST, mode=self.name, rows=lost, generation=before.generation)
        return fresh.marked(**{Mark.LOST: total}) if (total := before.marks.get(Mark.LOST, 0) + lost) else fresh

    # -- one batch, one commit

    def step(self, *, limit: int, upto: int | None = None, held: bool = False, kept: bool = False) -> Step | None:
        """Deliver the next batch; None if there is none.

        What is ``held`` back is so in another source too; a batch that is ``kept`` is taken by another lane next.
        """
        if (found := self._next_batch(limit, upto, held=held, kept=kept)) is None:
            return None
        batch = found[0]
        self.route.device.log.debug(
            Event.BATCH_READ,
            mode=self.name,
            generation=batch.cursor.generation,
            first_id=batch.first_rowid,
            last_id=batch.cursor.rowid,
            rows=batch.rows,
            refused=len(batch.rejected),
        )
        before = self.cursor()
        step = self._writing.deliver(counted(batch, before), found[1], before)
        if self.route.source.keyed_by_rowid and before.rowid != BEFORE_FIRST:
            step = replace(step, gone=left_out(batch, before))
        self._ahead = None if step.commit is not None else step.cursor
        if not self.route.traits.replayable and self.route.source.keyed_by_rowid:
            self.passed.add(found[0])
        if self.route.versioned and self.route.device.updates is not None:
            self.seen.add(found[0], self.route.device.updates.window)
        return step

    def deliver_below(self, batch: Batch, marks: Mapping[str, int] = MappingProxyType({})) -> Step:
        """Deliver rows that came below the cursor, which stays where it is, and takes these marks."""
        before = self.cursor()
        step = self._writing.deliver(replace(batch, cursor=before.swept().marked(**marks)), None, before)
        self._ahead = None if step.commit is not None else step.cursor
        self._writing.forget()  # what it remembers is of rows in their order
        return step

    def renew(self, batch: Batch, last: pl.DataFrame) -> Step | None:
        """Deliver the new state of updated rows; the cursor stays where it is.

        Args:
            batch: the rows.
            last: what was delivered of them, see `edge_delta.delivery.versions.last_of`.
        """
        before = self.cursor()
        step = self._writing.renewed(replace(batch, cursor=before.swept()), last, before)
        if step is None or (step.commit is None and not step.refused.rows):
            return None  # the rejected table has had these rows
        self._ahead = None if step.commit is not None else step.cursor
        return step

    def note(self, mark: Mark, value: int) -> None:
        """Give the cursor a mark, which the next commit has."""
        cursor = self.cursor()
        if cursor.marks.get(mark) != value:
            self._ahead = cursor.marked(**{mark: value})

    def correct(self, after: int, upto: int, came: Came) -> Corrected:
        """Make windows again that rows came for from below the cursor."""
        found = self._writing.corrected(after, upto, self.cursor(), came)
        if found.step is not None:
            self._ahead = None if found.step.commit is not None else found.step.cursor
        return found

    @property
    def unsure(self) -> Unsure | None:
        """What a sweep alone can tell of its open windows, as far as they were read in this process."""
        return None if self._loaded is None else self._loaded.unsure

    def _next_batch(
        self, limit: int, upto: int | None, *, held: bool, kept: bool
    ) -> tuple[Batch, Prepared | None] | None:
        try:
            found = self._reader.read_after(self.cursor(), self._work(), limit=limit, upto=upto, kept=kept)
            self._identity.agrees_with_others(self.cursor())  # after it was read: a source that went does not come back
            self._asked.holds(self.cursor())
        except SourceReset:
            self.check_source()
            found = None if held else self._reader.read_after(self.cursor(), self._work(), limit=limit)
        return found

    def _work(self) -> Callable[[Batch], Prepared | None]:
        """What is to be done with a batch that is read ahead; imports nothing before it is called."""
        columns = self.sink.columns_later()
        return lambda batch: self._writing.prepare(batch, columns())

    # -- when something ends or begins

    def cycle_over(self) -> None:
        """All that was there when the cycle began is delivered."""
        if not self.route.traits.windowed or not (self._loaded is not None or self._due()):
            return
        self._committed_aside(self._writing.cycle_over(self.cursor()))
        self.settle()  # so that the table knows how many rows wait in open windows

    def _due(self) -> bool:
        """Whether rows that were read by another process wait for the clock, and it may be there by now."""
        ahead = self.cursor().marks.get(Mark.AHEAD, 0)
        return 0 < ahead <= round(self.route.device.now().timestamp() * 1_000_000)

    def finish(self, *, quick: bool = False) -> None:
        """The source is about to go, or the process; what waits is written now, but what takes long if ``quick``."""
        if self.route.traits.windowed:
            self._committed_aside(self._writing.finish(self.cursor(), quick=quick))

    def ignored_updates(self) -> list[Cursor]:
        """The cursors whose row was seen to be updated since the last call, and is not delivered again."""
        found, self._identity.updated = self._identity.updated, []
        return found

    def aside(self) -> list[Step]:
        """What was committed beside batches since the last call."""
        steps, self._aside = self._aside, []
        return steps

    def _committed_aside(self, step: Step | None) -> None:
        if step is None:
            return
        self._ahead = None if step.commit is not None else step.cursor
        if step.commit is not None:
            self._aside.append(step)

    def adopt(self, cursor: Cursor) -> None:
        """Go on from where another mode stands, recorded in this mode's table before any row."""
        stands = self.sink.committed()
        if stands is not None and (stands.generation, stands.rowid) >= (cursor.generation, cursor.rowid):
            return
        self._ahead = self._writing.adopted(cursor)
        self.settle()

    def settle(self) -> Commit | None:
        """Commit the cursor by itself where the last batches wrote no row to the mode's table.

        The table is made for that if it is not there yet: else a device without alerts would read all its rows again at
        every start. A position before the first row says something of lost rows, and that another source is there now.
        """
        if (ahead := self._ahead) is None:
            return None
        stands = self.sink.committed()
        if stands is not None and place(stands) == place(ahead):
            return None  # only its witnesses are new; the next commit takes them along
        another = stands is not None and stands.generation < ahead.generation
        if ahead.rowid == BEFORE_FIRST and not (another or ahead.marks.get(Mark.LOST)):
            return None
        commit, self._ahead = self.sink.append(self._writing.no_rows(), ahead), None
        return commit

    def go_back(self, cursor: Cursor, stands: Cursor) -> Commit:
        """Go on from an earlier row, as a new generation; committed without rows.

        Args:
            cursor: where to go on; its mark `Mark.BEGINS` says that the table begins anew behind known rows.
            stands: where the lane stands.
        """
        return self.sink.append(self._writing.no_rows(), self._writing.rewound(cursor, stands))
