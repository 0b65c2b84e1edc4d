"""New states of rows that were updated after they were delivered, where the settings ask for them.

A look goes over the rows that may have been updated: those of some ids behind the cursor, and those whose column says
that they were changed since the last look. What was delivered of them is decided by the table (`delivery.versions`), as
it is for rows below the cursor, and the new states go the same way as those do. What is kept between two looks only
says where to look, and nothing depends on it but the time that the next look takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

from edge_delta.core.events import Event
from edge_delta.core.model import BEFORE_FIRST, Cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from threading import Event as Flag

    from edge_delta.core.model import Batch, Rejection, Step
    from edge_delta.core.updates import Updates
    from edge_delta.delivery.lane import Lane

_AT_ONCE = 4_096
_OVERLAP_MS = 60_000
"""How much earlier than the last look a row may say that it was changed: its transaction was open then."""
_MOST_KNOWN = 200_000
_KEPT = "updates"


class Seen(Struct):
    """What rows looked like when they were delivered, or compared with the table: a hash of each."""

    rows: dict[int, int] = field(default_factory=dict)

    def add(self, batch: Batch, most: int) -> None:
        """The last rows of a batch are in the table as they are here.

        Args:
            batch: the batch.
            most: how many of them are of interest.
        """
        some = batch.frame.tail(most)
        self.rows.update(zip(some[some.columns[0]].to_list(), some.hash_rows().to_list(), strict=True))
        self.rows.update((r.rowid, _hashed(r)) for r in batch.rejected[-most:])
        if len(self.rows) > _MOST_KNOWN:
            self.rows = dict(list(self.rows.items())[-_MOST_KNOWN // 2 :])

    def other(self, batch: Batch) -> Batch | None:
        """The rows of a batch that do not look so, or that are not known; None if there are none."""
        ids, hashes = batch.frame[batch.frame.columns[0]].to_list(), batch.frame.hash_rows().to_list()
        new = [self.rows.get(i) != h for i, h in zip(ids, hashes, strict=True)]
        rejected = tuple(r for r in batch.rejected if self.rows.get(r.rowid) != _hashed(r))
        return replace(batch, frame=batch.frame.filter(new), rejected=rejected) if any(new) or rejected else None


def _hashed(rejection: Rejection) -> int:
    return hash(repr(sorted(rejection.cells.items())))


class Updating(Struct):
    """Looks for updated rows in all lanes that deliver them.

    Args:
        updates: how they are found.
        load: gives what `save` was given last; empty if that is lost.
        save: keeps where the next look begins.
    """

    updates: Updates
    load: Callable[[], dict[str, Any]]
    save: Callable[[dict[str, Any]], None]
    due: bool = False

    def begins(self, lane: Lane) -> None:
        """A lane is about to read: what the source's first reading finds needs no look back."""
        if self.updates.column is None or not lane.route.versioned or lane.cursor().rowid != BEFORE_FIRST:
            return
        kept, census = self.load(), lane.route.source.census
        generation = lane.cursor().generation
        if self._since(kept, lane.name, generation) is None:
            self._keep(lane.name, {"generation": generation, "since": census.last_change(self.updates.column)})

    def run(self, lanes: Sequence[Lane], limit: int, stop: Flag) -> Iterator[tuple[Lane, Step]]:
        """Deliver what was updated since the last look.

        Args:
            lanes: the lanes.
            limit: the most rows in a commit.
            stop: ends it after the commit in flight.

        Yields:
            Each commit with its lane.
        """
        ours = [lane for lane in lanes if lane.route.versioned and lane.cursor().rowid != BEFORE_FIRST]
        if not ours or not self.due:
            return
        written, kept = ours[0].route.source.census.written(), self.load().get(_KEPT, {})
        for lane in ours:
            stands = [lane.cursor().generation, lane.cursor().rowid]
            before = kept.get(lane.name, {})
            if written is not None and before.get("written") == written and before.get("cursor") == stands:
                continue  # as a run with `--once` finds it where nobody wrote since the last one
            for step in self._look(lane, limit, stop):
                yield lane, step
            if stop.is_set():
                return
            now = {"written": written, "cursor": stands}
            self._keep(lane.name, {**self.load().get(_KEPT, {}).get(lane.name, {}), **now})
        self.due = False

    # -- one lane

    def _look(self, lane: Lane, limit: int, stop: Flag) -> Iterator[Step]:
        from edge_delta.delivery import versions  # noqa: PLC0415 - Polars

        generation, found = lane.cursor().generation, 0
        for batch in self._candidates(lane):
            other = lane.seen.other(batch)
            if other is None:
                continue
            for part in _parts(other, limit):
                last = versions.last_of(lane.route, [*part.frame[part.frame.columns[0]], *_rejected(part)])
                new = _newer(lane, part, last)
                lane.check_source()  # also that the rows which were just read are of the source that was delivered
                if stop.is_set() or lane.cursor().generation != generation:
                    return
                step = lane.renew(new, last) if new is not None else None
                if step is not None:
                    found += step.updated
                    yield step
            lane.seen.add(batch, batch.rows)
        if found:
            lane.route.device.log.info(Event.UPDATES_DELIVERED, mode=lane.name, rows=found)

    def _candidates(self, lane: Lane) -> Iterator[Batch]:
        """The rows to look at."""
        source, upto = lane.route.source, lane.cursor().rowid
        after = max(upto - self.updates.window, BEFORE_FIRST + 1)
        lane.seen.rows = {i: h for i, h in lane.seen.rows.items() if i > after or self.updates.column is not None}
        while after < upto and (batch := source.read_after(Cursor(rowid=after), limit=_AT_ONCE, upto=upto)) is not None:
            yield batch
            after = batch.cursor.rowid
        if self.updates.column is not None:
            yield from self._named_by_the_column(lane, self.updates.column)

    def _named_by_the_column(self, lane: Lane, column: str) -> Iterator[Batch]:
        source, cursor = lane.route.source, lane.cursor()
        since = self._since(self.load(), lane.name, cursor.generation)
        until, after = 0 if since is None else since + _OVERLAP_MS, BEFORE_FIRST
        while True:
            ids, at = source.census.changed_since(column, since, after=after, upto=cursor.rowid, limit=_AT_ONCE)
            if not ids:
                break
            until, after = max(until, at), ids[-1]
            batch = source.read_ids(ids)
            if batch is not None:
                yield batch
        self._keep(lane.name, {"generation": cursor.generation, "since": until})

    @staticmethod
    def _since(kept: dict[str, Any], name: str, generation: int) -> int | None:
        """From when on rows are looked at; None for all of them."""
        before = kept.get(_KEPT, {}).get(name, {})
        since = before.get("since")
        return since - _OVERLAP_MS if before.get("generation") == generation and since is not None else None

    def _keep(self, name: str, what: dict[str, Any]) -> None:
        kept = self.load()
        self.save({**kept, _KEPT: {**kept.get(_KEPT, {}), name: what}})


def _rejected(batch: Batch) -> list[int]:
    return [r.rowid for r in batch.rejected]


def _parts(batch: Batch, limit: int) -> Iterator[Batch]:
    """A batch in pieces that are no larger than a commit may be."""
    if batch.rows <= limit:
        yield batch
        return
    for frame in batch.frame.iter_slices(limit):
        yield replace(batch, frame=frame, rejected=())
    if batch.rejected:
        yield replace(batch, frame=batch.frame.clear())


def _newer(lane: Lane, batch: Batch, last: Any) -> Batch | None:
    """Those of the rows whose state is not the last that the table has; rows that it has nothing of are no updates."""
    from edge_delta.core.plan import ROWID  # noqa: PLC0415 - Polars
    from edge_delta.delivery import fitting, versions  # noqa: PLC0415 - Polars

    route, mode = lane.route, lane.route.mode().uncarried()
    known, key = set(last[ROWID]), batch.frame.columns[0]
    plan = fitting.fitted(
        mode.plan(batch.frame.lazy(), batch.layout, route.context(lane.cursor().generation)), route.sink.columns()
    )
    rows, broken = fitting.kept_rows(plan, batch.frame)
    changed = versions.changed(rows, last, route.mode(), route) | (known & {r.rowid for r in broken})
    rejected = tuple(r for r in batch.rejected if r.rowid in known)
    frame = batch.frame.filter(batch.frame[key].is_in(list(changed)))
    return replace(batch, frame=frame, rejected=rejected) if frame.height or rejected else None
