"""What each commit says of the device that made it, so that a whole fleet can be overlooked by its tables' logs alone.

It stands in the commit's ``commitInfo`` under the name ``edge_delta``, as JSON::

    version    of edge-delta
    allowed    seconds that rows may wait until the device counts as behind (``health_after``)
    settled    the last id that nothing depends on any more, of this mode
    waiting    ids behind the cursor when the commit was made; null where that is not known
    rejected_in_a_row  rows of the batches before, where none of theirs was kept
    error      the kind of the last error, while it is not over
    recent     rows and rejected rows of this mode by hour and by five minutes, this commit's included: ``since`` when
               they are counted, then for each unit the number of its first slot since 1970 and the counts from there on
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from edge_delta import __version__
from edge_delta.core.errors import EdgeDeltaError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_delta.core.model import Cursor, Step
    from edge_delta.core.ports import Source

NOTE = "edge_delta"
"""The note's name in ``commitInfo``."""
_UNITS = {"hours": (3_600, 25), "parts": (300, 13)}
"""Seconds of a slot, and how many are kept: a day and an hour, and the slot that is not over."""


def counted(recent: Mapping[str, Any] | None, at: float, **numbers: int) -> dict[str, Any]:
    """What was counted with something more.

    Args:
        recent: what was counted before.
        at: the time, seconds since 1970.
        numbers: what to add, by what it is.
    """
    found: dict[str, Any] = dict(recent) if recent else {"since": round(at)}
    for name, number in numbers.items():
        if number:
            before = found.get(name, {})
            found[name] = {
                unit: _added(before.get(unit), int(at // seconds), most, number)
                for unit, (seconds, most) in _UNITS.items()
            }
    return found


def _added(series: list[int] | None, slot: int, most: int, number: int) -> list[int]:
    first, *counts = series or [slot]
    if not first <= slot < first + 2 * most:  # long ago, or the clock was set back
        first, counts = slot, []
    counts += [0] * (slot - first + 1 - len(counts))
    counts[slot - first] += number
    return [first + max(0, len(counts) - most), *counts[-most:]]


def within(recent: Mapping[str, Any], name: str, unit: str, *, after: float) -> int:
    """How many there were since a time, whole slots of a unit.

    Args:
        recent: what was counted.
        name: what it is.
        unit: ``hours`` or ``parts``.
        after: seconds since 1970.
    """
    first, *counts = recent.get(name, {}).get(unit) or [0]
    return sum(counts[max(0, int(after // _UNITS[unit][0]) - first) :])


class Vitals:
    """What is said with the commits of one source's modes.

    Args:
        content: what `last_upload.json` holds, as the mirror keeps it.

    Attributes:
        source: the source, once it is open.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content = content
        self._rejected: dict[str, tuple[int, int]] = {}
        self.source: Source | None = None

    def of_mode(self, mode: str) -> Callable[[Cursor, int], Mapping[str, str]]:
        """What is said with a commit to a mode's table."""

        def note(cursor: Cursor, rows: int) -> Mapping[str, str]:
            rejected = self._rejected.get(mode, (0, 0))
            return self._note(mode, cursor, rows, rejected[1] if rejected[0] == cursor.rowid else 0)

        return note

    def of_rejected(self, mode: str) -> Callable[[Cursor, int], Mapping[str, str]]:
        """What is said with a commit of rejected rows: where all are, no other commit may come for hours.

        The batch's kept rows come next, and their commit counts these, too.
        """

        def note(cursor: Cursor, rows: int) -> Mapping[str, str]:
            self._rejected[mode] = (cursor.rowid, rows)
            return self._note(mode, cursor, 0, rows)

        return note

    def _note(self, mode: str, cursor: Cursor, rows: int, rejected: int) -> Mapping[str, str]:
        table = self.content["tables"].get(mode, {})
        said = {
            "version": __version__,
            "allowed": self.content["health_after"],
            "settled": cursor.settled,
            "waiting": self._waiting(cursor),
            "recent": counted(table.get("recent"), time.time(), rows=rows, rejected=rejected),
        }
        if table.get("rejected_in_a_row"):
            said["rejected_in_a_row"] = table["rejected_in_a_row"]
        error = self.content.get("last_error") or {}
        if error and not error.get("over_at"):
            said["error"] = error.get("kind")
        return {NOTE: json.dumps(said, separators=(",", ":"))}

    def settled(self, step: Step) -> dict[str, Any]:
        """A batch is in its tables; what was counted with it."""
        self._rejected.pop(step.mode, None)
        before = self.content["tables"].get(step.mode, {}).get("recent")
        return counted(before, time.time(), rows=step.written, rejected=step.rejected)

    def _waiting(self, cursor: Cursor) -> int | None:
        source = self.source
        if source is None or not source.keyed_by_rowid:
            return None
        try:
            return source.waiting(cursor).rows
        except EdgeDeltaError:  # the next look at the source says so
            return None
