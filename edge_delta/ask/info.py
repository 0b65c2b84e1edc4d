"""INFO: what each table is."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edge_delta.ask.output import shown
from edge_delta.core.errors import ProtocolUnsupported
from edge_delta.sinks import address as storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deltalake import DeltaTable

    from edge_delta.ask.tables import Tables
    from edge_delta.sinks.delta.sink import DeltaSink


def about(tables: Tables) -> list[dict[str, Any]]:
    """What each table that exists is: location, rows, files, bytes, version, last commit, columns, cursor.

    Raises:
        NoSuchTable: if there is none at all.
    """
    found = [_one(name, tables, table) for name in tables.sinks if (table := tables.sinks[name].snapshot())]
    if not found:
        raise tables.missing(next(iter(tables.sinks)))
    return found


def _one(name: str, tables: Tables, table: DeltaTable) -> dict[str, Any]:
    sink = tables.sinks[name]
    with storage.errors(sink.uri, "list"):
        sizes = _sizes(table)
        last = table.history(1)
    at = datetime.fromtimestamp(last[0]["timestamp"] / 1000, UTC) if last else None
    return {
        "table": name,
        "mode": tables.modes[name],
        "location": sink.uri,
        "rows": sizes[1],
        "files": sizes[0],
        "bytes": sizes[2],
        "version": table.version(),
        "last_commit": None if at is None else shown(at),
        "columns": {f.name: str(getattr(f.type, "type", f.type)) for f in table.schema().fields},
        "cursor": _cursor(sink, tables, tables.source_tables.get(name, tables.source_table)),
    }


def _sizes(table: DeltaTable) -> tuple[int, int, int]:
    """Files, rows and bytes, all from the log."""
    actions = table.get_add_actions(flatten=True)
    if not actions.num_rows:
        return 0, 0, 0
    rows = table.count()
    return actions.num_rows, rows, sum(n or 0 for n in actions.column("size_bytes").to_pylist())


def _cursor(sink: DeltaSink, tables: Tables, source_table: str | None) -> dict[str, Any] | None:
    """Where this device stands in the table; None where that is not known or there is nothing of it."""
    if tables.node_id is None or source_table is None:
        return None
    try:
        cursor = sink.committed()
    except ProtocolUnsupported:
        return None
    if cursor is None:
        return None
    return {
        "node_id": tables.node_id,
        "source_table": source_table,
        "generation": cursor.generation,
        "last_id": cursor.rowid,
    }


def text(found: list[dict[str, Any]]) -> str:
    """The same for people."""
    out = io.StringIO()
    for table in found:
        out.write(f"{table['table']}\n")
        for key in ("location", "rows", "files", "bytes", "version", "last_commit"):
            value = table[key]
            out.write(f"  {key.replace('_', ' '):<12} {f'{value:,}' if isinstance(value, int) else value}\n")
        cursor = table["cursor"]
        where = "none of this device" if cursor is None else _cursor_text(cursor)
        out.write(f"  {'cursor':<12} {where}\n")
        columns = ", ".join(f"{name} {kind}" for name, kind in table["columns"].items())
        out.write(f"  {'columns':<12} {columns}\n")
    return out.getvalue()


def _cursor_text(cursor: Mapping[str, Any]) -> str:
    where = f"{cursor['node_id']}, table {cursor['source_table']}"
    return f"row {cursor['last_id']:,} of generation {cursor['generation']} ({where})"
