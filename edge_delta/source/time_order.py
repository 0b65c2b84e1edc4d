"""Reading in the order of time, for tables and views that have no rowid: the key is a time in milliseconds.

A time is no id. Two things follow. Rows of one time belong together, so the newest times are left alone until no row of
theirs should come any more (`SETTLED_AFTER`); with them wait rows ahead of the clock, behind which all others would be
lost. And a row that comes later still, with a time that is passed, is not found again; it is counted, and said.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from edge_delta.core.model import BEFORE_FIRST
from edge_delta.core.time_formats import UNITS, Unit, zone_of
from edge_delta.source.database import quoted

if TYPE_CHECKING:
    from edge_delta.core.model import Column

SETTLED_AFTER = 5.0
"""Seconds after which no more rows of a time are expected."""
_MOST_OFFSET = timedelta(hours=26)  # two clocks on walls are never further apart
_MILLIONTHS = 1_000


def milliseconds(column: Column) -> str:
    """SQL for a time as milliseconds since 1970; no time at all is 0.

    Texts without an offset count as they stand, whatever the zone: the order of a clock on the wall.
    """
    name = quoted(column.name)
    pattern = column.time.pattern
    if pattern is not None:
        text = _by_pattern(f"CAST({name} AS TEXT)", pattern)
        return f"coalesce({_julian(text)}, 0)"
    unit = UNITS.get(column.time.format)
    number = _auto(name) if unit is None else _in_unit(name, unit)
    # Digits as the number that they are: an integer stays one.
    plain = f"CASE WHEN {name} GLOB '*[^0-9.+-]*' THEN NULL ELSE {name} + 0 END"
    digits = _auto(f"({plain})") if unit is None else _in_unit(f"({plain})", unit)
    dates = f"{name} GLOB '*[0-9]-[0-9]*'"
    text = f"CASE WHEN {dates} THEN {_julian(_iso(name))} ELSE {digits} END"
    time = f"coalesce(CASE typeof({name}) WHEN 'text' THEN {text} WHEN 'blob' THEN NULL ELSE {number} END, 0)"
    return f"max({time}, {BEFORE_FIRST + 1})"  # the smallest integer says that nothing was read yet


def _in_unit(number: str, unit: Unit) -> str:
    if unit.times == UNITS["days"].times:
        days = f"({number} + {unit.zero / unit.times!r})"
        return f"CAST(round({days} * 86400000.0) AS INTEGER)"
    if unit.times >= _MILLIONTHS:
        return f"(CAST({number} * {unit.times // _MILLIONTHS} AS INTEGER) + {unit.zero // _MILLIONTHS})"
    return f"(CAST({number} / {unit.by * _MILLIONTHS} AS INTEGER) + {unit.zero // _MILLIONTHS})"


def _julian(text: str) -> str:
    return f"CAST(round((julianday({text}) - 2440587.5) * 86400000.0) AS INTEGER)"


def _iso(name: str) -> str:
    """Text in a form that julianday() reads: a point as decimal mark, a colon in the offset, no blanks around it."""
    plain = f"replace(trim({name}), ',', '.')"
    return (
        f"CASE WHEN {plain} GLOB '*:[0-9][0-9]*[+-][0-9][0-9][0-9][0-9]' "
        f"THEN substr({plain}, 1, length({plain}) - 2) || ':' || substr({plain}, -2) "
        f"WHEN {plain} GLOB '*:[0-9][0-9]*[+-][0-9][0-9]' THEN {plain} || ':00' ELSE {plain} END"
    )


def _auto(number: str) -> str:
    """By the size, as in `edge_delta.core.time_formats`."""
    size = f"abs(CAST({number} AS REAL))"  # of the smallest integer, abs() is an error
    day = f"printf('%08d', {number})"
    second = f"printf('%014d', {number})"
    return (
        f"CASE WHEN typeof({number}) = 'real' AND {number} BETWEEN 2451544.5 AND 2488069.5 THEN {_julian(number)} "
        f"WHEN {number} BETWEEN 19700101 AND 21001231 AND {_julian(_spelled(day))} IS NOT NULL "
        f"THEN {_julian(_spelled(day))} "
        f"WHEN {number} BETWEEN 19700101000000 AND 21001231235959 AND {_julian(_spelled(second))} IS NOT NULL "
        f"THEN {_julian(_spelled(second))} "
        f"WHEN {size} < 100000000000 THEN CAST({number} * 1000 AS INTEGER) "
        f"WHEN {size} < 100000000000000 THEN CAST({number} AS INTEGER) "
        f"WHEN {size} < 100000000000000000 THEN CAST({number} / 1000 AS INTEGER) "
        f"ELSE CAST({number} / 1000000 AS INTEGER) END"
    )


def _spelled(digits: str) -> str:
    date = f"substr({digits}, 1, 4) || '-' || substr({digits}, 5, 2) || '-' || substr({digits}, 7, 2)"
    clock = f"substr({digits}, 9, 2) || ':' || substr({digits}, 11, 2) || ':' || substr({digits}, 13, 2)"
    return f"CASE WHEN length({digits}) = 8 THEN {date} ELSE {date} || ' ' || {clock} END"


_WIDTHS = {"Y": 4, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2}


def refusal(column: Column) -> str | None:
    """Why a table cannot be read in the order of this column, None if it can."""
    pattern = column.time.pattern
    if pattern is None or _places(pattern) is not None:
        return None
    return f"SQLite cannot put times like {pattern!r} in order: only %Y %m %d %H %M %S, in any order"


def _places(pattern: str) -> dict[str, int] | None:
    """Where each part of a time stands in the text, from 1; None if that is not always the same."""
    places, at, rest = {}, 1, iter(pattern)
    for letter in rest:
        if letter != "%":
            at += 1
            continue
        part = next(rest, "")
        if part not in _WIDTHS:
            return None
        places[part] = at
        at += _WIDTHS[part]
    return places if {"Y", "m", "d"} <= places.keys() else None


def _by_pattern(text: str, pattern: str) -> str:
    places = _places(pattern) or {}
    parts = {p: f"substr({text}, {at}, {_WIDTHS[p]})" for p, at in places.items()}
    date = " || '-' || ".join(parts[p] for p in "Ymd")
    clock = " || ':' || ".join(parts.get(p, "'00'") for p in "HMS")
    return f"{date} || ' ' || {clock}"


def behind(column: Column, after: int) -> str:
    """SQL that every row with a later time fulfils, and that an index on the column can be asked for.

    Text in any form of ISO 8601 is in the order of its date. What is no such text comes before 1900 as text, and
    numbers before all text.
    """
    name = quoted(column.name)
    if column.time.pattern is not None:
        return "TRUE"
    if column.affinity in ("INTEGER", "REAL", "NUMERIC") and column.time.format != "auto":
        unit = UNITS[column.time.format]
        lowest = (after - 1_000) * 1_000 - unit.zero
        return f"({name} >= {lowest * unit.by // unit.times - 1})"
    if column.affinity == "TEXT":
        day = datetime.fromtimestamp(max(after, 0) / 1_000, UTC) - _MOST_OFFSET
        name = f"{name} COLLATE BINARY"
        return f"({name} >= '{day:%Y-%m-%d}' OR {name} < '19')" if day.year >= 1_970 else "TRUE"  # noqa: PLR2004
    return "TRUE"


def settled(column: Column) -> int:
    """The last key that no more rows are expected of: now, less `SETTLED_AFTER`, by the clock of the column's zone."""
    now = time.time() - SETTLED_AFTER
    if column.time.zone != "UTC":
        offset = datetime.fromtimestamp(now, zone_of(column.time.zone)).utcoffset() or timedelta()
        now += max(0.0, offset.total_seconds())
    return int(now * _MILLIONTHS)
