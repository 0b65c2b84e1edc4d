"""Which rows come next: as many as a batch may hold, by number and by bytes, told without reading them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from edge_delta.core.memory import PLAIN
from edge_delta.core.model import BEFORE_FIRST, Kind
from edge_delta.source.database import Database, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_delta.core.model import Batch
    from edge_delta.source.schema import Table

_LIGHT_ROW = 1_024
_PROBED_ROWS = 4_096
_SAMPLED_ROWS = 64
_BYTES_OF_A_CELL = {Kind.TEXT: 16, Kind.BLOB: 16}  # Polars' views; the contents come on top
_LAST_ROWID = 2**63 - 1


class Extent(Struct, frozen=True):
    """The rows of a batch to come.

    Attributes:
        where: FROM and WHERE that give them.
        last: the last of their keys.
        rows: the most that they can be.
        order: ORDER BY, where the key's b-tree does not give them in order.
    """

    where: str
    last: int
    rows: int
    order: str = ""

    @property
    def source(self) -> str:
        """FROM and what follows."""
        return self.where + self.order

    def without(self, key: str, keys: Iterable[int]) -> Extent:
        """The other rows."""
        return replace(self, where=f"{self.where} AND {key} NOT IN ({', '.join(map(str, keys))})")


class _Behind(Struct, frozen=True):
    """The rows behind a key, up to another one.

    Attributes:
        table: the table.
        after: the key, or `BEFORE_FIRST`.
        upto: the last key that counts, None for all there are.
    """

    table: Table
    after: int
    upto: int | None

    def source(self, last: int | None = None) -> str:
        """FROM and WHERE that give them, or those of them up to a key."""
        end = self.upto if last is None else last
        bounds = [self.table.behind(self.after)] if self.after != BEFORE_FIRST else []
        bounds += [f"{self.table.key} <= {end}"] if end is not None else []
        return f"{quoted(self.table.name)} WHERE {' AND '.join(bounds) or 'TRUE'}"


class Extents:
    """Tells the extents of a table, and learns from each batch how heavy its rows are and whether its ids have gaps.

    Args:
        database: the source.
        batch_bytes: the bytes of a batch, as far as one row does not exceed them.
    """

    def __init__(self, database: Database, batch_bytes: int = PLAIN.batch_bytes) -> None:
        self._database = database
        self.batch_bytes = batch_bytes
        self._bytes_per_row: int | None = None
        self._dense = False

    def learn(self, batch: Batch) -> None:
        """Take a batch for an example of those to come."""
        if batch.frame.height:
            self._bytes_per_row = max(1, round(batch.frame.estimated_size() / batch.frame.height))
        self._dense = batch.cursor.rowid - batch.first_rowid + 1 == batch.rows

    def next(self, table: Table, after: int, *, limit: int, upto: int | None) -> Extent | None:
        """The next rows: at most ``limit``, and not many more bytes than a batch may hold, but at least one row.

        Args:
            table: the table.
            after: the key that they are behind.
            limit: the most rows.
            upto: the last key that counts, None for all there are.
        """
        behind = _Behind(table, after, table.end(upto))
        if self._bytes_per_row is None:
            self._bytes_per_row = self._weight(table, f"{behind.source()} ORDER BY {table.key} LIMIT {_PROBED_ROWS}")
        if not self._may_vary(table):
            rows = max(1, min(limit, self.batch_bytes // self._bytes_per_row))
            extent = self._by_width(behind, rows) if self._dense and table.key_is_rowid else self._counted(behind, rows)
            if extent is None or not self._turned_heavy(table, extent):
                return extent
        return self._weighed(behind, max(1, min(limit, 2 * self.batch_bytes // self._bytes_per_row)))

    def _by_width(self, behind: _Behind, rows: int) -> Extent | None:
        """By the width of their ids: counting would visit every page once more, and so far there were no gaps."""
        key = behind.table.key
        first = self._database.scalar(f"SELECT min({key}) FROM {behind.source()}")
        if first is None:
            return None
        last = min(first + rows - 1, _LAST_ROWID if behind.upto is None else behind.upto)
        return Extent(behind.source(last), last, last - first + 1)

    def _counted(self, behind: _Behind, rows: int) -> Extent | None:
        some = f"SELECT {behind.table.key} AS k FROM {behind.source()} ORDER BY k LIMIT {rows}"
        [(last, count)] = self._database.rows(f"SELECT max(k), count(*) FROM ({some})")
        return self._upto(behind, last, count)

    def _upto(self, behind: _Behind, last: int | None, count: int) -> Extent | None:
        if last is None:
            return None
        source = behind.source(last)
        if not behind.table.key_is_rowid:  # rows of one time stay together, so there may be more
            count = self._database.scalar(f"SELECT count(*) FROM {source}")
            return Extent(source, int(last), int(count), f" ORDER BY {behind.table.key}")
        return Extent(source, int(last), int(count))

    # -- by weight

    def _may_vary(self, table: Table) -> bool:
        """Whether rows have to be weighed one by one: they are heavy already, or one of them may be at any time."""
        heavy = (self._bytes_per_row or 0) > _LIGHT_ROW
        return any(
            c.affinity == "BLOB" or (heavy and c.kind in _BYTES_OF_A_CELL) for c in table.columns if not c.unread
        )

    def _turned_heavy(self, table: Table, extent: Extent) -> bool:
        """Whether rows here and there among those to come are much heavier than the last ones were."""
        if not table.key_is_rowid or all(c.kind not in _BYTES_OF_A_CELL for c in table.columns):
            return False
        step = max(1, extent.rows // _SAMPLED_ROWS)
        ids = ", ".join(str(extent.last - i * step) for i in range(_SAMPLED_ROWS) if i * step < extent.rows)
        weight = self._weight(table, f"{quoted(table.name)} WHERE {table.key} IN ({ids})")
        turned = weight > _LIGHT_ROW and weight > 2 * (self._bytes_per_row or 0)
        self._bytes_per_row = weight if turned else self._bytes_per_row
        return turned

    def _weight(self, table: Table, source: str) -> int:
        """The mean bytes of some rows."""
        some = f"SELECT {weight_of(table)} AS n FROM {source}"
        return max(1, round(self._database.scalar(f"SELECT avg(n) FROM ({some})") or 1))

    def _weighed(self, behind: _Behind, rows: int) -> Extent | None:
        some = f"SELECT {behind.table.key} AS k, {weight_of(behind.table)} AS n FROM {behind.source()}"
        some += f" ORDER BY k LIMIT {rows}"
        total = f"SELECT k, sum(n) OVER (ORDER BY k ROWS UNBOUNDED PRECEDING) AS total FROM ({some})"
        within = f"SELECT max(k), count(*) FROM ({total}) WHERE total <= {self.batch_bytes}"
        [(last, count)] = self._database.rows(within)
        return self._upto(behind, last, count) if count else self._counted(behind, 1)


def weight_of(table: Table) -> str:
    """SQL for the bytes of a row in a frame; octet_length() reads no overflow page."""
    fixed = sum(_BYTES_OF_A_CELL.get(c.kind, 8) for c in table.columns)
    long = [quoted(c.name) for c in table.columns if c.kind in _BYTES_OF_A_CELL and not c.unread]
    return _sum([str(fixed), *(f"ifnull(octet_length({name}), 0)" for name in long)])


def _sum(terms: list[str]) -> str:
    """SQL for a sum, as a tree that is no deeper than it must be: SQLite allows 1,000 levels."""
    if len(terms) == 1:
        return terms[0]
    middle = len(terms) // 2
    return f"({_sum(terms[:middle])} + {_sum(terms[middle:])})"
