"""Whether rows are delivered: the state directory's mirror and one look at SQLite, nothing else.

It works while another process runs, takes no lock, and needs no settings but the state directory, so that a container's
health check can call it without the flags of the main process.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from edge_delta.core.errors import EdgeDeltaError, FilesUnreadable
from edge_delta.core.model import BEFORE_FIRST
from edge_delta.core.patterns import is_pattern
from edge_delta.core.time_formats import AUTO, REJECTED_IN_A_ROW, TimeForm
from edge_delta.device.state import (
    directories_of_sources,
    is_full,
    is_held,
    named,
    process_directory,
    read_mirror,
)
from edge_delta.device.steps import READS_AFTER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edge_delta.settings.sections import Settings
    from edge_delta.source.glance import Behind

DEFAULT_ALLOWED = 960.0
_OF_SOURCE = frozenset({"SourceUnavailable", "SourceReplaced", "SourceDamaged", "FilesUnreadable", "Locked", "TooLong"})
"""The kinds of errors that the database is the cause of."""


class Verdict(StrEnum):
    """What is the matter."""

    UP_TO_DATE = "up to date"
    QUIET = "no new rows"
    DELIVERING = "delivering"
    GROWING = "backlog grows"
    BEHIND = "behind"
    FULL = "disk full"
    STORAGE = "storage unavailable"
    SOURCE = "source unavailable"
    STOPPED = "stopped"
    FAILED = "stopped with an error"
    NEVER = "never started"
    REJECTING = "every row is rejected"


class Health(Struct, frozen=True):
    """What one look found.

    Attributes:
        mirror: what `last_upload.json` says.
        running: whether a process holds the state directory.
        behind: what waits, by mode.
        unreadable: why SQLite cannot be read now.
        waited: seconds since the last commit or cycle that came to its end, or since it began to try.
        allowed: how many of them are allowed while rows wait.
        full: what is on a file system without room: the state directory or the database's.
    """

    mirror: Mapping[str, Any]
    running: bool
    behind: Mapping[str, Behind]
    unreadable: str | None
    waited: float
    allowed: float
    full: Path | None = None

    @property
    def rows_waiting(self) -> int:
        """Rows behind the cursor that is furthest back."""
        return max((b.rows for b in self.behind.values()), default=0)

    @property
    def lag_seconds(self) -> float | None:
        """The age of the oldest row that waits; 0 if none does, None if its time cannot be read."""
        if not self.rows_waiting:
            return 0.0
        oldest = [b.oldest for b in self.behind.values() if b.oldest is not None]
        return max(0.0, (now() - min(oldest)).total_seconds()) if oldest else None

    @property
    def ok(self) -> bool:
        """False where rows wait, or cannot be looked for, for longer than allowed, and where every row is rejected."""
        waits = (self.rows_waiting or self.unreadable) and self.waited > self.allowed
        return not (self.rejecting or waits or self._lacks_a_file)

    @property
    def _lacks_a_file(self) -> bool:
        """Whether one of several files cannot be read for longer than allowed, though the others are delivered."""
        error = self.error
        if error is None or error.get("kind") != FilesUnreadable.__name__:
            return False
        return (now() - datetime.fromisoformat(error["since"])).total_seconds() > self.allowed

    @property
    def rejecting(self) -> list[str]:
        """The modes that reject every row that comes."""
        tables = self.mirror.get("tables", {})
        return [m for m, table in tables.items() if table.get("rejected_in_a_row", 0) >= REJECTED_IN_A_ROW]

    @property
    def growth(self) -> float | None:
        """Rows a second by which the backlog grew since the round that is on began; negative where it shrinks.

        None between two rounds: what waits then is what came meanwhile.
        """
        due = self.mirror.get("next_cycle")
        if not (self.running and self.behind) or (due and datetime.fromisoformat(due) > now()):
            return None
        mode = max(self.behind, key=lambda name: self.behind[name].rows)
        began = self.mirror.get("tables", {}).get(mode, {}).get("backlog")
        if not isinstance(began, dict):
            return None
        seconds = (now() - datetime.fromisoformat(began["at"])).total_seconds()
        return (self.behind[mode].rows - began["rows"]) / seconds if seconds > 0 else None

    @property
    def quiet(self) -> float | None:
        """Seconds since the last commit, where nothing waits; None where something does, or nothing ever came."""
        last = _latest(table.get("committed_at") for table in self.mirror.get("tables", {}).values())
        if self.rows_waiting or self.unreadable or last is None:
            return None
        return max(0.0, (now() - last).total_seconds())

    @property
    def error(self) -> Mapping[str, Any] | None:
        """The last error, if it is not over."""
        found = self.mirror.get("last_error")
        return found if isinstance(found, dict) and not found.get("over_at") else None

    @property
    def verdict(self) -> Verdict:
        """What is the matter, if anything."""
        trouble = self._trouble()
        if trouble is not None:
            return trouble
        if not self.rows_waiting:
            return Verdict.QUIET if (self.quiet or 0) > self.allowed else Verdict.UP_TO_DATE
        if not self.ok:
            return Verdict.BEHIND
        return Verdict.GROWING if (self.growth or 0) > 0 else Verdict.DELIVERING

    def _trouble(self) -> Verdict | None:
        """What keeps it from delivering; None if nothing does."""
        kind = self.error.get("kind", "") if self.error is not None else None
        failed = kind is not None and (self.mirror.get("stopped") or {}).get("exit_code", 1)
        causes = {
            Verdict.NEVER: not self.mirror.get("source"),
            Verdict.FULL: self.full is not None or kind == "NoSpace",
            Verdict.FAILED: not self.running and failed,
            # Who stopped is not to be called well as long as nothing that came was delivered.
            Verdict.STOPPED: not self.running and not self.rejecting,
            Verdict.SOURCE: self.unreadable or kind in _OF_SOURCE,
            Verdict.STORAGE: kind is not None,
            Verdict.REJECTING: bool(self.rejecting),
        }
        return next((verdict for verdict, holds in causes.items() if holds), None)

    def line(self) -> str:
        """All of it in one line."""
        rows, verdict = self.rows_waiting, self.verdict
        parts = [str(verdict) + (f" at {self.full}" if self.full else "")]
        parts.append(self.unreadable or (f"{rows:,} rows wait" if rows else "nothing waits"))
        if verdict is Verdict.QUIET:
            parts.append(f"the last came {duration(self.quiet or 0)} ago")
        elif verdict is Verdict.GROWING:
            parts.append(f"{self.growth:,.0f} more each second than are delivered")
        elif (rows or self.unreadable) and verdict is not Verdict.NEVER:
            parts.append(f"nothing was delivered for {duration(self.waited)}, allowed {duration(self.allowed)}")
        tables = self.mirror.get("tables", {})
        parts += [f"{mode} rejected the last {tables[mode]['rejected_in_a_row']:,} rows" for mode in self.rejecting]
        ahead = [t["rows_ahead_until"] for t in tables.values() if t.get("rows_ahead_until")]
        if ahead:
            parts.append(f"rows from {min(ahead)} on are ahead of the clock and in no window yet")
        return "; ".join(parts) + (f": {self.error['error']}" if self.error else "")


def now() -> datetime:
    """The clock, UTC."""
    return datetime.now(UTC)


def duration(seconds: float) -> str:
    """Seconds for people."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def examine(state_dir: Path, *, allowed: float | None = None) -> Health:
    """Look once.

    Args:
        state_dir: the state directory.
        allowed: seconds that rows may wait without a delivery; by default what the process was set to.
    """
    mirror = read_mirror(state_dir)
    behind: dict[str, Behind] = {}
    unreadable = None
    if mirror.get("source"):
        try:
            behind = _behind(mirror, state_dir)
        except EdgeDeltaError as error:
            unreadable = str(error)
    limit = allowed or float(mirror.get("health_after") or DEFAULT_ALLOWED)
    full = next((place for place in _places(state_dir, mirror) if is_full(place)), None)
    # One of several sources may have ended while the process goes on with the others.
    running = is_held(state_dir) and not (process_directory(state_dir) != state_dir and mirror.get("stopped"))
    return Health(mirror, running, behind, unreadable, _waited(mirror), limit, full)


def examine_all(
    state_dir: Path, *, allowed: float | None = None, choice: Callable[[str, str], bool] = lambda _label, _table: True
) -> dict[str, Health]:
    """Look once at each source of a process, by what it is called; a single source has no name.

    Args:
        state_dir: the state directory of the process.
        allowed: see `examine`.
        choice: which are looked at, by what the source is called and its table.
    """
    of_process = read_mirror(state_dir)
    if not isinstance(of_process.get("sources"), list):
        return {"": examine(state_dir, allowed=allowed)}
    found = {}
    for directory in directories_of_sources(state_dir):
        label, table = named(directory)
        if choice(label, table):
            found[f"{label}/{table}"] = examine(directory, allowed=allowed)
    for key, missing in (of_process.get("not_found") or {}).items():
        if choice(missing.get("label", key), ""):
            found[key] = _not_found(state_dir, missing, allowed)
    return found


def before_the_first_start(settings: Settings, state_dir: Path) -> Health:
    """Of a source that no process has read yet: rows that wait there wait for one to be started.

    Args:
        settings: those of one table.
        state_dir: its state directory.
    """
    form = {"format": settings.timestamp_format, "zone": settings.source_time_zone}
    place = {"source": str(settings.sqlite.absolute()), "source_table": settings.sqlite_table_name}
    place |= {"timestamp_col": settings.timestamp_col}
    unreadable, behind = None, {}
    try:
        behind = _behind(place | {"times": form, "modes": list(settings.processing_mode)}, state_dir)
    except EdgeDeltaError as error:
        unreadable = str(error)
    return Health({}, running=False, behind=behind, unreadable=unreadable, waited=math.inf, allowed=0.0)


def _not_found(state_dir: Path, missing: Mapping[str, Any], allowed: float | None) -> Health:
    """Of a source whose tables cannot even be told."""
    mirror = {"source": missing["sqlite"], "trying_since": missing["since"]}
    waited, limit = _waited(mirror), allowed or float(missing.get("health_after") or DEFAULT_ALLOWED)
    return Health(mirror, is_held(state_dir), {}, str(missing["error"]), waited, limit)


def worst(found: Mapping[str, Health]) -> Health | None:
    """The one that needs somebody most; None where there is none."""
    order = list(Verdict)
    return max(
        found.values(), key=lambda one: (not one.ok, one.error is not None, order.index(one.verdict)), default=None
    )


def _places(state_dir: Path, mirror: Mapping[str, Any]) -> tuple[Path, ...]:
    """What has to be written on the device: the state, and by the sensor its database."""
    source = mirror.get("source")
    return (state_dir, Path(source).parent) if source else ()


def _behind(mirror: Mapping[str, Any], state_dir: Path) -> dict[str, Behind]:
    from edge_delta.source.glance import glance  # noqa: PLC0415 - not where there is nothing to look at

    tables = mirror.get("tables", {})
    modes = mirror.get("modes") or list(tables)
    cursors = {mode: _reads_after(tables.get(mode, {})) for mode in modes}
    form = mirror.get("times") or {}
    times = TimeForm(str(form.get("format", AUTO)), str(form.get("zone", "UTC")))
    place = (Path(mirror["source"]), mirror.get("source_table"), mirror.get("timestamp_col"))
    if is_pattern(place[0]):
        from edge_delta.source.family import glancing  # noqa: PLC0415 - not where there is one file

        found = glancing.glance(*place, set(cursors.values()), times, state_dir=state_dir)
    else:
        found = glance(*place, set(cursors.values()), times)
    return {mode: found[cursor] for mode, cursor in cursors.items()}


def _reads_after(table: Mapping[str, Any]) -> int:
    return int(table.get(READS_AFTER, table.get("last_id", BEFORE_FIRST)))


def _waited(mirror: Mapping[str, Any]) -> float:
    times = [mirror.get("last_cycle"), mirror.get("trying_since")]
    times += [table.get("committed_at") for table in mirror.get("tables", {}).values()]
    latest = _latest(times)
    return max(0.0, (now() - latest).total_seconds()) if latest is not None else 0.0


def _latest(times: Iterable[str | None]) -> datetime | None:
    return max((datetime.fromisoformat(t) for t in times if t), default=None)
