"""`edge-delta health`: whether rows are delivered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

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
    found = health.examine(health.state_dir_of(options.state_dir, options.config), allowed=options.health_after)
    if options.json:
        print(json.dumps({"ok": found.ok, "verdict": found.verdict, "rows_waiting": found.rows_waiting}))
    else:
        print(found.line())
    return 0 if found.ok else 1
