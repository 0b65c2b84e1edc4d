"""`edge-delta health`: whether rows are delivered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edge_delta.cli.commands.shared import each_of, none_is_meant
from edge_delta.device import health
from edge_delta.device.addressed import choice_of, state_dir_of
from edge_delta.settings.load import file_of

if TYPE_CHECKING:
    import argparse

    from edge_delta.cli.parser import Parser
    from edge_delta.device.health import Health

HELP = "report whether rows are delivered: exit code 1 if they wait for longer than allowed"


def arguments(parser: Parser) -> None:
    """Add the command's flags."""
    parser.add_device()
    parser.add_argument(
        "--health-after",
        type=float,
        metavar="SECONDS",
        help="seconds that rows may wait (default: as set for the process)",
    )
    parser.add_json("the answer")


def main(options: argparse.Namespace) -> int:
    """Say it in one line."""
    place = state_dir_of(vars(options))
    found = health.examine_all(place, allowed=options.health_after, choice=choice_of(place, vars(options)))
    if found.keys() == {""} and found[""].verdict is health.Verdict.NEVER and not found[""].running:
        found = _before_the_first_start(options) or found
    if not found:
        raise none_is_meant()
    ok = all(one.ok for one in found.values())
    if not options.json:
        print("\n".join(f"{key}: {one.line()}" if key else one.line() for key, one in found.items()))
        return 0 if ok else 1
    each = {key: {"ok": one.ok, "verdict": one.verdict, "rows_waiting": one.rows_waiting} for key, one in found.items()}
    whole = health.worst(found)
    rows = sum(one.rows_waiting for one in found.values())
    answer = {"ok": ok, "verdict": whole.verdict if whole is not None else None, "rows_waiting": rows}
    print(json.dumps(answer if "" in each else answer | {"sources": each}))
    return 0 if ok else 1


def _before_the_first_start(options: argparse.Namespace) -> dict[str, Health]:
    """What waits by what the settings say; empty where there are none, as in a check before a device is set up."""
    if file_of(vars(options)) is None:
        return {}
    ones = each_of(options)
    return {
        one.key if one.label else "": health.before_the_first_start(one.settings, one.settings.state_dir)
        for one in ones
    }
