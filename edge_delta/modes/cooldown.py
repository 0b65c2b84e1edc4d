"""Alerts of one sensor and rule as a group: what is told of it, how often it fired in between, and where it ends."""

from __future__ import annotations

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

    def tells(self, sensor: str | None, rule: str, severity: str, time: datetime | None) -> tuple[bool, int | None]:
        """Whether a row is written, and how many readings fired since the one before that were not."""
        group = (sensor, rule)
        before = self._last.get(group)
        if severity == OVER:
            over = group in self._open and (before is None or (time is not None and time >= before))
            if over:
                self._open.discard(group)
            return over, self._silenced.pop(group, 0) if over else 0
        # A reading that came late, from before the last alert's time, is silenced only if it lies near it too.
        if time is not None and before is not None and before - self._pause < time < before + self._pause:
            known = self._silenced.get(group, 0)
            self._silenced[group] = None if known is None else known + 1
            return False, 0
        self._open.add(group)
        if time is not None:
            self._last[group] = max(time, before or time)
        return True, self._silenced.pop(group, 0)
