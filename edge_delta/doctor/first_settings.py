"""The first settings file, out of what databases hold."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.settings.source import label_of
from edge_delta.topology.one_table import filled, in_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from edge_delta.source.looking import Found, Seen

_WIDTH = 110


class Answers(Struct, frozen=True):
    """What databases do not say.

    Attributes:
        table_path: where the tables go.
        zone: where times without an offset were written; None where nobody said it.
        node_id: what the device is called; None leaves it to the first start.
        mode: the mode of all tables; None for the one that suits each.
    """

    table_path: str
    zone: str | None = None
    node_id: str | None = None
    mode: str | None = None


def text(seen: Sequence[Seen], answers: Answers) -> str:
    """The file: one source at the top level, several as ``[[sources]]``."""
    tables = [(one, table) for one in seen for table in one.tables]
    several, apart = len(tables) > 1, _told_apart(tables, answers.table_path)
    lines = [
        "# Settings of edge-delta, written by `edge-delta init`. docs/configuration.md has all of them.",
        "# Next: edge-delta check",
        "",
        f"table_path = {_quoted(answers.table_path)}",
    ]
    lines += (
        [f"node_id = {_quoted(answers.node_id)}"]
        if answers.node_id
        else ['# node_id = "device-0001"   # by default one is made at the first start and kept in the state directory']
    )
    for (one, table), own in zip(tables, apart, strict=True):
        lines += ["", *(["[[sources]]"] if several else []), f"sqlite = {_quoted(str(one.path.absolute()))}", *own]
        lines += _of_table(table, answers, several=several)
    for one in seen:
        for name, reason in one.left:
            lines += ["", *_wrapped(f"Not delivered: {name} in {one.path.name}: {reason}.")]
    return "\n".join(lines) + "\n"


def path_of(seen: Sequence[Seen]) -> str:
    """Where the tables go unless it is said: with what tells all of them apart, as far as that is enough."""
    names = [in_path(table.name).lower() for one in seen for table in one.tables]
    if len(names) == 1:
        return "lake/readings"
    return "lake/{table}" if len({*names}) == len(names) or len(seen) == 1 else "lake/{source}/{table}"


def _told_apart(tables: Sequence[tuple[Seen, Found]], table_path: str) -> list[list[str]]:
    """Lines for each table that give its file, or it, a name of its own where two would come to one address."""
    usual = {one.path: label_of(one.path) for one, _ in tables}
    often = Counter(map(str.lower, usual.values()))
    labels: dict[Path, str] = {}
    used: set[str] = set()
    own: list[list[str]] = []
    for one, table in tables:
        if one.path not in labels:
            wished = usual[one.path]
            if often[wished.lower()] > 1:
                wished = in_path(one.path.name).strip("-_.") or "source"
            labels[one.path] = _unused(wished, {*map(str.lower, labels.values())})
        label, lines = labels[one.path], []
        if label != usual[one.path]:
            lines.append(f"name = {_quoted(label)}")
        if "{table}" in table_path:
            plain = filled(table_path, label, table.name)
            address = _unused(plain, used)
            used.add(address.lower())
            lines += [f"table_path = {_quoted(address)}"] if address != plain else []
        own.append(lines)
    return own


def _unused(name: str, used: Collection[str]) -> str:
    """A name, with a number where it is used already, whatever its case is."""
    ways = (name, *(f"{name}_{number}" for number in range(2, len(used) + 3)))
    return next(way for way in ways if way.lower() not in used)


def _of_table(table: Found, answers: Answers, *, several: bool) -> Iterator[str]:
    yield from _wrapped(_understood(table))
    yield from _wrapped("columns: " + ", ".join(table.columns))
    yield f"tables = [{_quoted(table.name)}]" if several else f"sqlite_table_name = {_quoted(table.name)}"
    yield f"processing_mode = {_quoted(answers.mode or table.mode)}"
    if table.time is not None:
        why = "" if table.named else "# "
        yield f"{why}timestamp_col = {_quoted(table.time)}"
    if table.zoneless or answers.zone is not None:
        yield f"source_time_zone = {_quoted(answers.zone or 'UTC')}"
        if table.zoneless:
            yield "# its times do not say where they were written: the zone above decides what they mean"


def _understood(table: Found) -> str:
    rows = f"{table.rows:,} rows at most" if table.keyed else f"{table.rows:,} rows, read in the order of their times"
    if table.time is None:
        return f"{table.name}: {rows}; no time: {table.why}; if one holds it, set timestamp_col."
    span = f", {_shown(table.first)} to {_shown(table.last)}" if table.first is not None else ", no row yet"
    return f"{table.name}: {rows}; time: {table.time} ({table.why}){span}."


def _shown(time: object) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC" if time is not None else "?"


def _wrapped(words: str) -> Iterator[str]:
    import textwrap  # noqa: PLC0415 - only here

    yield from textwrap.wrap(
        " ".join(words.split()), _WIDTH, initial_indent="# ", subsequent_indent="#   ", break_long_words=False
    )


def _quoted(words: str) -> str:
    """A basic string of TOML, whose escapes are those of JSON."""
    return json.dumps(words, ensure_ascii=False).replace("\x7f", "\\u007f")
