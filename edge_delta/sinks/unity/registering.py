"""The SQL that registers a table so that edge-delta can write it; imported where it is printed, as Polars is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from edge_delta.sinks import files, rejected, superseded
from edge_delta.sinks.delta.types import sql_name
from edge_delta.sinks.unity import names

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIXED = {"_rejected": rejected.SCHEMA, "_superseded": superseded.SCHEMA, "_files": files.SCHEMA}
_OTHERS = {"node_id": pl.String()}
"""What a mode's table begins with: the other columns come with the first commit."""
PROPERTIES = {
    "delta.minReaderVersion": "1",
    "delta.minWriterVersion": "2",
    "delta.enableDeletionVectors": "false",
}
"""Without them Databricks makes a table that uses features which lock other writers out."""


def placeholder(uri: str) -> str:
    """Where a table could be, for a person to fill in."""
    return f"s3://<bucket>/<folder>/{names.last(uri)}"


def statement(uri: str, location: str, *, once: bool = False) -> str:
    """What makes a table.

    Args:
        uri: its address.
        location: where its files are to be.
        once: whether it may be there.
    """
    name = names.last(uri)
    schema: Mapping[str, pl.DataType] = next((s for suffix, s in _FIXED.items() if name.endswith(suffix)), _OTHERS)
    columns = ", ".join(f"{column} {sql_name(dtype)}" for column, dtype in schema.items())
    properties = ", ".join(f"'{key}' = '{value}'" for key, value in PROPERTIES.items())
    return (
        f"CREATE TABLE {'IF NOT EXISTS ' if once else ''}{names.quoted(uri)} ({columns}) USING DELTA "
        f"LOCATION '{location}' TBLPROPERTIES ({properties})"
    )


def grants(schema: str, principal: str, tables: list[str]) -> list[str]:
    """What a principal needs to write tables.

    Args:
        schema: the schema's name as SQL takes it.
        principal: whom it is granted to.
        tables: the tables' names as SQL takes them.
    """
    to = f"TO `{principal}`"
    catalog = schema.partition(".")[0]
    return [
        f"GRANT USE CATALOG ON CATALOG {catalog} {to}",
        f"GRANT USE SCHEMA, EXTERNAL USE SCHEMA ON SCHEMA {schema} {to}",
        *(f"GRANT SELECT, MODIFY ON TABLE {table} {to}" for table in tables),
    ]
