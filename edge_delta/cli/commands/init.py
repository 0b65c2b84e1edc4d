"""`edge-delta init`: the first settings file."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_delta.core.errors import ConfigurationError
from edge_delta.core.reach import is_there
from edge_delta.topology.one_table import in_path

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from edge_delta.cli.parser import Parser
    from edge_delta.settings.sections import Settings
    from edge_delta.source.looking import Seen

HELP = "look at a database, or at those in a folder, and write a settings file for it"


def arguments(parser: Parser) -> None:
    """Add the command's flags."""
    add = parser.add_argument
    add("database", metavar="DATABASE", type=Path, help="a SQLite file, or a folder with some")
    add("--config", "-c", metavar="FILE", type=Path, default=Path("config.toml"), help="the file to write")
    add("--force", action="store_true", help="overwrite the file if it exists")
    add("--yes", "-y", action="store_true", help="ask nothing, and take what suits; also where there is no terminal")
    add("--table", metavar="NAME", action="append", help="only this table; also several times (default: all)")
    add("--table-path", metavar="ADDRESS", help="where the tables go: a folder, s3:// or abfss:// (default: ./lake)")
    add("--processing-mode", metavar="MODE", help="the mode of all tables (default: the one that suits each)")
    add("--timestamp-field", metavar="NAME", help="the column with the readings' time (default: detected)")
    add("--source-time-zone", metavar="ZONE", help="where times without an offset were written (default: UTC)")
    add("--node-id", metavar="NAME", help="this device's name (default: made at the first start)")


def main(options: argparse.Namespace) -> int:
    """Write it."""
    from edge_delta.doctor import first_settings  # noqa: PLC0415 - not for the help of the other commands
    from edge_delta.source.looking import databases  # noqa: PLC0415 - as above

    if is_there(options.config) and not options.force:
        raise ConfigurationError(f"{options.config} exists", "Pass --force to overwrite it, or name another with -c")
    asks = not options.yes and sys.stdin.isatty()
    zone = options.source_time_zone
    _refuse_zone(zone)
    paths = databases(options.database)
    seen = _looked_at(paths, options, zone)
    for line in _told(seen, options.processing_mode):
        print(line, file=sys.stderr)
    if options.table and not any(one.tables for one in seen):
        wanted = " or ".join(options.table)
        raise ConfigurationError(f"{options.database} has no table {wanted}", "Leave --table out to see what there is")
    if not any(one.tables for one in seen):
        raise ConfigurationError(f"{options.database} has no table that can be delivered", "See the reasons above")
    if asks and not options.source_time_zone and any(table.zoneless for one in seen for table in one.tables):
        zone = _answer("In which zone were times without an offset written, such as Europe/Helsinki?", "UTC")
        _refuse_zone(zone)
        seen = _looked_at(paths, options, zone)
    usual = first_settings.path_of(seen)
    where = options.table_path or (
        _answer("Where do the tables go (folder, s3://, abfss://, uc://)?", usual) if asks else usual
    )
    node = options.node_id or (
        _answer("What is this device called (empty: made at the first start)?", "") if asks else ""
    )
    answers = first_settings.Answers(where, zone, node or None, options.processing_mode)
    written = first_settings.text(seen, answers)
    settings = _check(written, options.config)
    _write(written, options.config)
    print(f"{options.config} is written; next: edge-delta check --config {options.config}")
    print(f"after edge-delta run --once --config {options.config}: {_query(settings, options.config)}")
    return 0


def _query(settings: Settings, file: Path) -> str:
    """A command that finds what was delivered: of several tables the one that lists them."""
    from edge_delta.modes.traits import TRAITS  # noqa: PLC0415 - not for the help of the other commands

    if settings.several:
        return f"edge-delta query INFO --config {file}"
    base = settings.table_path.rstrip("/").replace("{table}", in_path(settings.sqlite_table_name or ""))
    name = re.split("[/.:]", base)[-1] + TRAITS[settings.processing_mode[0]].suffix
    return f'edge-delta query "SELECT count(*) AS rows_there FROM {name}" --config {file}'


def _looked_at(paths: Sequence[Path], options: argparse.Namespace, zone: str | None) -> list[Seen]:
    from edge_delta.source.looking import look  # noqa: PLC0415 - not for the help of the other commands

    named = options.table or ()
    return [_only(look(path, options.timestamp_field, zone or "UTC", named), named) for path in paths]


def _only(seen: Seen, names: Sequence[str]) -> Seen:
    """What was asked for.

    Raises:
        ConfigurationError: if a table that was named is not there, or cannot be delivered.
    """
    if not names:
        return seen
    from msgspec.structs import replace  # noqa: PLC0415 - beside what main imports

    wanted = {name.lower() for name in names}
    reasons = [f"{name}: {reason}" for name, reason in seen.left if name.lower() in wanted]
    if reasons:
        raise ConfigurationError(f"{seen.path}: {'; '.join(reasons)}", "Name other tables")
    return replace(seen, tables=[table for table in seen.tables if table.name.lower() in wanted], left=[])


def _told(seen: Sequence[Seen], mode: str | None) -> list[str]:
    found = []
    for one in seen:
        found.append(f"{one.path}: {len(one.tables)} tables")
        found += [
            f"  {table.name}: {mode or table.mode}, time {table.time or 'none'} ({table.why})"
            + ("" if table.time else "; name it with --timestamp-field if a column holds it")
            for table in one.tables
        ]
        found += [f"  not {name}: {reason}" for name, reason in one.left]
    return found


def _answer(question: str, usual: str) -> str:
    shown = f" [{usual}]" if usual else ""
    print(f"{question}{shown} ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() or usual


def _refuse_zone(zone: str | None) -> None:
    """Before databases are looked at with it.

    Raises:
        ConfigurationError: if there is no such zone.
    """
    from edge_delta.core.time_formats import TimeForm, refusal  # noqa: PLC0415 - beside what main imports

    if zone is not None and (reason := refusal(TimeForm(zone=zone))) is not None:
        raise ConfigurationError(f"flag --source-time-zone: {reason}", "Check --source-time-zone")


def _write(written: str, path: Path) -> None:
    """Write the file.

    Raises:
        ConfigurationError: if that cannot be done there.
    """
    try:
        path.write_text(written, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror}", "Name another file with -c, or give yourself permission"
        ) from None


def _check(written: str, path: Path) -> Settings:
    """The settings as they are read: that the settings can be read, before anything is written.

    Raises:
        ConfigurationError: if a flag or an answer cannot be right.
    """
    import tempfile  # noqa: PLC0415 - beside what main imports

    from edge_delta.settings.load import load  # noqa: PLC0415 - as above

    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / path.name
        trial.write_text(written, encoding="utf-8")
        try:
            return load({"config": str(trial)}, environment={})
        except ConfigurationError as error:  # that file is gone by the time somebody reads this
            raise ConfigurationError(error.fact.replace(str(trial), str(path)), "Check the flags of init") from None
