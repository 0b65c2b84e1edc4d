"""The purge of one source table, range after range."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from edge_delta.core.counting import Counts
from edge_delta.core.errors import ConfigurationError, PurgeRefused, SourceReset, StorageUnavailable
from edge_delta.core.events import Event
from edge_delta.core.model import BEFORE_FIRST, Cursor
from edge_delta.core.time_formats import REJECTED_IN_A_ROW
from edge_delta.delivery.identity import Identity, Lanes, still_there
from edge_delta.delivery.ledger import Ledger
from edge_delta.recovery.purge.ages import ages
from edge_delta.recovery.purge.proof import TOO_LARGE, ByCounts, InTables
from edge_delta.recovery.purge.report import Purged

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from typing import Any

    from edge_delta.core.model import Batch
    from edge_delta.delivery.route import Route
    from edge_delta.recovery.purge.ages import Ages
    from edge_delta.recovery.purge.proof import Proof
    from edge_delta.source.deletion import Deletion

KEPT_ROWS = 500
"""The last rows stay, whatever is asked: by them and the cursor's witnesses it is told that the source is the same."""
_ROWS = 50_000


class Wanted(Struct, frozen=True):
    """What is to go.

    Attributes:
        before: older rows; None for rows of any age.
        upto_id: the last id; None for all.
        dry: whether only to count.
    """

    before: datetime | None = None
    upto_id: int | None = None
    dry: bool = False


class Purge(Struct):
    """Deletes delivered rows of one source table.

    Args:
        routes: those of every mode that is delivered.
        deletion: deletes them.
        wanted: what is to go.
        mirror: what `last_upload.json` says; it can only forbid.
        swept: what the last sweep kept, for modes whose tables have no rows.
    """

    routes: Sequence[Route]
    deletion: Deletion
    wanted: Wanted
    mirror: Mapping[str, Any]
    swept: Callable[[], Mapping[str, Any]]

    def run(self) -> Purged:
        """Do it.

        Raises:
            ConfigurationError: if this table's rows cannot go by what is wanted.
            PurgeRefused: if a person has to look first.
            StorageUnavailable: if it is not known yet what was delivered.
        """
        began = time.perf_counter()
        if self.wanted.before is not None and not self.deletion.has_times:
            raise ConfigurationError(
                f"table {self.deletion.source.table!r} has no column with times, so its rows have no age",
                "Say --upto-id ID to delete by id, or --keep 0 for all that is settled",
            )
        cursors = self._cursors()
        self._refuse_what_is_open()
        proof, settled = self._proof(cursors), min(cursor.settled for cursor in cursors)
        names = [route.traits.replayable for route in self.routes]
        done = Purged(self.deletion.source.table, settled, dry=self.wanted.dry, single_rows_gone=not any(names))
        last = self.deletion.kept_behind(settled, KEPT_ROWS)
        if last is not None:
            asked = self.wanted.upto_id
            self._walk(done, proof, last if asked is None else min(last, asked), cursors)
        if not self.wanted.dry:
            freed = self.deletion.free()
            done.free_bytes, done.returned_bytes = freed.pages * freed.page_size, freed.returned
            done.incremental = freed.incremental
        done.longest_ms = round(self.deletion.pacer.longest * 1_000, 1)
        done.seconds = round(time.perf_counter() - began, 3)
        self._tell(done)
        return done

    def _tell(self, done: Purged) -> None:
        log = self.routes[0].device.log
        if done.not_delivered:
            first, last = done.not_delivered_ids or (0, 0)
            log.warning(Event.NOT_PURGED, table=done.table, rows=done.not_delivered, first_id=first, last_id=last)
        log.info(
            Event.PURGED,
            table=done.table,
            rows=done.rows,
            first_id=done.first_id,
            last_id=done.last_id,
            dry_run=done.dry,
            longest_ms=done.longest_ms,
            seconds=done.seconds,
        )

    # -- up to where

    def _cursors(self) -> list[Cursor]:
        """Where every mode stands, by the logs of their tables."""
        found = []
        for route in self.routes:
            cursor = route.sink.committed()
            if cursor is None or cursor.rowid == BEFORE_FIRST:
                raise StorageUnavailable(
                    f"mode {route.name} has delivered nothing of table {route.source.table!r} yet, so nothing may go",
                    "Let edge-delta run first; name the same modes and tables as it does",
                )
            found.append(cursor)
        if len({cursor.generation for cursor in found}) > 1:
            raise StorageUnavailable(
                "the modes do not agree yet which source this is (source_generation)", "Let edge-delta run first"
            )
        for route, cursor in zip(self.routes, found, strict=True):
            try:
                Identity(route, Lanes()).confirmed(cursor)
            except SourceReset as reset:
                raise SourceReset(
                    f"{reset.fact}: nothing was deleted", "Let edge-delta run; it says what became of the source"
                ) from reset
        return found

    def _refuse_what_is_open(self) -> None:
        """What a person should look at while the rows are still there."""
        tables = self.mirror.get("tables", {})
        for route in self.routes:
            known = tables.get(route.name) or {}
            if known.get("not_swept") and not self._has_rows:
                raise PurgeRefused(
                    f"mode {route.name} has not taken all rows that came below its cursor",
                    "Compare with edge-delta verify; edge-delta reset delivers them while they are there",
                )
            if known.get("rejected_in_a_row", 0) >= REJECTED_IN_A_ROW:
                raise PurgeRefused(
                    f"the last {known['rejected_in_a_row']:,} rows of mode {route.name} were rejected, every one",
                    "See why in the ..._rejected table, correct it, and run edge-delta replay; then purge",
                )

    @property
    def _has_rows(self) -> bool:
        """Whether a table has a row for each row of the source."""
        return any(route.traits.replayable for route in self.routes)

    def _proof(self, cursors: Sequence[Cursor]) -> Proof:
        ends = list(zip(self.routes, cursors, strict=True))
        if self._has_rows:
            return InTables([(route, cursor) for route, cursor in ends if route.traits.replayable])
        from edge_delta.delivery.delivered import Delivered  # noqa: PLC0415 - beside Polars, as all of a proof

        kept = self.swept()
        known = [(Ledger.of(kept.get(r.name), c), Delivered(r, c).begin(), c) for r, c in ends]
        return ByCounts(self.deletion.source.census, known)

    # -- rows

    def _walk(self, done: Purged, proof: Proof, last: int, cursors: Sequence[Cursor]) -> None:
        """Range after range, up to the first that has nothing old enough."""
        after, source = BEFORE_FIRST, self.deletion.source
        while True:
            bound = proof.bound(after)
            extent = self.deletion.copy(after, last if bound is None else min(bound, last), limit=_ROWS)
            if extent is None:
                if bound is None or bound >= last:
                    return
                after = bound
                continue
            batch = source.read_extent(extent, Cursor())
            after = extent.last
            if batch is None:
                continue
            found = self._ages(batch)
            done.timeless += len(found.unknown)
            if found.old:
                self._batch(done, proof, batch, found)
                still_there(source, cursors[0])
            elif found.young:
                return

    def _ages(self, batch: Batch) -> Ages:
        before = self.wanted.before
        now = round(self.routes[0].device.now().timestamp() * 1_000_000)
        return ages(batch, None if before is None else round(before.timestamp() * 1_000_000), now)

    def _batch(self, done: Purged, proof: Proof, batch: Batch, found: Ages) -> None:
        large = {r.rowid for r in batch.rejected if r.rule == TOO_LARGE}
        done.too_large += len(large & found.old)
        some = replace(batch, frame=batch.frame, rejected=tuple(r for r in batch.rejected if r.rowid not in large))
        going = (proof.delivered(some) & found.old) - large
        done.stay(found.old - going - large)
        if not going:
            return
        if self.wanted.dry:
            self._count(done, len(going), min(going), max(going))
            return
        ids = {*batch.frame[batch.frame.columns[0]], *(r.rowid for r in batch.rejected)}
        self.deletion.spare(ids - going)
        rows = 0
        for went, total in self.deletion.run():
            rows += went
            if went:
                proof.went(Counts(went, total), min(going))
        done.changed += max(0, len(going) - rows)
        if rows:
            self._count(done, rows, min(going), max(going))

    @staticmethod
    def _count(done: Purged, rows: int, first: int, last: int) -> None:
        done.rows += rows
        done.first_id = first if done.first_id is None else done.first_id
        done.last_id = last
