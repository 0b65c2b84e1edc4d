"""Rows of a source beside the rows of a table that have the same ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct
from msgspec.structs import replace

from edge_delta.core.events import Event
from edge_delta.core.model import BEFORE_FIRST, Cursor, Mark
from edge_delta.core.plan import ROWID
from edge_delta.core.questions import Question, Where, among, mine, named, rejected_by, within
from edge_delta.core.updates import VERSION
from edge_delta.delivery import fitting
from edge_delta.delivery.alike import Alike
from edge_delta.delivery.other_ids import GENERATION, under_other_ids
from edge_delta.source.cells import is_left_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_delta.core.model import Batch
    from edge_delta.core.ports import Sink
    from edge_delta.delivery.route import Route

KNOWN = "\0known"
EQUAL = "\0equal"
ON_TIME = "\0on time"
TOLD = "\0told"
LIKELY = "\0likely"
_THERE = "\0there"
_OF_THE_TIME = "original_timezone"  # is read with it
_OURS = frozenset({"reading_id", "source_rowid", "databricks_inserted_at", "node_id", GENERATION})


def number() -> pl.Expr:
    """The version of a row of a table that may have rows without one."""
    return pl.col(VERSION).fill_null(1)


def chain(sink: Sink, stands: Cursor) -> list[tuple[int, int, int]]:
    """The generations that a table has the source's rows of, the last first, with the ids that each has of them.

    Args:
        sink: the table.
        stands: where it stands.

    Returns:
        Of each the generation, behind which id it begins, and its last id.
    """
    generation, high = stands.generation, stands.rowid
    begins = stands.marks.get(Mark.BEGINS)
    found = []
    while True:
        low = BEFORE_FIRST if begins is None else begins
        found.append((generation, low, high))
        if begins is None or generation == 0:
            return found
        high, before = begins, None
        while generation > 0 and before is None:  # a table need not have all of them
            generation -= 1
            before = sink.witnessed(generation)
        if before is None:
            return found
        begins = before.marks.get(Mark.BEGINS)


def begin(sink: Sink, stands: Cursor) -> int:
    """The id behind which a table has the source's rows; an older tool or another table has those before."""
    return max(chain(sink, stands)[-1][1], stands.marks.get(Mark.SINCE_ROWID, BEFORE_FIRST))


class Delivered(Struct, frozen=True):
    """What a table holds of a source.

    Args:
        route: the way to the table, whose rows stand for one source row each.
        stands: where the table stands.
        first_states: whether rows count as they were first delivered, and no new states of them.
    """

    route: Route
    stands: Cursor
    first_states: bool = False

    def inside(self) -> pl.Expr:
        """Whether a row of `beside` came from the source that the table stands in, or from one that it goes on from."""
        return pl.any_horizontal(
            *(
                (pl.col(GENERATION) == generation) & (pl.col(ROWID) <= high)  # before its beginning are those of sweeps
                for generation, _, high in self._chain()
            )
        )

    def _chain(self) -> list[tuple[int, int, int]]:
        return chain(self.route.sink, self.stands)

    def same(self, rowid: int) -> tuple[bool, bool] | None:
        """Whether the rows up to one are those that were delivered, and whether some of them were updated since.

        Args:
            rowid: the last one that was delivered.

        Returns:
            None where nothing can be compared.
        """
        batch = self.route.source.read_ids(self.route.source.nearest(rowid))
        if batch is None or not self.route.sink.exists():
            return None
        rows, columns = self.kept(batch)
        if not rows.height:
            return None
        beside = self.beside(rows, columns, among(self.key, rows[ROWID])).filter(self.inside())
        found = beside.group_by(ROWID).agg(pl.col(KNOWN).any(), pl.col(TOLD).any(), pl.col(EQUAL).any())
        if not found.height:
            return None
        own = found.filter(pl.col(ROWID) == rowid)
        # The last row decides if it is there: rows of a backup are followed by others under the same ids.
        same = own[KNOWN].all() if own.height else True
        return bool(same and 2 * found[TOLD].sum() >= found.height), not found[EQUAL].all()

    def begin(self) -> int:
        """See `begin`."""
        return begin(self.route.sink, self.stands)

    def missing(self, after: int, upto: int, *, rows: int, by_time: bool) -> Iterator[list[int]]:
        """The ids of source rows that are neither in the table nor rejected.

        Args:
            after: the id behind which to look.
            upto: the last id to look at.
            rows: how many rows to look at together.
            by_time: whether times of this range are known to have changed. Else a row with another time is another one,
                as where ids are used again, only if such rows are few: all of them mean that times are read otherwise.
        """
        cursor = Cursor(rowid=after)
        while (batch := self.route.source.read_after(cursor, limit=rows, upto=upto)) is not None:
            cursor = Cursor(rowid=batch.cursor.rowid)
            frame, _ = self.kept(batch)
            where = within(self.key, batch.first_rowid, batch.cursor.rowid)
            columns = [self.time] if self.time is not None and self.time in frame.columns else []
            beside = self.beside(frame, columns, where, all_of_them=True).filter(self.inside())
            known, timely = {*beside[ROWID]}, {*beside.filter(EQUAL)[ROWID]}
            there = timely if by_time or self._used_again(frame, where, known, timely) else known
            if not by_time:  # a row that is rejected again is not written again
                there |= self._rejected(where)
            ids = {*batch.frame[ROWID], *(r.rowid for r in batch.rejected)} - there
            ids -= self._under_other_ids(frame, ids)
            ids -= self._come_back(frame, where, ids)
            if ids:
                yield sorted(ids)

    def _under_other_ids(self, rows: pl.DataFrame, ids: set[int]) -> set[int]:
        """Those of some rows that the table has under ids that they had before: VACUUM gives new ones, or an UPDATE.

        Args:
            rows: the source's rows as the mode makes them.
            ids: of rows that the table does not have under their ids.
        """
        if not ids or self.time is None or self.time not in rows.columns:
            return set()
        if self.route.source.layout.id_column and not self._moved():
            return set()
        generations = pl.col(GENERATION).is_in([g for g, _, _ in self._chain()])
        found = under_other_ids(self, rows, self.kept_columns(rows), generations)
        alike = set[int]() if self.route.source.layout.id_column else found.alike.keys()
        return ids & (found.equal.keys() | alike)

    def _moved(self) -> bool:
        """Whether the source went on with other ids than it had."""
        stood = (self.route.sink.witnessed(generation) for generation, _, _ in self._chain()[1:])
        return any(Mark.ENDS in one.marks for one in (self.stands, *stood) if one is not None)

    def _come_back(self, rows: pl.DataFrame, where: Where, ids: set[int]) -> set[int]:
        """Those of some rows that were delivered, then others had their ids, and a backup has them again."""
        columns = self.kept_columns(rows)
        if not ids or self.time not in columns:
            return set()
        there = self.beside(rows.filter(pl.col(ROWID).is_in(list(ids))), columns, where, all_of_them=True)
        ours = pl.col(GENERATION).is_in([g for g, _, _ in self._chain()])
        return {*there.filter(pl.col(EQUAL) & ours)[ROWID]}

    def _used_again(self, frame: pl.DataFrame, where: Where, known: set[int], timely: set[int]) -> bool:
        """Whether rows that have another time than the table has under their ids are other rows.

        Few are. Where it is every second one, times may only be read otherwise than they were: then most of these rows
        are as they were in all other columns.
        """
        changed = known - timely
        if 2 * len(changed) < len(known):
            return True
        others = [n for n in self.kept_columns(frame) if n not in {self.time, _OF_THE_TIME}]
        if not others:
            self.route.device.log.warning(
                Event.NOT_SWEPT, mode=self.route.name, rows=len(changed), first_id=min(changed), last_id=max(changed)
            )
            return False
        beside = self.beside(frame, others, where, all_of_them=True).filter(self.inside() & pl.col(EQUAL))
        return 2 * len(changed & {*beside[ROWID]}) < len(changed)

    def _rejected(self, where: Where) -> set[int]:
        rejects, route = self.route.tables.rejects, self.route
        if not rejects.exists():
            return set()
        own = (*mine(route.device.node_id), *rejected_by(route.source.table, route.name))
        named_as = tuple(replace(one, column="reading_id") for one in where)
        return set(rejects.ask(Question((*own, *named_as), named("reading_id")))["reading_id"].to_list())

    @property
    def key(self) -> str:
        """The table's column with the source row's id."""
        key = self.route.traits.key
        assert key is not None  # noqa: S101 - only modes whose rows stand for source rows come here
        return key

    @property
    def time(self) -> str | None:
        """The table's column with the reading's time."""
        stamp = self.route.source.timestamp
        return (self.route.traits.time or stamp.alias) if stamp is not None else None

    def kept(self, batch: Batch) -> tuple[pl.DataFrame, list[str]]:
        """The rows as the mode makes them, without those that it rejects, and the columns that can be compared."""
        route, there, context = self.route, self.route.sink.columns(), self.route.context(0)
        plan = fitting.fitted(route.mode().plan(batch.frame.lazy(), batch.layout, context), there)
        rows, _ = fitting.kept_rows(plan, batch.frame)
        return rows, self.kept_columns(rows)

    def kept_columns(self, rows: pl.DataFrame) -> list[str]:
        """The columns of rows as the mode makes them that can be compared with the table's."""
        there, ours = self.route.sink.columns(), {ROWID, *_OURS, *self.route.mode().filled}
        return sorted(n for n in rows.columns if n in there and n not in ours and not is_left_out(n))

    def beside(
        self, rows: pl.DataFrame, columns: list[str], where: Where, *, all_of_them: bool = False
    ) -> pl.DataFrame:
        """Each row with what the table has under its id, in any generation.

        Args:
            rows: rows of the source as the mode makes them.
            columns: those to compare.
            where: which rows of the table.
            all_of_them: whether rows are told by these columns alone, be they none.

        Returns:
            ``_rowid`` ascending, `GENERATION` (None where the table has no such row), `ON_TIME`, `EQUAL`,
            `KNOWN`: whether it is the same row, perhaps updated since, `LIKELY`: whether that is more than rows have in
            common by themselves, and `TOLD`: as `KNOWN`, and where there is no time, as `LIKELY`.
        """
        asked = {ROWID: self.key, GENERATION: GENERATION, **named(*columns)}
        both = rows.select(ROWID, *columns).join(self._there(asked, where), on=ROWID, how="left", suffix=_THERE)
        others = [n for n in columns if n != self.time]
        same = [pl.col(n).eq_missing(pl.col(n + _THERE)) for n in others]
        told = [pl.col(n + _THERE).is_not_null() for n in others]  # what was empty may have been filled since
        equal = pl.sum_horizontal(pl.lit(0), *(s & t for s, t in zip(same, told, strict=True)))
        compared = pl.sum_horizontal(pl.lit(0), *told)
        timed = self.time in columns
        alone = pl.lit(value=True) if all_of_them else compared > 0
        on_time = pl.col(str(self.time)).eq_missing(pl.col(str(self.time) + _THERE)) if timed else alone
        found = pl.col(GENERATION).is_not_null()
        whole, own = pl.all_horizontal(pl.lit(value=True), *same), (ROWID, GENERATION)
        known = found & on_time & ((equal == compared) | (2 * equal > compared))
        chance = self._by_chance(rows, dict(zip(others, zip(same, told, strict=True), strict=True)))
        likely = found & (on_time if timed else pl.lit(value=True)) & ((equal == compared) | ~chance)
        return both.select(
            *own,
            (found & on_time & timed).alias(ON_TIME),
            (found & on_time & whole).alias(EQUAL),
            known.alias(KNOWN),
            (known if timed else likely).alias(TOLD),
            likely.alias(LIKELY),
        ).sort(ROWID)

    def _there(self, asked: dict[str, str], where: Where) -> pl.DataFrame:
        """Columns of the table's rows, of all states or the first ones."""
        sink, own = self.route.sink, (*mine(self.route.device.node_id), *where)
        if not (self.first_states and VERSION in sink.columns()):
            return sink.ask(Question(own, asked))
        states = sink.ask(Question(own, {**asked, VERSION: VERSION}))
        return states.filter(number() == 1).drop(VERSION)

    def _by_chance(self, rows: pl.DataFrame, compared: dict[str, tuple[pl.Expr, pl.Expr]]) -> pl.Expr:
        """Whether a row has no more in common with another than any rows have.

        Args:
            rows: the rows.
            compared: by column whether both are the same, and whether that tells anything.
        """
        weights = self.weights(rows, [*compared])
        pairs = [*zip(compared.values(), weights, strict=True)]
        likeness = pl.sum_horizontal(pl.lit(0.0), *((same & told) * weight for (same, told), weight in pairs))
        return 2 * likeness <= pl.sum_horizontal(pl.lit(0.0), *(told * weight for (_, told), weight in pairs))

    def alike(self, rows: pl.DataFrame, columns: list[str]) -> Alike:
        """Tells whether a delivered row is one of the source that was updated since: at its time, like it in most."""
        if self.time not in columns:
            return Alike(len(columns), [0.0] * (len(columns) + 1))
        at = columns.index(self.time)
        weights = self.weights(rows, columns)
        weights[at] = 0.0
        return Alike(at, weights)

    def weights(self, rows: pl.DataFrame, columns: list[str]) -> list[float]:
        """How much an equal cell of each column tells, 0 to 1: the share of pairs of these rows that differ in it.

        All rows have the same unit, and every third one the same model: a table that was made again has them too. An id
        tells nothing at all, because rows are compared under equal ids.
        """
        own, pairs = self.route.source.layout.id_column, rows.height * (rows.height - 1)
        counts = [rows[name].value_counts()["count"] for name in columns]
        shares = [1 - int((n * (n - 1)).sum()) / pairs if pairs else 1.0 for n in (c.cast(pl.Int64) for c in counts)]
        return [0.0 if own is not None and n == own.alias else w for n, w in zip(columns, shares, strict=True)]
