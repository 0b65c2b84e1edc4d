"""What a single cell is in its column, or why it has no place there: what `pinning` says in SQL, for rejected rows."""

from __future__ import annotations

import json
import math
import uuid
from typing import TYPE_CHECKING

from edge_delta.core.cells import RawText
from edge_delta.core.model import Cell, Column, Kind
from edge_delta.core.time_formats import moment
from edge_delta.source.kinds import is_uuid

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

_STORAGE_NAMES = {int: "INTEGER", float: "REAL", str: "TEXT", bytes: "BLOB", RawText: "TEXT that is not UTF-8"}
_TRUE, _FALSE = frozenset({"t", "true"}), frozenset({"f", "false"})
_MORE_TRUE, _MORE_FALSE = _TRUE | {"y", "yes", "on", "1"}, _FALSE | {"n", "no", "off", "0"}
_UUID_BYTES = 16
LARGEST_WHOLE = 9.2e18
"""Real numbers up to here are in 64 bits when they are read as integers."""


class Misfit(ValueError):
    """A cell that its column cannot hold; the text says why, without the value."""


def value_of(column: Column, cell: Cell) -> Cell | datetime:
    """A cell as it is delivered.

    Raises:
        Misfit: if its column cannot hold it.
    """
    if cell is None:
        return None
    return _READ[column.kind](column, cell)


def _declared(column: Column) -> str:
    if column.read_as is not None:
        return f"read as {column.read_as}"
    return f"declared {column.declared or 'no type'}"


def _refused(column: Column, cell: Cell) -> Misfit:
    return Misfit(f"{_STORAGE_NAMES[type(cell)]} in a column {_declared(column)}")


def _text(column: Column, cell: Cell) -> Cell:
    if isinstance(cell, bytes) and not isinstance(cell, RawText) and is_uuid(column) and len(cell) == _UUID_BYTES:
        return str(uuid.UUID(bytes=cell))
    if isinstance(cell, bytes):
        raise Misfit(f"bytes that are not UTF-8 text in a column {_declared(column)}")
    if column.read_as == "json":
        try:
            _json(str(cell))
        except ValueError:
            raise Misfit("text that is no JSON in a column read as json") from None
    return cell if isinstance(cell, str) else _written(cell)


def _written(cell: Cell) -> str:
    if isinstance(cell, float) and math.isinf(cell):
        return "Inf" if cell > 0 else "-Inf"
    return str(cell)


def _integer(column: Column, cell: Cell) -> Cell:
    if isinstance(cell, int):
        return cell
    if column.read_as is not None and isinstance(cell, float) and cell.is_integer() and abs(cell) <= LARGEST_WHOLE:
        return int(cell)
    if column.read_as is not None and isinstance(cell, str) and str(_or(int, cell.strip())) == cell.strip():
        return int(cell)
    raise _refused(column, cell)


def _real(column: Column, cell: Cell) -> Cell:
    if isinstance(cell, int):
        if int(float(cell)) != cell:
            raise Misfit(f"an integer that DOUBLE cannot hold exactly, {_declared(column)}")
        return float(cell)
    if isinstance(cell, float):
        return cell
    number = _or(_json, cell) if column.read_as is not None and isinstance(cell, str) else None
    if isinstance(number, int | float) and not isinstance(number, bool):
        return float(number)
    raise _refused(column, cell)


def _boolean(column: Column, cell: Cell) -> Cell:
    own = column.read_as is not None
    if isinstance(cell, str):
        word = cell.strip(" ").lower()
        if word in (_MORE_TRUE if own else _TRUE):
            return 1
        if word in (_MORE_FALSE if own else _FALSE):
            return 0
    elif isinstance(cell, int) or (own and isinstance(cell, float)):
        if cell in (0, 1):
            return int(cell)
        raise Misfit(f"a number other than 0 and 1 in a column {_declared(column)}")
    raise _refused(column, cell)


def _blob(column: Column, cell: Cell) -> Cell:
    if isinstance(cell, bytes) and (column.read_as is not None or not isinstance(cell, RawText)):
        return bytes(cell)
    if column.read_as is not None and isinstance(cell, str):
        return cell.encode()
    raise _refused(column, cell)


def _timestamp(column: Column, cell: Cell) -> datetime:
    if isinstance(cell, bytes):
        raise _refused(column, cell)
    time = moment(cell, column.time)
    if time is None:
        raise Misfit(f"it cannot be read as a time ({column.time.format})")
    return time


def _json(text: str) -> object:
    """JSON as its standard has it: Python's own reader knows NaN, too."""

    def refused(word: str) -> object:
        raise ValueError(word)

    return json.loads(text, parse_constant=refused)


def _or(read: Callable[[str], object], text: str) -> object:
    try:
        return read(text)
    except ValueError:
        return None


_READ: dict[Kind, Callable[[Column, Cell], Cell | datetime]] = {
    Kind.TEXT: _text,
    Kind.INTEGER: _integer,
    Kind.REAL: _real,
    Kind.BOOLEAN: _boolean,
    Kind.BLOB: _blob,
    Kind.TIMESTAMP: _timestamp,
}
