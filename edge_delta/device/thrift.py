"""Gives memory back when work is over and nothing is to be done for a while."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from edge_delta.core.machine import give_back
from edge_delta.core.observing import SilentObserver

if TYPE_CHECKING:
    from edge_delta.core.model import Step, Waiting

_LONG_PAUSE = 10.0
"""Seconds of a wait before which it is worth it: what is needed again at once costs more than it saves."""
_AGAIN_AFTER = 60.0
"""Seconds between two times: of several sources another one may be at work."""


class Thrift(SilentObserver):
    """Hears when batches are settled and cycles are over."""

    def __init__(self) -> None:
        self._worked = False
        self._at = -math.inf

    def settled(self, _step: Step, _waiting: Waiting) -> None:
        """One batch was settled."""
        self._worked = True

    def cycled(self, pause: float | None) -> None:
        """A cycle is over; after it the process waits."""
        long = pause is not None and pause >= _LONG_PAUSE
        if self._worked and long and time.monotonic() - self._at >= _AGAIN_AFTER:
            self._worked, self._at = False, time.monotonic()
            give_back()
