"""One compactor per table, and what upkeep notes in the table's log for the next process that looks after it.

delta-rs lets two compactions that run at once write every row twice (1.6.4 to 1.6.6), so whoever starts first claims a
lease: an empty commit with a ``txn`` whose version is the lease's end. A rival whose view of the table is older is
refused by the log; one that looks later finds the lease. When it ends, the same kind of commit says up to which version
the table was looked after and when its files were last listed: a device that runs once every few minutes counts its
commits across its processes by that.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction, write_deltalake

from edge_delta.core.errors import CommitConflict, CompactorAtWork
from edge_delta.sinks import address as storage
from edge_delta.sinks.delta.types import to_polars

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_delta.sinks.delta.durable import Disk

LEASE = "edge-delta/compactor"
"""Until when somebody compacts the table, milliseconds; after that, when it was last looked after."""
LOOKED_AFTER = "edge-delta/upkeep"
"""The version up to which the table was looked after."""
VACUUMED = "edge-delta/vacuum"
"""When its files were last listed and old ones deleted, milliseconds."""
_LEASE_TIME = timedelta(hours=2)


def milliseconds(time: datetime) -> int:
    """A time as a number for a ``txn``."""
    return round(time.timestamp() * 1000)


class Lease:
    """The right to compact one table.

    Args:
        uri: the table's address.
        now: the clock, UTC.
        disk: puts what is written on the disk, for a table in a folder.
    """

    def __init__(self, uri: str, now: Callable[[], datetime], disk: Disk | None) -> None:
        self._uri = uri
        self._now = now
        self._disk = disk

    def claim(self, table: DeltaTable) -> None:
        """Make the lease ours: nobody holds one, and nobody claimed it since this view of the table.

        A lease that ends later than one that begins now would is none: its clock was wrong.

        Raises:
            CompactorAtWork: if another one is at work.
        """
        now = self._now()
        held = table.transaction_version(LEASE)
        if held is not None and milliseconds(now) < held <= milliseconds(now + _LEASE_TIME):
            until = datetime.fromtimestamp(held / 1000, UTC)
            raise CompactorAtWork(
                f"another compactor is at work on {self._uri}, until {until:%Y-%m-%d %H:%M} UTC at the latest",
                "Wait for it to end",
            )
        try:
            self.note(table, {LEASE: milliseconds(now + _LEASE_TIME)})
        except CommitConflict as error:
            raise CompactorAtWork(
                f"another compactor has begun to work on {self._uri}", "Wait for it to end"
            ) from error

    def note(self, table: DeltaTable, numbers: Mapping[str, int]) -> None:
        """An empty commit with numbers. delta-rs refuses it if another one carried the same names meanwhile."""
        columns = {name: dtype for name, dtype in to_polars(table.schema()).items() if dtype is not None}
        now = milliseconds(self._now())
        with storage.errors(self._uri, "lease"):
            write_deltalake(
                table,
                pl.DataFrame(schema=columns),
                mode="append",
                commit_properties=CommitProperties(
                    app_transactions=[Transaction(name, number, now) for name, number in numbers.items()]
                ),
                post_commithook_properties=after_commits(self._disk),
            )
            if self._disk is not None:
                self._disk.committed(table.version())


def after_commits(disk: Disk | None) -> PostCommitHookProperties:
    """What delta-rs does after a commit. Cleaning up lists the whole log; upkeep does it."""
    return PostCommitHookProperties(create_checkpoint=disk is None, cleanup_expired_logs=False)
