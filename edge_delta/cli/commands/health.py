"""`edge-delta health`: whether rows are delivered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edge_delta.cli.commands.shared import chooses, none_is_meant
from edge_delta.device import health

if TYPE_CHECKING:
    import argparse

    from edge_delta.cli.parser import Parser

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
    place = health.state_dir_of(options.state_dir, options.config)
    found = health.examine_all(place, allowed=options.health_after, choice=chooses(options))
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
