"""Log events, each declared once, and how they are written."""

from __future__ import annotations

import contextlib
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping

    import structlog

    from edge_delta.errors import TransientError


class Event(StrEnum):
    """Every event in the log. The keys that go with each are in `EVENTS`."""

    STARTED = "started"
    CYCLE_STARTED = "cycle started"
    CYCLE_FINISHED = "cycle finished"
    BATCH_COMMITTED = "batch committed"
    ROWS_REJECTED = "rows rejected"
    SOURCE_RESET = "source reset"
    SOURCE_REPLACED = "source replaced"
    TAKEN_OVER = "upload taken over"
    TOO_LATE = "rows came too late"
    PURGED_EARLY = "rows purged before their window closed"
    MODE_CHANGED = "processing mode changed"
    SETTINGS_CHANGED = "settings changed"
    SETTINGS_INVALID = "settings not taken over"
    NEEDS_RESTART = "settings need a restart"
    NO_ROWID = "table has no rowid"
    UNAVAILABLE = "unavailable"
    RECOVERED = "recovered"
    STATE_NOT_WRITTEN = "state not written"
    UPKEEP = "table looked after"
    UPKEEP_FAILED = "upkeep failed"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


EVENTS: Mapping[Event, str] = {
    Event.STARTED: "The process begins: version, settings with secrets masked, node_id.",
    Event.CYCLE_STARTED: "Before a cycle: mode, rows_waiting (width of the id range), first_id, last_id, will_fetch.",
    Event.CYCLE_FINISHED: "After a cycle: mode, rows_written, rows_rejected, first_id, last_id, rows_left, seconds.",
    Event.BATCH_COMMITTED: "One commit: table, version, rows, rejected, cursor, seconds.",
    Event.ROWS_REJECTED: "Rows went to the rejected table: table, rows, by rule and column.",
    Event.SOURCE_RESET: "The source is another one; what is new in it is read: reason, generation, known_until.",
    Event.SOURCE_REPLACED: "The path names another file now; the old one was read to its end first.",
    Event.TAKEN_OVER: "An older tool's last_upload is taken over: only rows after that time are read.",
    Event.TOO_LATE: "Rows of a written window came when its other rows were purged; they are rejected: mode, rows.",
    Event.PURGED_EARLY: "Windows were written without rows that the sensor had purged by then: mode, windows.",
    Event.MODE_CHANGED: "The settings file names other modes: old, new, detail, routing.",
    Event.SETTINGS_CHANGED: "A setting was changed while running: key, old, new (secrets masked).",
    Event.SETTINGS_INVALID: "The settings file was changed and has errors; the running settings stay: error.",
    Event.NEEDS_RESTART: "Settings that cannot change while running were changed: keys.",
    Event.NO_ROWID: "Rows are read in the order of their time; rows that arrive late cannot be seen.",
    Event.UNAVAILABLE: "Source or storage cannot be used now; it is tried again: error, failures, pause.",
    Event.RECOVERED: "It works again: after_seconds, failures.",
    Event.STATE_NOT_WRITTEN: "The state directory cannot be written; delivery goes on: error.",
    Event.UPKEEP: "Small files were joined, old ones gone: table, files_before, files_after, files_vacuumed, seconds.",
    Event.UPKEEP_FAILED: "The upkeep of a table did not work this time; delivery goes on: table, error.",
    Event.STOPPING: "A signal came; the batch in flight is finished first.",
    Event.STOPPED: "The process ends.",
    Event.FAILED: "The process ends with an error.",
}


class Observer:
    """Hears what the engine does. Each method does nothing here, and none may raise or take long."""

    def cycled(self, pause: float | None) -> None:
        """All that was there is delivered; the next cycle begins in ``pause`` seconds, None if there is none."""

    def alive(self) -> None:
        """The engine waits for the next cycle; said every few seconds."""

    def failed(self, error: TransientError, failures: int, pause: float) -> None:
        """Something is unavailable; it is tried again in ``pause`` seconds."""

    def recovered(self) -> None:
        """It works again."""


@contextlib.contextmanager
def heard_by(listener: Callable[[Mapping[str, Any]], None]) -> Iterator[None]:
    """Let something hear every log event for a while, as it is before it is written."""
    import structlog  # noqa: PLC0415

    before = structlog.get_config()["processors"]

    def hear(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        listener(event)
        return event

    structlog.configure(processors=[hear, *before])
    try:
        yield
    finally:
        structlog.configure(processors=before)


def configure(*, verbose: bool = False, stream: TextIO | None = None) -> structlog.stdlib.BoundLogger:
    """Set logging up: JSON lines, or coloured text where stderr is a terminal.

    Args:
        verbose: whether debug events are shown.
        stream: where to, by default stderr.
    """
    import structlog  # noqa: PLC0415

    out = stream or sys.stderr
    renderer: Any = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if out.isatty()
        else structlog.processors.JSONRenderer(default=str)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger("debug" if verbose else "info"),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    return structlog.get_logger()  # type: ignore[no-any-return]
