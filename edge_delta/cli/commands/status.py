"""`edge-delta status`: where every mode stands."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from edge_delta.cli.commands.shared import none_is_meant
from edge_delta.core.errors import ConfigurationError
from edge_delta.device import settled, status, watching
from edge_delta.device.addressed import choice_of, state_dir_of
from edge_delta.device.state import directories_of_sources, named

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edge_delta.cli.parser import Parser

HELP = "show where each mode stands, also while another process delivers"


def arguments(parser: Parser) -> None:
    """Add the command's flags."""
    parser.add_device()
    parser.add_argument("--watch", action="store_true", help="keep showing it, with the progress")
    parser.add_argument(
        "--settled", action="store_true", help="print only the id up to which rows may be deleted, or the files"
    )
    parser.add_json("the answer")


def main(options: argparse.Namespace) -> int:
    """Show it, out of the state directory."""
    place = state_dir_of(vars(options))
    chosen = choice_of(place, vars(options))
    if options.watch:
        watching.watch(_of_one(place, chosen))
        return 0
    if options.settled:
        return _print_settled(settled.settled_of(place, chosen), settled.settled_files_of(place, chosen))
    about = status.reports(place, chosen)
    if about.get("sources") == {} and directories_of_sources(place):
        raise none_is_meant()
    print(json.dumps(about, indent=2, ensure_ascii=False) if options.json else status.text(about))
    return 0


def _of_one(place: Path, choice: Callable[[str, str], bool]) -> Path:
    """The state directory that a view can show: of several sources that of one."""
    if not (several := directories_of_sources(place)):
        return place
    chosen = [directory for directory in several if choice(*named(directory))]
    if len(chosen) != 1:
        raise ConfigurationError(
            f"--watch shows one source, and {len(chosen)} are meant", "Name it with --source and --table"
        )
    return chosen[0]


def _print_settled(ids: Mapping[str, int | None], files: Mapping[str, list[Path]]) -> int:
    """One number a source table, with the table's name behind it where there are several; 1 if one is not known.

    Of files that rotate, whole files are settled: their paths, a line each.
    """
    for file in [file for found in files.values() for file in found]:
        print(file)
    for table, number in ids.items():
        if number is not None:
            print(number if len(ids) == 1 else f"{number} {table}")
        else:
            print(f"{table}: not known yet, so nothing may be purged", file=sys.stderr)
    return 0 if (ids or files) and None not in ids.values() else 1
