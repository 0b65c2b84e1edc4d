"""`edge-delta verify`: whether all arrived."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from msgspec import to_builtins

from edge_delta.cli.commands.shared import Each, each_of, headed, listed, log_of
from edge_delta.topology import commands

if TYPE_CHECKING:
    import argparse

    from edge_delta.cli.parser import Parser
    from edge_delta.recovery.verify import Verification
    from edge_delta.topology.commands import Repaired
    from edge_delta.topology.one_table import OneTable

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
    log, ignore = log_of(options), listed(options.ignore)

    def compared(one: OneTable) -> tuple[list[Repaired], list[Verification]]:
        repaired = commands.repair(one.settings, log, ignore=ignore) if options.repair else []
        return repaired, commands.verify(one.settings, log, ignore=ignore)

    each, equal = Each(), True
    tables: list[dict[str, object]] = []
    done: list[dict[str, object]] = []
    for one, (repaired, reports) in each(each_of(options), compared):
        equal &= all(report.equal for report in reports)
        which = {"source": one.key} if one.label else {}
        tables += [which | report.as_json() for report in reports]
        done += [which | to_builtins(own) for own in repaired]
        if not options.json:
            lines = [
                f"{own.mode}: " + (f"NOT REPAIRED: {own.refusal}" if own.refusal else f"{own.rows} rows delivered")
                for own in repaired
            ]
            print("\n".join(headed(one, [*lines, *(line for report in reports for line in report.lines())])))
    if options.json:
        more = {"repaired": done} if options.repair else {}
        print(json.dumps({"equal": equal and not each.code, "tables": tables, **more}, default=str))
    return max(each.code, 0 if equal else 1)
