"""`edge-delta replay`: rejected rows once more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edge_delta.cli.commands.shared import Each, each_of, headed, log_of
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
    log, each = log_of(options), Each()
    answer: dict[str, object] = {}
    for one, outcomes in each(each_of(options), lambda one: commands.replay(one.settings, log)):
        told = {name: {"tried": o.tried, "passed": o.passed} for name, o in outcomes.items()}
        answer |= {one.key: told} if one.label else told
        if not options.json:
            passed = ((n, f"{o.passed} of {o.tried}") for n, o in outcomes.items())
            lines = [f"{name}: {rows} rejected rows passed and were delivered" for name, rows in passed]
            print("\n".join(headed(one, lines or ["no mode whose rejected rows can be tried again"])))
    if options.json:
        print(json.dumps(answer))
    return each.code
