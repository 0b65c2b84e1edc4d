"""The sweep of one lane, by what its table can tell."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

from edge_delta.core.model import Mark
from edge_delta.delivery.known_rows import ANY, Gone, KnownRows
from edge_delta.delivery.late_rows import delivered_by, missing, read
from edge_delta.delivery.ledger import Ledger
from edge_delta.delivery.survey import Suspect
from edge_delta.delivery.sweep_parts import ByRows, LaneSweep, Round, Sweep
from edge_delta.delivery.tally import NOTHING, tells
from edge_delta.delivery.writing import Came

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping

    from edge_delta.core.model import Batch, Step
    from edge_delta.delivery.lane import Lane


class Readings(Sweep):
    """A table with a row for each row of the source."""

    def run(self) -> Iterator[Step]:
        """See `LaneSweep.run`."""
        in_time, new = not self.lane.route.source.keyed_by_rowid, 0
        for batch in missing(self.lane, self._suspects(), self.round.limit):
            counted: dict[str, int] = {Mark.COUNTED: self.now.tail.rows} if in_time else {}
            step = self.lane.deliver_below(batch, counted)
            new += step.read
            yield from self._told(step, step.read)
        self._tell_overrun(new)

    def _begin(self) -> int:
        return delivered_by(self.lane).begin()


class _Look(Struct):
    """What a range of the source has.

    Attributes:
        suspect: the range.
        there: ids and checksums of times, as far as its rows are few.
        new: ids of rows that did not come this way yet; None where nobody can tell.
        used: those of them that other rows had; all of them where nobody can tell.
        gone: rows that it had, and has no more, those among them whose ids others have.
        by_window: how many of the new rows each window has.
    """

    suspect: Suspect
    there: list[tuple[int, int]]
    new: set[int] | None = None
    used: set[int] = field(default_factory=set)
    gone: Gone = ANY
    by_window: Mapping[int, int] = field(default_factory=dict)


class Windows(ByRows):
    """A table of windows, each of which says how many rows it was made of."""

    most: int = 100_000

    def run(self) -> Iterator[Step]:
        """See `LaneSweep.run`."""
        known = KnownRows.of(self.known.rows)
        suspects = self._with_those_of_before(self._suspects(), known)
        told, all_new = self._told_singly(suspects), 0
        looks = [self._look(suspect, known, told=told) for suspect in suspects]
        gone = functools.reduce(Gone.joined, [look.gone for look in looks], known.gone)
        shared = Came(others={i for look in looks for i in look.new or ()}, gone=gone)
        for look in looks:
            all_new += yield from self._corrected(look, shared)
            shared = shared._replace(looked={*shared.looked, *look.by_window})
        self._tell_overrun(all_new)
        self._tell_gone(looks)
        if told:
            self._note(known, [(look.suspect, look.there) for look in looks])
            known.gone = gone
        self.now.rows = known.kept() if told else KnownRows().kept()
        self.lane.passed.begin()

    def _told_singly(self, suspects: list[Suspect]) -> bool:
        """Whether the ids of all ranges may be in memory, which tell new rows from those that make up for others."""
        counts = (self.round.shared.counts(suspect.after, suspect.upto) for suspect in suspects)
        return self.lane.route.source.keyed_by_rowid and sum(one.rows for one in counts) <= self.most

    def _look(self, suspect: Suspect, known: KnownRows, *, told: bool) -> _Look:
        """What a range has, and which of its rows are new."""
        there = self._there(suspect) if told else []
        ids = self._fresh(suspect, known, there) if told else None
        if ids is None:
            return _Look(suspect, there)
        new = {i for some in ids for i in some}
        grown, used = max(0, suspect.grown or 0), set[int]()
        if suspect.by_time:
            most = new if len(new) > grown else set[int]()
            used = most if known.upto is None else new & known.ids(suspect.after, suspect.upto)
        return _Look(
            suspect, there, new, used, self._gone(suspect, known, there, len(new - used)).joined(Gone.these(used))
        )

    def _gone(self, suspect: Suspect, known: KnownRows, there: list[tuple[int, int]], new: int) -> Gone:
        """Which rows of a range that went by are there no more; by their number where single ones are not known."""
        after, upto, stood = suspect.after, suspect.upto, self.known.cursor_at
        if stood is None:
            return ANY
        before = min(upto, stood)
        if known.upto is not None and before <= known.upto:
            gone = known.lost(after, before, [one for one in there if one[0] <= before])
        else:
            gone = Gone() if suspect.grown is None or new <= suspect.grown else ANY
        return gone.joined(self.lane.passed.lost(max(after, stood), upto, there)) if suspect.is_new else gone

    def _corrected(self, look: _Look, shared: Came) -> Generator[Step, None, int]:
        """Put the late rows of a range into their windows; how many are known to be new."""
        suspect, new = look.suspect, look.new
        fresh = (suspect.grown or 0) if new is None else len(new)
        ids = self._new_of(suspect) if new is None else new
        came = shared._replace(ids=ids, used=look.used, all_known=new is not None)
        step, late, whole, look.by_window, left = self.lane.correct(suspect.after, suspect.upto, came)
        yield from self._told(step, late)
        while new is not None and late > fresh:  # more came meanwhile, and are in the windows that were read again
            more = self._there(suspect)
            later = {i for i, _ in more} - {i for i, _ in look.there}
            if not later:
                break
            came = came._replace(ids=later, used=set(), looked={*came.looked, *look.by_window})
            step, rows, _, _, others = self.lane.correct(suspect.after, suspect.upto, came)
            yield from self._told(step, rows)
            look.there, fresh, late, left = more, fresh + len(later), late + rows, left + others
        self._tell_left(max(0, fresh - late - whole) if new is None else left)
        lacks = late if suspect.is_new else suspect.by_time and fresh <= late + whole
        if new is None and (lacks or self._may_hide(suspect)):
            self._tell_unsure(suspect)
        return 0 if new is None else fresh

    def _may_hide(self, suspect: Suspect) -> bool:
        """Whether late rows may make up for deleted ones in the number of a window, and single rows are not known."""
        if suspect.full or not self.lane.route.source.keyed_by_rowid:
            return False
        counts, tally = self._counted(behind_all=True), self.lane.cursor().tally
        in_order = self.in_order or (self.known.cursor is None and tells(NOTHING, tally, counts.rows, counts.ids))
        return not (suspect.is_new and in_order)

    def _tell_gone(self, looks: list[_Look]) -> None:
        """Say so where open windows may lack rows that late ones make up for."""
        unsure = self.lane.unsure
        if unsure is None or unsure.looked:
            return
        unsure.looked = True
        new = sum(look.by_window.get(start, 0) for look in looks for start in unsure.windows)
        if new != unsure.late or any(look.new is None for look in looks):
            self._tell_unsure(Suspect(unsure.after, unsure.upto))

    def _new_of(self, suspect: Suspect) -> set[int]:
        """The keys of rows that are new in a stretch of time, where counts alone tell it; none where they do not."""
        if self.lane.route.source.keyed_by_rowid or (suspect.grown or 0) <= 0:
            return set()
        keys = [key for key, _ in self.round.shared.census.ids(suspect.after, suspect.upto, timed=False)]
        return set(keys) if len(keys) == suspect.grown else {suspect.key} & set(keys)  # type: ignore[return-value]


class Alerts(ByRows):
    """A table of alerts: which rows raised none, something else has to say."""

    def run(self) -> Iterator[Step]:
        """See `LaneSweep.run`."""
        if not self.lane.route.source.keyed_by_rowid:
            yield from self._by_time()
            return
        known = KnownRows.of(self.known.rows)
        suspects, new, looked = self._with_those_of_before(self._suspects(), known), 0, []
        for suspect in suspects:
            there = self._there(suspect)
            ids = self._fresh(suspect, known, there)
            if ids is None:
                self._tell_unsure(suspect)
            ids = [*(ids or ())]
            new += sum(map(len, ids))
            yield from self._deliver(read(self.lane, ids, self.round.limit))
            yield from self._again(suspect, there)
            looked.append((suspect, there))
        self._tell_overrun(new)
        self._note(known, looked)
        self.now.rows = known.kept()
        self.lane.passed.begin()

    def _again(self, suspect: Suspect, there: list[tuple[int, int]]) -> Iterator[Step]:
        """Look at rows again that this lane had read when a process was killed, and the table that was asked had not.

        That table has read them since, perhaps with others that came meanwhile. An alert that is there is not repeated.
        """
        own = self.round.stood.get(self.lane.name)
        its = None if self.judged is None else self.round.stood.get(self.judged.name)
        if own is None or its is None or not own.generation == its.generation == self.lane.cursor().generation:
            return
        ids, route = [i for i, _ in there if its.rowid < i <= own.rowid], self.lane.route
        looks_back = route.mode().wanted(route.source.layout, route.context(own.generation)) is not None
        if ids and looks_back:  # as with a cooldown: which of them came late decides what a group is
            self._tell_unsure(replace(suspect, after=max(suspect.after, its.rowid), upto=min(suspect.upto, own.rowid)))
            return
        for batch in read(self.lane, [ids], self.round.limit):
            step = self.lane.deliver_below(batch)
            yield from self._told(step, step.written)

    def _by_time(self) -> Iterator[Step]:
        for suspect in self._suspects():
            judge = self.round.judge(self.lane)
            if judge is None:
                self._tell_unsure(suspect)
            else:
                yield from self._deliver(missing(judge, [suspect], self.round.limit))

    def _deliver(self, batches: Iterable[Batch]) -> Iterator[Step]:
        for batch in batches:
            step = self.lane.deliver_below(batch)
            yield from self._told(step, step.read)


def of(lane: Lane, kept: Any, round_: Round) -> LaneSweep:
    """The sweep of a lane.

    Args:
        lane: the lane.
        kept: what was kept of it the last time.
        round_: what all lanes share.
    """
    traits = lane.route.traits
    kind = Readings if traits.replayable else Windows if traits.windowed else Alerts
    return kind(lane, Ledger.of(kept, lane.cursor()), round_)
