"""`edge-delta maintain`: upkeep of the tables now."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from edge_delta.cli.commands.shared import Each, each_of, listed, log_of
from edge_delta.core.errors import ConfigurationError
from edge_delta.device.addressed import of_other_tables, refuse_other
from edge_delta.device.state import read_mirror
from edge_delta.topology import commands

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from edge_delta.cli.parser import Parser
    from edge_delta.sinks.delta.upkeep import Report
    from edge_delta.topology.one_table import OneTable

HELP = "compact small files, clean the log and delete old files now"


def arguments(parser: Parser) -> None:
    """Add the command's flags."""
    parser.add_settings()
    parser.add_argument(
        "--z-order", metavar="COLUMNS", help="sort all rows by these columns, separated by commas (Z-order)"
    )
    parser.add_argument(
        "--upgrade", action="store_true", help="first give tables made by earlier versions the properties of new ones"
    )
    parser.add_json("the outcome")


def main(options: argparse.Namespace) -> int:
    """Look after the tables; the database is not needed for it."""
    log, each = log_of(options), Each()
    answer: dict[str, Report | None] = {}

    def looked_after(one: OneTable) -> dict[str, Report | None]:
        _refuse_other_source(one, vars(options))
        done = commands.maintain(one.settings, log, z_order=listed(options.z_order), upgrade=options.upgrade)
        if options.table_path and not any(done.values()):
            raise ConfigurationError(f"there is no table at {one.settings.table_path}", "Check --table-path")
        return done

    for _, reports in each(each_of(options, here=False), looked_after):
        answer |= reports
        if not options.json:
            _print(reports)
    if options.json:
        print(json.dumps(to_builtins(answer)))
    return each.code


def _refuse_other_source(one: OneTable, flags: Mapping[str, Any]) -> None:
    """Refuse to look after tables whose rows are of another source than the one that is named.

    Raises:
        ConfigurationError: if the state directory says so.
    """
    place = one.settings.state_dir
    mirror = read_mirror(place)
    if not of_other_tables(mirror, one.settings.table_path):
        refuse_other(mirror, {name: flags.get(name) for name in ("sqlite", "sqlite_table_name")}, place)


def _print(reports: Mapping[str, Report | None]) -> None:
    for table, report in reports.items():
        if report is None:
            print(f"{table}: not there")
        else:
            now = f"{report.files_before} files, now {report.inventory}"
            print(f"{table}: {now}; {report.files_vacuumed} removed, {report.bytes_rewritten / 1e6:,.1f} MB rewritten")
