"""`edge-delta query`: SQL over the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.ask import query
from edge_delta.ask.tables import Tables
from edge_delta.cli.commands.shared import settings_of_reader
from edge_delta.core.errors import ConfigurationError
from edge_delta.topology.sources import each

if TYPE_CHECKING:
    import argparse

    from edge_delta.cli.parser import Parser

HELP = "run SQL over the tables, or describe them"


def arguments(parser: Parser) -> None:
    """Add the command's flags."""
    parser.add_settings()
    add = parser.add_argument
    add("sql", metavar="SQL", nargs="?", help="a SELECT over tables by their names, or INFO to describe the tables")
    add("--run-query", metavar="SQL", help="the same as a flag; the command query may then be left out")
    add(
        "--format",
        choices=("table", "json", "csv", "parquet"),
        help="format of the result (default: table); json: one row per line",
    )
    add("--output", metavar="FILE", help="file for the result (default: stdout)")
    add(
        "--limit",
        metavar="ROWS",
        type=int,
        help="rows to show, 0 for all (default: 100 as a table on stdout, else all)",
    )


def main(options: argparse.Namespace) -> int:
    """Answer it."""
    sql = options.sql or options.run_query
    if not sql or (options.sql and options.run_query):
        raise ConfigurationError("there is no SQL to run" if not sql else "there are two statements", "Give one")
    settings = settings_of_reader(options)
    tables = None
    if settings.databricks.server_hostname is None or query.is_info(sql):
        tables = Tables.of(each(settings, vars(options), here=False))
    return query.main(sql, settings, tables, form=options.format, output=options.output, limit=options.limit)
