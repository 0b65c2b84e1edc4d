"""Which rows went by in a lane whose table does not have them: alerts are rows of few readings.

Ids are kept as runs of equal steps, which those of nearly all tables are; the times beside them, by which used ids are
told, as long as the rows are few.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from edge_delta.core.model import BEFORE_FIRST
from edge_delta.delivery.tally import tells

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_delta.core.model import Batch, Cursor

_MOST_RUNS = 20_000
_MOST_GONE = 5_000
TIMED_ROWS = 10_000
"""The most rows whose times are kept."""


class Gone(Struct, frozen=True):
    """Ids of rows that went by, and are there no more.

    Attributes:
        runs: first id, step, and how many; None where they may be any.
    """

    runs: list[tuple[int, int, int]] | None = field(default_factory=list)

    @property
    def known(self) -> bool:
        """Whether it is known which they are."""
        return self.runs is not None

    @classmethod
    def of(cls, kept: list[list[int]] | None) -> Gone:
        """What was kept of them."""
        return cls(None if kept is None else [(first, step, count) for first, step, count in kept])

    @classmethod
    def between(cls, runs: Iterable[tuple[int, int, int]], after: int, upto: int, there: Sequence[int]) -> Gone:
        """The ids of a range that runs have and that are not there.

        Args:
            runs: the runs.
            after: the key that the range is behind.
            upto: its last key.
            there: ids in their order.
        """
        found: list[tuple[int, int, int]] = []
        for run in runs:
            ids = _within(run, after, upto)
            start = 0
            for at in range(bisect_left(there, ids.start), bisect_right(there, ids[-1])) if ids else ():
                place, rest = divmod(there[at] - ids.start, ids.step)
                if not rest:
                    found += [(ids[start], ids.step, place - start)] if place > start else []
                    start = place + 1
            found += [(ids[start], ids.step, len(ids) - start)] if start < len(ids) else []
        return cls(found)

    @classmethod
    def these(cls, ids: Iterable[int]) -> Gone:
        """Some ids."""
        return cls(_runs(sorted(ids)))

    def kept(self) -> list[tuple[int, int, int]] | None:
        """What `of` takes."""
        return None if self.runs is None or len(self.runs) > _MOST_GONE else self.runs

    def joined(self, other: Gone) -> Gone:
        """Both together."""
        return Gone(None if self.runs is None or other.runs is None else _joined(sorted([*self.runs, *other.runs])))

    def some(self, first: int, last: int) -> bool:
        """Whether there are some from one id to another."""
        return self.runs is None or any(_within(run, first - 1, last) for run in self.runs)


ANY = Gone(None)
"""Where it is not known which rows are gone."""


class KnownRows(Struct):
    """The rows up to a key.

    Attributes:
        upto: the key; None where it is not known which rows went by.
        runs: first id, step, and how many, in order.
        times: a checksum of each row's time by id; empty where they are too many.
        gone: the ids of those that were deleted since, as far as sweeps saw it.
    """

    upto: int | None = None
    runs: list[tuple[int, int, int]] = field(default_factory=list)
    times: dict[int, int] = field(default_factory=dict)
    gone: Gone = Gone()

    @classmethod
    def of(cls, kept: dict[str, Any]) -> KnownRows:
        """What was kept of it."""
        if not kept:
            return cls()
        runs = [(first, step, count) for first, step, count in kept["runs"]]
        return cls(kept["upto"], runs, {int(i): t for i, t in kept["times"].items()}, Gone.of(kept.get("gone", [])))

    def kept(self) -> dict[str, Any]:
        """What `of` takes."""
        if self.upto is None or len(self.runs) > _MOST_RUNS:
            return {"upto": None, "runs": [], "times": {}, "gone": ANY.kept()}
        times = self.times if len(self.times) <= TIMED_ROWS else {}
        return {"upto": self.upto, "runs": self.runs, "times": times, "gone": self.gone.kept()}

    def new(self, after: int, upto: int, there: Iterable[tuple[int, int]]) -> list[int]:
        """The ids of a range that did not go by, or not with that time.

        Args:
            after: the key that the range is behind.
            upto: its last key.
            there: ids and checksums of times that the source has there.
        """
        ids = self.ids(after, upto)
        return [i for i, time in there if i not in ids or (time and self.times.get(i, time) != time)]

    def ids(self, after: int, upto: int) -> set[int]:
        """The ids of a range that went by, whatever times they had."""
        return {i for run in self.runs for i in _within(run, after, upto)}

    def lost(self, after: int, upto: int, there: Iterable[tuple[int, int]]) -> Gone:
        """Those of a range that went by and are not there.

        Args:
            after: the key that the range is behind.
            upto: its last key.
            there: ids in their order, as `new` takes them.
        """
        return Gone.between(self.runs, after, upto, [i for i, _ in there])

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

    def look(self, looked: Iterable[tuple[int, int, list[tuple[int, int]]]], *, timed: bool = True) -> None:
        """All rows of some ranges are known now, each given as for `set`; without times where not all are there."""
        for after, upto, rows in looked:
            self.set(after, upto, rows)
        if not timed:
            self.times = {}

    def went_by(self, passed: WentBy, upto: int) -> None:
        """The rows behind the known ones are those that went by, up to a key."""
        self.runs = _joined([*self.runs, *(passed.runs or _runs(sorted(passed.rows)))])
        self.times |= {i: t for i, t in passed.rows.items() if t}
        self.upto = upto

    def set(self, after: int, upto: int, rows: list[tuple[int, int]]) -> None:
        """All rows of a range are known now."""
        before = [(first, step, min(count, _steps(first, step, after))) for first, step, count in self.runs]
        behind = [run for one in self.runs if (run := _behind(one, upto)) is not None]
        self.runs = _joined([*(run for run in before if run[2] > 0), *_runs([i for i, _ in rows]), *behind])
        self.times = {i: t for i, t in self.times.items() if not after < i <= upto}
        self.times |= {i: t for i, t in rows if t}
        self.upto = upto if self.upto is None else max(self.upto, upto)


class WentBy(Struct):
    """The rows that went by since the last sweep.

    Attributes:
        rows: checksums of their times by id, as `Census.ids` gives them, as long as they are few.
        runs: their ids once they are many: first id, step, and how many, in order.
        whole: whether they are all of them.
    """

    rows: dict[int, int] = field(default_factory=dict)
    runs: list[tuple[int, int, int]] = field(default_factory=list)
    whole: bool = True

    @property
    def nothing(self) -> bool:
        """Whether none did."""
        return self.whole and not self.rows and not self.runs

    def add(self, batch: Batch) -> None:
        """A batch went by."""
        if not self.whole:
            return
        if self.runs or len(self.rows) + batch.rows > TIMED_ROWS:
            self._add_runs(_runs_of(batch))
            return
        stamp, ids = batch.layout.timestamp, batch.frame[batch.frame.columns[0]].to_list()
        times = batch.frame[stamp.alias].to_list() if stamp is not None else [None] * batch.frame.height
        self.rows |= {i: _sum_of(time) for i, time in zip(ids, times, strict=True)}
        self.rows |= {one.rowid: _sum_of(one.cells.get(stamp.alias) if stamp else None) for one in batch.rejected}

    def _add_runs(self, runs: list[tuple[int, int, int]]) -> None:
        self.runs = _joined([*self.runs, *_runs(sorted(self.rows)), *runs])
        self.rows = {}
        if len(self.runs) > _MOST_RUNS:
            self.runs, self.whole = [], False

    def kept(self) -> dict[str, Any]:
        """What `add_kept` takes."""
        return {"rows": self.rows, "runs": self.runs, "whole": self.whole}

    def add_kept(self, kept: Any) -> None:
        """Rows that went by in another process, as they stand in what was kept of the lane."""
        before = kept.get("passed") if isinstance(kept, dict) else None
        if before is None:
            return
        self.whole = self.whole and before["whole"]
        own, runs = self.rows, self.runs
        self.rows = {int(i): t for i, t in before["rows"].items()}
        self.runs = [(first, step, count) for first, step, count in before.get("runs", ())]
        if self.runs or runs or len(self.rows) + len(own) > TIMED_ROWS:
            self._add_runs(runs or _runs(sorted(own)))
        else:
            self.rows |= own

    def lost(self, after: int, upto: int, there: Iterable[tuple[int, int]]) -> Gone:
        """Those of a range that went by and are not there; see `KnownRows.lost`."""
        runs = self.runs or _runs(sorted(self.rows))
        return Gone.between(runs, after, upto, [i for i, _ in there]) if self.whole else ANY

    def begin(self) -> None:
        """What went by so far is known."""
        self.rows, self.runs, self.whole = {}, [], True

    def are(self, before: Cursor | None, now: Cursor) -> bool:
        """Whether these are all that were read between two cursors."""
        if not self.whole or before is None or before.generation != now.generation:
            return False
        counts = len(self.rows) + sum(count for _, _, count in self.runs)
        ids = sum(self.rows) + sum(first * count + step * count * (count - 1) // 2 for first, step, count in self.runs)
        return tells(before.tally, now.tally, counts, ids)

    def new(self, there: Iterable[tuple[int, int]]) -> list[int]:
        """The ids of rows that did not go by, or not with that time.

        Args:
            there: ids in their order, and checksums of times.
        """
        rows, passed, at = self.rows, self.runs, 0
        found = []
        for i, time in there:
            while at < len(passed) and _last(passed[at]) < i:
                at += 1
            in_run = at < len(passed) and passed[at][0] <= i and not (i - passed[at][0]) % passed[at][1]
            if not in_run and (i not in rows or (time and rows[i] and rows[i] != time)):
                found.append(i)
        return found


def _runs_of(batch: Batch) -> list[tuple[int, int, int]]:
    first, last = batch.first_rowid, batch.cursor.rowid
    if batch.rows == last - first + 1:
        return [(first, 1, batch.rows)]
    ids: list[int] = batch.frame[batch.frame.columns[0]].to_list()
    return _runs(sorted([*ids, *(one.rowid for one in batch.rejected)]))


def _last(run: tuple[int, int, int]) -> int:
    return run[0] + run[1] * (run[2] - 1)


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
