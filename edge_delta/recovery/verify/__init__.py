"""Proof that what was read equals what was delivered: the source put through its modes again, beside the tables.

Nothing is held but one range of rows at a time. The table's version and its cursor are taken first, so a process that
goes on delivering does not disturb, and no lock is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.core.questions import Question, named, within
from edge_delta.core.swept import overrun_by
from edge_delta.recovery.verify.accounts import Accounts, Elsewhere
from edge_delta.recovery.verify.base import ROWS, Compared
from edge_delta.recovery.verify.report import Checked, Verification
from edge_delta.recovery.verify.rows import RowsCheck
from edge_delta.recovery.verify.windows import WindowsCheck

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Any

    from edge_delta.delivery.route import Route


def check(
    route: Route, elsewhere: Elsewhere, ignore: frozenset[str] = frozenset(), *, rows: int = ROWS
) -> Verification:
    """Compare what was delivered along a route with its source, then account for all rows.

    Args:
        route: the source, the mode and its tables.
        elsewhere: what is known beside the mode's table.
        ignore: columns that are not compared.
        rows: how many are held at a time, about.
    """
    compared, started = Compared(route, route.mode(), ignore, rows), route.device.now()
    report = (WindowsCheck if route.traits.windowed else RowsCheck)(compared).run()
    Accounts(compared, report, elsewhere, started).settle()
    _say_what_was_updated(route, report, elsewhere.mirror)
    _say_what_no_sweep_delivered(route, report, elsewhere.mirror)
    _say_what_was_gone(compared, report, elsewhere.mirror, started)
    _say_what_may_have_changed(route, report)
    return report


def _say_what_may_have_changed(route: Route, report: Verification) -> None:
    """Alerts and windows are compared with what rows and settings of now would make, which may be others than then."""
    if route.traits.replayable or not any(report.counts[kind] for kind in ("missing", "extra", "cell")):
        return
    sections = "aggregate" if route.traits.windowed else "emergency"
    report.notes.append(
        f"where rows were updated after delivery, or [{sections}], timestamp_format or source_time_zone changed, that "
        f"is why: edge-delta reset --processing-mode {route.name} --to-beginning makes all of it again as of now"
    )


def _say_what_no_sweep_delivered(route: Route, report: Verification, mirror: Mapping[str, Any]) -> None:
    """Rows of which a sweep knew that they came into no window, where the table alone does not tell that."""
    said = mirror.get("tables", {}).get(route.name, {})
    if late := said.get("sweeps_overrun", 0):
        report.notes.append(overrun_by(late))
    left = (said.get("not_swept") or {}).get("rows") or 0
    if left > 0 and not report.counts["missing"]:
        report.lost(left, f"{left} rows that came below the cursor are in no window, as the last sweeps told")


def _say_what_was_gone(compared: Compared, report: Verification, mirror: Mapping[str, Any], started: datetime) -> None:
    """Ids of which a run told that they were left out before others, and that have no row yet.

    No difference: who begins to leave ids out looks the same as who deletes rows before they are read.
    """
    said = mirror.get("tables", {}).get(compared.name, {})
    key, gone = compared.traits.key, said.get("rows_gone", 0)
    if not key or compared.traits.windowed or compared.traits.selective:
        gone -= said.get("rows_late", 0)
    else:
        for generation, first, last in said.get("gone", ()):
            where = (*compared.mine(generation), *within(key, first, last))
            there = {*compared.sink.ask(Question(where, named(key)))[key]}
            gone -= len(there | compared.rejected(generation, first - 1, last, started))
    if (more := gone - report.counts["lost"]) > 0:
        report.notes.append(
            f"NOTE: {more} ids behind delivered rows had no row when the next ones came: deleted before they were "
            "delivered, unless the application leaves ids out; the log told which"
        )


def _say_what_was_updated(route: Route, report: Verification, mirror: Mapping[str, Any]) -> None:
    if route.versioned:
        return
    seen = mirror.get("tables", {}).get(route.name, {}).get("updates_ignored", 0)
    if seen:
        report.notes.append(f"{seen} updates of delivered rows were seen and ignored, as on_update says")
    if report.counts["cell"] and route.traits.replayable:
        report.notes.append(
            "cells differ where the application updates rows after delivery, or settings read them otherwise by now: "
            '--ignore leaves columns out, on_update = "append" delivers new states, edge-delta reset all of it again'
        )


__all__ = ["Checked", "Elsewhere", "Verification", "check"]
