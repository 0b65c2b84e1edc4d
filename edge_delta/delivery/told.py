"""What the log says of a lane's cycles and of settled batches."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edge_delta.core.events import Event, Log
from edge_delta.core.model import GONE_CURE
from edge_delta.core.time_formats import ODD_CURE, REJECTED_CURE, doubtful

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_delta.core.model import Step, Waiting
    from edge_delta.delivery.pace import Tally


class Told:
    """Tells of batches.

    Args:
        log: where.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._doubted: set[tuple[str, str]] = set()

    def cycle_begins(self, mode: str, waiting: Waiting, batch_rows: int) -> None:
        """What one lane has waiting."""
        self._log.info(
            Event.CYCLE_STARTED,
            mode=mode,
            rows_waiting=waiting.rows,
            first_id=waiting.first_rowid,
            last_id=waiting.last_rowid,
            will_fetch=min(waiting.rows, batch_rows),
        )

    def nothing_waits(self, modes: Iterable[str]) -> None:
        """Some lanes have nothing to do."""
        for mode in modes:
            self._log.info(Event.CYCLE_STARTED, mode=mode, rows_waiting=0, will_fetch=0)
            self._log.info(Event.CYCLE_FINISHED, mode=mode, rows_written=0, rows_rejected=0, rows_left=0)

    def cycle_ends(self, mode: str, tally: Tally, left: int, seconds: float) -> None:
        """What became of it."""
        self._log.info(
            Event.CYCLE_FINISHED,
            mode=mode,
            rows_written=tally.rows_written,
            rows_rejected=tally.rows_rejected,
            first_id=tally.first_id,
            last_id=tally.last_id,
            rows_left=left,
            seconds=round(seconds, 3),
        )

    def step(self, step: Step) -> None:
        """What was delivered as it should be, but can hardly be meant; and the commit."""
        self._what_is_odd(step)
        commit = step.commit
        if commit is None:
            return
        took = {
            "table": commit.table,
            "version": commit.version,
            "rows": commit.rows,
            "bytes": commit.bytes,
            "seconds": round(commit.seconds, 3),
        }
        cursor = step.cursor
        self._log.info(
            Event.BATCH_COMMITTED, **took, rejected=step.rejected, generation=cursor.generation, cursor=cursor.rowid
        )
        self._log.debug(Event.COMMIT_TRIED, **took, tries=commit.tries)

    def _what_is_odd(self, step: Step) -> None:
        if step.gone:
            last = step.first_rowid - 1
            self._log.warning(
                Event.GONE, mode=step.mode, rows=step.gone, first_id=last - step.gone + 1, last_id=last, fix=GONE_CURE
            )
        if step.read and step.rejected == step.read and not step.late:
            self._log.error(Event.ALL_REJECTED, mode=step.mode, table=step.table, rows=step.read, fix=REJECTED_CURE)
        for moment in filter(None, (step.first_time, step.last_time)):
            word = doubtful(moment, datetime.now(UTC))
            if word is not None and (step.mode, word) not in self._doubted:
                self._doubted.add((step.mode, word))
                self._log.warning(
                    Event.DOUBTFUL_TIME, mode=step.mode, time=moment.isoformat(), reason=word, fix=ODD_CURE
                )
