"""Log events, each declared once, and how they are written."""

from __future__ import annotations

import json
import os
import sys
import threading
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Event(StrEnum):
    """Every event in the log. The keys that go with each are in `EVENTS`."""

    STARTED = "started"
    CYCLE_STARTED = "cycle started"
    CYCLE_FINISHED = "cycle finished"
    BATCH_COMMITTED = "batch committed"
    ROWS_REJECTED = "rows rejected"
    SOURCE_RESET = "source reset"
    RESET_CUT = "reset cut short"
    SOURCE_UNSURE = "source taken for the same"
    SOURCE_REPLACED = "source replaced"
    BELOW_CURSOR = "rows below the cursor"
    NOT_SWEPT = "rows below the cursor not delivered"
    OVERRUN = "all rows overwritten between two sweeps"
    ROWS_UPDATED = "delivered row updated"
    UPDATES = "updates"
    UPDATES_DELIVERED = "updated rows delivered"
    REPAIRED = "missing rows delivered"
    TAKEN_OVER = "upload taken over"
    TOO_LATE = "rows came too late"
    PURGED_EARLY = "rows purged before their window closed"
    LOST = "rows lost"
    GONE = "rows gone before they were delivered"
    PURGED = "rows purged"
    NOT_PURGED = "rows not purged"
    AHEAD = "times ahead of the clock"
    MODE_CHANGED = "processing mode changed"
    READ_AGAIN = "settings read again"
    SETTINGS_CHANGED = "settings changed"
    SETTINGS_INVALID = "settings not taken over"
    NEEDS_RESTART = "settings need a restart"
    SOURCE_ADDED_OR_LEFT = "sources changed"
    LEFT_OUT = "table left out"
    FILE_FOUND = "file found"
    FILE_GREW = "rows came into an older file"
    FILE_RENAMED = "file renamed"
    FILE_GONE = "file gone"
    NO_ROWID = "table has no rowid"
    PLACES = "places"
    TIME_COLUMN = "time column"
    PASSED_BY = "rows came with a time that is passed"
    DOUBTFUL_TIME = "doubtful time"
    ALL_REJECTED = "every row of a batch rejected"
    UNAVAILABLE = "unavailable"
    RECOVERED = "recovered"
    STATE_NOT_WRITTEN = "state not written"
    HEARTBEAT = "heartbeat not written"
    NOT_SENT = "metrics not sent"
    UPKEEP = "table looked after"
    UPKEEP_FAILED = "upkeep failed"
    STATEMENT = "statement"
    BATCH_READ = "batch read"
    COMMIT_TRIED = "commit tried"
    TABLE_HEALED = "table healed"
    LIBRARY = "library said"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


EVENTS: Mapping[Event, str] = {
    Event.STARTED: "The process starts: version, settings with secrets masked, node_id.",
    Event.CYCLE_STARTED: "Before a cycle: mode, rows_waiting (width of the id range), first_id, last_id, will_fetch.",
    Event.CYCLE_FINISHED: "After a cycle: mode, rows_written, rows_rejected, first_id, last_id, rows_left, seconds.",
    Event.BATCH_COMMITTED: "One commit: table, version, rows, bytes in memory, rejected, cursor, seconds.",
    Event.ROWS_REJECTED: "Rows were written to the rejected table: table, rows, bytes in memory, by rule and column.",
    Event.SOURCE_RESET: "The source was replaced; its new rows are read: reason, generation, known_until, unsure_until "
    "(windows and alerts alone: rows up to that id may have come before, and count twice then).",
    Event.RESET_CUT: "The source was replaced before all rows that a reset asked for had come again; what it has no "
    "more stays current: mode, reason, generation, asked_until, come_until.",
    Event.SOURCE_UNSURE: "Neither witnesses nor a table of readings tell whether it is still the source: mode, reason.",
    Event.SOURCE_REPLACED: "The path now names another file; the old one was read to its end first.",
    Event.BELOW_CURSOR: "Rows with keys that had been passed were found by the sweep and delivered: mode, rows.",
    Event.NOT_SWEPT: "Rows came below the cursor that this mode cannot take: mode, rows, or first_id and last_id.",
    Event.OVERRUN: "Each row that was there at the last sweep was overwritten or deleted since, so others may have "
    "come and gone unread; a shorter sweep sees them: mode, rows (that are there now).",
    Event.ROWS_UPDATED: "The last delivered row was changed since; the table keeps what was delivered: mode, id.",
    Event.UPDATES: "With on_update = append: which modes deliver updates (append), which ignore them, window, column.",
    Event.UPDATES_DELIVERED: "New states of updated rows were appended, with a higher row_version: mode, rows.",
    Event.REPAIRED: "verify --repair delivered rows that were missing: mode, table, rows, version.",
    Event.TAKEN_OVER: "The last_upload of an older tool is used: only rows after that time are read.",
    Event.TOO_LATE: "Rows of a written window came after its other rows were deleted; they are rejected: mode, rows.",
    Event.PURGED_EARLY: "Windows lack rows that the sensor deleted before they closed: mode, windows, rows.",
    Event.LOST: "Rows that were read went with their source before they came to the table: mode, rows, generation.",
    Event.GONE: "Ids between two batches are left out: their rows were deleted first: mode, rows, first_id, last_id.",
    Event.PURGED: "`purge` is done: table, rows, first_id, last_id, dry_run, longest_ms of the write lock, seconds.",
    Event.NOT_PURGED: "`purge` left rows that no table has as they are: table, rows, first_id, last_id.",
    Event.AHEAD: "Rows wait because their times are ahead of the clock: mode, rows, first, last.",
    Event.MODE_CHANGED: "The settings file names other modes: old, new, detail, routing.",
    Event.READ_AGAIN: "SIGHUP came; what is another in the settings is said next: file (null: there is none).",
    Event.SETTINGS_CHANGED: "A setting was changed while running: key, old, new (secrets masked).",
    Event.SETTINGS_INVALID: "The settings file was changed and has errors; the old settings stay in force: error.",
    Event.NEEDS_RESTART: "Settings that cannot change while running were changed: keys.",
    Event.SOURCE_ADDED_OR_LEFT: "One of several sources came, or was taken out of the settings: source, added.",
    Event.LEFT_OUT: "A pattern means a table that cannot be read in any order, or a file that is no database: source, "
    "reason.",
    Event.FILE_FOUND: "Files that rotate: a new one has its place behind the others: file, number, ids (so wide),"
    " files (that were found together; of more than 20 only the last is told).",
    Event.FILE_GREW: "Files that rotate: rows came into one that another had followed; they come next: file, number, "
    "ids, files.",
    Event.FILE_RENAMED: "Files that rotate: one that is known has another name: file, was, number.",
    Event.FILE_GONE: "Files that rotate: the one that was written is gone: file, read_to (own id), rows_left (that are "
    "read through the open file, or are lost).",
    Event.NO_ROWID: "Rows are read in the order of their time, the latest some seconds later: order_by, ahead (rows).",
    Event.PLACES: "What the settings and tables show of places besides the draw of now: draw, detail.",
    Event.TIME_COLUMN: "The column with the readings' times: table, column, reason, format, zone, first and last time.",
    Event.DOUBTFUL_TIME: "Times came from before 2000 or ahead of the clock, said once: mode, time, reason, fix.",
    Event.ALL_REJECTED: "Not one row of a batch fits: mode, rows, table, fix.",
    Event.PASSED_BY: "Without a rowid, rows came with a time before the last one's, for the next sweep: mode, rows.",
    Event.UNAVAILABLE: "Source or storage cannot be used now; edge-delta retries: error, failures, pause.",
    Event.RECOVERED: "It works again: after_seconds, failures.",
    Event.STATE_NOT_WRITTEN: "The state directory cannot be written; delivery continues: error.",
    Event.HEARTBEAT: "The heartbeat beside the tables cannot be written, said once; delivery continues: error.",
    Event.NOT_SENT: "A platform's variable names a collector, and the extra otlp is not installed: variable, error.",
    Event.UPKEEP: "Small files compacted, old ones deleted: table, files_before, files_after, files_vacuumed, "
    "bytes_rewritten, seconds.",
    Event.UPKEEP_FAILED: "The maintenance of a table failed this time; delivery continues: table, error.",
    Event.STATEMENT: "Debug: a statement is about to run on the source: sql, shortened.",
    Event.BATCH_READ: "Debug: a batch was read: mode, generation, first_id, last_id, rows, refused by their types.",
    Event.COMMIT_TRIED: "Debug: what a commit took: table, version, tries, rows, bytes in memory, seconds.",
    Event.TABLE_HEALED: "What a power cut left of a table was set aside; delivery continues: table, found.",
    Event.LIBRARY: "A library printed something by itself: said, source. With RUST_LOG set, such lines come unchanged.",
    Event.STOPPING: "A signal arrived; the batch in flight is finished first.",
    Event.STOPPED: "The process ends; batch_given_up: its time was over, and the next start reads those rows again.",
    Event.FAILED: "The process ends with an error.",
}


class Log:
    """Writes each event on a line of its own, with its keys, its level and its time.

    Args:
        out: where to.
        render: makes the line.
        verbose: whether debug events are written.
    """

    def __init__(self, out: TextIO, render: Callable[[dict[str, Any]], str], *, verbose: bool) -> None:
        self._out = out
        self._render = render
        self._verbose = verbose
        self._one_line = threading.RLock()  # a signal's handler may come in between
        self._always: Mapping[str, Any] = {}

    def of_source(self, source: str) -> Log:
        """The same log for what happens to one of several sources, which each line names then."""
        log = Log(self._out, self._render, verbose=self._verbose)
        log._one_line, log._always = self._one_line, {"source": source}
        return log

    @property
    def verbose(self) -> bool:
        """Whether debug events are written."""
        return self._verbose

    def debug(self, event: str, **keys: Any) -> None:
        """What only somebody who looks for a fault wants to see."""
        if self._verbose:
            self._say("debug", event, keys)

    def info(self, event: str, **keys: Any) -> None:
        """What happens."""
        self._say("info", event, keys)

    def warning(self, event: str, **keys: Any) -> None:
        """What somebody should know."""
        self._say("warning", event, keys)

    def error(self, event: str, **keys: Any) -> None:
        """What somebody has to mend."""
        self._say("error", event, keys)

    def _say(self, level: str, event: str, keys: dict[str, Any]) -> None:
        time = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        line = {**self._always, **keys, "event": event, "level": level, "timestamp": time}
        with self._one_line:
            self._out.write(self._render(line) + "\n")
            self._out.flush()


def configure(*, verbose: bool = False, stream: TextIO | None = None) -> Log:
    """The log: JSON lines, or coloured text where stderr is a terminal.

    Args:
        verbose: whether debug events are shown.
        stream: where to, by default stderr.
    """
    out = stream or sys.stderr
    render = _coloured() if out.isatty() else _with_priority if _is_the_journal(out) else _json
    return Log(out, render, verbose=verbose)


def _json(event: dict[str, Any]) -> str:
    return json.dumps(event, default=str)


_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}
"""Of syslog(3)."""


def _with_priority(event: dict[str, Any]) -> str:
    """With the priority before it, which systemd takes off again (sd-daemon(3)); `journalctl -p warning` knows it."""
    return f"<{_PRIORITIES[event['level']]}>{_json(event)}"


def _is_the_journal(out: TextIO) -> bool:
    """Whether this leads to systemd's journal, and nobody has put a file or a pipe there since (systemd.exec(5))."""
    named = os.environ.get("JOURNAL_STREAM")
    if not named:
        return False
    try:
        found = os.fstat(out.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{found.st_dev}:{found.st_ino}"


def _coloured() -> Callable[[dict[str, Any]], str]:
    import structlog  # noqa: PLC0415 - with what it imports it costs as much as an idle run does without it

    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    return lambda event: str(renderer(None, event["level"], event))
