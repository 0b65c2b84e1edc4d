"""What `edge-delta status` shows: where every mode stands, also while another process runs; nothing is locked."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

from edge_delta.health import Health, Verdict, duration, examine, now

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_GREEN, _YELLOW, _RED, _BOLD, _PLAIN = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[1m", "\x1b[0m"
_COLOURS = {Verdict.UP_TO_DATE: _GREEN, Verdict.DELIVERING: _GREEN, Verdict.STOPPED: _YELLOW, Verdict.NEVER: _YELLOW}
_HIDE_CURSOR, _SHOW_CURSOR, _HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[?25l", "\x1b[?25h", "\x1b[H", "\x1b[K", "\x1b[J"
_CLEAR = "\x1b[2J"
_BAR = 40


def report(state_dir: Path) -> dict[str, Any]:
    """Everything that is known, ready for JSON. Times are ISO 8601, UTC; durations are seconds."""
    found = examine(state_dir)
    mirror = found.mirror
    error = mirror.get("last_error")
    return {
        "verdict": str(found.verdict),
        "ok": found.ok,
        "running": found.running,
        "process": mirror.get("process") if found.running else None,
        "node_id": mirror.get("node_id"),
        "source": {
            "sqlite": mirror.get("source"),
            "table": mirror.get("source_table"),
            "timestamp_col": mirror.get("timestamp_col"),
            "error": found.unreadable,
        },
        "rows_waiting": found.rows_waiting if not found.unreadable else None,
        "lag_seconds": found.lag_seconds if not found.unreadable else None,
        "last_upload": mirror.get("last_upload"),
        "since_delivery_seconds": round(found.waited, 1),
        "allowed_seconds": found.allowed,
        "last_cycle": mirror.get("last_cycle"),
        "next_cycle": mirror.get("next_cycle") if found.running else None,
        "interval": mirror.get("interval"),
        "last_error": error,
        "modes": {mode: _of_mode(mode, found) for mode in mirror.get("modes", ())},
    }


def _of_mode(mode: str, found: Health) -> dict[str, Any]:
    table = found.mirror.get("tables", {}).get(mode, {})
    behind = found.behind.get(mode)
    return {
        "table": table.get("table"),
        "cursor": table.get("last_id"),
        "generation": table.get("generation"),
        "version": table.get("version"),
        "committed_at": table.get("committed_at"),
        "rows_waiting": behind.rows if behind is not None else None,
        "source_began_again": behind.began_again if behind is not None else None,
        "rows_written": table.get("rows_written", 0),
        "rows_rejected": table.get("rows_rejected", 0),
        "rows_per_second": table.get("rows_per_second"),
    }


# -- for people


def text(about: Mapping[str, Any], *, colour: bool = False) -> str:
    """The report in lines of a name and a value."""
    lines = [("edge-delta", _painted(about["verdict"], colour=colour) + _process(about))]
    source = about["source"]
    if source["sqlite"]:
        lines.append(("source", f"{source['sqlite']}, table {source['table'] or '(not looked at yet)'}"))
    lines += [("waiting", _waiting(about)), ("newest row", _ago(about["last_upload"]) + " (its own time)")]
    lines.append(("next cycle", _until(about["next_cycle"]) if about["running"] else "no process runs"))
    error = about["last_error"]
    if error:
        over = "over" if error.get("over_at") else f"{error['failures']} failures since {_ago(error['since'])}"
        lines.append(("last error", f"{_ago(error['at'])}, {over}: {error['error']}"))
    for mode, one in about["modes"].items():
        lines.append((mode, _mode(one)))
    return "\n".join(f"{name:<12} {value}" for name, value in lines)


def _painted(verdict: str, *, colour: bool) -> str:
    return f"{_BOLD}{_COLOURS.get(Verdict(verdict), _RED)}{verdict}{_PLAIN}" if colour else verdict


def _process(about: Mapping[str, Any]) -> str:
    process = about["process"]
    shown = f", process {process['pid']} on {process['host']} since {_ago(process['started_at'])}" if process else ""
    return f" ({about['node_id']}{shown})" if about["node_id"] else shown


def _waiting(about: Mapping[str, Any]) -> str:
    if about["source"]["error"]:
        return f"unknown: {about['source']['error']}"
    rows, lag = about["rows_waiting"], about["lag_seconds"]
    if not rows:
        return "nothing"
    return f"{rows:,} rows" + (f", the oldest {duration(lag)} old" if lag is not None else "")


def _mode(one: Mapping[str, Any]) -> str:
    if one["cursor"] is None:
        return "nothing delivered yet"
    rate = f", {one['rows_per_second']:,.0f} rows/s" if one["rows_per_second"] else ""
    rejected = f", {one['rows_rejected']:,} rejected" if one["rows_rejected"] else ""
    return (
        f"up to id {one['cursor']:,}, {one['rows_waiting'] or 0:,} wait; {one['rows_written']:,} rows written{rejected}"
        f"; last commit {_ago(one['committed_at'])}{rate}\n{'':<12} {one['table']} version {one['version']}"
    )


def _ago(moment: str | None) -> str:
    if not moment:
        return "never"
    return f"{duration((now() - datetime.fromisoformat(moment)).total_seconds())} ago"


def _until(moment: str | None) -> str:
    if not moment:
        return "at work"
    seconds = (datetime.fromisoformat(moment) - now()).total_seconds()
    return f"in {duration(seconds)}" if seconds > 0 else "at work"


# -- live


def watch(state_dir: Path, out: TextIO = sys.stdout, *, every: float = 1.0) -> None:
    """Show it again and again, until interrupted, with the backlog's progress."""
    progress = Progress()
    out.write(_CLEAR + _HIDE_CURSOR)
    try:
        while True:
            about = report(state_dir)
            screen = text(about, colour=True) + "\n\n" + progress.line(about) + "\n\nCtrl-C ends this view only."
            out.write(_HOME + screen.replace("\n", _CLEAR_LINE + "\n") + _CLEAR_LINE + "\n" + _CLEAR_BELOW)
            out.flush()
            time.sleep(every)
    except KeyboardInterrupt:
        pass
    finally:
        out.write(_SHOW_CURSOR)
        out.flush()


class Progress:
    """How a backlog shrinks, or grows, from one look to the next."""

    def __init__(self) -> None:
        self._most = 0
        self._seen: list[tuple[float, int]] = []

    def line(self, about: Mapping[str, Any], *, at: float | None = None) -> str:
        """A bar, how fast the backlog changes, and when it will be gone."""
        rows = about["rows_waiting"]
        if rows is None:
            return "backlog      unknown"
        if not rows:
            self._most, self._seen = 0, []
            return f"backlog      [{'#' * _BAR}] none"
        self._most = max(self._most, rows)
        self._seen = [*self._seen[-29:], (time.monotonic() if at is None else at, rows)]
        done = 1 - rows / self._most
        bar = "#" * round(done * _BAR)
        return f"backlog      [{bar:.<{_BAR}}] {done:.0%} of {self._most:,} rows{self._trend()}"

    def _trend(self) -> str:
        (begin, before), (end, rows) = self._seen[0], self._seen[-1]
        if end <= begin:
            return ""
        change = (rows - before) / (end - begin)
        if change >= 0:
            return f", growing by {change:,.0f} rows/s" if change else ", standing still"
        return f", shrinking by {-change:,.0f} rows/s, {duration(-rows / change)} to go"
