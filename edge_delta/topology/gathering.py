"""`edge-delta gather`, put together: from the devices' own settings to their tables and the fleet's."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.core.errors import CommitConflict, ConfigurationError, StorageUnavailable
from edge_delta.gather import lag
from edge_delta.gather.fleet import DeltaFleetTable
from edge_delta.gather.logs import Unreachable
from edge_delta.gather.places import Places
from edge_delta.gather.rounds import Gathered, Job, Overtaken, Round
from edge_delta.gather.store import TableReader, files_at
from edge_delta.gather.takings import SHAPES, Limits
from edge_delta.gather.upkeep import Keepers
from edge_delta.sinks import address as storage
from edge_delta.sinks.listing import folders_in
from edge_delta.sinks.store_options import store_options
from edge_delta.topology.one_table import in_path
from edge_delta.topology.tables import retention_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from edge_delta.core.events import Log
    from edge_delta.topology.one_table import OneTable

_ALWAYS = ("rejected", "superseded")
_LISTS = ("edge-delta gather lists folders", "Name their folder in the store: s3://…")


class Wanted(Struct, frozen=True):
    """What is to be gathered.

    Attributes:
        into: the base of the fleet's tables; ``{table}`` and ``{source}`` are replaced.
        only: the devices; all if none is named.
        without: devices to be left out.
        limits: how much is taken at once.
        upkeep: whether the fleet's tables are looked after here.
    """

    into: str
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    limits: Limits = Limits()
    upkeep: bool = True


def gather(one: OneTable, wanted: Wanted, log: Log) -> list[Gathered]:
    """One round over the tables of all devices, mode by mode.

    Args:
        one: the source table, with the devices' settings.
        wanted: what is to be gathered.
        log: where events go.

    Raises:
        ConfigurationError: if the settings do not say where the tables are.
        EdgeDeltaError: if the fleet's table cannot be written.
    """
    settings = one.settings
    into = _base(wanted.into, one)
    places = _places(settings.table_path)
    options = store_options(places.root, os.environ, settings.storage)
    files = files_at(places.root, options)
    tables = TableReader(places.root, options, files)
    into_options = store_options(into, os.environ, settings.storage)
    folders = _folders(places, options, into)
    keepers = Keepers(settings.maintenance, into_options, log) if wanted.upkeep else None
    outcomes = []
    for mode in (*settings.processing_mode, *_ALWAYS):
        shape = SHAPES[mode]
        fleet = DeltaFleetTable(into + shape.suffix, into_options, shape, tables)
        job = Job(
            mode,
            shape,
            {device: places.table(device, shape.suffix) for device in _chosen(places, folders, shape.suffix, wanted)},
            files,
            tables,
            fleet,
            retention_of(settings, places.root).total_seconds(),
        )
        outcomes.append(_round(job, wanted, into))
        if keepers is not None and outcomes[-1].commits and fleet.table is not None:
            keepers.committed(fleet.uri, fleet.table)
    _tell(into + lag.SUFFIX, into_options, outcomes, keepers)
    return outcomes


def _base(into: str, one: OneTable) -> str:
    """The base of the fleet's tables of a source table."""
    storage.refuse_catalog(into, *_LISTS)
    into = into.replace("{table}", in_path(one.table or one.settings.sqlite_table_name or "{table}"))
    return storage.address(into.replace("{source}", in_path(one.label)), node_id="")


def _tell(uri: str, options: Mapping[str, str], outcomes: Sequence[Gathered], keepers: Keepers | None) -> None:
    """Write how far each device is taken, and look after that table too."""
    with contextlib.suppress(CommitConflict):  # another round has just written it
        written = lag.write(uri, options, outcomes, datetime.now(UTC))
        if keepers is not None and written is not None:
            keepers.committed(uri, written)


def _places(table_path: str) -> Places:
    storage.refuse_catalog(table_path, *_LISTS)
    try:
        found = Places.of(table_path)
    except ValueError as error:
        raise ConfigurationError(
            f"table_path {table_path!r} has no {{node_id}}: its table is shared by all devices already",
            "Gather where each device has its own tables, such as s3://bucket/{node_id}/readings",
        ) from error
    return Places(storage.address(found.root, node_id=""), found.part, found.rest)


def _folders(places: Places, options: Mapping[str, str], into: str) -> set[str]:
    folders = places.folders(folders_in(places.root, options), into)
    if not folders:
        raise ConfigurationError(f"there is no folder of a device in {places.root}", "Check table_path")
    return folders


def _round(job: Job, wanted: Wanted, into: str) -> Gathered:
    try:
        return Round(job, wanted.limits).run()
    except Overtaken as error:
        raise CommitConflict(
            f"{into}{job.shape.suffix} was written by others at every try: {error}", "Let one process gather at a time"
        ) from error
    except Unreachable as error:
        raise StorageUnavailable(f"the devices' tables cannot be read: {error}") from error


def _chosen(places: Places, folders: Collection[str], suffix: str, wanted: Wanted) -> Iterator[str]:
    for device in places.devices(folders, suffix):
        if (not wanted.only or device in wanted.only) and device not in wanted.without:
            yield device
