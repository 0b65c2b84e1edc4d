"""A table with many columns for people: one column a line, with where it comes from, its type and its first values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.modes import names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import polars as pl

    from edge_delta.core.model import Layout

_WIDTH = 120
_VALUES = 3
_CELL = 28
_BROAD = 8
"""Columns that still can be read beside each other."""
_TYPES = {
    "String": "string",
    "Float64": "double",
    "Float32": "float",
    "Int64": "long",
    "Int32": "integer",
    "Boolean": "boolean",
    "Binary": "binary",
    "Datetime": "timestamp",
    "Date": "date",
}
"""What Delta calls them."""
_OURS = {"node_id": "(this device)", "databricks_inserted_at": "(now)", "source_generation": "(the source's)"}
_IDS = ("reading_id", "source_rowid")
MADE = "(the mode)"


def is_wide(frame: pl.DataFrame) -> bool:
    """Whether its columns do not go beside each other."""
    return frame.width > _BROAD


def origins(layout: Layout, rename: Mapping[str, str], columns: list[str], *, raw: bool) -> dict[str, str]:
    """The source column of each column of a table; in brackets what is none.

    Args:
        layout: the source's columns.
        rename: standard name by source name.
        columns: those of the table.
        raw: whether the table has the source's own names.
    """
    standard = {} if raw else names.matched(layout, rename)
    renamed = {target: source for source, target in rename.items()}

    def origin(name: str) -> str:
        if name in standard:
            return standard[name].name
        if name in _IDS:
            return layout.id_column.name if layout.id_column is not None else "rowid"
        own = layout.named(name) or names.column_of(layout, renamed.get(name, ""))
        own = own or layout.named(name.removeprefix("source_"))
        return own.name if own is not None else _OURS.get(name, MADE)

    return {name: origin(name) for name in columns}


def lines(frame: pl.DataFrame, origin: Mapping[str, str]) -> Iterator[str]:
    """The columns, with a heading.

    Args:
        frame: the rows.
        origin: where each column comes from, see `origins`.
    """
    rows = [("column", "from", "type", "first values")]
    for column in frame.iter_columns():
        kind = _TYPES.get(type(column.dtype).__name__, str(column.dtype))
        values = " | ".join(_cell(value) for value in column.head(_VALUES))
        source = origin.get(column.name, MADE)
        if source == MADE and column.null_count() == len(column):
            source = "-"
        rows.append((column.name, source, kind, values))
    wide = [max(len(row[place]) for row in rows) for place in range(3)]
    for name, source, kind, values in rows:
        yield f"  {name:<{wide[0]}}  {source:<{wide[1]}}  {kind:<{wide[2]}}  {values}"[:_WIDTH].rstrip()


def _cell(value: object) -> str:
    text = "null" if value is None else " ".join(str(value).split())
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"
