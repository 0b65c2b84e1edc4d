"""`edge-delta sql`: the statements for Databricks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.ask import statements
from edge_delta.cli.commands.shared import each_of
from edge_delta.topology.one_table import in_path

if TYPE_CHECKING:
    import argparse

    from edge_delta.cli.parser import Parser

HELP = "print the Databricks statements for these tables: locations, views, checks, grants"


def arguments(parser: Parser) -> None:
    """Add the command's flags."""
    parser.add_settings()
    add = parser.add_argument
    add("only", metavar="NUMBER", nargs="*", help="numbers of the files to print, such as 02 (default: all)")
    add("--catalog", metavar="NAME", help="Unity Catalog's catalog (default: databricks.catalog, main)")
    add("--schema", metavar="NAME", help="the schema (default: databricks.schema, sensor_data)")


def main(options: argparse.Namespace) -> int:
    """Print them."""
    for one in each_of(options, here=False):
        catalog, schema = statements.names_of(one.settings)
        catalog, schema = options.catalog or catalog, options.schema or schema
        if one.label:  # the views have the same names in each
            schema = in_path(f"{schema}_{one.label}_{one.table}")
            print(f"-- {one.key}\n")
        schema = statements.schema_of(one.settings, schema)
        print(statements.printed(one.settings, catalog, schema, options.only), end="")
    return 0
