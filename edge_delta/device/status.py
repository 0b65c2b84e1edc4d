"""What `edge-delta status` shows: where every mode stands, also while another process runs; nothing is locked."""

from __future__ import annotations

import textwrap
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_delta.core.model import GONE_CURE, Inventory
from edge_delta.core.patterns import is_pattern
from edge_delta.core.swept import overrun_by
from edge_delta.core.time_formats import ODD_CURE, REJECTED_CURE
from edge_delta.device.health import Health, Verdict, duration, examine, examine_all, now, worst
from edge_delta.device.settled import settled
from edge_delta.device.state import is_held

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GOOD = frozenset({Verdict.UP_TO_DATE, Verdict.DELIVERING})
DOUBTFUL = frozenset({Verdict.QUIET, Verdict.GROWING, Verdict.STOPPED, Verdict.NEVER})
"""Verdicts that somebody should look at; all others are wrong."""
INDENT, NARROWEST = 13, 10


def reports(state_dir: Path, choice: Callable[[str, str], bool] = lambda _label, _table: True) -> dict[str, Any]:
    """What is known of each source; of a single one just `report`.

    Args:
        state_dir: the state directory of the process.
        choice: see `edge_delta.device.health.examine_all`.
    """
    return of_all(examine_all(state_dir, choice=choice), running=is_held(state_dir))


def of_all(found: Mapping[str, Health], *, running: bool) -> dict[str, Any]:
    """What a look at all sources comes to; of a single one just what it comes to.

    Args:
        found: see `edge_delta.device.health.examine_all`.
        running: whether the process runs.
    """
    if "" in found:
        return _of_one(found[""])
    whole = worst(found)
    return {
        "verdict": str(whole.verdict) if whole is not None else str(Verdict.NEVER),
        "ok": all(one.ok for one in found.values()),
        "running": running,
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
        "sweeps_overrun": table.get("sweeps_overrun", 0),
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
    return "\n".join(wrapped(name, value, width) for name, value in pairs(about))


def pairs(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The report on one source as names and values; no name means one more value of the one before."""
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
    return lines


def wrapped(name: str, value: str, width: int) -> str:
    """A name and its value; what does not go into the width goes on below, under the value's beginning."""
    room = max(NARROWEST, width - INDENT)
    first, *rest = textwrap.wrap(value, room) or [""]
    return "\n".join([f"{name:<{INDENT - 1}} {first}", *(" " * INDENT + line for line in rest)])


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
    if about["source"]["sqlite"] and is_pattern(Path(about["source"]["sqlite"])):
        return "whole files may be removed: edge-delta status --settled prints those that nothing needs any more"
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
        str(one["table"]) + (f" version {one['version']}" if one["version"] is not None else ", no commit yet"),
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
    lines += _sweeps(one)
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


def _sweeps(one: Mapping[str, Any]) -> list[str]:
    lines = [_not_swept(one["not_swept"])] if one["not_swept"] else []
    return [*lines, overrun_by(one["sweeps_overrun"])] if one["sweeps_overrun"] else lines


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


def left(moment: str | None) -> float:
    """Seconds until then; 0 where it is over."""
    return max(0.0, (datetime.fromisoformat(moment) - now()).total_seconds()) if moment else 0.0


def _until(moment: str | None) -> str:
    seconds = left(moment)
    return f"in {duration(seconds)}" if seconds else "at work"
