"""`edge-delta verify`: whether all arrived."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from msgspec import to_builtins

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
    parser.add_argument(
        "--repair",
        action="store_true",
        help="first deliver the rows that are missing, each once; refused where it is not sure which they are",
    )
    parser.add_json("the outcome")


def main(options: argparse.Namespace) -> int:
    """Compare, after a repair if one is asked for; exit code 1 if anything differs."""
    settings, log, ignore = settings_of(options), log_of(options), listed(options.ignore)
    repaired = commands.repair(settings, log, ignore=ignore) if options.repair else []
    reports = commands.verify(settings, log, ignore=ignore)
    equal = all(report.equal for report in reports)
    if options.json:
        tables = [report.as_json() for report in reports]
        done = {"repaired": [to_builtins(one) for one in repaired]} if options.repair else {}
        print(json.dumps({"equal": equal, "tables": tables, **done}, default=str))
    else:
        for one in repaired:
            print(f"{one.mode}: " + (f"NOT REPAIRED: {one.refusal}" if one.refusal else f"{one.rows} rows delivered"))
        print("\n".join(line for report in reports for line in report.lines()))
    return 0 if equal else 1
