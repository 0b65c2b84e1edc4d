"""Upkeep of a table: compaction, checkpoints, clean-up of the log, vacuum."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from msgspec import Struct

from edge_delta.core.errors import CompactorAtWork, EdgeDeltaError
from edge_delta.core.events import Event, Log
from edge_delta.core.memory import PLAIN
from edge_delta.sinks import access as reach
from edge_delta.sinks import address as storage
from edge_delta.sinks.delta import compaction
from edge_delta.sinks.delta.creation import durable_properties
from edge_delta.sinks.delta.durable import folder_of, require_folders_to
from edge_delta.sinks.delta.heal import temporary_files
from edge_delta.sinks.delta.inventory import inventory, trim_log
from edge_delta.sinks.delta.lease import LEASE, LOOKED_AFTER, VACUUMED, Lease, milliseconds
from edge_delta.sinks.delta.types import to_polars

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_delta.core.model import Inventory
    from edge_delta.core.ports import Noting
    from edge_delta.sinks.access import Access
    from edge_delta.sinks.delta.durable import Disk

_VACUUM_EVERY = timedelta(days=1)
_VACUUMS_PER_RETENTION = 4
_ASKED_ONE_IN = 8
_SELDOM = 50


class Plan(Struct, frozen=True):
    """When and how a table is looked after.

    Attributes:
        every_commits: after how many commits to the table, whichever processes made them.
        hours: at which hours of the day, UTC, instead.
        target_bytes: the size that compacted files grow to.
        retention: how long files that are no longer in the table stay, for readers of older versions.
        log_commits: how many commits the log keeps at most, in a folder; None for as many as the retention has.
        statistics: columns that the log has limits of besides ids and times, where a table is brought up to date.
        group_rows: rows that a compaction holds in memory until they are written.
    """

    every_commits: int = 100
    hours: tuple[int, ...] = ()
    target_bytes: int = 64_000_000
    retention: timedelta = timedelta(days=7)
    log_commits: int | None = None
    statistics: tuple[str, ...] = ()
    group_rows: int = PLAIN.group_rows

    @property
    def vacuum_every(self) -> timedelta:
        """Between two looks for files that nobody needs, each of which lists all of them."""
        return min(_VACUUM_EVERY, self.retention / _VACUUMS_PER_RETENTION)


class Report(Struct, frozen=True):
    """What one upkeep came to.

    Attributes:
        table: the table's address.
        files_before: live files before.
        files_after: live files after.
        files_vacuumed: files that nobody needed and that are gone.
        bytes_rewritten: bytes of the files that were joined or ordered.
        inventory: what is there now.
    """

    table: str
    files_before: int
    files_after: int
    files_vacuumed: int
    bytes_rewritten: int
    inventory: Inventory


class Keeper:
    """Looks after one table.

    Args:
        uri: the table's address.
        options: storage options for delta-rs, or who gives them, such as a catalog.
        plan: when and how.
        now: the clock, UTC.
        log: where events go.
        disk: puts what is written on the disk, for a table in a folder.
    """

    def __init__(  # noqa: PLR0913 - the table's place, and what is done there
        self,
        uri: str,
        options: Mapping[str, str] | Access,
        plan: Plan,
        *,
        now: Callable[[], datetime],
        log: Log,
        disk: Disk | None = None,
    ) -> None:
        self.uri = uri
        self._access = reach.access_of(uri, options)
        self._plan = plan
        self._now = now
        self._log = log
        self._disk = disk
        self._lease = Lease(uri, now, disk)
        self._compaction = compaction.Compaction(plan.target_bytes, disk, plan.group_rows)
        self._since: int | None = None
        self._last_hour: datetime | None = None

    def committed(self, table: Noting) -> Inventory | None:
        """After a commit, look after the table if that is due. A failure is logged and waits for the next time.

        Args:
            table: the table as the commit left it.

        Returns:
            What the table has now; None if it was not due, or failed.
        """
        version = table.version() or 0
        if not self._due(table, version):
            return None
        self._since = version  # also where it fails: the next try is as far away
        try:
            report = self.run(due=True)
        except CompactorAtWork:
            return None
        except EdgeDeltaError as error:
            self._log.warning(Event.UPKEEP_FAILED, table=self.uri, error=str(error))
            return None
        return report.inventory if report is not None else None

    def _due(self, table: Noting, version: int) -> bool:
        if not self._plan.hours:
            if self._since is None or self._since > version:  # another table may have its place
                if not _worth_asking(version, self._plan.every_commits):
                    return False
                self._since = min(table.noted(LOOKED_AFTER) or 0, version)
            return version - self._since >= self._plan.every_commits
        hour = _hour(self._now())
        if hour.hour not in self._plan.hours or hour == self._last_hour:
            return False
        looked = table.noted(LEASE)
        self._last_hour = hour
        return looked is None or _hour(datetime.fromtimestamp(looked / 1000, UTC)) != hour

    def run(self, z_order: Sequence[str] = (), *, due: bool = False) -> Report | None:
        """Look after the table now.

        Args:
            z_order: columns to order rows by, instead of only joining small files: in the partitions that have files
                which are not ordered by them yet.
            due: whether it is the time for it, so that it is noted also if there was nothing to do.

        Returns:
            What was done; None if there is no table.

        Raises:
            CompactorAtWork: if another compactor is at work; nothing was changed.
            CommitConflict: if another commit got in the way of this one; nothing was changed.
            StorageUnavailable: if the store does not answer.
        """
        started = time.perf_counter()
        with reach.errors(self.uri, self._access, "upkeep"):
            if (table := self._opened()) is None:
                return None
            files = compaction.live_files(table)
            before = sum(map(len, files.values()))
            claimed, rewritten = self._compact(table, files, z_order)
            vacuumed = self._clean(table, due=due)
            if claimed or due or vacuumed:
                self._note(table, z_order if claimed else (), vacuumed=vacuumed is not None)
            self._since = table.version()  # whoever stays need not ask the log; others may fill the table fast
            listed = vacuumed is not None or self._disk is not None
            there = inventory(table, self.uri, self._plan.retention, self._now(), listing=listed)
            report = Report(self.uri, before, there.live, vacuumed or 0, rewritten, there)
        self._log.info(
            Event.UPKEEP,
            table=report.table,
            files_before=report.files_before,
            files_after=report.files_after,
            files_vacuumed=report.files_vacuumed,
            bytes_rewritten=report.bytes_rewritten,
            seconds=round(time.perf_counter() - started, 3),
        )
        return report

    def _opened(self) -> DeltaTable | None:
        if self._disk is not None:
            self._disk.prepare()
        try:
            reached = self._access.now()
            table = DeltaTable(reached.location, storage_options=reached.options or None)
        except TableNotFoundError:
            require_folders_to(self.uri)
            return None
        if self._disk is not None:
            self._disk.opened(table.version())
        return table

    def upgrade(self) -> dict[str, str]:
        """Give a table made by an earlier version or another tool the properties of a new one; data stays as it is.

        Files keep the limits that they have; those that come, and compacted ones, have the chosen columns'.

        Returns:
            What was changed, by property; empty if nothing had to be, or there is no table.

        Raises:
            CommitConflict: if another commit got in the way.
            StorageUnavailable: if the store does not answer.
        """
        with reach.errors(self.uri, self._access, "upgrade"):
            table = self._opened()
            if table is None:
                return {}
            parts = table.metadata().partition_columns
            known = to_polars(table.schema()).items()
            columns = {name: dtype for name, dtype in known if dtype is not None and name not in parts}
            there = table.metadata().configuration
            wanted = durable_properties(pl.Schema(columns), self._plan.retention, self._plan.statistics)
            changed = {name: value for name, value in wanted.items() if there.get(name) != value}
            if changed:
                table.alter.set_table_properties(changed)
                self._settle(table)
        return changed

    def _settle(self, table: DeltaTable) -> None:
        if self._disk is not None:
            self._disk.committed(table.version())

    def _compact(self, table: DeltaTable, files: compaction.Files, z_order: Sequence[str]) -> tuple[bool, int]:
        """Whether files were joined or ordered, and the bytes of those that were written again."""
        size = None if z_order else compaction.size_to_join(files, self._plan.target_bytes)
        order = compaction.unordered(table, files, z_order) if z_order else []
        if size is None and not order:
            return False, 0
        self._lease.claim(table)
        try:
            if size is None:
                written = self._compaction.order(table, z_order, order)
            else:
                written = self._compaction.join(table, size)
            self._settle(table)
        except BaseException:
            with contextlib.suppress(EdgeDeltaError):  # then it ends by itself
                self._lease.note(table, {LEASE: milliseconds(self._now())})
            raise
        return True, written

    def _note(self, table: DeltaTable, z_order: Sequence[str], *, vacuumed: bool) -> None:
        """Let the lease go, and say up to where the table was looked after."""
        now = milliseconds(self._now())
        numbers = {LEASE: now, LOOKED_AFTER: table.version() + 1}
        if vacuumed:
            numbers[VACUUMED] = now
        if z_order:
            numbers[compaction.ORDERED + ",".join(z_order)] = compaction.newest(compaction.live_files(table))
        with contextlib.suppress(EdgeDeltaError):  # the lease ends by itself, and the next upkeep comes earlier
            self._lease.note(table, numbers)

    # -- what is not needed any more

    def _clean(self, table: DeltaTable, *, due: bool) -> int | None:
        """How many files that nobody needs are gone; None if they were not looked for, which lists all files."""
        if self._disk is not None:
            self._disk.write_checkpoint(table)
        else:
            table.create_checkpoint()
        folder = folder_of(self.uri) if storage.is_folder(self.uri) else None
        if folder is not None and self._plan.log_commits is not None:
            trim_log(folder, table.version() - self._plan.log_commits)
        if due and not self._vacuum_due(table):
            return None
        table.cleanup_metadata()
        hours = max(1, round(self._plan.retention / timedelta(hours=1)))
        # The whole listing: checkpoints drop the tombstones past their time, and what failed commits left has none.
        gone = table.vacuum(retention_hours=hours, dry_run=False, enforce_retention_duration=False, full=True)
        self._settle(table)
        left = temporary_files(folder, self._plan.retention) if folder is not None else []
        for path in left:
            path.unlink(missing_ok=True)
        return len(gone) + len(left)

    def _vacuum_due(self, table: DeltaTable) -> bool:
        last = table.transaction_version(VACUUMED)
        now = self._now()
        # A time that is yet to come was a wrong clock's.
        return last is None or not milliseconds(now - self._plan.vacuum_every) < last <= milliseconds(now)


def _worth_asking(version: int, every: int) -> bool:
    """Whether to ask the log how long ago the last maintenance was: one in eight versions, in no regular order.

    It is a request to the store for each commit since the last checkpoint, and a process that makes one commit begins
    by asking. Spread by Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4).
    """
    return every < _SELDOM or (version * 2_654_435_769 >> 16) % _ASKED_ONE_IN == 0


def _hour(time: datetime) -> datetime:
    return time.replace(minute=0, second=0, microsecond=0)
