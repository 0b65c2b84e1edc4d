"""`edge-delta check`: what is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edge_delta.cli.commands.shared import settings_of
from edge_delta.doctor.check import check, check_privacy

if TYPE_CHECKING:
    import argparse

    from edge_delta.cli.parser import Parser

HELP = "find what is wrong with settings, database, storage and tables, and say what to do"


def arguments(parser: Parser) -> None:
    """Add the command's flags."""
    parser.add_settings()
    parser.add_argument(
        "--privacy",
        action="store_true",
        help="what becomes of columns that tell a place, and what is published of places",
    )
    parser.add_json("the findings")


def main(options: argparse.Namespace) -> int:
    """Say each finding as soon as it is there."""
    findings = []
    looked = check_privacy if options.privacy else check
    for finding in looked(lambda: settings_of(options), vars(options)):
        findings.append(finding)
        if not options.json:
            print(finding, flush=True)
    if options.json:
        print(json.dumps([f.as_dict() for f in findings], indent=2, ensure_ascii=False))
    return max(f.exit_code for f in findings)
