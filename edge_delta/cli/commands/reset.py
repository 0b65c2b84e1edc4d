"""`edge-delta reset`: going back."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edge_delta.cli.commands.shared import Each, each_of, log_of
from edge_delta.core.errors import ConfigurationError
from edge_delta.recovery.reset import Destination
from edge_delta.topology import commands

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from edge_delta.cli.parser import Parser
    from edge_delta.topology.one_table import OneTable

_VIEWS = (
    "What they take the place of stands in the table ..._superseded. If Databricks had none before, run what "
    "`edge-delta sql 02 03` prints, so that the current_ views leave it out"
)
HELP = "deliver rows again, as a new generation"


def arguments(parser: Parser) -> None:
    """Add the command's flags."""
    parser.add_settings()
    to = parser.add_mutually_exclusive_group(required=True).add_argument
    to("--to-id", metavar="ID", type=int, help="deliver again from this id on")
    to(
        "--to-time",
        metavar="TIME",
        type=_time,
        help="deliver again from the first row of this time or later (ISO 8601, UTC)",
    )
    to("--to-beginning", action="store_true", help="deliver again from the first row on")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_json("the outcome")


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        msg = f"{text!r} is no time, write it as 2026-03-01T12:00:00+00:00"
        raise ArgumentTypeError(msg) from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def main(options: argparse.Namespace) -> int:
    """Go back if that is agreed to; exit code 1 if not."""

    def agreed(plans: Sequence[object]) -> bool:
        out = sys.stderr if options.json else sys.stdout
        print("\n".join(map(str, plans)) or "nothing was delivered yet, so there is nothing to deliver again", file=out)
        if options.yes or not plans:
            return bool(plans)
        if not sys.stdin.isatty():
            raise ConfigurationError("reset asks for confirmation, and there is no terminal", "Pass --yes")
        return input("Deliver these rows again? [y/N] ").strip().lower() in ("y", "yes")

    destination = Destination(options.to_id, options.to_time)
    log, each, ones = log_of(options), Each(), each_of(options)
    if destination.id is not None and len(ones) > 1:
        raise ConfigurationError(
            "an id means another row in each table, and there are several", "Name one with --table and --source"
        )

    def gone_back(one: OneTable) -> bool:
        if one.label:
            print(f"{one.key}:", file=sys.stderr if options.json else sys.stdout)
        return commands.reset(one.settings, log, destination, agreed=agreed)

    done = [done for _, done in each(ones, gone_back)]
    outcome = f"done; the next run delivers them\n{_VIEWS}" if any(done) else "nothing was changed"
    print(json.dumps({"done": bool(done) and all(done)}) if options.json else outcome)
    return max(each.code, 0 if done and all(done) else 1)
