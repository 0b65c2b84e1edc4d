"""`edge-delta fleet`: all devices at a glance."""

from __future__ import annotations

import os
import sys
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from edge_delta.cli.commands.shared import settings_of_reader
from edge_delta.core.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse

    from edge_delta.ask.fleet.devices import Device
    from edge_delta.ask.fleet.looking import Fleet
    from edge_delta.cli.parser import Parser

HELP = "show all devices by their tables' logs: who is behind, dead or idle; exit code 1 if one is not well"
_EVERY = 60.0


def arguments(parser: Parser) -> None:
    """Add the command's flags."""
    parser.add_device()
    add = parser.add_argument
    add(
        "--health-after",
        type=float,
        metavar="SECONDS",
        help="seconds without a delivery after which a device counts as behind (default: as set on each device)",
    )
    add(
        "--without",
        action="append",
        metavar="NODE",
        default=[],
        help="leave out devices, such as retired ones; * and ? stand for any characters; also again and again",
    )
    add("--watch", action="store_true", help="keep showing who needs somebody, until Ctrl-C")
    add("--every", type=float, metavar="SECONDS", default=_EVERY, help="seconds between looks with --watch (60)")
    add("--html", metavar="FILE", help="write one page that needs nothing from elsewhere")
    parser.add_json("the answer")


def main(options: argparse.Namespace) -> int:
    """Show them."""
    from edge_delta.ask.fleet.devices import merged, ordered  # noqa: PLC0415 - not for the help

    fleets = _fleets(options)
    while True:
        started = time.time()
        devices = ordered(merged(device for fleet in fleets for device in fleet.look()))
        devices = [d for d in devices if not any(fnmatchcase(d.node, p) for p in options.without)]
        if not devices:
            raise ConfigurationError(
                "no device's table is there", "Check --table-path: {node_id} stands for the devices in it"
            )
        _show(devices, started, options)
        if not options.watch:
            return 0 if all(device.ok for device in devices) else 1
        time.sleep(max(0.0, started + options.every - time.time()))


def _fleets(options: argparse.Namespace) -> list[Fleet]:
    """What lies under each address that the sources have; heartbeats lie beside the first, that of the process."""
    from edge_delta.ask.fleet.finding import layout_of  # noqa: PLC0415 - not before the settings are right
    from edge_delta.ask.fleet.looking import Fleet  # noqa: PLC0415 - as above
    from edge_delta.sinks.address import refuse_catalog  # noqa: PLC0415 - as above
    from edge_delta.sinks.objects import objects_at  # noqa: PLC0415 - as above
    from edge_delta.sinks.store_options import store_options  # noqa: PLC0415 - as above

    settings = settings_of_reader(options)
    found = []
    for table_path in dict.fromkeys([settings.table_path, *(one.table_path for one in settings.sources)]):
        refuse_catalog(table_path, "edge-delta fleet lists folders", "Name their folder in the store: s3://…")
        layout = layout_of(table_path)
        objects = objects_at(layout.root, store_options(layout.root, os.environ, settings.storage))
        found.append(Fleet(objects, layout, table_path, options.health_after))
    return found


def _show(devices: list[Device], at: float, options: argparse.Namespace) -> None:
    from edge_delta.ask.fleet import page, text  # noqa: PLC0415 - as above

    if options.html:
        _write(Path(options.html), page.as_page(devices, at))
    if options.json:
        print(text.as_json(devices, at), flush=True)
    elif options.watch and sys.stdout.isatty():
        lines = os.get_terminal_size().lines
        print(f"\x1b[2J\x1b[H{text.as_table(devices, max(1, lines - 4))}{text.written(at)}", flush=True)
    elif not options.html:
        print(text.as_table(devices), end="", flush=True)
    else:
        print(text.summary(devices), flush=True)


def _write(place: Path, content: str) -> None:
    temporary = place.with_name(f".{place.name}.new")  # whoever looks at it sees a whole one
    try:
        temporary.write_text(content, encoding="utf-8")
        temporary.replace(place)
    except OSError as error:
        raise ConfigurationError(f"{place} cannot be written: {error.strerror}", "Check --html") from error
