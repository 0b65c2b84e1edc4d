"""What the sweeps of lanes have in common, whatever their tables can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from edge_delta.core.counting import NONE, Counts
from edge_delta.core.events import Event
from edge_delta.core.model import BEFORE_FIRST, Mark
from edge_delta.delivery.known_rows import TIMED_ROWS, KnownRows
from edge_delta.delivery.late_rows import delivered_by
from edge_delta.delivery.ledger import Ledger
from edge_delta.delivery.lives import life
from edge_delta.delivery.survey import Shared, Survey, Suspect
from edge_delta.delivery.time_survey import TimeSurvey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from edge_delta.core.model import Cursor, Step
    from edge_delta.core.swept import Swept
    from edge_delta.delivery.lane import Lane

_ROWS = 50_000


class Round(Struct, frozen=True):
    """What the sweeps of all lanes share.

    Attributes:
        lanes: those that have read something.
        shared: counts the source's rows.
        limit: the most rows in a commit.
        swept: what it comes to.
        first: whether nothing was swept before, and all that is there was read just now, and not written since.
        stood: where each lane stood when the process began, by its name.
    """

    lanes: Sequence[Lane]
    shared: Shared
    limit: int
    swept: Swept
    first: bool
    stood: Mapping[str, Cursor]

    def horizon(self, generation: int) -> int:
        """How far all lanes of a generation have come."""
        return min(c.rowid for lane in self.lanes if (c := lane.cursor()).generation == generation)

    def judge(self, lane: Lane) -> Lane | None:
        """A lane whose table can say which rows another one has not seen: it gets late rows after that one."""
        own = lane.cursor()
        for other in self.lanes:
            stands = other.cursor()
            if other.route.traits.replayable and (stands.generation, stands.rowid) >= (own.generation, own.rowid):
                return other
        return None


class LaneSweep(Protocol):
    """The sweep of one lane."""

    now: Ledger
    """What is known of it afterwards."""
    whole: bool
    """Whether it looked at all that is known, or goes on with that in the next cycle."""

    def run(self) -> Iterator[Step]:
        """Deliver what came below the cursor."""


class Sweep(Struct):
    """What sweeps have in common.

    Args:
        lane: the lane.
        known: what is known of it.
        round: what all lanes share.
    """

    lane: Lane
    known: Ledger
    round: Round
    now: Ledger = field(default_factory=Ledger)
    in_order: bool = False
    whole: bool = True

    def _suspects(self) -> list[Suspect]:
        cursor = self.lane.cursor()
        if not self.lane.route.source.keyed_by_rowid:
            in_time = TimeSurvey(self.round.shared.census, self.known, cursor)
            found = in_time.suspects()
            self.now, self.in_order = in_time.now, in_time.in_order
            return found
        begin = self._begin() if not self.known.ranges else BEFORE_FIRST
        shared, horizon = self.round.shared, self.round.horizon(cursor.generation)
        survey = Survey(shared, self.known, cursor, begin, horizon, compares=not self.round.first)
        found = survey.suspects()
        self.now, self.in_order, self.whole = survey.now, survey.in_order, survey.whole
        if any(suspect.by_time for suspect in found):
            self.lane.note(Mark.REUSED, 1)  # from now on a changed row tells of no other source
        return found

    def _counted(self, *, behind_all: bool) -> Counts:
        """The rows up to the cursor as they were counted: all of them, or those behind the cursor of the last time."""
        now = self.now
        ranges, less = (now.ranges, NONE) if behind_all else (now.ranges[len(self.known.ranges) :], self.known.tail)
        rows = sum(r.counts.rows for r in ranges) + now.tail.rows - less.rows
        return Counts(rows, sum(r.counts.ids for r in ranges) + now.tail.ids - less.ids)

    def _begin(self) -> int:
        cursor = self.lane.cursor()
        if life(cursor) < cursor.generation:  # what came in an earlier generation is looked at as well
            return delivered_by(self.lane).begin()
        return max(cursor.marks.get(Mark.BEGINS, BEFORE_FIRST), cursor.marks.get(Mark.SINCE_ROWID, BEFORE_FIRST))

    def _told(self, step: Step | None, late: int) -> Iterator[Step]:
        """Say what was delivered."""
        if step is None or not late:
            return
        lane, swept = self.lane, self.round.swept
        swept.rows[lane.name] = swept.rows.get(lane.name, 0) + late
        lane.route.device.log.warning(Event.BELOW_CURSOR, mode=lane.name, rows=late)
        yield replace(step, late=late)

    def _tell_overrun(self, new: int) -> None:
        """Say that rows may have come and gone unread, because none is there that was so at the last sweep.

        Args:
            new: how many rows are new of those that are there up to the cursor.
        """
        lane, one_look = self.lane, self.whole and self.known.looked is None
        if not (self.known.ranges and one_look and lane.route.source.keyed_by_rowid):
            return
        there = self._counted(behind_all=True).rows
        if 0 < there <= new:
            self.round.swept.overrun[lane.name] = there
            lane.route.device.log.warning(Event.OVERRUN, mode=lane.name, rows=there)

    def _tell_left(self, rows: int) -> None:
        if rows > 0:
            lane, swept = self.lane, self.round.swept
            swept.left[lane.name] = swept.left.get(lane.name, 0) + rows
            lane.route.device.log.warning(Event.NOT_SWEPT, mode=lane.name, rows=rows)


class ByRows(Sweep):
    """A table that does not say of each row whether it came: that is kept beside it, as far as rows are few.

    Attributes:
        judged: the lane whose table was asked of the last range; None if it was not asked.
        most: the most rows whose ids are looked at to be known the next time.
    """

    judged: Lane | None = None
    most: int = 1_000_000

    def _few(self) -> bool:
        return sum(one.counts.rows for one in self.now.ranges) <= TIMED_ROWS

    def _new(self, suspect: Suspect, known: KnownRows, there: list[tuple[int, int]]) -> Iterable[Sequence[int]] | None:
        """The ids of rows that did not come this way yet; None where nobody can tell."""
        if known.upto is not None and suspect.upto <= known.upto and (not suspect.by_time or known.times):
            return [known.new(suspect.after, suspect.upto, there)]
        self.judged = judge = self.round.judge(self.lane)
        if judge is not None:
            return _missing_in(judge, suspect)
        return [] if suspect.is_new and self.in_order else None

    def _note(self, known: KnownRows, looked: list[tuple[Suspect, list[tuple[int, int]]]]) -> None:
        """Know the rows up to the cursor the next time.

        What went by since the last sweep is known by itself, and what was looked at. Where it is not, as after a kill,
        those are known that are there now, unless more have come since they were counted.
        """
        stood, passed, upto = self.known.cursor, self.lane.passed, self.lane.cursor().rowid
        start = BEFORE_FIRST if stood is not None and stood.rowid == BEFORE_FIRST else known.upto
        if stood is not None and start == stood.rowid and passed.are(stood, self.lane.cursor()):
            known.went_by(passed, upto)
            known.look([(one.after, one.upto, there) for one, there in looked], timed=not passed.runs)
            return
        before = known.upto if known.upto is not None else BEFORE_FIRST
        known.look([(one.after, one.upto, there) for one, there in looked if one.upto <= before])
        self._note_those_there(known, upto)

    def _note_those_there(self, known: KnownRows, upto: int) -> None:
        if known.upto is None or known.upto != self.known.cursor_at:
            known.runs, known.times, known.upto = [], {}, None
        if known.upto is None and not (self.whole and self.known.looked is None):
            return  # counts of several cycles are not those of one moment
        after = self._begin() if known.upto is None else known.upto
        if after >= upto:
            return
        counts = self._counted(behind_all=known.upto is None)
        first, last = self.round.shared.census.ends(after, upto)
        if first is not None and last is not None and counts.rows == last - first + 1 and not self._few():
            known.dense(first, last, upto)
        elif counts.rows <= self.most:
            there = self.round.shared.census.ids(after, upto, timed=self._few())
            if counts == Counts(len(there), sum(i for i, _ in there)):
                known.set(after, upto, there)

    def _tell_unsure(self, suspect: Suspect) -> None:
        lane, unsure, first, last = self.lane, self.round.swept.unsure, suspect.after + 1, suspect.upto
        if suspect.after == BEFORE_FIRST:
            lowest, _ = self.round.shared.census.ends(suspect.after, last)
            first = min(1, lowest if lowest is not None else 1)
        before = unsure.get(lane.name, (first, last))
        if lane.name in unsure and before[0] <= first and last <= before[1]:
            return
        unsure[lane.name] = min(before[0], first), max(before[1], last)
        lane.route.device.log.warning(Event.NOT_SWEPT, mode=lane.name, first_id=first, last_id=last, rows=suspect.grown)

    def _with_those_of_before(self, suspects: list[Suspect], known: KnownRows) -> list[Suspect]:
        """With rows that a generation before has and is known to have, in ranges of their own."""
        cursor = self.lane.cursor()
        begins = cursor.marks.get(Mark.BEGINS)
        if self.known.ranges or known.upto is None or begins is None or life(cursor) == cursor.generation:
            return suspects
        known.upto = min(begins, known.upto)
        known.cut()
        kept = [one for one in suspects if one.after >= known.upto]
        cut = [Suspect(max(one.after, known.upto), one.upto) for one in suspects if one.after < known.upto < one.upto]
        return [Suspect(BEFORE_FIRST, known.upto, by_time=bool(known.times), grown=0), *cut, *kept]

    def _fresh(
        self, suspect: Suspect, known: KnownRows, there: list[tuple[int, int]]
    ) -> Iterable[Sequence[int]] | None:
        """As `_new`; of rows behind those that were known, those that went by since say it."""
        self.judged = None
        passed, stood = self.lane.passed, self.known.cursor
        if stood is None or not suspect.is_new or not passed.are(stood, self.lane.cursor()):
            return self._new(suspect, known, there)
        # The ranges end where the last of all lanes stood: this one may have been ahead, and what it had read by then
        # went by before.
        before = [one for one in there if one[0] <= stood.rowid]
        since = passed.new(one for one in there if one[0] > stood.rowid)
        judge = self.round.judge(self.lane) if passed.runs else None  # their times are not kept
        if judge is not None:
            found = _missing_in(judge, replace(suspect, after=max(suspect.after, stood.rowid)))
            since = sorted({*since, *(i for some in found for i in some)})
        if not before:
            return [since]
        older = self._new(replace(suspect, upto=min(suspect.upto, stood.rowid)), known, before)
        return None if older is None else [*older, since]

    def _there(self, suspect: Suspect) -> list[tuple[int, int]]:
        return self.round.shared.census.ids(suspect.after, suspect.upto, timed=self._few() or suspect.is_new)


def _missing_in(judge: Lane, suspect: Suspect) -> list[list[int]]:
    """The ids of a range's rows that the table of another lane does not have.

    A row whose id was used again is there as a new state of the one before: that one alone was seen by others.
    """
    delivered = replace(delivered_by(judge), first_states=True)
    return list(delivered.missing(suspect.after, suspect.upto, rows=_ROWS, by_time=suspect.by_time))
