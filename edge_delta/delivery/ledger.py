"""What a lane is known to have delivered, by ranges of keys: what the next sweep compares the source with.

It is kept in the state directory, and nothing depends on it but the time that a sweep takes: what it does not say is
had from the tables.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from edge_delta.core.counting import FEW_ROWS, NONE, SAMPLES, SUM_BITS, Counts, Times
from edge_delta.core.model import BEFORE_FIRST, Cursor, Mark
from edge_delta.delivery.tally import tells

RANGES = 64


class Range(Struct, frozen=True):
    """Keys behind one and up to another, and what was counted there.

    Attributes:
        after: the key that it is behind.
        upto: its last key.
        counts: its rows.
        times: by what used ids are told.
    """

    after: int
    upto: int
    counts: Counts
    times: Times

    def dense(self, first: int) -> bool:
        """Whether each id of it, from one on, has a row."""
        return self.counts.rows == max(0, self.upto - max(self.after, first - 1))

    def joined(self, other: Range) -> Range:
        """This one and the next."""
        counts = Counts(self.counts.rows + other.counts.rows, self.counts.ids + other.counts.ids)
        latest = max(self.times.latest, other.times.latest) if counts.rows <= FEW_ROWS else ""
        samples = (*self.times.samples, *other.times.samples)
        thinned = samples[1::2] if len(samples) > SAMPLES else samples  # the last row of a range stays one of them
        one, two = self.times.sum, other.times.sum
        whole = None if one is None or two is None else (one + two) % (1 << SUM_BITS)
        return Range(self.after, other.upto, counts, Times(latest, thinned, whole))


class Ledger(Struct):
    """What is known of one lane.

    Attributes:
        ranges: what was counted at the last sweep, in order and without gaps.
        cursor: where the lane stood then; None if that is not known.
        tail: rows between the last range and that cursor.
        first: the lowest id then.
        looked: the last key that the looks of a round have come to, which did not get to all ranges; None otherwise.
        rows: what is known of single rows where the lane's table does not have them, see `delivery.known_rows`.
        stretches: what was counted of a table in the order of time, see `delivery.time_survey`.
    """

    ranges: list[Range] = field(default_factory=list)
    cursor: Cursor | None = None
    tail: Counts = NONE
    first: int = BEFORE_FIRST
    rows: dict[str, Any] = field(default_factory=dict)
    stretches: dict[str, Any] = field(default_factory=dict)
    looked: int | None = None

    def upto(self, begin: int) -> int:
        """The last key of the ranges; where a lane begins if there are none."""
        return self.ranges[-1].upto if self.ranges else begin

    @property
    def cursor_at(self) -> int | None:
        """The key that the lane had come to."""
        return self.cursor.rowid if self.cursor is not None else None

    def in_order(self, cursor: Cursor, counts: Counts) -> bool:
        """Whether rows behind the ranges are just those that the lane has read in their order.

        Args:
            cursor: where the lane stands.
            counts: what the source has behind the ranges, up to there.
        """
        before = self.cursor
        if before is None or before.generation != cursor.generation:
            return False
        return tells(before.tally, cursor.tally, counts.rows - self.tail.rows, counts.ids - self.tail.ids)

    def folded(self) -> Ledger:
        """The same in fewer ranges, where they have become many."""
        while len(self.ranges) > 2 * RANGES:
            pairs = [self.ranges[i : i + 2] for i in range(0, len(self.ranges), 2)]
            self.ranges = [pair[0].joined(pair[1]) if len(pair) > 1 else pair[0] for pair in pairs]
        return self

    @classmethod
    def of(cls, kept: Any, cursor: Cursor) -> Ledger:
        """What was kept, as far as it is about the source that the lane stands in."""
        if isinstance(kept, list):  # as versions before wrote it
            old = [Range(a, b, Counts(rows, ids), Times(latest)) for a, b, rows, ids, latest in kept]
            return cls([one for one in old if one.upto <= cursor.rowid])
        if not isinstance(kept, dict):
            return cls()
        if (
            kept.get("generation") == cursor.generation - 1
            and Mark.BEGINS in cursor.marks
            and Mark.ENDS not in cursor.marks
        ):
            return cls(rows=kept["rows"])  # ids are as they were
        if kept.get("generation") != cursor.generation or kept["cursor"] > cursor.rowid:
            return cls()
        ranges = [
            Range(a, b, Counts(rows, ids), Times(latest, tuple((i, t) for i, t in samples), *more))
            for a, b, rows, ids, latest, samples, *more in kept["ranges"]  # without a sum of versions before
        ]
        stood = Cursor(kept["generation"], kept["cursor"], tally=kept["tally"])
        more = kept.get("stretches", {}), kept.get("looked")
        return cls(ranges, stood, Counts(*kept["tail"]), kept["first"], kept["rows"], *more)

    def kept(self) -> dict[str, Any]:
        """What `of` takes."""
        at = self.cursor or Cursor()
        return {
            "generation": at.generation,
            "cursor": at.rowid,
            "tally": at.tally,
            "tail": list(self.tail),
            "first": self.first,
            "ranges": [[r.after, r.upto, *r.counts, *r.times] for r in self.ranges],
            "rows": self.rows,
            "stretches": self.stretches,
            "looked": self.looked,
        }
