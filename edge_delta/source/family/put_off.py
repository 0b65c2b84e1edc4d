"""Files of a family that cannot be read: each is put off with its own error and tried again, and the others go on.

A file that is locked or damaged when it is found gets its place when it can be read. One that had its place before:
while it is locked, what lies behind its rows waits; if it is damaged, it is passed over like one that was removed, so
that its rows are told as gone, and a sweep brings them once a whole copy lies in its place.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.core.errors import FilesUnreadable
from edge_delta.core.retry import LONGEST_PAUSE

if TYPE_CHECKING:
    from edge_delta.core.errors import EdgeDeltaError
    from edge_delta.source.family.stretches import Stat

_FIRST_PAUSE = 1.0
_NAMED = 3


class _Waits(Struct):
    """A file that is tried again.

    Attributes:
        error: why it could not be read.
        pause: seconds between this try and the next one.
        again_at: when that is, by the monotonic clock.
        torn: the file as it was when a page of it was found to be torn, though its first and last rows can be read;
            None for one that is tried again.
    """

    error: EdgeDeltaError
    pause: float
    again_at: float
    torn: Stat | None


class PutOff:
    """The files that cannot be read now, by their names."""

    def __init__(self) -> None:
        self._files: dict[str, _Waits] = {}

    def add(self, name: str, error: EdgeDeltaError, torn: Stat | None = None) -> None:
        """A file could not be read; one with a torn page is not tried again before it is written."""
        before = self._files.get(name)
        pause = _FIRST_PAUSE if before is None else min(LONGEST_PAUSE, 2 * before.pause)
        self._files[name] = _Waits(error, pause, time.monotonic() + pause, torn)

    def over(self, name: str, stat: Stat | None) -> None:
        """A file's first and last rows were read, or it is gone."""
        there = self._files.get(name)
        if there is not None and (there.torn is None or there.torn != stat):
            del self._files[name]

    def skips(self, name: str | None, *, waits: bool) -> bool:
        """Whether a file is not to be tried now.

        Args:
            name: the file.
            waits: whether others wait for one that is locked, so that it is tried all the same.
        """
        there = self._files.get(name or "")
        if there is None:
            return False
        return there.torn is not None or (not waits and time.monotonic() < there.again_at)

    def due(self) -> list[str]:
        """Those that are to be tried again."""
        now = time.monotonic()
        return [name for name, there in self._files.items() if there.torn is None and now >= there.again_at]

    @property
    def error(self) -> FilesUnreadable | None:
        """What is wrong, in one error; None if nothing is."""
        if not self._files:
            return None
        first = next(iter(self._files.values())).error
        more = sorted(self._files)[:_NAMED]
        named = "" if len(self._files) == 1 else f" (one of {len(self._files)} files, such as {', '.join(more)})"
        hint = "Put a whole copy of a damaged file in its place, or move it out of the folder; the other files go on"
        return FilesUnreadable(f"{first.fact}{named}", hint)
