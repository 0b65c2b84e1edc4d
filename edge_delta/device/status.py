"""What `edge-delta status` shows: where every mode stands, also while another process runs; nothing is locked."""

from __future__ import annotations

import shutil
import signal
import sys
import textwrap
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

from edge_delta.core.model import GONE_CURE, Inventory
from edge_delta.core.time_formats import ODD_CURE, REJECTED_CURE
from edge_delta.device.health import Health, Verdict, duration, examine, examine_all, now, worst
from edge_delta.device.settled import settled, settled_now
from edge_delta.device.state import directories_of_sources, is_held, named, read_mirror

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping
    from pathlib import Path

_GREEN, _YELLOW, _RED, _BOLD, _PLAIN = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[1m", "\x1b[0m"
_COLOURS = {
    **dict.fromkeys((Verdict.UP_TO_DATE, Verdict.DELIVERING), _GREEN),
    **dict.fromkeys((Verdict.QUIET, Verdict.GROWING, Verdict.STOPPED, Verdict.NEVER), _YELLOW),
}
_HIDE_CURSOR, _SHOW_CURSOR, _HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[?25l", "\x1b[?25h", "\x1b[H", "\x1b[K", "\x1b[J"
_OTHER_SCREEN, _FIRST_SCREEN = "\x1b[?1049h", "\x1b[?1049l"
_BAR, _INDENT, _NARROWEST = 50, 13, 10
_LOOKS = 15
"""How many of them tell how fast the backlog changes."""


def settled_of(
    state_dir: Path, choice: Callable[[str, str], bool] = lambda _label, _table: True
) -> dict[str, int | None]:
    """The id by source table up to which rows may be purged; None where that is not known."""
    if not (directories := directories_of_sources(state_dir)):
        return settled_now(read_mirror(state_dir))
    found: dict[str, int | None] = {}
    for directory in directories:
        label, table = named(directory)
        if choice(label, table):
            number = settled_now(read_mirror(directory)).get(table)
            found[f"{label}/{table}"] = number
    return found


def reports(state_dir: Path, choice: Callable[[str, str], bool] = lambda _label, _table: True) -> dict[str, Any]:
    """What is known of each source; of a single one just `report`.

    Args:
        state_dir: the state directory of the process.
        choice: see `edge_delta.device.health.examine_all`.
    """
    found = examine_all(state_dir, choice=choice)
    if "" in found:
        return _of_one(found[""])
    whole = worst(found)
    return {
        "verdict": str(whole.verdict) if whole is not None else str(Verdict.NEVER),
        "ok": all(one.ok for one in found.values()),
        "running": is_held(state_dir),
        "sources": {key: _of_one(one) for key, one in found.items()},
    }


def report(state_dir: Path) -> dict[str, Any]:
    """Everything that is known, ready for JSON. Times are ISO 8601, UTC; durations are seconds."""
    return _of_one(examine(state_dir))


def _of_one(health: Health) -> dict[str, Any]:
    mirror = health.mirror
    error = mirror.get("last_error")
    return {
        "verdict": str(health.verdict),
        "ok": health.ok,
        "running": health.running,
        "process": mirror.get("process") if health.running else None,
        "node_id": mirror.get("node_id"),
        "source": {
            "sqlite": mirror.get("source"),
            "table": mirror.get("source_table"),
            "timestamp_col": mirror.get("timestamp_col"),
            "error": health.unreadable,
        },
        "rows_waiting": health.rows_waiting if not health.unreadable else None,
        "lag_seconds": health.lag_seconds if not health.unreadable else None,
        "growth_rows_per_second": round(health.growth, 1) if health.growth is not None else None,
        "quiet_seconds": round(health.quiet, 1) if health.quiet is not None else None,
        "disk_full": str(health.full) if health.full is not None else None,
        "settled": settled(mirror),
        "last_upload": mirror.get("last_upload"),
        "since_delivery_seconds": round(health.waited, 1),
        "allowed_seconds": health.allowed,
        "last_cycle": mirror.get("last_cycle"),
        "next_cycle": mirror.get("next_cycle") if health.running else None,
        "interval": mirror.get("interval"),
        "sweep": mirror.get("sweep"),
        "last_error": error,
        "last_error_now": health.error is not None or health.unreadable is not None,
        "modes": {mode: _of_mode(mode, health) for mode in mirror.get("modes", ())},
    }


def _of_mode(mode: str, health: Health) -> dict[str, Any]:
    table = health.mirror.get("tables", {}).get(mode, {})
    behind = health.behind.get(mode)
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
        "rejected_in_a_row": table.get("rejected_in_a_row", 0),
        "doubtful_time": table.get("doubtful_time"),
        "rows_lost": table.get("rows_lost", 0),
        "rows_late": table.get("rows_late", 0),
        "rows_held": table.get("rows_held", 0),
        "updates_delivered": table.get("updates_delivered", 0),
        "updates_ignored": table.get("updates_ignored", 0),
        "rows_gone": table.get("rows_gone", 0),
        "not_swept": table.get("not_swept"),
        "rows_ahead_until": table.get("rows_ahead_until"),
        "settled_id": table.get("settled_id"),
        "rows_per_second": table.get("rows_per_second"),
        "files": table.get("files"),
    }


# -- for people


def text(about: Mapping[str, Any], *, width: int = 10_000) -> str:
    """The report in lines of a name and a value; long values go on below, under their beginning."""
    if "sources" in about:
        ill = sum(1 for one in about["sources"].values() if not one["ok"] or one["last_error_now"])
        head = f"edge-delta: {about['verdict']}; {count(len(about['sources']), 'source')}, {ill} in trouble"
        parts = [f"{key}\n{text(one, width=width)}" for key, one in about["sources"].items()]
        return "\n\n".join([head, *parts])
    lines = [("edge-delta", about["verdict"] + _process(about))]
    source = about["source"]
    if source["sqlite"]:
        lines.append(("source", f"{source['sqlite']}, table {source['table'] or '(not read yet)'}"))
    if about["disk_full"]:
        lines.append(("disk", f"no room left where {about['disk_full']} is"))
    lines += [
        ("waiting", _waiting(about)),
        ("settled", _settled(about)),
        ("newest row", _ago(about["last_upload"]) + " (its own time)"),
    ]
    lines.append(("next cycle", _until(about["next_cycle"]) if about["running"] else "no process runs now"))
    error = about["last_error"]
    if error:
        again = f"{count(error['failures'], 'failure')} in {_since(error['since'])}"
        lines.append(
            ("last error", f"{_ago(error['at'])}, {'over' if error.get('over_at') else again}: {error['error']}")
        )
    for mode, one in about["modes"].items():
        lines += [(mode, line) if not number else ("", line) for number, line in enumerate(_mode(one))]
    return "\n".join(_wrapped(name, value, width) for name, value in lines)


def _wrapped(name: str, value: str, width: int) -> str:
    room = max(_NARROWEST, width - _INDENT)
    first, *rest = textwrap.wrap(value, room) or [""]
    return "\n".join([f"{name:<{_INDENT - 1}} {first}", *(" " * _INDENT + line for line in rest)])


def _process(about: Mapping[str, Any]) -> str:
    process = about["process"]
    since = _since(process["started_at"]) if process else ""
    shown = f", process {process['pid']} on {process['host']} for {since}" if process else ""
    return f" ({about['node_id']}{shown})" if about["node_id"] else shown


def _waiting(about: Mapping[str, Any]) -> str:
    if about["source"]["error"]:
        return f"unknown: {about['source']['error']}"
    rows, lag, growth = about["rows_waiting"], about["lag_seconds"], about["growth_rows_per_second"] or 0
    if not rows:
        quiet = about["quiet_seconds"]
        return "nothing" + (f"; the last rows came {duration(quiet)} ago" if quiet is not None else "")
    age = f", the oldest {duration(lag)} old" if lag is not None else ""
    return count(rows, "row") + age + (f"; {growth:,.0f} more each second than are delivered" if growth > 0 else "")


def _settled(about: Mapping[str, Any]) -> str:
    ids = [number for number in about["settled"].values() if number is not None]
    return f"rows up to id {ids[0]:,} may be purged" if ids else "no row may be purged yet"


def _mode(one: Mapping[str, Any]) -> list[str]:
    if one["cursor"] is None:
        return ["nothing delivered yet", *_updates(one)]
    rate = f", {one['rows_per_second']:,.0f} rows/s" if one["rows_per_second"] else ""
    rejected = f", {one['rows_rejected']:,} rejected" if one["rows_rejected"] else ""
    rows = f"{one['rows_waiting'] or 0:,} wait; {count(one['rows_written'], 'row')} written{rejected}"
    lines = [
        f"up to id {one['cursor']:,}, {rows}; last commit {_ago(one['committed_at'])}{rate}",
        f"{one['table']} version {one['version']}",
    ]
    if one["files"]:
        found = Inventory(**one["files"])
        lines.append(f"{found}; {_ago(found.at)}")
    if one["rows_lost"]:
        lines.append(
            f"LOST: {count(one['rows_lost'], 'row')} that went with their source before they came to this table"
        )
    if one["rows_gone"]:
        lines.append(f"GONE: {count(one['rows_gone'], 'row')} deleted before delivery; {GONE_CURE}")
    if one["rows_late"]:
        lines.append(f"{count(one['rows_late'], 'row')} came below the cursor and were delivered by a sweep")
    lines += _updates(one)
    if one["not_swept"]:
        lines.append(_not_swept(one["not_swept"]))
    if one["rows_ahead_until"]:
        lines.append(f"rows wait for the clock: their times begin at {one['rows_ahead_until']}")
    if one["rejected_in_a_row"]:
        lines.append(f"REJECTED: the last {count(one['rejected_in_a_row'], 'row')}, every one; {REJECTED_CURE}")
    if one["doubtful_time"]:
        lines.append(f"time {one['doubtful_time']}; {ODD_CURE}")
    return lines


def _updates(one: Mapping[str, Any]) -> list[str]:
    lines = []
    if one["rows_held"]:
        lines.append(f"{count(one['rows_held'], 'row')} held back until they are settled (settle)")
    if one["updates_delivered"]:
        lines.append(f"{count(one['updates_delivered'], 'new state')} of updated rows delivered")
    if one["updates_ignored"]:
        lines.append(f"{count(one['updates_ignored'], 'update')} of delivered rows seen and ignored (on_update)")
    return lines


def _not_swept(what: Mapping[str, Any]) -> str:
    if what["rows"]:
        return f"NOT DELIVERED: {count(what['rows'], 'row')} that came below the cursor; edge-delta verify shows them"
    ids = f"ids {what['first_id']:,} to {what['last_id']:,}"
    return f"NOT CHECKED: rows came among {ids}, and no table tells which; edge-delta verify shows what is missing"


def count(number: int, noun: str) -> str:
    """A number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _since(moment: str) -> str:
    return duration((now() - datetime.fromisoformat(moment)).total_seconds())


def _ago(moment: str | None) -> str:
    return f"{_since(moment)} ago" if moment else "never"


def _left(moment: str | None) -> float:
    """Seconds until then; 0 where it is over."""
    return max(0.0, (datetime.fromisoformat(moment) - now()).total_seconds()) if moment else 0.0


def _until(moment: str | None) -> str:
    left = _left(moment)
    return f"in {duration(left)}" if left else "at work"


# -- live


def watch(state_dir: Path, out: TextIO = sys.stdout, *, every: float = 1.0) -> None:
    """Show it again and again, until interrupted, with the backlog's progress.

    It draws on the terminal's other screen, so that what was there before is there again afterwards.
    """
    progress = Progress()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    out.write(_OTHER_SCREEN + _HIDE_CURSOR)
    try:
        while True:
            out.write(_HOME + screen(report(state_dir), progress, shutil.get_terminal_size()) + _CLEAR_BELOW)
            out.flush()
            time.sleep(every)
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
        out.write(_FIRST_SCREEN + _SHOW_CURSOR)
        out.flush()


def screen(about: Mapping[str, Any], progress: Progress, size: os.terminal_size) -> str:
    """One picture that fits the terminal, however small."""
    bar = max(_NARROWEST, min(_BAR, size.columns - _INDENT - 7))
    lines = text(about, width=size.columns).splitlines()
    below = ["", *progress.lines(about, bar=bar, width=size.columns), "", "Ctrl-C ends this view only."]
    if len(lines) + len(below) >= size.lines:  # the bar is what is looked at; the end of the text can wait
        below = [line for line in below[:-1] if line]
        lines = lines[: max(1, size.lines - 1 - len(below))]
    lines = [line[: size.columns] + _CLEAR_LINE for line in [*lines, *below][: max(1, size.lines - 1)]]
    verdict = about["verdict"]
    colour = _COLOURS.get(Verdict(verdict), _RED)
    lines[0] = lines[0].replace(verdict, f"{_BOLD}{colour}{verdict}{_PLAIN}", 1)
    return "\n".join(lines)


class Progress:
    """How a backlog shrinks, or grows, from one look to the next."""

    def __init__(self) -> None:
        self._most = 0
        self._seen: list[tuple[float, int]] = []

    def lines(
        self, about: Mapping[str, Any], *, bar: int = _BAR, width: int = 10_000, at: float | None = None
    ) -> list[str]:
        """A bar, and in words how fast the backlog changes, and when it will be gone."""
        rows = about["rows_waiting"]
        at_work = about["running"] and not _left(about["next_cycle"])
        if not rows or not at_work:
            self._most = 0  # the next round begins with an empty bar
        if not rows:
            self._seen = []
            return [f"{'backlog':<{_INDENT}}" + ("unknown" if rows is None else f"[{'#' * bar}] none")]
        self._most = max(self._most, rows)
        self._seen = [*self._seen[-_LOOKS:], (time.monotonic() if at is None else at, rows)]
        done = 1 - rows / self._most
        words = f"{done:.0%} of {count(self._most, 'row')}" if at_work else self._idle(about, rows)
        drawn = f"{'backlog':<{_INDENT}}[{'#' * round(done * bar):.<{bar}}]"
        return [drawn, *_wrapped("", words + self._trend(), width).splitlines()]

    def _idle(self, about: Mapping[str, Any], rows: int) -> str:
        left = f", in {duration(_left(about['next_cycle']))}" if about["running"] else "; no process runs now"
        return f"{count(rows, 'row')} for the next round{left}"

    def _trend(self) -> str:
        (begin, before), (end, rows) = self._seen[0], self._seen[-1]
        if end <= begin:
            return ""
        change = (rows - before) / (end - begin)
        if change >= 0:
            return f"; growing by {change:,.0f} rows/s" if change else "; standing still"
        return f"; shrinking by {-change:,.0f} rows/s, {duration(-rows / change)} to go"
