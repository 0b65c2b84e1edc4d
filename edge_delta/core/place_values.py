"""What tells a place by its value: the forms in which places are written. `edge_delta.core.places` has the names."""

from __future__ import annotations

import json
import math
import re
import struct
from functools import cache
from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.core.places import tells_by_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from edge_delta.core.model import Cell

_DIGITS = "0123456789"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_BLANKS = " \t\n\r\f\v\x1c\x1d\x1e\x1f"
_NUMBER = r"[-+]?\d{1,3}\.\d{3,}"


class _Form(Struct, frozen=True):
    """A form in which texts tell places.

    Attributes:
        name: what it is called.
        pattern: how it looks.
        least: the characters that a text of this form has at least.
        needs: sets of small letters and other characters: a text of this form in ASCII has one of each set. To compile
            all patterns takes longer than all else at a start, and most columns' texts lack what most forms need.
        flags: of the pattern.
    """

    name: str
    pattern: str
    least: int
    needs: tuple[str, ...]
    flags: re.RegexFlag = re.NOFLAG

    def among(self, texts: Sequence[str], characters: AbstractSet[str]) -> bool:
        """Whether one of these texts has this form.

        Args:
            texts: all of them.
            characters: what they are made of, in small letters; empty where they are not all ASCII, and nothing can be
                told from it.
        """
        if characters and any(characters.isdisjoint(group) for group in self.needs):
            return False
        longest = max(map(len, texts), default=0)
        return longest >= self.least and any(map(_compiled(self.pattern, self.flags).search, texts))


@cache
def _compiled(pattern: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    return re.compile(pattern, flags)


_TEXTS = (
    _Form(
        "a pair of coordinates",
        rf"{_NUMBER}°?\s*[NS]?\s*[,;:/| ]\s*[EWO]?\s*{_NUMBER}",
        11,
        (".", ",;:/| ", _DIGITS),
    ),
    _Form(
        "coordinates with decimal commas",
        r"[-+]?\d{1,2},\d{4,}\s*[;/| ]\s*[-+]?\d{1,3},\d{4,}",
        13,
        (",", ";/| ", _DIGITS),
    ),
    _Form(
        "a pair of metres on a map",
        r"^\s*[-+]?\d{6,7}(\.\d+)?\s*[/,; ]\s*[-+]?\d{6,7}(\.\d+)?\s*$",
        13,
        ("/,; ", _DIGITS),
    ),
    _Form(
        "degrees and minutes",
        r"\d{1,3}\s*[°º]\s*\d{1,2}|[NS]\s?\d{1,2}[ °]\s?\d{1,2}[.' \u2032]\d*.*[EWO]\s?\d{1,3}",
        3,
        (" ", "ns", "ewo", _DIGITS),
    ),
    _Form(
        "degrees with a side",
        r"^\s*([NSEW]\s*\d{1,3}\.\d{3,}|\d{1,5}\.\d{3,}\s*°?\s*[NSEWO])\s*$",
        6,
        (".", "nsewo", _DIGITS),
    ),
    _Form("ISO 6709", r"^[-+]\d{2,6}(\.\d+)?[-+]\d{3,7}(\.\d+)?", 7, ("+-", _DIGITS)),
    _Form(
        "WKT",
        r"\b(SRID=\d+;)?\s*(MULTI)?(POINT|LINESTRING|POLYGON)\s*Z?M?\s*\(",
        6,
        ("(", "n"),
        re.IGNORECASE,
    ),
    _Form(
        "degrees, minutes and a side",
        r"\b\d{1,3}\s*[d\s]\s*\d{1,2}\s*[m\s]\s*\d{1,2}(\.\d+)?\s*s?\s*([NSEWO]\b|$)|\b\d{4,5}\.\d{2,}[NSEW]\b",
        5,
        (f"d.{_BLANKS}", _DIGITS),
    ),
    _Form(
        "a coordinate with its name",
        r"\b(lat|lon|lng|latitude|longitude|breite|länge|laenge|latitud|longitud)\b[\s\"'=:]{1,4}[-+]?\d",
        5,
        ("lb", f"\"'=:{_BLANKS}", _DIGITS),
        re.IGNORECASE,
    ),
    _Form("KML", r"<(\w+:)?(coordinates|pos|posList)>", 5, ("<", "o", "s"), re.IGNORECASE),
    _Form(
        "WKB",
        r"^(0x)?(01010000|0020000001|0000000001|000000000[1-7]|01[0-9a-f]{2}000020)[0-9a-f]{16,}$",
        24,
        ("0",),
        re.IGNORECASE,
    ),
    _Form("NMEA", r"[$!](G[PNLABQ]|BD|QZ)[A-Z]{3},", 7, ("$!", ",")),
    _Form("a geo URI", r"\bgeo:[-+]?\d", 5, ("g", ":", _DIGITS)),
    _Form(
        "a plus code",
        r"\b[23456789CFGHJMPQRVWX]{4,8}\+[23456789CFGHJMPQRVWX]{2,3}\b",
        7,
        ("+",),
        re.IGNORECASE,
    ),
    _Form(
        "MGRS or UTM",
        r"^\d{1,2}\s?[C-HJ-NP-X]\s?([A-HJ-NP-Z]{2}\s?\d{2,5}\s?\d{2,5}|\d{5,7}\D+\d{6,8})",
        8,
        (_DIGITS, "cdefghjklmnpqrstuvwx"),
        re.IGNORECASE,
    ),
    _Form(
        "a Maidenhead locator", r"^[A-R]{2}\d{2}[A-Xa-x]{2}(\d{2}([A-Xa-x]{2})?)?$", 6, ("abcdefghijklmnopqr", _DIGITS)
    ),
    _Form("an H3 cell", r"^8[0-9a-f]{6,13}f{1,7}$", 8, ("8", "f"), re.IGNORECASE),
    _Form("three words", r"^/{0,3}[a-zà-ÿ]{3,}\.[a-zà-ÿ]{3,}\.[a-zà-ÿ]{3,}$", 11, (".", _LETTERS)),
    _Form(
        "a map's address",
        r"(maps\.|w3w\.co|openstreetmap|mapy\.|what3words|plus\.codes|goo\.gl/maps)",
        5,
        ("pw", "amow"),
        re.IGNORECASE,
    ),
    _Form(
        "a network's hardware address",
        r"^(([0-9a-f]{2}[:-]){5}[0-9a-f]{2}|([0-9a-f]{4}\.){2}[0-9a-f]{4})$",
        14,
        (":-.",),
        re.IGNORECASE,
    ),
    _Form(
        "an internet address",
        r"^(\d{1,3}\.){3}\d{1,3}(:\d+|/\d+)?$|^(?=.*:.*:)(?=.*([a-f]|::))[0-9a-f]{0,4}(:[0-9a-f]{0,4}){3,7}$",
        3,
        (".:",),
        re.IGNORECASE,
    ),
    _Form("a cell of a mobile network", r"^\d{3}[-:/ ]\d{2,3}[-:/ ]\d{1,5}[-:/ ]\d{1,9}$", 10, ("-:/ ", _DIGITS)),
    _Form(
        "a postcode",
        r"^([A-Z]{1,2}\d[A-Z\d]?\s\d[A-Z]{2}|(D-)?\d{5}\s[A-ZÄÖÜ][a-zäöüß]{2,}.*)$",
        6,
        (_BLANKS, _LETTERS, _DIGITS),
    ),
    _Form(
        "an address",
        r"\b\d{1,4}\s?[a-z]?,?\s+\w+.*\b(st|street|road|rd|ave|avenue|lane|drive|way|boulevard|blvd|square)\b|"
        r"\w+(stra(ss|ß)e|str\.|weg|platz|allee|gasse|damm)\s+\d{1,4}\b|\b(rue|via|calle|avenida|rua)\s+\w+",
        5,
        (_BLANKS, "sradwveglu"),
        re.IGNORECASE,
    ),
)
_GEOHASH = r"^(?=.*\d)(?=(.*[b-hjkmnp-z]){2})[0-9b-hjkmnp-z]{5,12}$"
_AN_ID = r"^([a-z]+\d+|\d+[a-z]?)$"
_QUADKEY = r"^[0-3]{10,23}$"
_MANY = 0.8
_WKB = (b"\1\1\0\0\0", b"\0\0\0\0\1", b"\1\1\0\0\x20", b"\0\x20\0\0\1")
_KEY_IN_BYTES = rb"(?<![a-zA-Z])(lat|lon|lng|latitude|longitude)(?=[\x80-\xff])"
"""As in MessagePack and CBOR, where a number follows."""
_SPATIALITE = 60  # bytes of its smallest point


def told_by_values(cells: Iterable[Cell]) -> str | None:
    """What form of a place a column's cells have, None if they look like none.

    Args:
        cells: a sample of one column.
    """
    texts = [*dict.fromkeys(text for cell in cells if (text := _text(cell)) is not None)]
    if (form := _form(texts)) is not None:
        return form
    bare = [text.strip().lower() for text in texts if text.strip()]
    for form, pattern in (("a geohash", _GEOHASH), ("a quadkey", _QUADKEY)):
        fits, is_id = _compiled(pattern).match, _compiled(_AN_ID).match
        hits = [b for b in bare if fits(b) and (form != "a geohash" or not is_id(b))]
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
    if re.search(_KEY_IN_BYTES, cell):
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


def _form(texts: Sequence[str]) -> str | None:
    inner = [text for text in texts if text.lstrip()[:1] in ("{", "[")]
    plain = [text for text in texts if text.lstrip()[:1] not in ("{", "[")] if inner else texts
    if (form := next(filter(None, map(_in_json, inner)), None)) is not None:
        return form
    characters = _made_of(plain)
    return next((form.name for form in _TEXTS if form.among(plain, characters)), None)


def _made_of(texts: Iterable[str]) -> frozenset[str]:
    """The characters of texts, in small letters; none where they are not all ASCII."""
    joined = "".join(texts)
    return frozenset(joined.lower()) if joined.isascii() else frozenset()


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
        if isinstance(value, str) and (form := _form([value])) is not None:
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


def numbers_like_coordinates(columns: Mapping[str, Sequence[Cell]], *, halves: bool = False) -> list[str]:
    """The columns whose numbers look like coordinates; none where there is only one of them.

    Receivers write degrees with four to eight decimals, or as integers in ten-thousandths to ten-millionths of a degree
    that hardly change, or metres of a projection. Measurements have fewer digits or all of a double's.

    Args:
        columns: a sample of each column, by name.
        halves: whether one alone counts that hardly changes: the other may be a column that is kept back.
    """
    found = [name for name, cells in columns.items() if _like_degrees(cells)]
    if len(found) == 1 and not (halves and _is_steady(columns[found[0]])):
        found = []
    whole = [name for name, cells in columns.items() if _like_scaled(cells)]
    return found + (whole if len(whole) > 1 else [])


_LEAST, _MOST, _STEADY = 4, 8, 2e-3
_E7 = 1_800_000_000
"""180 degrees in ten-millionths."""
_MERCATOR = 20_037_509
"""Metres to the edge of a map in Web Mercator; those of UTM and from the Earth's middle are fewer."""


def _like_degrees(cells: Sequence[Cell]) -> bool:
    numbers = [v for cell in cells if (v := _number(cell)) is not None and v]
    if not numbers or not all(math.isfinite(v) and abs(v) <= 180 for v in numbers):  # noqa: PLR2004
        return False
    decimals = sorted(len(format(v, ".15g").partition(".")[2]) for v in numbers)
    if decimals[len(decimals) // 2] < _LEAST:
        return False
    return decimals[-1] <= _MOST or (min(numbers) != max(numbers) and _is_steady(cells))


def _is_steady(cells: Sequence[Cell]) -> bool:
    numbers = [v for cell in cells if (v := _number(cell)) is not None and v]
    low, high = min(numbers), max(numbers)
    return abs(low) > 1 and (high - low) < _STEADY * abs(low)


def _like_scaled(cells: Sequence[Cell]) -> bool:
    numbers = [cell for cell in cells if isinstance(cell, int | float) and cell]
    whole = all(isinstance(cell, int) for cell in numbers)
    if not numbers or not all(100_000 <= abs(v) <= (_E7 if whole else _MERCATOR) for v in numbers):  # noqa: PLR2004
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
