"""`edge-delta replay`: rejected rows once more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edge_delta.cli.commands.shared import log_of, settings_of
from edge_delta.topology import commands

if TYPE_CHECKING:
    import argparse

    from edge_delta.cli.parser import Parser

HELP = "deliver rejected rows that pass after their rule was fixed"


def arguments(parser: Parser) -> None:
    """Add the command's flags."""
    parser.add_settings()
    parser.add_json("the outcome")


def main(options: argparse.Namespace) -> int:
    """Try them again."""
    outcomes = commands.replay(settings_of(options), log_of(options))
    if options.json:
        print(json.dumps({name: {"tried": o.tried, "passed": o.passed} for name, o in outcomes.items()}))
    for name, outcome in outcomes.items() if not options.json else ():
        print(f"{name}: {outcome.passed} of {outcome.tried} rejected rows passed and were delivered")
    return 0
