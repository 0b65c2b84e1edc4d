"""SQLite's rows as Polars' columns: `columns.c` puts each cell where Arrow wants it while SQLite visits the row.

The driver asks SQLite for every cell of every row in turn, and takes a column's type from its first values; both cost
more than SQLite itself does. An aggregate is handed whole rows, and each cell is held against its column's kind.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge_delta.core.errors import ConfigurationError
from edge_delta.core.model import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adbc_driver_manager import AdbcConnection

LIBRARY = Path(__file__).with_name("libcolumns.so")
KINDS = {Kind.INTEGER: "l", Kind.REAL: "g", Kind.TEXT: "u", Kind.BLOB: "z", Kind.BOOLEAN: "b", Kind.TIMESTAMP: "u"}
"""What `columns.c` calls them, see its `Kind`; times come as they are written."""
TEXT_AS_BYTES = "t"
_AT_ONCE = 500
"""Cells that one call is given; SQLite allows it 1,000 arguments."""


def load(connection: AdbcConnection) -> None:
    """Give a connection the function `arrow_columns`.

    Raises:
        ConfigurationError: if this installation has no compiled part.
    """
    if not LIBRARY.exists():
        raise ConfigurationError(
            f"there is no {LIBRARY}, the compiled part of edge-delta",
            "Install edge-delta with pip, which builds it, from a wheel or from its sources",
        )
    loading = "adbc.sqlite.load_extension"
    connection.set_options(**{f"{loading}.enabled": "true"})
    connection.set_options(**{f"{loading}.path": str(LIBRARY)})
    connection.set_options(**{f"{loading}.entrypoint": "sqlite3_columns_init"})
    connection.set_options(**{f"{loading}.enabled": "false"})  # a view in the database could load one, too


def statement(cells: Mapping[str, tuple[str, str]], source: str, *, rows: int) -> str:
    """SQL for what `edge_delta.source.frames.of_results` makes a frame of.

    Args:
        cells: by the column's name, its kind as in `columns.c` and SQL for its cells, which no other column has: of
            two equal calls SQLite makes one.
        source: FROM and what follows.
        rows: how many are expected.
    """
    listed, calls = list(cells.values()), []
    for start in range(0, len(listed), _AT_ONCE):
        part = listed[start : start + _AT_ONCE]
        kinds = "".join(kind for kind, _ in part)
        calls.append(f"arrow_columns('{kinds}', {rows}, {', '.join(sql for _, sql in part)})")
    return f"SELECT {', '.join(calls)} FROM {source}"
