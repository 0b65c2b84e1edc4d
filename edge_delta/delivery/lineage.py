"""How far a source that is not the one of the cursor begins with rows that were delivered before.

A database rolled back to a backup has the rows up to the backup, and then others. VACUUM gives the rows of a table
without INTEGER PRIMARY KEY new ids. In both cases the source's first rows are rows of the table, in the same order, and
need not be delivered again. Rows are told by their contents, the time among them; only an unbroken beginning counts, so
that no row is ever taken for another one that lies behind a row which is new.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_delta.core.model import BEFORE_FIRST, Cursor
from edge_delta.core.plan import ROWID
from edge_delta.core.questions import Condition, Question, between, mine, named
from edge_delta.delivery import fitting
from edge_delta.modes.traits import TRAITS
from edge_delta.source.cells import is_left_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from edge_delta.core.model import Batch, Context
    from edge_delta.core.ports import Mode, Sink, Source
    from edge_delta.core.questions import Where
    from edge_delta.modes.traits import Traits

_ROWS = 50_000
_OURS = frozenset({"reading_id", "source_rowid", "databricks_inserted_at", "node_id", "source_generation"})


@dataclass(slots=True)
class Lineage:
    """A source beside what was delivered from the one before it.

    Args:
        source: the source as it is now.
        mode: the mode.
        sink: the mode's table.
        context: of the generation before.
        upto: the last id that was delivered in that generation.
    """

    source: Source
    mode: Mode
    sink: Sink
    context: Context
    upto: int
    _columns: list[str] = field(default_factory=list)

    def known_until(self) -> int | None:
        """The last id of the source's beginning that was delivered before; None if its first row was not."""
        if not self._traits.replayable or self.source.timestamp is None or not self.source.keyed_by_rowid:
            return None
        last: int | None = None
        delivered: Iterator[int] | None = None
        for rows in self._read():
            if delivered is None:
                start = self._place_of(rows.head(1))
                if start is None:
                    return None
                delivered = self._delivered(start)
            for rowid, wanted in zip(rows[ROWID], self._hashes(rows), strict=True):
                if not any(found == wanted for found in delivered):
                    return last
                last = rowid
        return last

    # -- the source

    def _read(self) -> Iterator[pl.DataFrame]:
        """Its rows as the mode makes them, without those that it rejects; none of the frames is empty."""
        cursor = Cursor(self.context.generation)
        while (batch := self.source.read_after(cursor, limit=_ROWS)) is not None:
            rows = self._kept(batch)
            if rows.height:
                yield rows
            cursor = Cursor(self.context.generation, batch.cursor.rowid)

    def _kept(self, batch: Batch) -> pl.DataFrame:
        there = self.sink.columns()
        plan = fitting.fitted(self.mode.plan(batch.frame.lazy(), batch.layout, self.context), there)
        rows, _ = fitting.kept_rows(plan, batch.frame)
        self._columns = sorted(
            name
            for name in rows.columns
            if name in there and name not in {ROWID, *_OURS, *self.mode.filled} and not is_left_out(name)
        )
        return rows

    def _hashes(self, rows: pl.DataFrame) -> pl.Series:
        return rows.select(self._columns).hash_rows()

    # -- the table

    @property
    def _traits(self) -> Traits:
        return TRAITS[self.mode.name]

    def _ask(self, where: Where) -> pl.DataFrame:
        own = mine(self.context.node_id, self.context.generation)
        columns = {ROWID: self._traits.key, **named(*self._columns)}
        return self.sink.ask(Question((*own, *where), columns, order=(ROWID,)))

    def _place_of(self, row: pl.DataFrame) -> int | None:
        """The id under which a row is in the table; found by its time, which files are passed over by."""
        stamp = self.source.timestamp
        name = self._traits.time or (stamp.alias if stamp is not None else "")
        if name not in self._columns:
            return None
        value = row[name][0]
        if value is None:
            return None
        found = self._ask((Condition(name, "=", value),))
        return found.filter(self._hashes(found) == self._hashes(row)[0])[ROWID].min() if found.height else None  # type: ignore[return-value]

    def _delivered(self, start: int) -> Iterator[int]:
        """The rows of the table from an id on, as hashes."""
        key, after, width = self._traits.key, max(start - 1, BEFORE_FIRST), _ROWS
        while after < self.upto:
            found = self._ask(between(key, after, after + width))
            yield from self._hashes(found)
            after += width
            width = width * 2 if found.height < _ROWS // 2 else max(_ROWS, width // 2)  # ids may lie far apart
