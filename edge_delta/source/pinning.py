"""SQL for cells in the types of their columns, and what tells a cell that is of another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.core.model import Column, Kind
from edge_delta.source.database import quoted
from edge_delta.source.kinds import is_uuid
from edge_delta.source.values import LARGEST_WHOLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


_CHECKS_PER_STATEMENT = 200
_PARTS_OF_A_UUID = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
_LARGEST = 2**63 - 1


def portions(columns: tuple[Column, ...]) -> list[tuple[Column, ...]]:
    """The columns, as many at a time as SQLite takes in one expression."""
    starts = range(0, len(columns), _CHECKS_PER_STATEMENT)
    return [columns[start : start + _CHECKS_PER_STATEMENT] for start in starts]


def pinned(column: Column) -> str:
    """SQL for a cell in its column's type, or in another type where it does not fit."""
    name = quoted(column.name)
    if column.unread or column.read_as is not None:
        return "NULL" if column.unread or column.read_as is None else _READ_AS[column.read_as](name)
    if column.kind is Kind.TEXT:
        if is_uuid(column):
            return _uuid(name)
        return name if column.affinity == "TEXT" else _text(name)
    if column.kind is Kind.REAL and column.affinity != "REAL":
        return f"CASE typeof({name}) WHEN 'integer' THEN {_exact(name)} ELSE {name} END"
    if column.kind is Kind.BOOLEAN:
        return _flag(name, ("t", "true"), ("f", "false"))
    return name


def fits(column: Column) -> str:
    """SQL that is true where a cell is of its column's kind. Text is checked for UTF-8 elsewhere."""
    cell = pinned(column)
    if column.unread:
        return "TRUE"
    if column.kind in (Kind.TEXT, Kind.TIMESTAMP):
        return f"typeof({cell}) <> 'blob'"
    if column.kind is Kind.BOOLEAN:
        return f"(typeof({cell}) = 'null' OR (typeof({cell}) = 'integer' AND {cell} IN (0, 1)))"
    return f"typeof({cell}) IN ('{_STORED[column.kind]}', 'null')"


# -- cells as SQL. `edge_delta.source.values` does the same to single cells.


def _text(name: str) -> str:
    """Numbers as text: the shortest that reads back as the same number."""
    short = f"CAST({name} AS TEXT)"
    real = f"CASE WHEN CAST({short} AS REAL) = ({name}) COLLATE BINARY THEN {short} ELSE printf('%!.17g', {name}) END"
    return f"CASE typeof({name}) WHEN 'integer' THEN {short} WHEN 'real' THEN {real} ELSE {name} END"


def _uuid(name: str) -> str:
    digits = f"lower(hex({name}))"
    parts = " || '-' || ".join(f"substr({digits}, {start}, {size})" for start, size in _PARTS_OF_A_UUID)
    return (
        f"CASE WHEN typeof({name}) = 'blob' THEN CASE WHEN octet_length({name}) = 16 THEN {parts} ELSE {name} END "
        f"ELSE {_text(name)} END"
    )


def _exact(name: str) -> str:
    """An integer as a real number, a text if that would change it."""
    # The largest integer becomes 2^63, and the way back from there is cut off at the largest integer again.
    same = f"CAST(CAST({name} AS REAL) AS INTEGER) = {name} AND {name} < {_LARGEST}"
    return f"CASE WHEN {same} THEN CAST({name} AS REAL) ELSE 'inexact' END"


def _flag(name: str, true: tuple[str, ...], false: tuple[str, ...]) -> str:
    words = {**dict.fromkeys(true, 1), **dict.fromkeys(false, 0)}
    cases = " ".join(f"WHEN '{word}' THEN {value}" for word, value in words.items())
    text = f"CASE lower(trim({name})) {cases} ELSE {name} END"
    return f"CASE typeof({name}) WHEN 'text' THEN {text} ELSE {name} END"


def _real(name: str) -> str:
    plain = f"trim({name})"
    number = f"json_valid({plain}) AND json_type({plain}) IN ('integer', 'real')"
    text = f"CASE WHEN {number} THEN CAST({plain} AS REAL) ELSE {name} END"
    return f"CASE typeof({name}) WHEN 'integer' THEN {_exact(name)} WHEN 'text' THEN {text} ELSE {name} END"


def _integer(name: str) -> str:
    plain = f"trim({name})"
    text = f"CASE WHEN CAST(CAST({plain} AS INTEGER) AS TEXT) = {plain} THEN CAST({plain} AS INTEGER) ELSE {name} END"
    within = f"{name} BETWEEN -{LARGEST_WHOLE!r} AND {LARGEST_WHOLE!r}"
    same = f"{within} AND CAST(CAST({name} AS INTEGER) AS REAL) = {name}"
    real = f"CASE WHEN {same} THEN CAST({name} AS INTEGER) ELSE {name} END"
    return f"CASE typeof({name}) WHEN 'text' THEN {text} WHEN 'real' THEN {real} ELSE {name} END"


def _boolean(name: str) -> str:
    words = _flag(name, ("t", "true", "y", "yes", "on", "1"), ("f", "false", "n", "no", "off", "0"))
    return f"CASE WHEN typeof({name}) = 'real' AND {name} IN (0, 1) THEN CAST({name} AS INTEGER) ELSE {words} END"


def _json(name: str) -> str:
    return f"CASE WHEN typeof({name}) <> 'blob' AND json_valid({name}) THEN {_text(name)} ELSE CAST({name} AS BLOB) END"


def _blob(name: str) -> str:
    return f"CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END"


_READ_AS: Mapping[str, Callable[[str], str]] = {
    "text": _text,
    "integer": _integer,
    "real": _real,
    "boolean": _boolean,
    "blob": _blob,
    "timestamp": _text,
    "json": _json,
}
_STORED = {Kind.INTEGER: "integer", Kind.REAL: "real", Kind.BLOB: "blob"}
