"""Names in Unity Catalog: ``uc://catalog.schema.table``."""

from __future__ import annotations

import re

from edge_delta.core.errors import ConfigurationError

SCHEME = "uc://"
_PARTS = 3
_GOOD = re.compile(r"[\w-]+")
_PLACE = "{node_id}"


def checked(table_path: str, filled: str, node_id: str) -> str:
    """The base of a device's tables as an address.

    Unity Catalog refuses dots, spaces and slashes in names, and keeps them in lower case.

    Args:
        table_path: the setting.
        filled: the same with the device in its place.
        node_id: the device.

    Raises:
        ConfigurationError: if it is no name of a table there, or would be that of another device, too.
    """
    if _PLACE in table_path and node_id and not _GOOD.fullmatch(node_id):
        raise ConfigurationError(
            f"node_id {node_id!r} cannot be a part of a name in Unity Catalog, as table_path {table_path!r} says",
            "Set a node_id of letters, digits, - and _, or leave {node_id} out of table_path",
        )
    if _PLACE in table_path and node_id != node_id.lower():
        raise ConfigurationError(
            f"node_id {node_id!r} has capital letters, which names in Unity Catalog have not: two devices could come "
            f"to one table in {table_path!r}",
            "Set a node_id in lower case, or leave {node_id} out of table_path",
        )
    parts = filled.removeprefix(SCHEME).split(".")
    if not filled.startswith(SCHEME) or len(parts) != _PARTS or not all(part or not node_id for part in parts):
        raise ConfigurationError(
            f"table_path {table_path!r} is no name of a table in Unity Catalog",
            "Write uc://catalog.schema.table; the modes' tables are called so with _0_raw to _4_emergency behind",
        )
    odd = next((part for part in parts if part and not _GOOD.fullmatch(part)), None)
    if odd is not None:
        raise ConfigurationError(
            f"table_path {table_path!r} has {odd!r}, which is no name in Unity Catalog",
            "Use letters, digits, - and _ in the names of catalog, schema and table",
        )
    return filled


def quoted(uri: str) -> str:
    """A table's name as SQL takes it."""
    return ".".join(part if re.fullmatch(r"\w+", part) else f"`{part}`" for part in _of(uri))


def schema_of(uri: str) -> str:
    """The name of a table's schema as SQL takes it."""
    return quoted(uri).rpartition(".")[0]


def full_name(uri: str) -> str:
    """A table's name as the REST interface takes it."""
    return ".".join(_of(uri))


def last(uri: str) -> str:
    """A table's name in its schema."""
    return _of(uri)[-1]


def _of(uri: str) -> list[str]:
    return uri.removeprefix(SCHEME).split(".")
