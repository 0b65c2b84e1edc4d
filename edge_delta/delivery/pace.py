"""When to work and how much at a time, and what a round came to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.core.retry import between

if TYPE_CHECKING:
    from edge_delta.core.model import Step


class Pace(Struct, frozen=True):
    """When to work and how much at a time.

    Attributes:
        interval: seconds between cycles.
        fuzz: share of the interval by which it varies, so that a fleet does not commit in step.
        batch_rows: the most rows in one commit.
        retry_for: seconds that a single run keeps trying when something is unavailable.
    """

    interval: float
    fuzz: float
    batch_rows: int
    retry_for: float

    def pause(self) -> float:
        """Seconds until the next cycle."""
        return self.interval * between(1 - self.fuzz, 1 + self.fuzz)


class Tally(Struct):
    """What one cycle of one lane came to."""

    rows_written: int = 0
    rows_rejected: int = 0
    first_id: int | None = None
    last_id: int | None = None

    def add(self, step: Step) -> None:
        """Count one batch."""
        self.rows_written += step.written
        self.rows_rejected += step.rejected
        self.first_id = step.first_rowid if self.first_id is None else self.first_id
        self.last_id = step.cursor.rowid
