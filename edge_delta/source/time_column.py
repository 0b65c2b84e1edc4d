"""Which column holds the reading's time: told by its name first, then by its declared type, with the reason."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge_delta.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_delta.core.model import Column

_NAMES = (
    ("timestamp",),
    ("ts", "time", "datetime", "date_time", "event_time", "measured_at", "recorded_at", "observed_at", "sampled_at"),
    ("date", "reading_time", "measurement_time", "sample_time", "time_stamp", "last_updated_ts", "start_ts"),
    ("created_at", "created", "inserted_at"),
)
"""By rank: when a value was measured goes before when its row was made."""
_OF_TIME = r"(?i)DATE|TIME"
_OF_SOMETHING_ELSE = (
    r"(?i)upload|sync|sent|send|deliver|export|calibrat|updat|modif|changed|delet|expir|install|birth|due|next|until|valid|"
    r"service|maint|warrant|seen|login|timeout|duration|elapsed|uptime|runtime"
)
"""Names of times that are not the reading's, however they are declared."""


def chosen(path: Path, table: str, columns: Sequence[Column], name: str | None) -> tuple[Column | None, str]:
    """The column with the reading's time, and why it is that one.

    Args:
        path: the database, for errors.
        table: the table's name.
        columns: its columns.
        name: the column that the settings name, None to find it.

    Returns:
        The column, None if none can be told, and the reason in words.

    Raises:
        ConfigurationError: if there is no such column, or several could be meant.
    """
    if name is not None:
        return _named(path, table, columns, name), "the settings name it"
    for names in _NAMES:
        found = [c for c in columns if c.name.lower() in names]
        declared = [c for c in found if re.search(_OF_TIME, c.declared)]
        if len(found) > 1 and len(declared) == 1:
            return declared[0], f"by its name, and it is declared {declared[0].declared}"
        if found:
            return _only(path, table, found), "by its name"
    by_type = [c for c in columns if re.search(_OF_TIME, c.declared) and not re.search(_OF_SOMETHING_ELSE, c.name)]
    if by_type:
        return _only(path, table, by_type), f"the only column that is declared as a time, {by_type[0].declared}"
    passed = [c.name for c in columns if re.search(_OF_TIME, c.declared)]
    left = f"; {', '.join(passed)} sounds like another time than the reading's" if passed else ""
    return None, f"no column is called or declared like a time{left}"


def _named(path: Path, table: str, columns: Sequence[Column], name: str) -> Column:
    for column in columns:
        if column.name.lower() == name.lower():
            return column
    raise ConfigurationError(
        f"table {table!r} in {path} has no column {name!r}; its columns are: {', '.join(c.name for c in columns)}",
        "Check --timestamp-field",
    )


def _only(path: Path, table: str, candidates: list[Column]) -> Column:
    if len(candidates) == 1:
        return candidates[0]
    raise ConfigurationError(
        f"table {table!r} in {path} has {len(candidates)} columns that could be the timestamp: "
        + ", ".join(c.name for c in candidates),
        "Name one with --timestamp-field",
    )
