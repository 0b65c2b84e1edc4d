"""Upkeep of a table: compaction, checkpoints, clean-up of the log, vacuum.

delta-rs lets two compactions that run at once write every row twice (1.6.4 to 1.6.6), so there is one compactor a
table. Whoever starts first claims a lease: an empty commit with a ``txn`` whose version is the lease's end. A rival
whose view of the table is older is refused by the log; one that looks later finds the lease.
"""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import arro3.core as arrow
import polars as pl
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction, write_deltalake
from deltalake.exceptions import TableNotFoundError
from msgspec import Struct

from edge_delta.core.errors import CommitConflict, CompactorAtWork, EdgeDeltaError
from edge_delta.core.events import Event, Log
from edge_delta.sinks import address as storage
from edge_delta.sinks.delta.creation import durable_properties
from edge_delta.sinks.delta.durable import folder_of
from edge_delta.sinks.delta.heal import temporary_files
from edge_delta.sinks.delta.parquet import writer_properties
from edge_delta.sinks.delta.types import to_polars

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

from edge_delta.sinks.delta.durable import Disk

LEASE = "edge-delta/compactor"
_LEASE_TIME = timedelta(hours=2)
_VACUUM_EVERY = timedelta(days=1)
_FEWEST_FILES = 2


class Plan(Struct, frozen=True):
    """When and how a table is looked after.

    Attributes:
        every_commits: after how many commits of this process.
        hours: at which hours of the day, UTC, instead.
        target_bytes: the size that compacted files grow to.
        retention: how long files that are no longer in the table stay, for readers of older versions.
        statistics: columns that the log has limits of besides ids and times, where a table is brought up to date.
    """

    every_commits: int = 100
    hours: tuple[int, ...] = ()
    target_bytes: int = 64_000_000
    retention: timedelta = timedelta(days=7)
    statistics: tuple[str, ...] = ()


class Report(Struct, frozen=True):
    """What one upkeep came to."""

    table: str
    files_before: int
    files_after: int
    files_vacuumed: int


class Keeper:
    """Looks after one table.

    Args:
        uri: the table's address.
        options: storage options for delta-rs.
        plan: when and how.
        now: the clock, UTC.
        log: where events go.
        disk: puts what is written on the disk, for a table in a folder.
    """

    def __init__(  # noqa: PLR0913 - the table's place, and what is done there
        self,
        uri: str,
        options: Mapping[str, str],
        plan: Plan,
        *,
        now: Callable[[], datetime],
        log: Log,
        disk: Disk | None = None,
    ) -> None:
        self.uri = uri
        self._options = dict(options)
        self._plan = plan
        self._now = now
        self._log = log
        self._disk = disk
        self._commits = 0
        self._last_hour: datetime | None = None
        self._vacuumed: datetime | None = None

    def committed(self) -> bool:
        """Count a commit, and look after the table if that is due. A failure is logged and waits for the next time.

        Returns:
            Whether the table was changed.
        """
        self._commits += 1
        if not self._due():
            return False
        self._commits = 0
        try:
            report = self.run()
        except CompactorAtWork:
            return False
        except EdgeDeltaError as error:
            self._log.warning(Event.UPKEEP_FAILED, table=self.uri, error=str(error))
            return False
        return report is not None

    def _due(self) -> bool:
        if not self._plan.hours:
            return self._commits >= self._plan.every_commits
        hour = self._now().replace(minute=0, second=0, microsecond=0)
        if hour.hour not in self._plan.hours or hour == self._last_hour:
            return False
        self._last_hour = hour
        return True

    def run(self, z_order: Sequence[str] = ()) -> Report | None:
        """Look after the table now.

        Args:
            z_order: columns to order all rows by, instead of only joining small files.

        Returns:
            What was done; None if there is no table.

        Raises:
            CompactorAtWork: if another compactor is at work; nothing was changed.
            CommitConflict: if another commit got in the way of this one; nothing was changed.
            StorageUnavailable: if the store does not answer.
        """
        started = time.perf_counter()
        with storage.errors(self.uri, "upkeep"):
            if self._disk is not None:
                self._disk.prepare()
            try:
                table = DeltaTable(self.uri, storage_options=self._options or None)
            except TableNotFoundError:
                return None
            if self._disk is not None:
                self._disk.opened(table.version())
            before = len(table.file_uris())
            worth = bool(z_order) or self._small_files(table) >= _FEWEST_FILES
            if worth:
                self._claim(table)
                self._rewrite(table, z_order)
            vacuumed = self._clean(table)
            report = Report(self.uri, before, len(table.file_uris()), vacuumed)
        self._log.info(
            Event.UPKEEP,
            table=report.table,
            files_before=report.files_before,
            files_after=report.files_after,
            files_vacuumed=report.files_vacuumed,
            seconds=round(time.perf_counter() - started, 3),
        )
        return report

    def upgrade(self) -> dict[str, str]:
        """Give a table made by an earlier version or another tool the properties of a new one; data stays as it is.

        Files keep the limits that they have; those that come, and compacted ones, have the chosen columns'.

        Returns:
            What was changed, by property; empty if nothing had to be, or there is no table.

        Raises:
            CommitConflict: if another commit got in the way.
            StorageUnavailable: if the store does not answer.
        """
        with storage.errors(self.uri, "upgrade"):
            if self._disk is not None:
                self._disk.prepare()
            try:
                table = DeltaTable(self.uri, storage_options=self._options or None)
            except TableNotFoundError:
                return {}
            columns = {name: dtype for name, dtype in to_polars(table.schema()).items() if dtype is not None}
            there = table.metadata().configuration
            wanted = durable_properties(pl.Schema(columns), self._plan.retention, self._plan.statistics)
            changed = {name: value for name, value in wanted.items() if there.get(name) != value}
            if changed:
                table.alter.set_table_properties(changed)
                self._settle(table)
        return changed

    def _small_files(self, table: DeltaTable) -> int:
        sizes = arrow.Table.from_arrow(table.get_add_actions(flatten=True)).column("size_bytes").to_pylist()
        return sum(1 for size in sizes if size < self._plan.target_bytes // 2)

    # -- one compactor at a time

    def _claim(self, table: DeltaTable) -> None:
        """Make the lease ours: nobody holds one, and nobody claimed it since this view of the table.

        A lease that ends later than one that begins now would is none: its clock was wrong.
        """
        now = self._now()
        held = table.transaction_version(LEASE)
        if held is not None and _milliseconds(now) < held <= _milliseconds(now + _LEASE_TIME):
            until = datetime.fromtimestamp(held / 1000, UTC)
            raise CompactorAtWork(
                f"another compactor is at work on {self.uri}, until {until:%Y-%m-%d %H:%M} UTC at the latest",
                "Wait for it to end",
            )
        try:
            self._mark(table, now + _LEASE_TIME)
        except CommitConflict as error:
            raise CompactorAtWork(f"another compactor has begun to work on {self.uri}", "Wait for it to end") from error

    def _mark(self, table: DeltaTable, until: datetime) -> None:
        """An empty commit with the lease's end. delta-rs refuses it if another one carried the same id meanwhile."""
        columns = {name: dtype for name, dtype in to_polars(table.schema()).items() if dtype is not None}
        with storage.errors(self.uri, "lease"):
            write_deltalake(
                table,
                pl.DataFrame(schema=columns),
                mode="append",
                commit_properties=CommitProperties(app_transactions=[Transaction(LEASE, _milliseconds(until))]),
                post_commithook_properties=self._after_commits(),
            )
            self._settle(table)

    def _after_commits(self) -> PostCommitHookProperties:
        return PostCommitHookProperties(create_checkpoint=self._disk is None, cleanup_expired_logs=False)

    def _settle(self, table: DeltaTable) -> None:
        if self._disk is not None:
            self._disk.committed(table.version())

    def _rewrite(self, table: DeltaTable, z_order: Sequence[str]) -> None:
        columns = {name: dtype for name, dtype in to_polars(table.schema()).items() if dtype is not None}
        how = writer_properties(columns)
        try:
            # One task at a time: a small device has no memory for more.
            if z_order:
                table.optimize.z_order(
                    list(z_order),
                    target_size=self._plan.target_bytes,
                    max_concurrent_tasks=1,
                    writer_properties=how,
                    post_commithook_properties=self._after_commits(),
                )
            else:
                table.optimize.compact(
                    target_size=self._plan.target_bytes,
                    max_concurrent_tasks=1,
                    writer_properties=how,
                    post_commithook_properties=self._after_commits(),
                )
            self._settle(table)
        finally:
            with contextlib.suppress(EdgeDeltaError):  # then it ends by itself
                self._mark(table, self._now())

    # -- what is not needed any more

    def _clean(self, table: DeltaTable) -> int:
        if self._disk is not None:
            self._disk.write_checkpoint(table)
        else:
            table.create_checkpoint()
        now = self._now()
        if self._vacuumed is not None and now - self._vacuumed < _VACUUM_EVERY:
            return 0
        self._vacuumed = now
        table.cleanup_metadata()
        hours = max(1, round(self._plan.retention / timedelta(hours=1)))
        # The whole listing: checkpoints drop the tombstones past their time, and what failed commits left has none.
        gone = table.vacuum(retention_hours=hours, dry_run=False, enforce_retention_duration=False, full=True)
        self._settle(table)
        left = temporary_files(folder_of(self.uri), self._plan.retention) if storage.is_folder(self.uri) else []
        for path in left:
            path.unlink(missing_ok=True)
        return len(gone) + len(left)


def _milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1000)
