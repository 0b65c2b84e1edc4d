"""The statements of `sql/` filled in for one device: its paths, its tables, the columns that they have now."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.ask.tables import Tables
from edge_delta.core.errors import ConfigurationError
from edge_delta.core.updates import VERSION
from edge_delta.sinks import address as storage
from edge_delta.topology.one_table import in_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_delta.settings.sections import Settings

_BESIDE = Path(__file__).parents[1]
_FOLDERS = (_BESIDE / "sql", _BESIDE.parent / "sql")
"""In the wheel, and in a clone."""

_LITERAL = r"'(?:[^']|'')*'"
_JOINED = re.compile(rf"EXECUTE IMMEDIATE ((?:{_LITERAL})(?: \|\| {_LITERAL})*)$", re.DOTALL)
_PARENT = "regexp_replace(:base_path, '/[^/]*$', '')"
_MADE = re.compile(r"\bCREATE (?:OR REPLACE (?:VIEW|TABLE)|TABLE IF NOT EXISTS) ([\w`]+)")
_NAME = re.compile(
    r"\b(?:readings_(?:\d_\w+|rejected|superseded)|fleet_\w+|quality_\w+|rollup_\w+"
    r"|current_(?:readings|raw|sanitized|windows|alerts)|recent_(?:readings|raw|sanitized|windows|hourly|daily)|delivered_readings|superseded|alert_groups|open_alerts)\b"
)
_COMMENT = re.compile(r"COMMENT '[^']*'")
_UNION = re.compile(r"(\n *UNION(?: ALL)?\n)")
_ROLLED = {
    "fleet_hourly": ("HOUR", "window_start", "hour", "current_windows"),
    "fleet_daily": ("DAY", "hour", "day", "fleet_hourly"),
    "recent_hourly": ("HOUR", "window_start", "hour", "recent_windows"),
    "recent_daily": ("DAY", "hour", "day", "recent_hourly"),
}
"""By view: the unit, the time that is cut to it, what that is called then, and what is rolled up."""
_ASKED_FOR = ("12", "13", "14")
"""Beginnings of the files that are only printed by name: they change who may see or write the tables."""
_BY_ADDRESS = ("01", "02", "08")
"""Beginnings of the files that say where tables are."""
_WHOLE = {"min": "min", "max": "max", "sum": "sum", "count": "sum"}


class Target(Struct, frozen=True):
    """What the statements are filled in with.

    Attributes:
        catalog: Unity Catalog's catalog.
        schema: the schema in it.
        base_path: the tables' base, as ``--table-path``.
        tables: columns and their types by table, for those that exist.
        location: the folder that holds the tables of all devices; empty for the one that holds these.
    """

    catalog: str
    schema: str
    base_path: str
    tables: Mapping[str, Mapping[str, str]]
    location: str = ""

    @property
    def name(self) -> str:
        """The base of the tables' names, as far as SQL takes it without quotes."""
        return re.sub(r"\W", "_", self.base_path.rpartition("/")[2])


def files() -> list[Path]:
    """The files in the order in which they are run."""
    return next((found for folder in _FOLDERS if (found := sorted(folder.glob("[0-9]*.sql")))), [])


def files_for(settings: Settings) -> list[Path]:
    """Those that are about these settings' tables.

    Where tables have names in Unity Catalog, they are not registered by their addresses; and where a device is part of
    the names, the views would take each other's place.
    """
    if not storage.in_catalog(settings.table_path):
        return files()
    if "{node_id}" in settings.table_path:
        return []
    return [file for file in files() if not file.name.startswith(_BY_ADDRESS)]


def split(text: str) -> list[tuple[str, str]]:
    """A file's statements, each with the comment before it; a comment at the top of the file is left out."""
    body = text.partition("\n\n")[2]
    found = []
    for part in re.split(r";\n", body):
        lines = part.strip("\n").splitlines()
        code = [line for line in lines if not line.startswith("--")]
        if code:
            notes = [line for line in lines if line.startswith("--")]
            found.append(("\n".join(notes), "\n".join(code).strip()))
    return found


def head(text: str) -> str:
    """The comment at the top of a file."""
    return text.partition("\n\n")[0]


def filled(statement: str, target: Target) -> str:
    """A statement with literals for parameters, and as plain SQL instead of EXECUTE IMMEDIATE."""
    text = statement.replace(_PARENT, _literal(target.location or target.base_path.rpartition("/")[0]))
    for name in ("catalog", "schema", "base_path"):
        value = str(getattr(target, name))
        in_text = value if name == "base_path" else _quoted(value)
        text = text.replace(f"IDENTIFIER(:{name})", _quoted(value)).replace(f":{name}", _literal(in_text))
    joined = _JOINED.match(text)
    if joined is not None:
        text = "".join(part[1:-1].replace("''", "'") for part in re.findall(_LITERAL, joined[1]))
    # Only names: a path in quotes is what it is.
    return re.sub(rf"({_LITERAL})|\breadings_(?=\d_|rejected|superseded)", lambda m: m[1] or f"{target.name}_", text)


def rolled_up(view: str, columns: Mapping[str, str]) -> str:
    """The view of hours or days, for the columns that the aggregated table has.

    Args:
        view: one of `_ROLLED`.
        columns: of the aggregated table.
    """
    unit, time, name, source = _ROLLED[view]
    names = list(columns)
    groups = ["node_id", *names[names.index("window_end") + 1 : names.index("record_count")]]
    values = ["sum(record_count) AS record_count"]
    for column in names[names.index("record_count") + 1 : names.index("first_reading_id")]:
        function, _, of = column.partition("_")
        if function == "avg" and {f"sum_{of}", f"count_{of}"} <= columns.keys():
            values.append(f"sum(sum_{of}) / sum(count_{of}) AS {column}")
        elif function == "avg" and f"count_{of}" in columns:
            values.append(f"sum({column} * count_{of}) / sum(count_{of}) AS {column}")
        elif function == "avg":
            weight = f"sum(CASE WHEN {column} IS NOT NULL THEN record_count END)"
            values.append(f"sum({column} * record_count) / {weight} AS {column}")
        elif function in _WHOLE:
            values.append(f"{_WHOLE[function]}({column}) AS {column}")
    listed = ",\n  ".join([f"date_trunc('{unit}', {time}) AS {name}", *groups, *values])
    grouped = ", ".join([f"date_trunc('{unit}', {time})", *groups])
    return f"CREATE OR REPLACE VIEW {view} AS\nSELECT\n  {listed}\nFROM {source}\nGROUP BY {grouped}"


def without(statement: str, missing: set[str]) -> str:
    """A statement without those parts of its unions that need what does not exist; the last part always stays.

    Args:
        statement: the statement; in the files the last part of a union is of the table that all else is built on.
        missing: names of tables and views that do not exist.
    """
    *parts, last = _UNION.split(statement)
    kept = ""
    for part, union in zip(parts[::2], parts[1::2], strict=True):
        indent = len(union) - len(union.lstrip("\n").lstrip(" ")) - 1
        begin = f"\n{part}".rindex(f"\n{' ' * indent}SELECT") + indent
        absent = set(_NAME.findall(part[begin:])) & missing
        kept += part[:begin].rstrip(" ") if absent else part + union
    return kept + last


def script(text: str, target: Target, missing: set[str]) -> Iterator[str]:
    """A file's text filled in. What needs a table that does not exist stands there as a comment.

    Args:
        text: the file's text.
        target: what to fill in.
        missing: names of tables and views that do not exist; those that cannot be made are added.
    """
    yield head(text)
    for notes, whole in split(text):
        statement = without(whole, missing)
        made = _MADE.search(statement)
        own = made[1] if made is not None else None
        aggregated = target.tables.get("readings_3_aggregated")
        rolled = rolled_up(own, aggregated) if own in _ROLLED and aggregated is not None else statement
        needed = set(_NAME.findall(_COMMENT.sub("", statement)))
        absent = sorted(needed & missing)
        comments = [notes] if notes else []
        columns = target.tables.get(own or "")
        if columns is not None:
            comments.append("-- " + ", ".join(f"{name} {kind}" for name, kind in columns.items()))
        code = filled(rolled, target) + ";"
        stateless = VERSION in statement and not any(
            VERSION in target.tables.get(name, ()) for name in _read_by(needed)
        )
        if absent or stateless:
            if absent:  # else the view of another file is there
                missing.update({own} if own is not None else ())
            lacking = absent[0].replace("readings", target.name, 1) if absent else f"column {VERSION}"
            comments.append(f"-- Not yet: there is no {lacking}.")
            code = "\n".join(f"-- {line}" for line in code.splitlines())
        yield "\n".join([*comments, code])


def _read_by(names: set[str]) -> set[str]:
    """The tables that a view is made of, by the names that stand in it."""
    return names | ({"readings_1_schematized"} if "delivered_readings" in names else set())


def target_of(settings: Settings, catalog: str, schema: str) -> Target:
    """What these settings and the tables as they are now come to.

    Raises:
        StorageUnavailable: if a table cannot be read now.
    """
    tables = Tables(settings)
    first = next(iter(tables.sinks))
    name = first.removesuffix("_0_raw")
    base = name if storage.in_catalog(settings.table_path) else tables.sinks[first].uri.removesuffix("_0_raw")
    columns = {
        "readings" + known.removeprefix(name): {
            f.name: str(getattr(f.type, "type", f.type)) for f in found.schema().fields
        }
        for known, sink in tables.sinks.items()
        if (found := sink.snapshot()) is not None
    }
    return Target(catalog, schema, base, columns, _location(settings))


def _location(settings: Settings) -> str:
    """The folder that holds the tables of all devices, where each has tables of its own; else empty."""
    before, node, _ = settings.table_path.partition("{node_id}")
    if storage.in_catalog(before):
        return ""
    return storage.address(before.rpartition("/")[0] or ".", node_id="") if node else ""


def names_of(settings: Settings) -> tuple[str, str]:
    """The catalog and the schema: those that table_path names, or the settings."""
    if storage.in_catalog(settings.table_path):
        catalog, schema, _ = storage.address(settings.table_path, node_id="x").removeprefix("uc://").split(".")
        return catalog, schema
    return settings.databricks.catalog, settings.databricks.schema


def schema_of(settings: Settings, schema: str) -> str:
    """The schema of these tables: one for each device where each has tables of its own, because they are named alike.

    Args:
        settings: the settings.
        schema: the schema of all.
    """
    if "{node_id}" not in settings.table_path or storage.in_catalog(settings.table_path):
        return schema
    return in_path(f"{schema}_{Tables(settings).node_id}").replace(".", "_")  # Unity Catalog refuses dots


def printed(settings: Settings, catalog: str, schema: str, only: list[str]) -> str:
    """The scripts for these settings as one text.

    Args:
        settings: the settings.
        catalog: Unity Catalog's catalog.
        schema: the schema in it.
        only: beginnings of names of files, such as ``02``; none is all but those that have to be asked for.

    Raises:
        ConfigurationError: if a name is no file's.
        StorageUnavailable: if a table cannot be read now.
    """
    wrong = [name for name in only if not any(f.name.startswith(name) for f in files())]
    if wrong:
        raise ConfigurationError(
            f"there is no script {wrong[0]!r}; there are: {', '.join(f.stem for f in files())}", "Name one of them"
        )
    target = target_of(settings, catalog, schema)
    every = {name for file in files() for name in _NAME.findall(file.read_text(encoding="utf-8"))}
    missing = {n for n in every if n.startswith("readings_")} - set(target.tables) - {"readings_from_parquet"}
    parts = []
    if storage.in_catalog(settings.table_path):
        from edge_delta.ask import registering  # noqa: PLC0415 - HTTP and TLS, for uc:// alone

        parts += [registering.script(settings)] if not only or "02" in only else []
    for file in files_for(settings):
        chunks = list(script(file.read_text(encoding="utf-8"), target, missing))
        if any(file.name.startswith(name) for name in only) or not (only or file.name.startswith(_ASKED_FOR)):
            parts += chunks
    return "\n\n".join(parts) + "\n"


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _quoted(value: str) -> str:
    return value if re.fullmatch(r"\w+", value) else "`" + value.replace("`", "``") + "`"
