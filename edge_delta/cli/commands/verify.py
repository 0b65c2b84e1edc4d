"""`edge-delta verify`: whether all arrived."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edge_delta.cli.commands.shared import listed, log_of, settings_of
from edge_delta.topology import commands

if TYPE_CHECKING:
    import argparse

    from edge_delta.cli.parser import Parser

HELP = "compare the source with what was delivered: exit code 1 if anything differs"


def arguments(parser: Parser) -> None:
    """Add the command's flags."""
    parser.add_settings()
    parser.add_argument(
        "--ignore",
        metavar="COLUMNS",
        help="columns that the application changes after delivery, separated by commas: not compared",
    )
    parser.add_json("the outcome")


def main(options: argparse.Namespace) -> int:
    """Compare; exit code 1 if anything differs."""
    reports = commands.verify(settings_of(options), log_of(options), ignore=listed(options.ignore))
    equal = all(report.equal for report in reports)
    if options.json:
        print(json.dumps({"equal": equal, "tables": [report.as_json() for report in reports]}, default=str))
    else:
        print("\n".join(line for report in reports for line in report.lines()))
    return 0 if equal else 1
