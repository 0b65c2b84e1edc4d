"""`last_upload.json`: where it stands, for people, `edge-delta status` and `edge-delta health`.

Nothing that is delivered depends on it. It is written as a round of batches begins and ends and twice a second in
between, at the end of a cycle, and when something fails.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from edge_delta import __version__
from edge_delta.core.errors import EdgeDeltaError
from edge_delta.core.events import Event, Log
from edge_delta.core.model import Mark
from edge_delta.core.observing import SilentObserver
from edge_delta.device import steps
from edge_delta.device.state import settled_id
from edge_delta.device.vitals import Vitals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_delta.core.errors import TransientError
    from edge_delta.core.model import Cursor, Inventory, Step, Waiting
    from edge_delta.core.ports import Source
    from edge_delta.core.swept import Swept
    from edge_delta.delivery.lane import Lane
    from edge_delta.device.state import StateDirectory
    from edge_delta.settings.sections import Settings

GRACE = 60.0
"""Seconds that a cycle may take longer than its interval, at the default of `health_after`."""
_RATE_SECONDS = 60.0
_ROUND_SECONDS = 0.5
"""Between two writings while a round of many batches is under way."""


def now() -> datetime:
    """The clock, UTC."""
    return datetime.now(UTC)


class Mirror(SilentObserver):
    """Keeps `last_upload.json`.

    Args:
        state: the state directory.
        settings: the settings.
        log: where it is said that the directory cannot be written.
    """

    def __init__(self, state: StateDirectory, settings: Settings, log: Log) -> None:
        self._state = state
        self._log = log
        self._complained = False
        self._written_at = -math.inf
        self._source: Source | None = None
        self._lanes: Sequence[Lane] = ()
        self._rates: dict[str, deque[tuple[float, int]]] = {}
        self._drains: dict[str, int | None] = {}
        before = state.mirror()
        # An older tool's file says where to begin, until there is a batch of ours.
        self._foreign = bool(before.get("last_upload")) and "node_id" not in before
        self._content: dict[str, Any] = {
            "last_upload": before.get("last_upload"),
            "node_id": before.get("node_id"),
            "source": str(settings.sqlite.absolute()),  # for who looks from another directory
            "source_table": before.get("source_table") or settings.sqlite_table_name,
            "timestamp_col": before.get("timestamp_col"),
            "tables": before.get("tables", {}),
            "settled_id": before.get("settled_id"),
            "known_rows": before.get("known_rows"),
            "process": None,
            "trying_since": _trying_since(before),
            "last_cycle": before.get("last_cycle"),
            "next_cycle": None,
            "sweep": before.get("sweep"),
            "last_error": before.get("last_error"),
            "stopped": before.get("stopped"),
        }
        self.vitals = Vitals(self._content)
        self.set_to(settings)
        self._round_over()

    def _round_over(self) -> None:
        """What waited as the last round began says nothing about the next."""
        for table in self._content["tables"].values():
            table["backlog"] = None

    def set_to(self, settings: Settings) -> None:
        """These settings are in force."""
        self._content |= {
            "modes": list(settings.processing_mode),
            "interval": settings.interval,
            "health_after": settings.health_after or 3 * settings.interval + GRACE,
        }

    def follow(self, lanes: Sequence[Lane]) -> None:
        """These deliver from now on."""
        self._lanes = lanes

    def started(self) -> None:
        """The process means to go on until it is stopped."""
        self._running()
        self._write()

    def opened(self, source: Source, node_id: str) -> None:
        """What is known once the source is open."""
        stamp = source.timestamp
        form = {"format": stamp.time.format, "zone": stamp.time.zone} if stamp is not None else None
        name = stamp.name if stamp is not None else None
        self._source = self.vitals.source = source
        self._content |= {"node_id": node_id, "source_table": source.table, "timestamp_col": name, "times": form}

    def settled(self, step: Step, waiting: Waiting) -> None:
        """One batch was settled."""
        content, self._foreign = self._content, False
        self._running()
        if step.last_time is not None:
            newest = step.last_time.astimezone(UTC).isoformat()
            content["last_upload"] = max(newest, content["last_upload"] or newest)
        before = content["tables"].get(step.mode, {})
        begins = self._backlog(step.mode, step, waiting)
        content["tables"][step.mode] = {
            "table": step.table,
            "version": step.commit.version if step.commit is not None else before.get("version"),
            "generation": step.cursor.generation,
            "last_id": step.cursor.rowid,
            "committed_id": steps.committed_id(step, before),
            "settled_id": step.cursor.settled,
            "rows_waiting": waiting.rows if waiting.last_rowid is not None else before.get("rows_waiting", 0),
            "rows_written": before.get("rows_written", 0) + step.written,
            "rows_rejected": before.get("rows_rejected", 0) + step.rejected,
            "rejected_in_a_row": steps.rejected_in_a_row(step, before.get("rejected_in_a_row", 0)),
            "doubtful_time": steps.doubtful_time(step, now()) or before.get("doubtful_time"),
            "rows_lost": step.cursor.marks.get(Mark.LOST, 0),
            **{name: before.get(name, 0) for name in ("rows_late", "updates_ignored", "sweeps_overrun")},
            "updates_delivered": before.get("updates_delivered", 0) + step.updated,
            "rows_held": 0,
            "last_update": before.get("last_update"),
            **steps.gone(step, before),
            "not_swept": before.get("not_swept"),
            "rows_ahead_until": steps.moment(step.cursor.marks.get(Mark.AHEAD, 0)),
            "rows_per_second": self._rate(step.mode, step.read),
            "committed_at": now().isoformat(),
            "backlog": begins or before.get("backlog"),
            "files": before.get("files"),
            "tries_per_commit": steps.tries(step, before),
            "recent": self.vitals.settled(step),
        }
        # Within a round the next batch overwrites it at once, and each replacing of a file costs some milliseconds.
        if begins or not waiting.rows or time.monotonic() - self._written_at >= _ROUND_SECONDS:
            content |= {"settled_id": settled_id(content), "known_rows": self._known_rows(step)}
            self._write(lasting=not waiting.rows)

    def _known_rows(self, step: Step) -> list[tuple[int, int]] | None:
        """By what it is told, before rows are purged, that the source is still the one that the settled id is of."""
        ids = {step.cursor.rowid, settled_id(self._content) or step.cursor.rowid}
        source = self._source
        if source is None or not source.keyed_by_rowid:
            return None
        try:
            found = source.census.stamps(ids)
            source.verify(step.cursor)
        except EdgeDeltaError:  # it goes just now; the next cycle says so
            return None
        return list(found) or [(rowid, 0) for rowid in ids]

    def looked_after(self, mode: str, found: Inventory) -> None:
        """What the table's files came to; the next writing has it."""
        self._content["tables"].setdefault(mode, {})["files"] = asdict(found)

    def _backlog(self, mode: str, step: Step, waiting: Waiting) -> dict[str, Any] | None:
        """How many rows waited, and when, as this round began; None if it began earlier.

        A round delivers what was there at its beginning, so its last row tells one from the next. What waits later on
        shows whether more comes than is delivered.
        """
        if self._drains.get(mode) == waiting.last_rowid or waiting.last_rowid is None:
            return None
        self._drains[mode] = waiting.last_rowid
        began = now() - timedelta(seconds=step.commit.seconds if step.commit is not None else 0)
        return {"at": began.isoformat(), "rows": waiting.last_rowid - step.first_rowid + 1}

    def _rate(self, mode: str, rows: int) -> float | None:
        """Rows a second over the last minute; None for a single batch."""
        recent = self._rates.setdefault(mode, deque(maxlen=100))
        recent.append((time.monotonic(), rows))
        while recent[-1][0] - recent[0][0] > _RATE_SECONDS:
            recent.popleft()
        seconds = recent[-1][0] - recent[0][0]
        # The first batch only says when counting began.
        return round(sum(n for _, n in list(recent)[1:]) / seconds, 1) if seconds else None

    def _running(self) -> None:
        if self._content["process"] is None:
            host = os.uname().nodename
            started = {"pid": os.getpid(), "host": host, "version": __version__, "started_at": now().isoformat()}
            self._content |= {"process": started, "stopped": None}

    # -- what the engine tells

    def swept(self, swept: Swept) -> None:
        """A look for rows below the cursors is over; written with what comes next."""
        tables = self._content["tables"]
        self._content["sweep"] = {"at": now().isoformat(), "seconds": round(swept.seconds, 3)}
        for mode, rows in swept.rows.items():
            table = tables.setdefault(mode, {})
            table["rows_late"] = table.get("rows_late", 0) + rows
        for mode in swept.overrun:
            table = tables.setdefault(mode, {})
            table["sweeps_overrun"] = table.get("sweeps_overrun", 0) + 1
        for mode, (first, last) in swept.unsure.items():
            tables.setdefault(mode, {})["not_swept"] = {"first_id": first, "last_id": last, "rows": 0}
        for mode, rows in swept.left.items():
            before = (tables.setdefault(mode, {}).get("not_swept") or {}).get("rows") or 0
            tables[mode]["not_swept"] = {"first_id": None, "last_id": None, "rows": before + rows}

    def updated(self, mode: str, cursor: Cursor) -> None:
        """The row at a cursor was updated; each state of it is counted once, whichever process sees it."""
        table = self._content["tables"].setdefault(mode, {})
        seen = [cursor.rowid, *cursor.witnesses[:1]]
        if table.get("last_update") != seen:
            table |= {"last_update": seen, "updates_ignored": table.get("updates_ignored", 0) + 1}

    def held(self, mode: str, rows: int) -> None:
        """Rows wait until they are settled; written with what comes next."""
        self._content["tables"].setdefault(mode, {})["rows_held"] = rows

    def cycled(self, pause: float | None) -> None:
        """All that was there is delivered."""
        self._running()
        time = now()
        self._content["last_cycle"] = time.isoformat()
        self._round_over()
        for lane in self._lanes:
            steps.stands(self._content["tables"].get(lane.name), lane.stood)
        self._over()
        if pause is not None:  # without one, `stopped` comes next and writes
            self._content["next_cycle"] = (time + timedelta(seconds=pause)).isoformat()
            self._write(lasting=False)

    def failed(self, error: TransientError, failures: int, pause: float) -> None:
        """Something is unavailable."""
        self._running()
        self._content["last_error"] = {
            "error": str(error),
            "kind": type(error).__name__,
            "failures": failures,
            "since": self._since(),
            "at": now().isoformat(),
            "next_try": (now() + timedelta(seconds=pause)).isoformat(),
            "over_at": None,
        }
        self._write()

    def _since(self) -> str:
        before = self._content["last_error"]
        return str(before["since"]) if before and not before.get("over_at") else now().isoformat()

    def recovered(self) -> None:
        """It works again; the next commit or cycle writes it down."""
        self._over()

    def _over(self) -> None:
        error = self._content["last_error"]
        if error and not error.get("over_at"):
            error |= {"over_at": now().isoformat(), "next_try": None}

    def stopped(self, error: EdgeDeltaError | None = None) -> None:
        """The process ends."""
        content = self._content
        self._running()
        if error is not None:
            kind = type(error).__name__
            content["last_error"] = {
                "error": str(error),
                "kind": kind,
                "failures": 1,
                "since": self._since(),
                "at": now().isoformat(),
                "next_try": None,
                "over_at": None,
            }
        code = error.exit_code if error is not None else 0
        content |= {"stopped": {"at": now().isoformat(), "exit_code": code}, "next_cycle": None}
        self._write(lasting=False)

    def _write(self, *, lasting: bool = True) -> None:
        if self._foreign:
            return
        self._written_at = time.monotonic()
        try:
            self._state.write_mirror(self._content, lasting=lasting)
            self._complained = False
        except OSError as error:
            if not self._complained:
                self._log.warning(Event.STATE_NOT_WRITTEN, directory=str(self._state.path), error=error.strerror)
            self._complained = True


def _trying_since(before: dict[str, Any]) -> str:
    """When it began to try: restarts do not count as long as none of them brought anything to its end."""
    since = before.get("trying_since")
    done = [before.get("last_cycle"), *(t.get("committed_at") for t in before.get("tables", {}).values())]
    if since and all(d is None or d < since for d in done):
        return str(since)
    return now().isoformat()
