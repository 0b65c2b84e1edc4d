"""Writes the pages of the documentation that follow from the code, and ``config.toml.example``.

Run ``make docs`` after a change to settings, commands or log events; ``tests/project/test_docs.py`` tells if it was
forgotten.
"""

from __future__ import annotations

import argparse
import ast
import json
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import msgspec

from edge_delta.cli.parser import command, sentence, whole_parser
from edge_delta.core import errors
from edge_delta.core.events import EVENTS
from edge_delta.device.declared_metrics import METRICS
from edge_delta.settings.declaration import Field, Section, fields
from edge_delta.settings.schema import json_schema
from edge_delta.settings.sections import OF_THE_PROCESS, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
GENERATED = "<!-- Written by `make docs` from the code; changes by hand are lost. -->"
INTRODUCTION = """\
A flag overrides an environment variable, which overrides the TOML file, which overrides the default. The file is
`config.toml` in the current directory if it exists, or the file that `--config` or `EDGE_DELTA_CONFIG` names. All
settings are checked at the start: every problem is listed with the place it came from, and the process ends with exit
code 2. An unknown key is a problem too."""
LOG_FORMAT = """\
The log goes to stderr: one JSON object per line, or coloured text if stderr is a terminal. Every line has `timestamp`
(UTC), `level` and `event`; the other keys depend on the event. Where systemd's journal reads stderr, each line begins
with its priority (`<3>` error, `<4>` warning, `<6>` info, `<7>` debug), which the journal takes off: `journalctl -u
edge-delta -p warning` shows what somebody should know."""
METRICS_WHERE = """\
Off by default. `metrics_port` serves `/metrics` for Prometheus, `/health` (200, or 503 when `edge-delta health` exits
with 1) and a status page at `/`, on loopback; `metrics_address` sets another address. For a device that Prometheus
cannot reach, `metrics_file` is written every 15 seconds and after each cycle, for the textfile collector of
node_exporter.

For those without Prometheus, `otlp_endpoint` (or OTEL_EXPORTER_OTLP_ENDPOINT) names an OpenTelemetry collector, such as
`http://127.0.0.1:4318`: the same metrics, with the same names and labels, are sent to its `/v1/metrics` every 60
seconds (OTEL_METRIC_EXPORT_INTERVAL, in milliseconds) and at the end. This takes `pip install 'edge-delta[otlp]'`; the
image does not have it. Without it an `otlp_endpoint` in the settings is an error (exit code 2), and the variable, which
platforms set for all that they run, is told once in the log (`metrics not sent`) and stops nothing. What the collector
wants to know who sends stands in OTEL_EXPORTER_OTLP_HEADERS, what else is to be said of the device in
OTEL_RESOURCE_ATTRIBUTES. A collector that hangs holds up nothing; at the end it is waited for 5 seconds.

All go on whatever hangs: the store, a locked database, or the engine itself. A file stays as it is when the process
is dead, so what is in it counts only as long as `edge_delta_heartbeat_timestamp_seconds` changes. While that changes
and `edge_delta_progress_timestamp_seconds` does not, the engine hangs. The rules look at both, and `edge_delta:healthy`
is what a dashboard shows: it is 0 for the dead, too.

[deploy/prometheus-rules.yml](../deploy/prometheus-rules.yml) has alerts, and
[deploy/grafana-dashboard.json](../deploy/grafana-dashboard.json) a dashboard for them.

What is counted of a source has the labels `node_id`, `source` and `table`, what is of the process `node_id`; several
sources are in one file or on one port.

delta-rs does not report how many requests it sends to the object store, or how many bytes of Parquet they carry. So
edge-delta counts operations on tables, and bytes of rows in memory. An `append` that failed is an attempt that did not
become a commit."""
ERRORS_WHERE = """\
Every message is one line: the fact, the place, the next step. `…` stands for what depends on the case.
`edge-delta check` finds most of these before they happen; [operations.md](operations.md) begins with what you see.

Exit codes: 1 may pass by itself (a running process retries), 2 needs another setting, 3 needs a person's decision."""
SOURCES = """
# Several sources in one process, each with what is another for it than for all; docs/sources.md says more. Then
# table_path needs {table}, and {source} where two files have a table of one name.
#[[sources]]
#sqlite = "/data/plant.db"
#tables = ["sensor_readings", "events"]

#[[sources]]
#name = "archive"
#sqlite = "/data/archive.db"
#tables = "*"
#processing_mode = "raw"
#source_time_zone = "Europe/Helsinki\"
"""
OF_ONE_SOURCE = """
## `[[sources]]`

Several sources in one process: a list, each begun by a line `[[sources]]`, with what is another for it than for all.
All settings of this page can stand there except"""
STORAGE_VARIABLES = {
    "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN": "credentials for S3",
    "AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_S3": "an S3-compatible server, where `storage.endpoint_url` is not set",
    "AWS_REGION, AWS_DEFAULT_REGION": "the region, where `storage.region` is not set",
    "DATABRICKS_HOST, DATABRICKS_CLIENT_ID": "the workspace and who signs in, where `[unity_catalog]` does not say it",
    "DATABRICKS_CLIENT_SECRET, DATABRICKS_TOKEN": "a service principal's secret, or a token, for `uc://`",
    "SSL_CERT_FILE, AWS_CA_BUNDLE": "certificate authorities, where `storage.ca_bundle` is not set; either is enough",
    "HTTPS_PROXY, HTTP_PROXY, NO_PROXY": "the proxy, where `storage.proxy_url` is not set",
    "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, …": "credentials for ADLS",
}


def main() -> None:
    """Write every page."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


def pages() -> dict[Path, str]:
    """The text of each generated file."""
    return {
        ROOT / "config.toml.example": example(),
        ROOT / "docs" / "configuration.md": configuration(),
        ROOT / "docs" / "config.schema.json": json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n",
        ROOT / "docs" / "commands.md": commands(),
        ROOT / "docs" / "log.md": log(),
        ROOT / "docs" / "metrics.md": metrics(),
        ROOT / "docs" / "errors.md": error_messages(),
    }


# -- what the models say


def sections() -> Iterator[tuple[str, type[Section]]]:
    """The settings' sections, by name; the first is the top level, named ``""``."""
    yield "", Settings
    for field in fields(Settings):
        if field.section is not None:
            yield field.name, field.section


def settings_of(section: str, model: type[Section]) -> Iterator[tuple[str, Field]]:
    """A section's settings with their full names, sections inside it left out."""
    for field in fields(model):
        if field.section is None and field.name != "sources":
            yield (f"{section}.{field.name}" if section else field.name), field


def metas(form: Any) -> Iterator[msgspec.Meta]:
    """What is said of a type, also inside a union with None."""
    for part in get_args(form):
        if isinstance(part, msgspec.Meta):
            yield part
        else:
            yield from metas(part)


def all_settings() -> Iterator[tuple[str, Field]]:
    """All settings by their full names."""
    for section, model in sections():
        yield from settings_of(section, model)


def short(name: str) -> str:
    """A setting's name in its section."""
    return name.rpartition(".")[2]


def shape(annotation: Any) -> str:  # noqa: PLR0911 - one line a form
    """A type in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return shape(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(shape(a) for a in arguments if a is not type(None))
    if origin is Literal:
        return ", ".join(f"`{a}`" for a in arguments)
    if origin is dict:
        return f"table of {shape(arguments[1])} by name"
    if origin in (tuple, list):
        return f"list of {shape(arguments[0])}"
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return "{ " + ", ".join(f.name for f in fields(annotation)) + " }"
    words = {str: "text", int: "whole number", float: "number", bool: "`true`, `false`", Path: "path"}
    return words.get(annotation, "text")


def bounds(field: Field) -> str:
    """The limits of a value, in words."""
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    found = [
        f"{sign} {getattr(constraint, name):,}"
        for constraint in metas(field.form)
        for name, sign in signs.items()
        if getattr(constraint, name, None) is not None
    ]
    return f" ({', '.join(found)})" if found else ""


def toml(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }" if value else "{}"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def default(field: Field) -> str | None:
    """The default as TOML; None if there is none."""
    return None if field.default is None else toml(field.default)


# -- the files


def example() -> str:
    """``config.toml.example``: prose is marked ``# ``, settings to uncomment ``#``."""
    lines = [
        "# Settings of edge-delta. Copy this file to config.toml and remove the # before what you want to change;",
        "# what stays commented shows the default, or an example where there is none. See docs/configuration.md.",
        "# A flag overrides the environment, which overrides this file. Secrets never belong here.",
        "#:schema docs/config.schema.json",
    ]
    for section, model in sections():
        if section:
            lines += ["", f"# {model.__doc__}", f"[{section}]"]
        for name, field in settings_of(section, model):
            if field.is_secret:
                continue
            lines += ["", f"# {described(field)}"]
            value = field.example or default(field)
            if value is None:
                raise SystemExit(f"{name} has no default: say in its `about` what it may look like")
            lines.append(f"{'' if field.required else '#'}{short(name)} = {value}")
    return "\n".join(lines) + "\n" + SOURCES


def described(field: Field) -> str:
    """What a setting is, and what it may be."""
    text = field.description
    first, *_ = text.split(maxsplit=1)
    begin = first.capitalize() if first.isalpha() else first
    values = shape(field.form).replace("`", "")
    return f"{begin}{text[len(first) :]}. [{values}{bounds(field)}]"


def configuration() -> str:
    """``docs/configuration.md``."""
    lines = [
        "# Configuration",
        "",
        GENERATED,
        "",
        INTRODUCTION,
        "",
        "[config.toml.example](../config.toml.example) has every key.",
    ]
    for section, model in sections():
        lines += ["", f"## `[{section}]`" if section else "## Top level", "", model.__doc__ or "", ""]
        variable = next((f.variable for f in fields(Settings) if f.name == section), "")
        if variable:
            lines += [f"The whole section can also be set as JSON in the environment variable `{variable}`.", ""]
        lines += ["| setting | what it is | values | default | flag, environment |", "| --- | --- | --- | --- | --- |"]
        lines += [setting_row(name, field) for name, field in settings_of(section, model)]
    not_there = ", ".join(f"`{name}`" for name in sorted(OF_THE_PROCESS))
    lines += [f"{OF_ONE_SOURCE} {not_there}. See [sources.md](sources.md)."]
    lines += ["", "## Variables of the object stores", "", "They are read by the storage library itself.", ""]
    lines += ["| variables | what they are |", "| --- | --- |"]
    for names, what in STORAGE_VARIABLES.items():
        listed = ", ".join(f"`{n}`" if n != "…" else n for n in names.split(", "))
        lines.append(f"| {listed} | {what} |")
    return "\n".join(lines) + "\n"


def setting_row(name: str, field: Field) -> str:
    """One setting as a row of its table."""
    value = default(field)
    shown = "**required**" if field.required else f"`{value}`" if value is not None else ""
    ways = [*field.flags[:1], field.variable]
    cells = [
        f"`{short(name)}`" + (" (never in the file)" if field.is_secret else ""),
        field.description,
        shape(field.form) + bounds(field),
        shown,
        ", ".join(f"`{way}`" for way in ways if way),
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def commands() -> str:
    """``docs/commands.md``."""
    parser = whole_parser()
    lines = ["# Commands", "", GENERATED, "", parser.description or "", "", "E" + (parser.epilog or "")[1:] + "."]
    [choices] = [a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)]  # noqa: SLF001
    for name, own in choices.items():
        lines += ["", f"## `edge-delta {name}`", "", sentence(command(name).HELP), ""]
        lines += ["| flag | what it is |", "| --- | --- |"]
        for action in own._actions:  # noqa: SLF001
            flags = ", ".join(f"`{flag}`" for flag in action.option_strings) or f"`{action.dest}`"
            metavar = f" {action.metavar}" if action.metavar else ""
            lines.append(f"| {flags}{metavar} | {action.help or ''} |".replace("s3://…", "`s3://…`"))
    return "\n".join(lines) + "\n"


def log() -> str:
    """``docs/log.md``."""
    lines = [
        "# The log",
        "",
        GENERATED,
        "",
        LOG_FORMAT,
        "",
        "| event | when, and its keys |",
        "| --- | --- |",
    ]
    lines += [f"| `{event}` | {text} |" for event, text in EVENTS.items()]
    return "\n".join(lines) + "\n"


def error_messages() -> str:
    """``docs/errors.md``: every message in the code, with its cure."""
    lines = ["# Error messages", "", GENERATED, "", ERRORS_WHERE]
    found = sorted({row for path in (ROOT / "edge_delta").rglob("*.py") for row in raised_in(path)})
    for kind in sorted({name for name, _, _ in found}, key=lambda n: (getattr(errors, n).exit_code, n)):
        one = getattr(errors, kind)
        lines += ["", f"## {kind}", "", f"{one.__doc__.splitlines()[0]} Exit code {one.exit_code}.", ""]
        lines += ["| message | what to do |", "| --- | --- |"]
        # Where an error is raised again with what it said and a cure, that is the cure of those that have none.
        passed_on = [hint for name, fact, hint in found if name == kind and not fact.strip("…; ")]
        if one.exit_code == errors.EdgeDeltaError.exit_code:
            passed_on.append("Nothing, unless it keeps happening: edge-delta retries.")
        for fact, hint in ((f, h) for n, f, h in found if n == kind and f.strip("…; ")):
            lines.append(f"| {cell(fact)} | {cell(hint or passed_on[0])} |")
    return "\n".join(lines) + "\n"


def raised_in(path: Path) -> Iterator[tuple[str, str, str]]:
    """Kind, fact and hint of each error that a module makes."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
            continue
        kind = getattr(errors, node.func.id, None)
        if isinstance(kind, type) and issubclass(kind, errors.EdgeDeltaError):
            fact, hint, *_ = [*map(spelled, node.args), ""]
            if fact.strip("…; ") or hint.strip("…; "):
                yield node.func.id, fact, hint


def spelled(node: ast.expr) -> str:
    """A text in the code, with … for what it is filled with."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(spelled, node.values))
    if isinstance(node, ast.BinOp):
        return spelled(node.left) + spelled(node.right)
    return "…"


def cell(text: str) -> str:
    """A text in a table's cell."""
    for sign in "\\|<>[]*_{":
        text = text.replace(sign, "\\" + sign)
    return text


def metrics() -> str:
    """``docs/metrics.md``."""
    lines = ["# Metrics", "", GENERATED, "", METRICS_WHERE, ""]
    lines += ["| metric | kind | labels | what it is |", "| --- | --- | --- | --- |"]
    for name, one in METRICS.items():
        labels = ", ".join(f"`{label}`" for label in one.labels)
        lines.append(f"| `{name}` | {one.kind} | {labels} | {one.help} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
