"""Which rows went by in a lane whose table does not have them: alerts are rows of few readings.

Ids are kept as runs of equal steps, which those of nearly all tables are; the times beside them, by which used ids are
told, as long as the rows are few.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from edge_delta.core.model import BEFORE_FIRST
from edge_delta.delivery.tally import tells

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_delta.core.model import Batch, Cursor

_MOST_RUNS = 20_000
TIMED_ROWS = 10_000
"""The most rows whose times are kept."""


class KnownRows(Struct):
    """The rows up to a key.

    Attributes:
        upto: the key; None where it is not known which rows went by.
        runs: first id, step, and how many, in order.
        times: a checksum of each row's time by id; empty where they are too many.
    """

    upto: int | None = None
    runs: list[tuple[int, int, int]] = field(default_factory=list)
    times: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, kept: dict[str, Any]) -> KnownRows:
        """What was kept of it."""
        if not kept:
            return cls()
        runs = [(first, step, count) for first, step, count in kept["runs"]]
        return cls(kept["upto"], runs, {int(i): t for i, t in kept["times"].items()})

    def kept(self) -> dict[str, Any]:
        """What `of` takes."""
        if self.upto is None or len(self.runs) > _MOST_RUNS:
            return {}
        return {"upto": self.upto, "runs": self.runs, "times": self.times if len(self.times) <= TIMED_ROWS else {}}

    def new(self, after: int, upto: int, there: Iterable[tuple[int, int]]) -> list[int]:
        """The ids of a range that did not go by, or not with that time.

        Args:
            after: the key that the range is behind.
            upto: its last key.
            there: ids and checksums of times that the source has there.
        """
        ids = {i for run in self.runs for i in _within(run, after, upto)}
        return [i for i, time in there if i not in ids or (time and self.times.get(i, time) != time)]

    def cut(self) -> None:
        """Forget what lies behind the key."""
        upto = self.upto if self.upto is not None else BEFORE_FIRST
        self.runs = [
            (first, step, n) for first, step, count in self.runs if (n := min(count, _steps(first, step, upto)))
        ]
        self.times = {i: t for i, t in self.times.items() if i <= upto}

    def dense(self, first: int, last: int, upto: int) -> None:
        """All ids from one to another are known now, which are those up to a key."""
        self.runs = _joined([*self.runs, (first, 1, last - first + 1)])
        self.times, self.upto = {}, upto

    def set(self, after: int, upto: int, rows: list[tuple[int, int]]) -> None:
        """All rows of a range are known now."""
        before = [(first, step, min(count, _steps(first, step, after))) for first, step, count in self.runs]
        behind = [run for one in self.runs if (run := _behind(one, upto)) is not None]
        self.runs = _joined([*(run for run in before if run[2] > 0), *_runs([i for i, _ in rows]), *behind])
        self.times = {i: t for i, t in self.times.items() if not after < i <= upto}
        self.times |= {i: t for i, t in rows if t}
        self.upto = upto if self.upto is None else max(self.upto, upto)


class WentBy(Struct):
    """The rows that went by since the last sweep, with checksums of their times, as `Census.ids` gives them."""

    rows: dict[int, int] = field(default_factory=dict)
    whole: bool = True

    def add(self, batch: Batch) -> None:
        """A batch went by."""
        if len(self.rows) + batch.rows > TIMED_ROWS:
            self.rows, self.whole = {}, False
        if not self.whole:
            return
        stamp, key = batch.layout.timestamp, batch.frame.columns[0]
        times = batch.frame[stamp.alias].to_list() if stamp is not None else [None] * batch.frame.height
        self.rows |= {i: _sum_of(time) for i, time in zip(batch.frame[key].to_list(), times, strict=True)}
        self.rows |= {one.rowid: _sum_of(one.cells.get(stamp.alias) if stamp else None) for one in batch.rejected}

    def kept(self) -> dict[str, Any]:
        """What `add_kept` takes."""
        return {"rows": self.rows, "whole": self.whole}

    def add_kept(self, kept: Any) -> None:
        """Rows that went by in another process, as they stand in what was kept of the lane."""
        before = kept.get("passed") if isinstance(kept, dict) else None
        if before is not None:
            self.whole = self.whole and before["whole"] and len(self.rows) + len(before["rows"]) <= TIMED_ROWS
            self.rows = {**{int(i): t for i, t in before["rows"].items()}, **self.rows} if self.whole else {}

    def begin(self) -> None:
        """What went by so far is known."""
        self.rows, self.whole = {}, True

    def are(self, before: Cursor | None, now: Cursor) -> bool:
        """Whether these are all that were read between two cursors."""
        known = self.whole and before is not None and before.generation == now.generation
        return known and before is not None and tells(before.tally, now.tally, len(self.rows), sum(self.rows))

    def new(self, there: Iterable[tuple[int, int]]) -> list[int]:
        """The ids of rows that did not go by, or not with that time."""
        return [i for i, time in there if i not in self.rows or (time and self.rows[i] and self.rows[i] != time)]


def _sum_of(time: object) -> int:
    """As `edge_delta.source.census` has it; 0 for what SQLite may put into other words."""
    if not isinstance(time, str | int) or isinstance(time, bool):
        return 0
    return zlib.crc32(str(time).encode("utf-8", "surrogatepass").hex().upper().encode())


def _steps(first: int, step: int, upto: int) -> int:
    """How many of a run are not behind a key."""
    return 0 if upto < first else (upto - first) // step + 1


def _within(run: tuple[int, int, int], after: int, upto: int) -> range:
    first, step, count = run
    low, high = min(count, _steps(first, step, after)), min(count, _steps(first, step, upto))
    return range(first + low * step, first + high * step, step)


def _behind(run: tuple[int, int, int], upto: int) -> tuple[int, int, int] | None:
    first, step, count = run
    passed = min(count, _steps(first, step, upto))
    return (first + passed * step, step, count - passed) if passed < count else None


def _runs(ids: list[int]) -> list[tuple[int, int, int]]:
    """Ids in their order as runs."""
    runs: list[tuple[int, int, int]] = []
    for i in ids:
        if runs:
            first, step, count = runs[-1]
            if count == 1 or first + step * count == i:
                runs[-1] = (first, i - first if count == 1 else step, count + 1)
                continue
        runs.append((i, 1, 1))
    return runs


def _joined(runs: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    joined: list[tuple[int, int, int]] = []
    for first, step, count in runs:
        if joined:
            before, own, number = joined[-1]
            if before + own * number == first and (step == own or count == 1):
                joined[-1] = (before, own, number + count)
                continue
        joined.append((first, step, count))
    return joined
