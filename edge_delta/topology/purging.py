"""`edge-delta purge`, put together: the one place that opens the source for writing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.core.errors import ConfigurationError, SourceReset
from edge_delta.core.patterns import is_pattern
from edge_delta.device.settled import settled, settled_now
from edge_delta.device.state import StateDirectory, read_mirror
from edge_delta.recovery.purge import Purge, Purged, Wanted
from edge_delta.sinks.address import is_folder
from edge_delta.source.deletion import Deletion
from edge_delta.topology.lanes import Session, lanes_of, reading, witnessing
from edge_delta.topology.nodes import node_id_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from edge_delta.core.events import Log
    from edge_delta.delivery.route import Route
    from edge_delta.settings.sections import Settings


def purge(settings: Settings, log: Log, wanted: Wanted) -> list[Purged]:
    """Delete rows of the source that were delivered. Takes no lock: it works beside the process that delivers.

    Args:
        settings: the settings, with every mode that is delivered.
        log: where events go.
        wanted: what is to go.

    Raises:
        EdgeDeltaError: if it cannot be done now, or must not be.
    """
    if is_pattern(settings.sqlite):
        raise ConfigurationError(
            f"{settings.sqlite} means files that rotate, and purge deletes rows of a single file",
            "Remove whole files: edge-delta status --settled prints those that nothing needs any more",
        )
    state = StateDirectory(settings.state_dir)
    mirror = read_mirror(settings.state_dir)
    _refuse_other_modes(settings, mirror)
    deletion = Deletion(settings.sqlite, settings.sqlite_table_name, settings.timestamp_col, reading(settings))
    try:
        deletion.source.tell_by(witnessing(settings))
        node_id = node_id_of(settings, state, deletion.source.table)
        session = Session(deletion.source, node_id, log, heals=False)
        routes = [lane.route for lane in lanes_of(settings, session)]
        _refuse_other_tables(routes, mirror)
        _refuse_what_a_power_cut_takes_back(settings, routes)
        _refuse_a_replaced_source(mirror, deletion.source.table)
        return [Purge(routes, deletion, wanted, mirror, state.sweep).run()]
    finally:
        deletion.close()


def _refuse_other_modes(settings: Settings, mirror: Mapping[str, Any]) -> None:
    """A mode that is not named would lose what it has not read yet."""
    others = [mode for mode in mirror.get("modes", ()) if mode not in settings.processing_mode]
    if others:
        raise ConfigurationError(
            f"the process that delivers has the modes {', '.join(mirror['modes'])}, and purge was not told of "
            f"{', '.join(others)}",
            "Give purge the same settings (--config, PROCESSING_MODE)",
        )


def _refuse_other_tables(routes: Sequence[Route], mirror: Mapping[str, Any]) -> None:
    for route in routes:
        known = (mirror.get("tables", {}).get(route.name) or {}).get("table")
        if known is not None and known != route.sink.uri:
            raise ConfigurationError(
                f"mode {route.name} is delivered to {known}, and purge was told of {route.sink.uri}",
                "Give purge the same settings (--config, TABLE_PATH)",
            )


def _refuse_what_a_power_cut_takes_back(settings: Settings, routes: Sequence[Route]) -> None:
    if settings.storage.durability == "off" and any(is_folder(route.sink.uri) for route in routes):
        raise ConfigurationError(
            "storage.durability is 'off', so a power cut may take back what the table's log says by now",
            "Set it to 'full' before rows are deleted by it",
        )


def _refuse_a_replaced_source(mirror: Mapping[str, Any], table: str) -> None:
    """What `edge-delta status --settled` looks at as well: the rows that the last cycle saw."""
    if settled(mirror).get(table) is not None and settled_now(mirror).get(table) is None:
        raise SourceReset(
            f"{mirror['source']} is not the database that was delivered last: nothing was deleted",
            "Let edge-delta run; it says what became of the source",
        )
