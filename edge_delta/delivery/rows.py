"""Batches written as rows: what the mode makes of each row, in one commit a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from msgspec.structs import replace

from edge_delta.core.model import BEFORE_FIRST, Batch, Context, Cursor, Mark, Step
from edge_delta.core.plan import LastValues, TableQuery
from edge_delta.core.questions import Condition, Question, among, mine, named
from edge_delta.delivery import fitting, versions
from edge_delta.delivery.lives import earlier
from edge_delta.delivery.prepared import Prepared
from edge_delta.delivery.writing import Corrected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_delta.delivery.fitting import Processed
    from edge_delta.delivery.route import Route
    from edge_delta.delivery.writing import Came


_AGAIN = 65_536
"""Rows that are read at a time to count among them."""


class Rows:
    """See `edge_delta.delivery.writing.Writing`.

    Args:
        route: from where to where.
    """

    def __init__(self, route: Route) -> None:
        self._route = route
        self._memory: pl.DataFrame | None = None
        self._ended: tuple[int, int] | None = None

    def forget(self) -> None:
        """The memory is had again from the source or the table."""
        self._memory = None

    def source_gone(self, _cursor: Cursor) -> tuple[None, int]:
        """What was before in another source is not before the rows of this one."""
        self._memory = None
        return None, 0

    def cycle_over(self, _cursor: Cursor) -> None:
        """Nothing: rows are written as they come."""

    def finish(self, _cursor: Cursor, *, quick: bool = False) -> None:
        """Nothing: a row that was delivered depends on nothing."""

    def corrected(self, _after: int, _upto: int, _cursor: Cursor, _came: Came) -> Corrected:
        """Nothing: a row that was delivered depends on no other."""
        return Corrected()

    @property
    def unsure(self) -> None:
        """Nothing."""
        return None

    # -- one batch

    def prepare(self, batch: Batch, columns: Mapping[str, pl.DataType | None]) -> Prepared | None:
        """All but writing, unless the mode looks back at what comes before the batch."""
        mode, context = self._route.mode(), self._route.context(batch.cursor.generation)
        if mode.wanted(batch.layout, context) is not None:
            return None
        return Prepared(mode, batch.cursor, self._as_first(fitting.process(batch, mode, columns, context)))

    def _as_first(self, processed: Processed) -> Processed:
        return replace(processed, kept=versions.first(processed.kept)) if self._route.versioned else processed

    def deliver(self, batch: Batch, prepared: Prepared | None, before: Cursor) -> Step:
        """Rejected rows first, then the others."""
        route, mode = self._route, self._route.mode()
        late = batch.cursor.marks.get(Mark.SWEPT) != before.marks.get(Mark.SWEPT)
        context = self._context(batch.cursor.generation, before, late=late)
        processed = self._processed(batch, prepared, context)
        if processed.kept.height:
            processed = fitting.without_refused(processed, route.sink.refused(processed.kept))
        again = route.traits.selective and (late or self._were_there(batch))
        kept = self._untold(processed.kept, batch.cursor) if again else processed.kept
        if late and route.versioned and kept.height:  # an id that was used again is a new state of what it names
            kept = versions.numbered(kept, versions.last_of(route, kept[str(route.traits.key)].to_list()), route)
        step = self._written(batch, processed, kept, swept=late)
        if context.memory is not None and not context.late:
            self._memory = mode.remembered(context.memory, processed.frame, processed.kept, batch.layout)
        return step

    def _written(self, batch: Batch, processed: Processed, kept: pl.DataFrame, *, swept: bool) -> Step:
        """Commit what is rejected, then what is kept."""
        route, rejected = self._route, [*batch.rejected, *processed.rejected]
        refused = route.refuse(rejected, batch.cursor, swept=swept)
        commit = route.sink.append(kept, batch.cursor) if kept.height else None
        return Step(
            mode=route.name,
            table=route.sink.uri,
            read=batch.rows,
            rejected=len(rejected),
            refused=refused,
            commit=commit,
            first_rowid=batch.first_rowid,
            cursor=batch.cursor,
            last_time=processed.last_time,
            first_time=processed.first_time,
        )

    def _processed(self, batch: Batch, prepared: Prepared | None, context: Context) -> Processed:
        """What the mode makes of the batch: what was prepared, if the same would come of it now."""
        mode, columns = self._route.mode(), self._route.sink.columns()
        if prepared is not None and prepared.suits(mode, batch.cursor, columns):
            return prepared.processed
        return self._as_first(fitting.process(batch, mode, columns, context))

    def renewed(self, batch: Batch, last: pl.DataFrame, before: Cursor) -> Step:
        """See `Writing.renewed`. What the mode carries over from rows before stays as it was delivered."""
        route, mode = self._route, self._route.mode().uncarried()
        processed = fitting.process(batch, mode, route.sink.columns(), route.context(batch.cursor.generation))
        kept = versions.numbered(processed.kept, last, route, route.mode().carried)
        if kept.height:
            processed = fitting.without_refused(replace(processed, kept=kept), route.sink.refused(kept))
            kept = processed.kept
        step = self._written(batch, processed, kept, swept=True)
        return replace(step, first_rowid=before.rowid, updated=kept.height)

    def _were_there(self, batch: Batch) -> bool:
        """Whether rows of the batch may be those of the generation before, as in a table that uses ids again."""
        generation = batch.cursor.generation
        if not generation:
            return False
        if self._ended is None or self._ended[0] != generation:
            before = self._route.sink.witnessed(generation - 1)
            self._ended = generation, BEFORE_FIRST if before is None else before.rowid
        return batch.first_rowid <= self._ended[1]

    def _untold(self, alerts: pl.DataFrame, cursor: Cursor) -> pl.DataFrame:
        """The alerts that are not in the table: a process that was killed may have written some of late rows."""
        if not alerts.height or not self._route.sink.exists():
            return alerts
        told = ["reading_id", *self._route.traits.key_parts, "sensor_id", "timestamp"]
        where = (*mine(self._route.device.node_id), *among("reading_id", set(alerts["reading_id"])))
        if Mark.AGAIN in cursor.marks:  # those that a reset takes the place of are told again
            where = (*where, Condition("source_generation", ">", cursor.marks[Mark.AGAIN]))
        there = self._route.sink.ask(Question(where, named(*told), distinct=True))
        return alerts.join(there, on=told, how="anti", nulls_equal=True, maintain_order="left")

    # -- what the mode looks back at

    def _context(self, generation: int, before: Cursor, *, late: bool) -> Context:
        context = self._route.context(generation)
        if late:  # what such a row comes between, a mode that asks its table can see there
            context = replace(context, late=True)
            request = self._route.mode().wanted(self._route.source.layout, context)
            if isinstance(request, TableQuery):
                return replace(context, memory=self._of_lives(self._asked(request), before))
            context = replace(context, late=False)
        if self._memory is None:
            request = self._route.mode().wanted(self._route.source.layout, context)
            self._memory = None if request is None else self._recalled(request, before)
        return context if self._memory is None else replace(context, memory=self._memory)

    def _recalled(self, request: LastValues | TableQuery, before: Cursor) -> pl.DataFrame:
        """What the mode looks back at, as it is before the next batch."""
        if isinstance(request, TableQuery):
            return self._counted(self._of_lives(self._asked(request), before), before)
        schema = {"sensor_id": pl.String(), **request.dtypes}
        columns = {name: (column, *request.limits[name]) for name, column in request.columns.items()}
        values = self._route.source.last_values(request.sensor, columns, upto=before.rowid)
        return values.select(pl.col(name).cast(dtype, strict=False) for name, dtype in schema.items())

    def _asked(self, request: TableQuery) -> pl.DataFrame:
        sink, schema = self._route.sink, dict(request.schema)
        values = sink.ask(request.question) if sink.exists() else pl.DataFrame(schema=schema)
        return values.select(pl.col(name).cast(dtype, strict=False) for name, dtype in schema.items())

    def _of_lives(self, memory: pl.DataFrame, before: Cursor) -> pl.DataFrame:
        """What the table remembers, as far as it is of this source."""
        lives = [before.generation, *(e.generation for e in earlier(self._route.sink, before) if not e.again)]
        return self._route.mode().of_lives(memory, lives, after=before.marks.get(Mark.AGAIN, -1))

    def _counted(self, memory: pl.DataFrame, before: Cursor) -> pl.DataFrame:
        """What the table remembers of this source, with what only the source can say."""
        mode, source = self._route.mode(), self._route.source
        memory, first = mode.counted_from(memory)
        cursor = Cursor(before.generation, before.rowid if first is None else first)
        nothing = memory.clear()
        while (batch := source.read_after(cursor, limit=_AGAIN, upto=before.rowid)) is not None:
            memory = mode.remembered(memory, batch.frame, nothing, batch.layout)
            cursor = Cursor(before.generation, batch.cursor.rowid)
        return memory

    # -- positions

    def adopted(self, cursor: Cursor) -> Cursor:
        """The rows up to there went to another mode's table."""
        return replace(cursor, marks=adopted_marks(cursor))

    def rewound(self, cursor: Cursor, _stands: Cursor) -> Cursor:
        """The cursor as it is."""
        return cursor

    def no_rows(self) -> pl.DataFrame:
        """The table's columns, or those that the mode would make one with."""
        return empty_like(self._route) if self._route.sink.exists() else self._made_of_nothing()

    def _made_of_nothing(self) -> pl.DataFrame:
        route = self._route
        nothing = fitting.blank(route.source.columns)
        plan = route.mode().plan(nothing.lazy(), route.source.layout, route.context(0))
        made = fitting.split(plan, nothing)[0]
        return versions.first(made) if route.versioned else made


def adopted_marks(cursor: Cursor) -> dict[str, int]:
    """The marks of another mode's cursor that matter in any mode, with where this one's own rows begin."""
    since = {name: n for name, n in cursor.marks.items() if name in (Mark.SINCE, Mark.SINCE_ROWID, Mark.LIFE)}
    return since if cursor.rowid == BEFORE_FIRST else {**since, Mark.BEGINS: cursor.rowid}


def empty_like(route: Route) -> pl.DataFrame:
    """A frame without rows in the columns of the route's table."""
    columns = route.sink.columns()
    return pl.DataFrame(schema={name: dtype for name, dtype in columns.items() if dtype is not None})
