"""Rejected rows put through their mode again, after the rules were changed or the sensor corrected its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct

from edge_delta.core.cells import from_json
from edge_delta.core.model import Batch, Cursor, Mark
from edge_delta.core.plan import ROWID
from edge_delta.core.questions import Condition, Question, Total, among, mine, named, rejected_by
from edge_delta.delivery import fitting
from edge_delta.delivery.identity import Identity, Lanes
from edge_delta.modes.base import DTYPES
from edge_delta.modes.privacy.policy import MARK
from edge_delta.source import cells
from edge_delta.source.values import value_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_delta.core.model import Context
    from edge_delta.core.ports import Mode
    from edge_delta.core.questions import Where
    from edge_delta.delivery.route import Route

_ROWS_AT_ONCE = 5_000


class Outcome(Struct, frozen=True):
    """What a replay came to.

    Attributes:
        tried: rows looked at.
        passed: rows that passed.
        last: how many were looked at since the last one that passed.
    """

    tried: int
    passed: int
    last: int = 0


class Replay(Struct, frozen=True):
    """The replay of one mode's rejected rows.

    A row is read from SQLite again if it is still there; if not, it is taken from the rejected table. Rows that pass
    are appended to the mode's table first and marked second. After a crash in between, those that the table holds
    already are only marked.

    Args:
        route: the mode, its source and its tables.
        draw: how coordinates are displaced now, None where they are not. Rows of the rejected table that say that
            theirs are displaced so keep them; all others are put through the mode as rows of the source are.
    """

    route: Route
    draw: str | None = None

    def run(self) -> Outcome:
        """Try all rejected rows of this device, table and mode that did not pass yet."""
        tried = passed = last = 0
        for generation, rows in self._rejected():
            ids = self._replayed(generation, rows)
            tried, passed = tried + rows.height, passed + len(ids)
            last = rows.filter(pl.col("reading_id") > max(ids)).height if ids else last + rows.height
        return Outcome(tried, passed, last)

    # -- what is to be tried

    def _mine(self, generation: int | None = None) -> Where:
        """The rows of the rejected table that this device's mode rejected."""
        route = self.route
        return (*mine(route.device.node_id, generation), *rejected_by(route.source.table, route.name))

    def _rejected(self) -> Iterator[tuple[int, pl.DataFrame]]:
        """Generations with their waiting rows (``reading_id``, ``row``), some thousand at a time."""
        if not self.route.tables.rejects.exists():
            return
        keys = ("source_generation", "reading_id")
        where = (*self._mine(), Condition("replayed_at", "null"))
        question = Question(where, named(*keys), totals={"row": Total("max", "row")}, order=keys)
        waiting = self.route.tables.rejects.ask(question)
        for (generation,), rows in waiting.group_by("source_generation", maintain_order=True):
            for chunk in rows.iter_slices(_ROWS_AT_ONCE):
                yield int(generation), chunk.with_columns(pl.col("row").cast(pl.String))

    # -- one chunk

    def _replayed(self, generation: int, rows: pl.DataFrame) -> list[int]:
        """The ids of the rows that passed."""
        context = self.route.context(generation)
        fresh = self._from_source(generation, rows)
        kept = [self._kept(self.route.mode(), fresh, context)] if fresh is not None else []
        here = set(fresh.frame[ROWID]) | {r.rowid for r in fresh.rejected} if fresh is not None else set()
        gone = rows.filter(~pl.col("reading_id").is_in(list(here)))
        mode = self.route.mode()
        for displaced, part in self._by_draw(gone):
            kept.append(self._kept(mode.keeping_places() if displaced else mode, self._from_rejected(part), context))
        ids = [rowid for _, passed in kept for rowid in passed]
        if not ids:
            return []
        there = self._delivered(generation, ids)
        # A table without the rows of an earlier, interrupted replay: the filter is by the ids that go with the rows.
        frames = [frame.filter(~pl.Series(passed).is_in(there)) for frame, passed in kept if passed]
        frame = pl.concat(frames, how="diagonal_relaxed")
        if frame.height:
            self.route.sink.append(frame, self._counted())
        where = (*self._mine(generation), *among("reading_id", ids))
        self.route.tables.rejects.stamp("replayed_at", self.route.device.now(), where)
        return ids

    def _from_source(self, generation: int, rows: pl.DataFrame) -> Batch | None:
        stands = self.route.sink.committed()
        if stands is None or stands.generation != generation or not self.route.source.keyed_by_rowid:
            return None
        Identity(self.route, Lanes()).confirmed(stands)
        return self.route.source.read_ids(rows["reading_id"].to_list())

    def _by_draw(self, rows: pl.DataFrame) -> Iterator[tuple[bool, pl.DataFrame]]:
        """Rows of the rejected table: those whose coordinates are displaced as they are now, then the others."""
        marked = pl.Series([from_json(row).get(MARK) == (self.draw or "") for row in rows["row"]], dtype=pl.Boolean)
        for displaced, chosen in ((True, marked), (False, ~marked)):
            if chosen.any():
                yield displaced, rows.filter(chosen)

    def _from_rejected(self, rows: pl.DataFrame) -> Batch:
        columns = self.route.source.columns
        found = [(rowid, from_json(row)) for rowid, row in rows.select("reading_id", "row").iter_rows()]
        fitting_rows = [
            {ROWID: rowid, **{c.alias: value_of(c, cells_.get(c.alias)) for c in columns}}
            for rowid, cells_ in found
            if cells.misfit(columns, {c.name: cells_.get(c.alias) for c in columns}) is None
        ]
        schema = {ROWID: pl.Int64(), **{c.alias: DTYPES[c.kind] for c in columns}}
        return Batch(pl.DataFrame(fitting_rows, schema=schema, strict=False), (), Cursor(), 0, self.route.source.layout)

    def _kept(self, mode: Mode, batch: Batch, context: Context) -> tuple[pl.DataFrame, list[int]]:
        """The rows that pass in the table's form, and their ids."""
        plan = fitting.fitted(mode.plan(batch.frame.lazy(), batch.layout, context), self.route.sink.columns())
        rows, _ = fitting.kept_rows(plan, batch.frame)
        refused = self.route.sink.refused(rows.drop(ROWID)) if rows.height else {}
        rows = rows.filter(~pl.int_range(rows.height, eager=True).is_in(list(refused)))
        return rows.drop(ROWID), rows[ROWID].to_list()

    def _delivered(self, generation: int, ids: list[int]) -> list[int]:
        if not self.route.sink.exists():
            return []
        key = self.route.traits.key
        where = (*mine(self.route.device.node_id, generation), *among(key, ids))
        return self.route.sink.ask(Question(where, {"id": key}))["id"].to_list()

    def _counted(self) -> Cursor:
        stands = self.route.sink.committed() or Cursor()
        return stands.marked(replayed=stands.marks.get(Mark.REPLAYED, 0) + 1)
