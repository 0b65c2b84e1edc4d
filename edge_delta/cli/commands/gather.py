"""`edge-delta gather`: the tables of all devices into one for each mode."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge_delta.cli.commands.shared import Each, each_of, log_of

if TYPE_CHECKING:
    import argparse

    from edge_delta.cli.parser import Parser
    from edge_delta.gather.rounds import About, Gathered

HELP = "bring what is new in the tables of all devices into one table for each mode, exactly once"
_FAILED, _DECISION = 1, 3
_ODD = ("deleted", "unreachable", "quarantined")


def arguments(parser: Parser) -> None:
    """Add the command's flags."""
    parser.add_settings()
    add = parser.add_argument
    add("--into", metavar="ADDRESS", required=True, help="base of the fleet's tables, such as s3://lake/fleet/readings")
    add("--device", action="append", metavar="NODE", help="only this device; also again and again")
    add("--without", action="append", metavar="NODE", help="not this device; also again and again")
    add("--no-maintenance", action="store_true", help="leave compaction and clean-up of the fleet's tables to others")
    parser.add_json("what came of each device")


def main(options: argparse.Namespace) -> int:
    """One round; what is new is taken, whatever becomes of single devices."""
    from edge_delta.topology.gathering import Wanted, gather  # noqa: PLC0415 - delta-rs, not for the help

    log = log_of(options)
    wanted = Wanted(
        options.into,
        tuple(options.device or ()),
        tuple(options.without or ()),
        upkeep=not options.no_maintenance,
    )
    each, code, answer = Each(), 0, []
    for one, outcomes in each(each_of(options, here=False), lambda one: gather(one, wanted, log)):
        for outcome in outcomes:
            code = max(code, _code(outcome))
            if options.json:
                answer.append({"source": one.key if one.label else None} | _as_json(outcome))
            else:
                _print(outcome)
            for about in outcome.devices.values():
                for said in about.told:
                    print(f"edge-delta: {about.device}, {outcome.mode}: {about.state}: {said}", file=sys.stderr)
    if options.json:
        print(json.dumps(answer))
    return max(code, each.code)


def _code(outcome: Gathered) -> int:
    if outcome.in_state("quarantined"):
        return _DECISION
    return _FAILED if outcome.in_state("unreachable") else 0


def _as_json(outcome: Gathered) -> dict[str, Any]:
    devices = [asdict(about) for about in outcome.devices.values() if about.state != "no table"]
    return {
        "mode": outcome.mode,
        "rows": outcome.rows,
        "commits": outcome.commits,
        "seconds": round(outcome.seconds, 3),
        "devices": devices,
    }


def _print(outcome: Gathered) -> None:
    there = [about for about in outcome.devices.values() if about.state != "no table"]
    if not there:
        return
    taken: list[About] = outcome.in_state("taken")
    others = [f"{len(found)} {state}" for state in _ODD if (found := outcome.in_state(state))]
    said = ", ".join([f"{outcome.rows:,} rows of {len(taken)} of {len(there)} devices", *others])
    print(f"{outcome.mode}: {said}; {outcome.seconds:.1f} s")
