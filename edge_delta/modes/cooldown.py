"""Alerts of one sensor and rule as a group: what is told of it, and where it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    import polars as pl

OVER = "over"
"""The severity of the row that ends a group of alerts."""


class Groups:
    """Which alerts are told and which readings end one, as rows come in.

    Args:
        pause: the cooldown.
        memory: the last alert and the last end by sensor, rule and severity.
    """

    def __init__(self, pause: timedelta, memory: pl.DataFrame | None) -> None:
        self._pause = pause
        self._last: dict[tuple[str | None, str], datetime] = {}
        self._open: set[tuple[str | None, str]] = set()
        ended: dict[tuple[str | None, str], int] = {}
        begun: dict[tuple[str | None, str], int] = {}
        for sensor, rule, severity, time, row in memory.iter_rows() if memory is not None else ():
            group = (sensor, rule)
            which = ended if severity == OVER else begun
            which[group] = max(row, which.get(group, row))
            if severity != OVER and time is not None:
                self._last[group] = max(time, self._last.get(group, time))
        self._open.update(group for group, row in begun.items() if group not in ended or ended[group] < row)

    def tells(self, sensor: str | None, rule: str, severity: str, time: datetime | None) -> bool:
        """Whether a row is written."""
        group = (sensor, rule)
        before = self._last.get(group)
        if severity == OVER:
            over = group in self._open and (before is None or (time is not None and time >= before))
            if over:
                self._open.discard(group)
            return over
        # A reading that came late, from before the last alert's time, is silenced only if it lies near it too.
        if time is not None and before is not None and before - self._pause < time < before + self._pause:
            return False
        self._open.add(group)
        if time is not None:
            self._last[group] = max(time, before or time)
        return True
