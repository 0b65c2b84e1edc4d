"""From settings to tables: their addresses, the sinks that write them, and who looks after them."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.core.model import Mark
from edge_delta.core.places import NODE
from edge_delta.modes import REJECTED_SUFFIX, SUPERSEDED_SUFFIX
from edge_delta.modes.traits import TRAITS
from edge_delta.settings.declaration import changed
from edge_delta.sinks import address as storage
from edge_delta.sinks.access import access_to
from edge_delta.sinks.delta.cursors import COMMON_MARKS, application_id
from edge_delta.sinks.delta.durable import disk_of
from edge_delta.sinks.delta.sink import DeltaSink

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_delta.core.events import Log
    from edge_delta.settings.sections import Settings
    from edge_delta.sinks.delta.upkeep import Keeper

UNKNOWN = "unknown"
"""Stands for a device or a source table that is not known; such a sink can only be asked for its table."""
_DAYS_IN_A_FOLDER, _DAYS_IN_A_STORE = 3, 7
_COMMITS_IN_A_FOLDER = 1_000
"""Older versions that can be read in a folder, unless a retention is set: three days of commits at 300 s are 864."""
_LEAST = timedelta(hours=1)
"""A query may run for so long on files that compaction replaced."""


def now() -> datetime:
    """The clock, UTC."""
    return datetime.now(UTC)


class Contents(Struct, frozen=True):
    """What a table holds, as far as its sink has to know.

    Attributes:
        part: names this sink's rows in a table that several sinks of one source write.
        append_only: whether rows are never changed.
        marks: the marks that go with the cursor.
        notes: what is recorded with every commit; asked when there is one.
    """

    part: str = ""
    append_only: bool = True
    marks: Sequence[Mark] = COMMON_MARKS
    notes: Callable[[], Mapping[str, str]] | None = None


class DeviceTables(Struct, frozen=True):
    """One device's tables of one source table.

    Args:
        settings: the settings.
        node_id: the device.
        source_table: the source's table.
        wait: waits between tries where others write a table too, and returns whether it was told to stop.
        healed: where it is said what a power cut left of a table and was healed; None leaves it as it is.
        before_places: is called before displaced places are committed.
    """

    settings: Settings
    node_id: str = UNKNOWN
    source_table: str = UNKNOWN
    wait: Callable[[float], bool] | None = None
    healed: Log | None = None
    before_places: Callable[[], None] | None = None

    def of_mode(self, mode: str) -> DeltaSink:
        """The sink of a mode's table."""
        traits = TRAITS[mode]
        marks = tuple(Mark) if traits.windowed else COMMON_MARKS
        contents = Contents(append_only=traits.append_only, marks=marks, notes=self._privacy_policy(mode))
        return self.sink(traits.suffix, contents)

    def rejected(self, mode: str) -> DeltaSink:
        """The sink of the rows that a mode rejects."""
        return self.sink(
            REJECTED_SUFFIX,
            Contents(part=mode, append_only=False, marks=(), notes=self._privacy_policy(None)),
        )

    def superseded(self, mode: str) -> DeltaSink:
        """The sink of what resets of a mode's table took the place of."""
        return self.sink(SUPERSEDED_SUFFIX, Contents(part=mode, append_only=False, marks=()))

    def sink(self, suffix: str, contents: Contents | None = None) -> DeltaSink:
        """The sink of the table that has this suffix."""
        contents = contents or Contents()
        uri = storage.address(self.settings.table_path, node_id=self.node_id) + suffix
        return DeltaSink(
            uri,
            access_to(uri, os.environ, self.settings),
            application_id(self.node_id, self.source_table, contents.part, source=self.settings.name),
            append_only=contents.append_only,
            retention=retention_of(self.settings, uri),
            statistics=self.settings.maintenance.statistics_columns,
            marks=contents.marks,
            notes=contents.notes,
            wait=self.wait,
            disk=disk_of(uri, sync=self.settings.storage.durability == "full", log=self.healed),
            partition_by=self.settings.maintenance.partition_by,
        )

    def _privacy_policy(self, mode: str | None) -> Callable[[], Mapping[str, str]] | None:
        """What is noted of the displacement with a mode's commits, and with those of the rejected table (None).

        Made at the first commit: an idle run must not stretch the secret.
        """
        own = self.settings.gps_fuzzing
        if not own.enabled or (mode is not None and mode not in own.modes) or self.node_id == UNKNOWN:
            return None
        from edge_delta.modes.privacy.policy import policy_of  # noqa: PLC0415 - OpenSSL, for this only

        policy = policy_of(changed(self.settings, node_id=self.node_id))

        def notes() -> Mapping[str, str]:
            if self.before_places is not None:
                self.before_places()
            return policy.notes() | {NODE: self.node_id}

        return notes

    # -- upkeep

    def keepers(self, sink: DeltaSink, rejects: DeltaSink, log: Log) -> tuple[Keeper, Keeper] | None:
        """Who looks after a mode's table and the rejected one; None if that is not this process' business."""
        own = self.settings.maintenance.keeper
        if not ("{node_id}" in self.settings.table_path if own is None else own):
            return None
        return self.keeper(sink, log), self.keeper(rejects, log)

    def keeper(self, sink: DeltaSink, log: Log) -> Keeper:
        """Who looks after a sink's table."""
        from edge_delta.sinks.delta.upkeep import Keeper, Plan  # noqa: PLC0415 - not where nobody looks after tables

        own = self.settings.maintenance
        plan = Plan(
            own.every_commits,
            own.hours,
            own.target_file_mb * 1_000_000,
            retention_of(self.settings, sink.uri),
            _COMMITS_IN_A_FOLDER if own.retention_days is None else None,
            own.statistics_columns,
            self.settings.budget.group_rows,
        )
        disk = disk_of(sink.uri, sync=self.settings.storage.durability == "full", log=log)
        return Keeper(sink.uri, sink.access, plan, now=now, log=log, disk=disk)


def retention_of(settings: Settings, uri: str) -> timedelta:
    """How long a table's older versions can be read.

    In a folder each commit visits every file of the log, where a store lists only those behind the last version; three
    days are enough for a stream that stood still over a weekend. At short intervals it is as long as so many commits
    take, for they would leave hundreds of thousands of files a day.
    """
    days = settings.maintenance.retention_days
    if days is not None:
        return timedelta(days=days)
    if not storage.is_folder(uri):
        return timedelta(days=_DAYS_IN_A_STORE)
    commits = timedelta(seconds=_COMMITS_IN_A_FOLDER * settings.interval)
    return max(_LEAST, min(timedelta(days=_DAYS_IN_A_FOLDER), commits))
