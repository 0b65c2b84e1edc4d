"""What tells a place by its value: the forms in which places are written. `edge_delta.core.places` has the names."""

from __future__ import annotations

import json
import math
import re
import struct
from typing import TYPE_CHECKING

from edge_delta.core.places import tells_by_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from edge_delta.core.model import Cell

_NUMBER = r"[-+]?\d{1,3}\.\d{3,}"
_TEXTS: Mapping[str, re.Pattern[str]] = {
    "a pair of coordinates": re.compile(rf"{_NUMBER}°?\s*[NS]?\s*[,;:/| ]\s*[EWO]?\s*{_NUMBER}"),
    "coordinates with decimal commas": re.compile(r"[-+]?\d{1,2},\d{4,}\s*[;/| ]\s*[-+]?\d{1,3},\d{4,}"),
    "degrees and minutes": re.compile(
        r"\d{1,3}\s*[°º]\s*\d{1,2}|[NS]\s?\d{1,2}[ °]\s?\d{1,2}[.' \u2032]\d*.*[EWO]\s?\d{1,3}"
    ),
    "degrees with a side": re.compile(r"^\s*([NSEW]\s*\d{1,3}\.\d{3,}|\d{1,5}\.\d{3,}\s*°?\s*[NSEWO])\s*$"),
    "ISO 6709": re.compile(r"^[-+]\d{2,6}(\.\d+)?[-+]\d{3,7}(\.\d+)?"),
    "WKT": re.compile(r"\b(SRID=\d+;)?\s*(MULTI)?(POINT|LINESTRING|POLYGON)\s*Z?M?\s*\(", re.IGNORECASE),
    "degrees, minutes and a side": re.compile(
        r"\b\d{1,3}\s*[d\s]\s*\d{1,2}\s*[m\s]\s*\d{1,2}(\.\d+)?\s*s?\s*([NSEWO]\b|$)|\b\d{4,5}\.\d{2,}[NSEW]\b"
    ),
    "a coordinate with its name": re.compile(
        r"\b(lat|lon|lng|latitude|longitude|breite|länge|laenge|latitud|longitud)\b[\s\"'=:]{1,4}[-+]?\d", re.IGNORECASE
    ),
    "KML": re.compile(r"<(\w+:)?(coordinates|pos|posList)>", re.IGNORECASE),
    "WKB": re.compile(
        r"^(0x)?(01010000|0020000001|0000000001|000000000[1-7]|01[0-9a-f]{2}000020)[0-9a-f]{16,}$", re.IGNORECASE
    ),
    "NMEA": re.compile(r"[$!](G[PNLABQ]|BD|QZ)[A-Z]{3},"),
    "a geo URI": re.compile(r"\bgeo:[-+]?\d"),
    "a plus code": re.compile(r"\b[23456789CFGHJMPQRVWX]{4,8}\+[23456789CFGHJMPQRVWX]{2,3}\b", re.IGNORECASE),
    "MGRS or UTM": re.compile(
        r"^\d{1,2}\s?[C-HJ-NP-X]\s?([A-HJ-NP-Z]{2}\s?\d{2,5}\s?\d{2,5}|\d{5,7}\D+\d{6,8})", re.IGNORECASE
    ),
    "a Maidenhead locator": re.compile(r"^[A-R]{2}\d{2}[A-Xa-x]{2}(\d{2}([A-Xa-x]{2})?)?$"),
    "an H3 cell": re.compile(r"^8[0-9a-f]{6,13}f{1,7}$", re.IGNORECASE),
    "three words": re.compile(r"^/{0,3}[a-zà-ÿ]{3,}\.[a-zà-ÿ]{3,}\.[a-zà-ÿ]{3,}$"),
    "a map's address": re.compile(
        r"(maps\.|w3w\.co|openstreetmap|mapy\.|what3words|plus\.codes|goo\.gl/maps)", re.IGNORECASE
    ),
    "a network's hardware address": re.compile(
        r"^(([0-9a-f]{2}[:-]){5}[0-9a-f]{2}|([0-9a-f]{4}\.){2}[0-9a-f]{4})$", re.IGNORECASE
    ),
    "an internet address": re.compile(
        r"^(\d{1,3}\.){3}\d{1,3}(:\d+|/\d+)?$|^(?=.*:.*:)(?=.*([a-f]|::))[0-9a-f]{0,4}(:[0-9a-f]{0,4}){3,7}$",
        re.IGNORECASE,
    ),
    "a cell of a mobile network": re.compile(r"^\d{3}[-:/ ]\d{2,3}[-:/ ]\d{1,5}[-:/ ]\d{1,9}$"),
    "a postcode": re.compile(r"^([A-Z]{1,2}\d[A-Z\d]?\s\d[A-Z]{2}|(D-)?\d{5}\s[A-ZÄÖÜ][a-zäöüß]{2,}.*)$"),
    "an address": re.compile(
        r"\b\d{1,4}\s?[a-z]?,?\s+\w+.*\b(st|street|road|rd|ave|avenue|lane|drive|way|boulevard|blvd|square)\b|"
        r"\w+(stra(ss|ß)e|str\.|weg|platz|allee|gasse|damm)\s+\d{1,4}\b|\b(rue|via|calle|avenida|rua)\s+\w+",
        re.IGNORECASE,
    ),
}
_GEOHASH = re.compile(r"^(?=.*\d)(?=(.*[b-hjkmnp-z]){2})[0-9b-hjkmnp-z]{5,12}$")
_AN_ID = re.compile(r"^([a-z]+\d+|\d+[a-z]?)$")
_QUADKEY = re.compile(r"^[0-3]{10,23}$")
_MANY = 0.8
_WKB = (b"\1\1\0\0\0", b"\0\0\0\0\1", b"\1\1\0\0\x20", b"\0\x20\0\0\1")
_KEY_IN_BYTES = re.compile(rb"(?<![a-zA-Z])(lat|lon|lng|latitude|longitude)(?=[\x80-\xff])")
"""As in MessagePack and CBOR, where a number follows."""
_SPATIALITE = 60  # bytes of its smallest point


def told_by_values(cells: Iterable[Cell]) -> str | None:
    """What form of a place a column's cells have, None if they look like none.

    Args:
        cells: a sample of one column.
    """
    texts = [*dict.fromkeys(text for cell in cells if (text := _text(cell)) is not None)]
    for text in texts:
        if (form := _form(text)) is not None:
            return form
    bare = [text.strip().lower() for text in texts if text.strip()]
    for form, pattern in (("a geohash", _GEOHASH), ("a quadkey", _QUADKEY)):
        hits = [b for b in bare if pattern.match(b) and (form != "a geohash" or not _AN_ID.match(b))]
        if bare and len(hits) >= _MANY * len(bare):
            return form
    return None


def _text(cell: Cell) -> str | None:
    if isinstance(cell, str):
        return cell
    if not isinstance(cell, bytes):
        return None
    if (told := _binary(cell)) is not None:
        return told
    if _KEY_IN_BYTES.search(cell):
        return "lat: 0"
    try:
        return cell.decode()
    except UnicodeDecodeError:
        return None


def _binary(cell: bytes) -> str | None:
    """WKB and two packed doubles as a text that is found; None for other bytes."""
    if cell[:5] in _WKB or (cell[:2] == b"\0\1" and len(cell) >= _SPATIALITE):
        return "POINT("
    for form in ("<2d", ">2d", "<2f", ">2f"):
        if len(cell) == struct.calcsize(form):
            north, east = struct.unpack(form, cell)
            if all(math.isfinite(v) and 1e-3 < abs(v) <= 180 for v in (north, east)):  # noqa: PLR2004
                return "POINT("
    return None


def _form(text: str) -> str | None:
    if text.lstrip()[:1] in ("{", "["):
        return _in_json(text)
    return next((form for form, pattern in _TEXTS.items() if pattern.search(text)), None)


def _in_json(text: str) -> str | None:
    try:
        found = json.loads(text)
    except ValueError:
        keys = re.findall(r"\"([^\"]{1,40})\"\s*:", text)
        hit = next((key for key in keys if tells_by_name(key)), None)
        return f"JSON with the key {hit!r}" if hit is not None else None
    for key, value in _leaves(found):
        if key and tells_by_name(key):
            return f"JSON with the key {key!r}"
        if isinstance(value, str) and (form := _form(value)) is not None:
            return f"{form} in JSON"
    return "a pair of coordinates in JSON" if _is_pair(found) else None


def _leaves(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    yield key, value
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)


def _is_pair(found: object) -> bool:
    lists = [value for _, value in _leaves(found) if isinstance(value, list) and 2 <= len(value) <= 3]  # noqa: PLR2004
    return any(all((n := _number(v)) is not None and abs(n) <= 180 for v in pair[:2]) for pair in lists)  # noqa: PLR2004


def numbers_like_coordinates(columns: Mapping[str, Sequence[Cell]]) -> list[str]:
    """The columns whose numbers look like coordinates; none where there is only one of them.

    Receivers write degrees with four to eight decimals, or as integers in ten-thousandths to ten-millionths of a degree
    that hardly change. Measurements have fewer digits or all of a double's.

    Args:
        columns: a sample of each column, by name.
    """
    found = [name for name, cells in columns.items() if _like_degrees(cells)]
    found = found if len(found) > 1 else []
    whole = [name for name, cells in columns.items() if _like_scaled(cells)]
    return found + (whole if len(whole) > 1 else [])


_LEAST, _MOST, _STEADY = 4, 8, 2e-3


def _like_degrees(cells: Sequence[Cell]) -> bool:
    numbers = [v for cell in cells if (v := _number(cell)) is not None and v]
    if not numbers or not all(math.isfinite(v) and abs(v) <= 180 for v in numbers):  # noqa: PLR2004
        return False
    decimals = sorted(len(format(v, ".15g").partition(".")[2]) for v in numbers)
    if decimals[len(decimals) // 2] < _LEAST:
        return False
    if decimals[-1] <= _MOST:
        return True
    low, high = min(numbers), max(numbers)
    return abs(low) > 1 and high != low and (high - low) < _STEADY * abs(low)


def _like_scaled(cells: Sequence[Cell]) -> bool:
    numbers = [cell for cell in cells if isinstance(cell, int) and cell]
    if not numbers or not all(100_000 <= abs(v) <= 1_800_000_000 for v in numbers):  # noqa: PLR2004
        return False
    low, high = min(numbers), max(numbers)
    in_a_row = len(numbers) > 2 and numbers == sorted(numbers) and len(set(numbers)) == len(numbers)  # noqa: PLR2004
    return not in_a_row and (high - low) < 0.05 * abs(low)


def _number(cell: object) -> float | None:
    if isinstance(cell, float):
        return cell
    if not isinstance(cell, str) or not re.fullmatch(r"\s*[-+]?\d{1,3}[.,]\d{3,}\s*", cell):
        return None
    return float(cell.replace(",", "."))
