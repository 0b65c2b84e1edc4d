"""Alerts of one sensor and rule as a group: what is told of it, how often it fired in between, and where it ends."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    import polars as pl

    Group = tuple[str | None, str]
    """A sensor and a rule."""

OVER = "over"
"""The severity of the row that ends a group of alerts."""
SILENCED = "silenced"
"""How many readings fired since the row before of the same sensor and rule, and made no alert."""


class Groups:
    """Which alerts are told and which readings end one, as rows come in.

    Args:
        pause: the cooldown.
        memory: the last alert and the last end by sensor, rule and severity, with what was silenced since.
    """

    def __init__(self, pause: timedelta, memory: pl.DataFrame | None) -> None:
        self._pause = pause
        self._last: dict[Group, datetime] = {}
        self._open: set[Group] = set()
        self._silenced: dict[Group, int | None] = {}
        ended: dict[Group, tuple[int, int]] = {}
        begun: dict[Group, tuple[int, int]] = {}
        for sensor, rule, severity, generation, time, row, silenced in memory.iter_rows() if memory is not None else ():
            group = (sensor, rule)
            which = ended if severity == OVER else begun
            which[group] = max((generation, row), which.get(group, (generation, row)))
            if severity != OVER and time is not None:
                self._last[group] = max(time, self._last.get(group, time))
            self._silenced[group] = silenced
        self._open.update(group for group, row in begun.items() if group not in ended or ended[group] < row)

    def would_tell(self, sensor: str | None, rule: str, severity: str, time: datetime | None) -> bool:
        """Whether a row would be written if it came next."""
        group = (sensor, rule)
        before = self._last.get(group)
        if severity == OVER:
            return group in self._open and (before is None or (time is not None and time >= before))
        # A reading that came late, from before the last alert's time, is silenced only if it lies near it too.
        return time is None or before is None or not before - self._pause < time < before + self._pause

    def told(self, sensor: str | None, rule: str, severity: str, time: datetime | None) -> None:
        """A row is written: those that come next are judged by it."""
        group = (sensor, rule)
        if severity == OVER:
            self._open.discard(group)
            return
        self._open.add(group)
        if time is not None:
            self._last[group] = max(time, self._last.get(group, time))

    def tells(self, sensor: str | None, rule: str, severity: str, time: datetime | None) -> tuple[bool, int | None]:
        """Whether a row is written, and how many readings fired since the one before that were not."""
        group = (sensor, rule)
        if self.would_tell(sensor, rule, severity, time):
            self.told(sensor, rule, severity, time)
            return True, self._silenced.pop(group, 0)
        if severity != OVER:
            known = self._silenced.get(group, 0)
            self._silenced[group] = None if known is None else known + 1
        return False, 0


class LateGroups:
    """As `Groups`, for rows from below the cursor: what was told of later times is there already, and stays.

    So a row is judged by what the table has around its time. How many readings fired before it is not known any more.

    Args:
        pause: the cooldown.
        memory: all alerts and ends, as `Emergency.wanted` asks for them.
    """

    def __init__(self, pause: timedelta, memory: pl.DataFrame | None) -> None:
        self._pause = pause
        self._open_before: set[Group] = set()
        self._told: dict[Group, list[datetime]] = {}
        self._all: dict[Group, list[tuple[datetime, bool]]] = {}
        rows = memory.sort("reading_id").iter_rows() if memory is not None else ()
        for sensor, rule, severity, _generation, time, _row in rows:
            self._add((sensor, rule), severity, time)

    def _add(self, group: Group, severity: str, time: datetime | None) -> None:
        if time is None:
            if severity != OVER:
                self._open_before.add(group)
            return
        insort(self._all.setdefault(group, []), (time, severity == OVER))
        if severity != OVER:
            insort(self._told.setdefault(group, []), time)

    def tells(self, sensor: str | None, rule: str, severity: str, time: datetime | None) -> tuple[bool, int | None]:
        """See `Groups.tells`."""
        tells = self.would_tell(sensor, rule, severity, time)
        if tells:
            self._add((sensor, rule), severity, time)
        return tells, None if tells else 0

    def would_tell(
        self, sensor: str | None, rule: str, severity: str, time: datetime | None, *, there: bool = False
    ) -> bool:
        """Whether a row would be written if it came last; ``there`` says that it is one of the rows already."""
        group = (sensor, rule)
        if time is None:
            return severity != OVER
        if there:
            self._all[group].remove((time, severity == OVER))
            if severity != OVER:
                self._told[group].remove(time)
        tells = self._tells(group, severity, time)
        if there:
            self._add(group, severity, time)
        return tells

    def _tells(self, group: Group, severity: str, time: datetime) -> bool:
        if severity != OVER:
            told = self._told.get(group, [])
            return bisect_right(told, time - self._pause) == bisect_left(told, time + self._pause)
        there = self._all.get(group, [])
        place = bisect_right(there, (time, True))
        is_open = not there[place - 1][1] if place else group in self._open_before
        ended_later = place < len(there) and there[place][1]
        return is_open and not ended_later
