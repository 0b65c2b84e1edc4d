"""A route: from one table of a source, through one mode, to the mode's table and the rejected one."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.core.cells import as_json
from edge_delta.core.errors import NotRegistered
from edge_delta.core.events import Event, Log
from edge_delta.core.model import Context, Refused
from edge_delta.core.questions import Question, among, mine, named, rejected_by
from edge_delta.modes.traits import TRAITS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from edge_delta.core.model import Cursor, Inventory, Rejection
    from edge_delta.core.ports import Mode, Sink, Source, Upkeep
    from edge_delta.core.updates import Updates
    from edge_delta.modes.traits import Traits


class Device(Struct, frozen=True):
    """What is the same on all routes of a process.

    Attributes:
        node_id: this device.
        now: the clock, in UTC.
        log: where events go.
        stop_on_reset: whether a replaced source stops the process instead of starting a new generation.
        updates: how updated rows are found whose new state is to be delivered; None where updates are counted alone.
    """

    node_id: str
    now: Callable[[], datetime]
    log: Log
    stop_on_reset: bool = False
    updates: Updates | None = None


class Tables(Struct, frozen=True):
    """Where a route ends.

    Attributes:
        sink: the mode's table.
        rejects: the rejected table.
        keepers: those who look after the two, if this process does.
        superseded: opens the table of what resets of the mode's table took the place of.
    """

    sink: Sink
    rejects: Sink
    keepers: tuple[Upkeep, Upkeep] | None = None
    superseded: Callable[[], Sink] | None = None

    def recorded(self) -> Sink | None:
        """The table of what resets took the place of; None if there is none."""
        sink = None if self.superseded is None else self.superseded()
        try:
            return sink if sink is not None and sink.exists() else None
        except NotRegistered:  # a catalog has none, so nothing was recorded in it; a reset says how to register it
            return None


class Route:
    """From one source table through one mode to its tables.

    Args:
        name: the mode's name.
        source: where rows come from.
        load_mode: builds the mode; called when the first batch is there.
        tables: where they go.
        device: what is the same on all routes.
    """

    def __init__(
        self, name: str, source: Source, load_mode: Callable[[], Mode], tables: Tables, device: Device
    ) -> None:
        self.name = name
        self.source = source
        self.tables = tables
        self.device = device
        self._load_mode = load_mode
        self._mode: Mode | None = None
        self._loading = threading.Lock()

    @property
    def traits(self) -> Traits:
        """What the mode is."""
        return TRAITS[self.name]

    @property
    def versioned(self) -> bool:
        """Whether new states of delivered rows come to the table: only where a row stands for one row of the source."""
        return self.device.updates is not None and self.traits.replayable

    @property
    def sink(self) -> Sink:
        """The mode's table."""
        return self.tables.sink

    def mode(self) -> Mode:
        """The mode; built when it is first asked for, by whichever thread."""
        with self._loading:
            if self._mode is None:
                self._mode = self._load_mode()
            return self._mode

    def context(self, generation: int) -> Context:
        """What the mode may know, without a memory."""
        return Context(self.device.node_id, generation, self.device.now(), self.source.table)

    def forget(self) -> None:
        """Drop what is cached of the tables; their logs decide again."""
        self.sink.forget()
        self.tables.rejects.forget()

    # -- commits beside the mode's own

    def refuse(self, rejected: list[Rejection], cursor: Cursor, *, swept: bool = False) -> Refused:
        """Write rejected rows, before the rows that are kept. What is there already of this batch is not written again.

        Args:
            rejected: the batch's rejected rows.
            cursor: where the batch ends.
            swept: whether the rows come from below the cursor, and each has to be looked for.
        """
        rejects = self.tables.rejects
        stands = rejects.committed() if rejected and not swept else None
        if stands is not None and stands.generation == cursor.generation:
            rejected = [r for r in rejected if r.rowid > stands.rowid]
        if not rejected:
            return Refused()
        from edge_delta.sinks.rejected import as_frame  # noqa: PLC0415 - Polars, and only for what is rejected

        shown = self.mode().redacted(rejected, self.source.layout)
        context = self.context(cursor.generation)
        if swept and rejects.exists():
            shown = self._not_there(shown)
            if not shown:
                return Refused()
        commit = rejects.append(as_frame(shown, context, mode=self.name, source_table=self.source.table), cursor)
        if self.tables.keepers is not None and self.tables.keepers[1].committed(rejects) is not None:
            rejects.forget()
        self._tell_of(shown, commit.table, commit.bytes)
        return Refused(len(shown), commit.bytes, Counter(r.rule for r in shown))

    def _not_there(self, shown: list[Rejection]) -> list[Rejection]:
        """Those that the rejected table does not have as they are: an id may have been used again."""
        own = (*mine(self.device.node_id), *rejected_by(self.source.table, self.name))
        where = (*own, *among("reading_id", {r.rowid for r in shown}))
        found = self.tables.rejects.ask(Question(where, named("reading_id", "row")))
        there = Counter(zip(found["reading_id"], found["row"], strict=True))
        left = []
        for one in shown:
            row = one.rowid, as_json(one.cells)
            there[row] -= 1
            left += [one] if there[row] < 0 else []
        return left

    def _tell_of(self, rejected: list[Rejection], table: str, size: int) -> None:
        by = dict(Counter(f"{r.rule}: {r.column}" for r in rejected))
        self.device.log.warning(Event.ROWS_REJECTED, table=table, mode=self.name, rows=len(rejected), bytes=size, by=by)

    def look_after(self) -> Inventory | None:
        """Compact the mode's table if that is due after a commit; what it has then."""
        found = self.tables.keepers[0].committed(self.sink) if self.tables.keepers is not None else None
        if found is not None:
            self.sink.forget()  # its handle knows the files that were there before
        return found
