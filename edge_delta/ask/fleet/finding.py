"""Where a fleet's tables are: the folders that fit ``table_path``, with whatever stands for its placeholders."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.modes import REJECTED_SUFFIX
from edge_delta.modes.traits import TRAITS
from edge_delta.sinks import address as storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_delta.sinks.objects import Objects

_NODE = "{node_id}"
_PLACEHOLDER = re.compile(r"\{(node_id|table|source)\}")
_SUFFIXES = {traits.suffix: mode for mode, traits in TRAITS.items()} | {REJECTED_SUFFIX: "rejected"}


class FleetLayout(Struct, frozen=True):
    """How the tables of a fleet lie.

    Attributes:
        root: the address under which all of them are.
        parts: what follows it, folder by folder; the last one is the base of the tables' names.
        shared: whether all devices write one table.
    """

    root: str
    parts: tuple[str, ...]
    shared: bool


class Branch(Struct, frozen=True):
    """A folder with tables.

    Attributes:
        path: where it is under the root, "" for the root itself.
        node: whose it is, where its path says so.
    """

    path: str
    node: str | None


class Table(Struct, frozen=True):
    """One table.

    Attributes:
        path: where it is under the root.
        mode: what it holds; ``rejected`` for rejected rows.
        node: whose it is, where its path says so.
    """

    path: str
    mode: str
    node: str | None


def layout_of(table_path: str) -> FleetLayout:
    """How the tables of an address lie."""
    whole = table_path.rstrip("/")
    first = _PLACEHOLDER.search(whole)
    before = whole[: first.start()] if first else whole
    root, slash, _ = before.rpartition("/")
    rest = whole[len(root) + len(slash) :]
    parent = root or ("/" if slash else ".")
    return FleetLayout(storage.address(parent, node_id=""), tuple(rest.split("/")), _NODE not in whole)


def branches(objects: Objects, layout: FleetLayout) -> list[Branch]:
    """The folders with tables."""
    found = [Branch("", None)]
    for part in layout.parts[:-1]:
        found = list(_deeper(objects, found, part))
    return found


def _deeper(objects: Objects, found: list[Branch], part: str) -> Iterator[Branch]:
    for branch in found:
        before = f"{branch.path}/" if branch.path else ""
        if _PLACEHOLDER.search(part) is None:
            yield Branch(before + part, branch.node)
            continue
        fits = _pattern(part, branch.node)
        for name in objects.folders(branch.path):
            if match := fits.fullmatch(name):
                yield Branch(before + name, match.groupdict().get("node_id", branch.node))


def tables_in(objects: Objects, layout: FleetLayout, branch: Branch) -> list[Table]:
    """The tables of a folder."""
    suffixes = "|".join(map(re.escape, _SUFFIXES))
    fits = re.compile(f"{_pattern(layout.parts[-1], branch.node).pattern}(?P<suffix>{suffixes})")
    before = f"{branch.path}/" if branch.path else ""
    return [
        Table(before + name, _SUFFIXES[match["suffix"]], match.groupdict().get("node_id", branch.node))
        for name in objects.folders(branch.path)
        if (match := fits.fullmatch(name))
    ]


def _pattern(part: str, node: str | None) -> re.Pattern[str]:
    """What a folder's name has to be."""
    pieces, seen, end = [], set[str](), 0
    for match in _PLACEHOLDER.finditer(part):
        name = match[1]
        pieces.append(re.escape(part[end : match.start()]))
        if name == "node_id" and node is not None:
            pieces.append(re.escape(node))
        else:
            pieces.append(".+?" if name in seen else f"(?P<{name}>.+?)")
        seen.add(name)
        end = match.end()
    return re.compile("".join(pieces) + re.escape(part[end:]))
