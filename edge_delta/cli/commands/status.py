"""`edge-delta status`: where every mode stands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edge_delta.device import health, status

if TYPE_CHECKING:
    import argparse

    from edge_delta.cli.parser import Parser

HELP = "show where each mode stands, also while another process delivers"


def arguments(parser: Parser) -> None:
    """Add the command's flags."""
    parser.add_device()
    parser.add_argument("--watch", action="store_true", help="keep showing it, with the progress")
    parser.add_json("the answer")


def main(options: argparse.Namespace) -> int:
    """Show it, out of the state directory."""
    place = health.state_dir_of(options.state_dir, options.config)
    if options.watch:
        status.watch(place)
        return 0
    about = status.report(place)
    print(json.dumps(about, indent=2, ensure_ascii=False) if options.json else status.text(about))
    return 0
