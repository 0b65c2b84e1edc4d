"""`edge-delta purge`: making room in the database."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from edge_delta.cli.commands.shared import Each, each_of, headed, log_of
from edge_delta.core.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse

    from edge_delta.cli.parser import Parser
    from edge_delta.recovery.purge import Purged
    from edge_delta.settings.sections import Settings
    from edge_delta.topology.one_table import OneTable

HELP = "delete rows of the database that were delivered and are old enough"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def arguments(parser: Parser) -> None:
    """Add the command's flags."""
    parser.add_settings()
    parser.add_argument(
        "--keep",
        metavar="AGE",
        help="how long rows stay, by their own time: 7d, 12h, 30m; 0 deletes all that is settled "
        "(default: purge.keep_days)",
    )
    parser.add_argument("--upto-id", metavar="ID", type=int, help="delete no row behind this id, whatever its age")
    parser.add_argument("--dry-run", action="store_true", help="only count the rows that would go")
    parser.add_json("the outcome")


def main(options: argparse.Namespace) -> int:
    """Delete them; exit code 1 if rows that are old enough had to stay, because no table has them."""
    from edge_delta.recovery.purge import Wanted  # noqa: PLC0415 - Polars, which no other command's help needs
    from edge_delta.topology.purging import purge  # noqa: PLC0415 - as above

    log, each, ones = log_of(options), Each(), each_of(options)
    done: list[Purged] = []
    if options.upto_id is not None and len(ones) > 1:
        raise ConfigurationError(
            "an id means another row in each table, and there are several", "Name one with --table and --source"
        )

    def purged(one: OneTable) -> list[Purged]:
        return purge(one.settings, log, Wanted(_before(options, one.settings), options.upto_id, options.dry_run))

    for one, own in each(ones, purged):
        done += own
        if not options.json:
            print("\n".join(headed(one, (line for purged in own for line in purged.lines()))))
    if options.json:
        print(json.dumps({"tables": [one.as_json() for one in done]}))
    return max(each.code, 0 if all(one.whole for one in done) else 1)


def _before(options: argparse.Namespace, settings: Settings) -> datetime | None:
    """The time that rows have to be older than; None for rows of any age."""
    if options.keep is not None:
        age = _age(options.keep)
    elif options.upto_id is not None and settings.purge.keep_days is None:
        return None
    elif settings.purge.keep_days is not None:
        age = timedelta(days=settings.purge.keep_days)
    else:
        raise ConfigurationError(
            "purge deletes nothing that it was not told to", "Say --keep 7d, or set keep_days under [purge]"
        )
    return datetime.now(UTC) - age if age else None


def _age(text: str) -> timedelta:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw]?)", text.strip())
    if found is None or (not found[2] and float(found[1])):
        raise ConfigurationError(f"--keep {text!r} is no age", "Write 7d, 12h, 30m, or 0")
    try:
        return timedelta(**{_UNITS[found[2] or "s"]: float(found[1])})
    except OverflowError:
        raise ConfigurationError(f"--keep {text!r} is no age", "Write 7d, 12h, 30m, or 0") from None
