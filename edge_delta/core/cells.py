"""Cells and rows as text, without loss: how a rejected row travels."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_delta.core.model import Cell

_SHOWN = 200


class RawText(bytes):
    """Text that is not UTF-8, as it is stored."""


def as_json(cells: Mapping[str, Cell]) -> str:
    """A row as JSON.

    What JSON has no form for is an object with one key: ``hex`` for a blob, ``text_hex`` for text that is not UTF-8,
    ``real`` for infinities.
    """
    return json.dumps({name: _jsonable(cell) for name, cell in cells.items()}, ensure_ascii=False)


def from_json(text: str) -> dict[str, Cell]:
    """The row that `as_json` wrote."""
    return {name: _from_jsonable(cell) for name, cell in json.loads(text).items()}


def _from_jsonable(cell: object) -> Cell:
    if isinstance(cell, dict):
        [(form, text)] = cell.items()
        return {"hex": bytes.fromhex, "text_hex": RawText.fromhex, "real": float}[form](text)  # type: ignore[operator, no-any-return]
    return cell  # type: ignore[return-value]


def _jsonable(cell: Cell) -> object:
    if isinstance(cell, bytes):
        return {"text_hex" if isinstance(cell, RawText) else "hex": cell.hex()}
    if isinstance(cell, float) and not math.isfinite(cell):
        return {"real": str(cell)}
    return cell


def shown(cell: Cell) -> str | None:
    """A cell as text for people; the row's JSON has it whole."""
    if cell is None:
        return None
    text = cell.hex() if isinstance(cell, bytes) else str(cell)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
