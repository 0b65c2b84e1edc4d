"""Types of frames as types of Delta tables, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from deltalake import Field, Schema
from deltalake.schema import PrimitiveType

from edge_delta.core.errors import SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Mapping

_DELTA: dict[pl.DataType, str] = {
    pl.Int64(): "long",
    pl.Int32(): "integer",
    pl.Int16(): "short",
    pl.Int8(): "byte",
    pl.Float64(): "double",
    pl.Float32(): "float",
    pl.String(): "string",
    pl.Binary(): "binary",
    pl.Boolean(): "boolean",
    pl.Date(): "date",
    pl.Datetime("us", "UTC"): "timestamp",
}
_POLARS = {name: dtype for dtype, name in _DELTA.items()}


def to_delta(schema: pl.Schema) -> Schema:
    """The Delta schema of a frame, every column nullable."""
    return Schema([Field(name, PrimitiveType(_DELTA[dtype])) for name, dtype in schema.items()])


def to_polars(schema: Schema | None) -> dict[str, pl.DataType | None]:
    """The frame types of a table's columns; None for types that none of our frames has. No schema has no columns."""
    return {
        field.name: _POLARS.get(field.type.type) if isinstance(field.type, PrimitiveType) else None
        for field in (schema.fields if schema is not None else ())
    }


def differing(here: Mapping[str, pl.DataType], there: Mapping[str, pl.DataType | None]) -> list[tuple[str, str]]:
    """Columns of a frame and a table, in any case, that have two types; as the frame and as the table spells them."""
    ours = {name.lower(): name for name in here}
    both = [(ours[name.lower()], name) for name in there if name.lower() in ours]
    return [(own, name) for own, name in both if here[own] != there[name]]


def sql_name(dtype: pl.DataType | None) -> str:
    """The type's name in Spark SQL, for messages."""
    names = {"long": "BIGINT", "integer": "INT", "short": "SMALLINT", "byte": "TINYINT"}
    delta = _DELTA.get(dtype) if dtype is not None else None
    return names.get(delta, delta.upper()) if delta is not None else "a type that is not supported"


def fitted(frame: pl.DataFrame, schema: Schema, uri: str) -> tuple[pl.DataFrame, list[str]]:
    """The frame in a table's order and spelling, and the columns that the table does not have yet.

    Args:
        frame: the rows.
        schema: the table's.
        uri: the table's address, for the message.

    Raises:
        SchemaMismatch: if a column has another type than the table's, or the table demands one that is not there.
    """
    there, here = to_polars(schema), frame.schema
    ours = {name.lower(): name for name in here}
    wrong = [
        f"{name} is {sql_name(here[own])}, expected {sql_name(there[name])}" for own, name in differing(here, there)
    ]
    required = {f.name for f in schema.fields if not f.nullable}
    wrong += [f"{name} is required, but the source has no such column" for name in required if name.lower() not in ours]
    if wrong:
        noun = "column does" if len(wrong) == 1 else "columns do"
        raise SchemaMismatch(
            f"{len(wrong)} {noun} not fit table {uri}: " + "; ".join(wrong),
            "Rename the column with [schematize.rename], or set another table_path",
        )
    if list(here) == list(there):
        return frame, []
    known = {name.lower() for name in there}
    added = [name for name in here if name.lower() not in known]
    picked = [
        pl.col(ours[name.lower()]).alias(name) if name.lower() in ours else pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in there.items()
    ]
    return frame.select(*picked, *added), added
