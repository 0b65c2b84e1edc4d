"""`edge-delta completion`: a script for the shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from edge_delta.cli.parser import Parser

HELP = "print a script that lets the shell complete commands and flags"


def arguments(parser: Parser) -> None:
    """Add the command's flags."""
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="shell to print it for")


def main(options: argparse.Namespace) -> int:
    """Print it; `source <(edge-delta completion bash)` takes it over."""
    import shtab  # noqa: PLC0415 - for this command only

    from edge_delta.cli.parser import whole_parser  # noqa: PLC0415 - it imports this module

    print(shtab.complete(whole_parser(), options.shell))
    return 0
