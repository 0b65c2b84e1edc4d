"""What the mirror says of a mode: what goes on from batch to batch, and where the next one begins."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edge_delta.core.time_formats import doubtful

if TYPE_CHECKING:
    from edge_delta.core.model import Cursor, Step

_COMMITS_OF_TRIES = 10
_MOST_RANGES = 20
"""Ranges of ids without rows that are kept for `verify`."""
READS_AFTER = "reads_after"
"""Behind which id rows wait, where that is not the last id that was delivered."""


def doubtful_time(step: Step, now: datetime) -> str | None:
    """A time of the batch that is more likely misread than meant, with the reason; None if none is."""
    for time_ in (step.first_time, step.last_time):
        word = doubtful(time_, now) if time_ is not None else None
        if time_ is not None and word is not None:
            return f"{time_.astimezone(UTC).isoformat()} is {word}"
    return None


def tries(step: Step, before: dict[str, Any]) -> float | None:
    """Of the last ten or so commits: who shares a table waits for others, see `edge_delta.core.retry.Turns`."""
    known: float | None = before.get("tries_per_commit")
    if step.commit is None or known is None:
        return known if step.commit is None else step.commit.tries
    return round(known + (step.commit.tries - known) / _COMMITS_OF_TRIES, 2)


def gone(step: Step, before: dict[str, Any]) -> dict[str, Any]:
    """How many rows were deleted before they were delivered; and of the last ones generation, first and last id."""
    last, ranges = step.first_rowid - 1, before.get("gone", [])
    if step.gone:
        ranges = [*ranges, (step.cursor.generation, last - step.gone + 1, last)][-_MOST_RANGES:]
    return {"rows_gone": before.get("rows_gone", 0) + step.gone, "gone": ranges}


def committed_id(step: Step, before: dict[str, Any]) -> int | None:
    """The last id whose commit was answered, of the generation that the table is at."""
    if step.commit is not None:
        return step.commit.cursor.rowid
    same = before.get("table") == step.table and before.get("generation") == step.cursor.generation
    return before.get("committed_id") if same else None


def rejected_in_a_row(step: Step, before: int) -> int:
    """Rows rejected since one was kept; late ones say nothing of those to come."""
    return 0 if step.rejected < step.read else before + (0 if step.late else step.rejected)


def moment(micros: int) -> str | None:
    """A time in ISO 8601, of microseconds since 1970; None of 0."""
    return datetime.fromtimestamp(micros / 1_000_000, UTC).isoformat() if micros else None


def stands(table: dict[str, Any] | None, cursor: Cursor | None) -> None:
    """Say where the next batch begins, where no row that came since tells.

    A run may find that the source went on from a row before the last delivered one, as where an application deleted its
    newest rows. Who looks with the ids alone would take all rows for new ones.

    Args:
        table: what is said of the mode, None if nothing is yet.
        cursor: where it stands; None if it was not asked yet.
    """
    if table is None or cursor is None:
        return
    table.pop(READS_AFTER, None)
    if cursor.rowid != table.get("last_id"):
        table[READS_AFTER] = cursor.rowid


def replayed(table: dict[str, Any], version: int | None, at: datetime, *, passed: int, last: int) -> dict[str, Any]:
    """What is said of a mode after rejected rows were tried again.

    Args:
        table: what was said before.
        version: the mode's table now.
        at: when it was done.
        passed: how many of them were delivered.
        last: how many were tried since the last one of those.
    """
    known = table | {"rejected_in_a_row": min(table.get("rejected_in_a_row", 0), last)}
    if not passed:
        return known
    return known | {
        "version": version,
        "rows_written": table.get("rows_written", 0) + passed,
        "rows_rejected": max(0, table.get("rows_rejected", 0) - passed),
        "committed_at": at.isoformat(),
    }
