"""The tables of some settings by their names, and the errors of questions to them."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from edge_delta import modes
from edge_delta.core.errors import ConfigurationError, EdgeDeltaError
from edge_delta.device.state import MIRROR, kept_node_id
from edge_delta.sinks import address as storage
from edge_delta.topology.one_table import in_path
from edge_delta.topology.tables import UNKNOWN, DeviceTables

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from deltalake import DeltaTable

    from edge_delta.settings.sections import Settings
    from edge_delta.sinks.delta.sink import DeltaSink
    from edge_delta.topology.one_table import OneTable


class QueryFailed(EdgeDeltaError):
    """The statement cannot be answered."""


class NoSuchTable(QueryFailed):
    """The statement names a table that is not there."""


class Tables:
    """The tables of these settings by their names, such as ``readings_1_schematized``.

    Args:
        settings: the settings.
    """

    def __init__(self, settings: Settings) -> None:
        mirror = _mirror(settings.state_dir)
        node_id = settings.node_id or kept_node_id(settings.state_dir) or mirror.get("node_id")
        if node_id is None and "{node_id}" in settings.table_path:
            raise ConfigurationError(
                f"table_path has {{node_id}}, but {settings.state_dir} does not say which device this is",
                "Set --node-id",
            )
        self.node_id = node_id
        self.source_table = settings.sqlite_table_name or mirror.get("source_table")
        base = storage.name_of(storage.address(settings.table_path, node_id=node_id or ""))
        suffixes = {**modes.SUFFIXES, "rejected": modes.REJECTED_SUFFIX, "superseded": modes.SUPERSEDED_SUFFIX}
        suffixes["files"] = modes.FILES_SUFFIX
        tables = DeviceTables(settings, node_id or UNKNOWN, self.source_table or UNKNOWN)
        self.sinks: dict[str, DeltaSink] = {base + suffix: tables.sink(suffix) for suffix in suffixes.values()}
        self.source_tables: dict[str, str | None] = {}
        self.modes = {base + suffix: mode for mode, suffix in suffixes.items()}

    @classmethod
    def of(cls, ones: Sequence[OneTable]) -> Tables:
        """Those of one source, or of several by names that tell them apart.

        A name is as for one source where no other source has it, else begins with that of the source.
        """
        every = [(one, cls(one.settings)) for one in ones]
        whole = every[0][1]
        whole.source_tables = dict.fromkeys(whole.sinks, whole.source_table)
        if len(every) == 1:
            return whole
        used = Counter(name for _, tables in every for name in tables.sinks)
        sinks, modes_, whole.source_tables = {}, {}, {}
        for one, tables in every:
            for name, sink in tables.sinks.items():
                full = name if used[name] == 1 else f"{in_path(one.label)}_{name}"
                full = full if full not in sinks else f"{in_path(one.label)}_{in_path(one.table)}_{name}"
                sinks[full], modes_[full] = sink, tables.modes[name]
                whole.source_tables[full] = one.table
        whole.sinks, whole.modes = sinks, modes_
        return whole

    def existing(self) -> list[str]:
        """The names of those that exist."""
        return [name for name, sink in self.sinks.items() if sink.snapshot() is not None]

    def opened(self, name: str) -> DeltaTable:
        """The table of that name.

        Raises:
            NoSuchTable: if there is none.
        """
        table = self.sinks[name].snapshot()
        if table is None:
            raise self.missing(name)
        return table

    def missing(self, name: str) -> NoSuchTable:
        """The error for a name that is no table's."""
        there = self.existing()
        base = next(iter(self.sinks.values())).uri.removesuffix(next(iter(modes.SUFFIXES.values())))
        if not there:
            return NoSuchTable(
                f"there is no table {name}, nor any other under {base}", "Check --table-path, or run edge-delta first"
            )
        return NoSuchTable(f"there is no table {name} under {base}; there are: {', '.join(there)}")


def _mirror(state_dir: Path) -> dict[str, Any]:
    try:
        found = json.loads((state_dir / MIRROR).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
