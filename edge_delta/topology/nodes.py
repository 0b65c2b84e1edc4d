"""Which device this is."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from edge_delta.core.errors import NodeUnknown
from edge_delta.modes.traits import TRAITS
from edge_delta.sinks import address as storage
from edge_delta.sinks.listing import folders_in
from edge_delta.sinks.store_options import store_options
from edge_delta.topology.tables import UNKNOWN, DeviceTables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_delta.device.state import StateDirectory
    from edge_delta.settings.sections import Settings

_PLACE = "{node_id}"
_LOOKED_AT = 100
"""Folders that are looked into for tables; whoever has more of them beside each other has them for devices."""


def node_id_of(settings: Settings, state: StateDirectory, source_table: str, *, new_node: bool = False) -> str:
    """This device's id: the setting, or what the state directory keeps.

    Raises:
        NodeUnknown: if no id is known and there is a table that this device may have written.
    """
    return state.node_id(settings.node_id, new_node=new_node, target_exists=lambda: has_tables(settings, source_table))


def has_tables(settings: Settings, source_table: str) -> bool:
    """Whether there is a table that this device may have written."""
    ids = _devices(settings) if _PLACE in settings.table_path else iter([UNKNOWN])
    return any(_has_tables(DeviceTables(settings, node_id, source_table)) for node_id in ids)


def _has_tables(tables: DeviceTables) -> bool:
    return any(tables.sink(TRAITS[mode].suffix).exists() for mode in tables.settings.processing_mode)


def _devices(settings: Settings) -> Iterator[str]:
    """The ids that devices have by the names that stand in the place of ``{node_id}``."""
    if storage.in_catalog(settings.table_path):
        raise NodeUnknown(
            f"table_path {settings.table_path!r} has the device in a name of Unity Catalog, and no node id is set",
            "Set NODE_ID to the name that its tables are registered with",
        )
    before, after = settings.table_path.split(_PLACE, 1)
    parent, _, head = before.rpartition("/")
    tail, *deeper = after.split("/", 1)
    uri = storage.address(parent or ("/" if before.startswith("/") else "."), node_id=UNKNOWN)
    suffixes = "" if deeper else "(?:" + "|".join(TRAITS[mode].suffix for mode in settings.processing_mode) + ")"
    name = re.compile(re.escape(head) + "(.+)" + re.escape(tail) + suffixes)
    found = folders_in(uri, store_options(uri, os.environ, settings.storage))
    yield from [match[1] for match in map(name.fullmatch, found) if match][:_LOOKED_AT]
