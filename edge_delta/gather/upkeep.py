"""Who looks after the tables that gather writes: it is their one writer, so it is their one compactor too.

What was taken stands in the newest commit that has rows, and upkeep is done after such a commit only: however short the
log becomes, that one stays.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from edge_delta.sinks import address as storage
from edge_delta.sinks.delta.durable import disk_of
from edge_delta.sinks.delta.upkeep import Keeper, Plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deltalake import DeltaTable

    from edge_delta.core.events import Log
    from edge_delta.settings.maintenance import MaintenanceSettings

_DAYS = 7
"""How long files that are no longer in a table stay, unless that is set; the log stays for `fleet.RETENTION`."""


class Noted:
    """What the log of an opened table notes; see `edge_delta.core.ports.Noting`.

    Args:
        table: the table.
    """

    def __init__(self, table: DeltaTable) -> None:
        self._table = table

    def version(self) -> int:
        """The table's version as it was opened."""
        return self._table.version()

    def noted(self, name: str) -> int | None:
        """A number that the log has under a name; None if it has none."""
        with storage.errors(self._table.table_uri, "open"):
            return self._table.transaction_version(name)


class Keepers:
    """Looks after tables, where it is due.

    Args:
        settings: the devices' own; how often and how large are the same here.
        options: storage options for delta-rs.
        log: where events go.
    """

    def __init__(self, settings: MaintenanceSettings, options: Mapping[str, str], log: Log) -> None:
        self._options = options
        self._log = log
        self._plan = Plan(
            settings.every_commits,
            settings.hours,
            settings.target_file_mb * 1_000_000,
            timedelta(days=settings.retention_days or _DAYS),
            statistics=settings.statistics_columns,
        )

    def committed(self, uri: str, table: DeltaTable) -> None:
        """After a commit, look after the table if that is due. A failure is logged and waits for the next time."""
        keeper = Keeper(uri, self._options, self._plan, now=lambda: datetime.now(UTC), log=self._log, disk=disk_of(uri))
        keeper.committed(Noted(table))
