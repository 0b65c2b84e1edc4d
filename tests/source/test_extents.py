"""Which rows come next: as many as a batch may hold, by number and by bytes, every one of them once."""

from __future__ import annotations

from contextlib import closing

import polars as pl
import pytest

from edge_delta.core.model import BEFORE_FIRST, Batch, Cursor, Layout
from edge_delta.source.database import Database
from edge_delta.source.extents import Extent, Extents
from edge_delta.source.schema import find_table

LAST_ROWID = 2**63 - 1
PLAIN = "id INTEGER PRIMARY KEY, v REAL"
"""A row of it takes 16 bytes."""


class Table:
    """A table of the sensor's and what tells its extents."""

    def __init__(self, database, batch_bytes):
        self.database = database
        self.table = find_table(database, "t")
        self.extents = Extents(database, batch_bytes)

    def next(self, after=BEFORE_FIRST, *, limit=1_000, upto=None):
        return self.extents.next(self.table, after, limit=limit, upto=upto)

    def bounds(self, after=BEFORE_FIRST, *, limit=1_000, upto=None):
        """The last key and the number of the next rows, and those that are read by it."""
        extent = self.next(after, limit=limit, upto=upto)
        if extent is None:
            return None
        return extent.last, extent.rows, len(self.database.rows(f"SELECT 1 AS n FROM {extent.source}"))

    def learn(self, first, last, rows, *, bytes_each=8):
        names = ["_rowid", *(f"c{i}" for i in range(bytes_each // 8 - 1))]
        frame = pl.DataFrame({n: list(range(rows)) for n in names}, schema=dict.fromkeys(names, pl.Int64))
        self.extents.learn(Batch(frame, (), Cursor(0, last), first, Layout((), None, None)))

    def walked(self, *, limit, upto=None):
        """The sizes of all extents from the first row on, and the keys of the rows in them."""
        after, sizes, keys = BEFORE_FIRST, [], []
        while (extent := self.next(after, limit=limit, upto=upto)) is not None:
            found = [k for (k,) in self.database.rows(f"SELECT {self.table.key} AS k FROM {extent.source}")]
            sizes.append(len(found))
            keys += found
            if found:
                self.learn(found[0], max(found), len(found))
            after = extent.last
        return sizes, keys


@pytest.fixture
def made(sensor):
    """Makes the table with these columns and ids."""
    opened = []

    def make(ids=range(1, 101), columns=PLAIN, options="", batch_bytes=10_500_000):
        sensor.run(f"CREATE TABLE t ({columns}) {options}")
        if ids:
            sensor.many("INSERT INTO t (id) VALUES (?)", [(i,) for i in ids])
        opened.append(Database(sensor.path))
        return Table(opened[-1], batch_bytes)

    yield make
    for database in opened:
        with closing(database):
            pass


# -- by number


def test_the_first_rows_are_counted(made):
    table = made()
    assert table.bounds(limit=30) == (30, 30, 30)
    assert table.bounds(30, limit=30, upto=45) == (45, 15, 15)
    assert table.bounds(30, limit=15, upto=90) == (45, 15, 15)
    assert table.bounds(70) == (100, 30, 30)
    assert table.bounds(100) is None
    assert table.bounds(30, upto=30) is None


def test_where_ids_have_no_gaps_the_width_of_the_ids_is_enough(made):
    table = made([*range(1, 31), *range(51, 101), LAST_ROWID])
    table.learn(1, 30, 30)
    assert table.bounds(10, limit=15) == (25, 15, 15)
    assert table.bounds(10, limit=30) == (40, 30, 20)  # there is a gap after all
    assert table.bounds(30, limit=30) == (80, 30, 30)
    assert table.bounds(30, limit=30, upto=60) == (60, 10, 10)
    assert table.bounds(100, limit=30) == (LAST_ROWID, 1, 1)
    assert table.bounds(LAST_ROWID) is None


def test_where_ids_have_gaps_rows_are_counted(made):
    table = made([*range(1, 31), *range(51, 101)])
    table.learn(1, 60, 40)
    assert table.bounds(10, limit=30) == (60, 30, 30)
    table.learn(51, 80, 30)
    assert table.bounds(10, limit=30) == (40, 30, 20)


@pytest.mark.parametrize("ids", [range(1, 101), range(1, 1_000, 7), range(-50, 51), [-(2**63) + 1, 0, 5, LAST_ROWID]])
@pytest.mark.parametrize("limit", [1, 7, 100, 1_000])
def test_every_row_comes_once_and_no_batch_is_larger_than_its_limit(ids, limit, made):
    sizes, keys = made(ids).walked(limit=limit)
    assert keys == list(ids)
    assert max(sizes) <= limit


def test_rows_that_came_after_the_end_was_looked_at_are_left_for_the_next_round(made):
    _, keys = made().walked(limit=30, upto=45)
    assert keys == list(range(1, 46))


def test_rows_of_one_time_stay_together_where_there_is_no_rowid(made, sensor):
    table = made([], "timestamp TEXT, n INTEGER, PRIMARY KEY (timestamp, n)", "WITHOUT ROWID")
    for second, rows in ((1, 2), (2, 5), (3, 1)):
        sensor.many("INSERT INTO t VALUES (?, ?)", [(f"2026-01-01T00:00:0{second}Z", n) for n in range(rows)])
    extent = table.next(limit=3)
    assert extent.rows == 7
    assert "ORDER BY" in extent.source
    table.learn(1, 7, 7)
    assert table.next(extent.last, limit=3).rows == 1
    assert table.walked(limit=1)[0] == [2, 5, 1]


# -- by bytes


def test_a_batch_has_no_more_bytes_than_it_may_hold_by_the_first_rows_and_then_by_the_last_batch(made):
    table = made(batch_bytes=160)
    assert table.bounds() == (10, 10, 10)
    assert table.bounds(limit=9) == (9, 9, 9)
    table.learn(1, 10, 10, bytes_each=32)
    assert table.bounds(10) == (15, 5, 5)
    table.learn(11, 11, 0)  # all of its rows were rejected: it says nothing of their weight
    assert table.bounds(15) == (20, 5, 5)
    table.learn(1, 1, 1, bytes_each=320)
    assert table.bounds(20) == (21, 1, 1)


def test_rows_that_may_have_any_weight_are_weighed_one_by_one(made, sensor):
    table = made([], "id INTEGER PRIMARY KEY, b BLOB", batch_bytes=200)
    rows = [76, 76, 76, 1_000, 1, 0, None, 300, 200]  # and 24 more each
    sensor.many("INSERT INTO t VALUES (?, zeroblob(?))", [(i, size) for i, size in enumerate(rows, 1)])
    sensor.run("UPDATE t SET b = NULL WHERE id = 7")
    table.extents._bytes_per_row = 100
    assert table.bounds() == (2, 2, 2)
    assert table.bounds(limit=1) == (1, 1, 1)
    assert table.bounds(2) == (3, 1, 1)
    assert table.bounds(3) == (4, 1, 1)  # one row at least, whatever it weighs
    assert table.bounds(4) == (7, 3, 3)
    assert table.bounds(7) == (8, 1, 1)
    assert table.bounds(8) == (9, 1, 1)
    assert table.bounds(9) is None
    assert table.bounds(4, upto=5) == (5, 1, 1)


def test_no_more_rows_are_weighed_than_twice_what_a_batch_of_their_like_has(made, sensor):
    table = made([], "id INTEGER PRIMARY KEY, b BLOB", batch_bytes=1_000)
    sensor.many("INSERT INTO t VALUES (?, x'')", [(i,) for i in range(1, 101)])
    table.extents._bytes_per_row = 200
    assert table.bounds() == (10, 10, 10)
    table.extents._bytes_per_row = 5_000
    assert table.bounds() == (1, 1, 1)


def heavy_texts(sensor, table, size, first, last):
    sensor.many("INSERT INTO t VALUES (?, ?)", [(i, "x" * size) for i in range(first, last + 1)])
    return table


def test_texts_that_turn_heavy_are_noticed_before_they_are_read(made, sensor):
    table = made([], "id INTEGER PRIMARY KEY, s TEXT", batch_bytes=20_000)
    heavy_texts(sensor, table, 10, 1, 200)
    assert table.bounds(limit=200) == (200, 200, 200)
    heavy_texts(sensor, table, 1_976, 201, 400)  # 2,000 bytes with the rest of the row
    for rows in (200, 100):  # by the width of the ids, and counted
        table.learn(1, 200, rows, bytes_each=32)
        assert table.bounds(200, limit=200) == (210, 10, 10)
        assert table.extents._bytes_per_row == 2_000


def test_texts_that_only_become_somewhat_longer_are_not_weighed(made, sensor):
    table = made([], "id INTEGER PRIMARY KEY, s TEXT", batch_bytes=40_000)
    heavy_texts(sensor, table, 976, 1, 60)
    table.learn(1, 10, 10, bytes_each=800)
    assert table.bounds(10, limit=40) == (50, 40, 40)  # 1,000 bytes each
    assert table.extents._bytes_per_row == 800


def test_texts_that_are_heavy_already_are_weighed(made, sensor):
    table = made([], "id INTEGER PRIMARY KEY, s TEXT", batch_bytes=10_000)
    heavy_texts(sensor, table, 76, 1, 60)
    table.learn(1, 1, 1, bytes_each=1_032)
    assert table.bounds(1) == (20, 19, 19)  # twice as many as weigh 10,000 by what was learnt, at 100 each


def turned(made, sensor, sizes, *, learned, last):
    """Whether rows with texts of these sizes behind 200 light ones are noticed as heavy, and the bounds of the next."""
    table = made([], "id INTEGER PRIMARY KEY, s TEXT")
    heavy_texts(sensor, table, 10, 1, 200)
    sensor.many("INSERT INTO t VALUES (?, ?)", [(i, "x" * size) for i, size in enumerate(sizes, 201)])
    table.learn(1, 10, 10, bytes_each=learned)
    extent = table.next(last, limit=200, upto=200 + len(sizes))
    return table.extents._bytes_per_row != learned, extent.rows


@pytest.mark.parametrize(
    ("sizes", "learned", "heavy"),
    [
        pytest.param([4_976] * 100 + [10] * 100, 32, True, id="only the first half"),
        pytest.param([10, 9_000, 10], 32, True, id="one of a few"),
        pytest.param([976] * 100, 32, False, id="thirty times as heavy, and still light"),
        pytest.param([1_976] * 100, 904, True, id="more than twice as heavy"),
        pytest.param([1_676] * 100, 904, False, id="less than twice as heavy"),
    ],
)
def test_texts_count_as_turned_heavy_when_they_are_and_are_so_by_more_than_twice(sizes, learned, heavy, made, sensor):
    assert turned(made, sensor, sizes, learned=learned, last=200)[0] is heavy


def test_the_row_before_the_next_ones_is_not_taken_for_one_of_them(made, sensor):
    assert turned(made, sensor, [900_000] + [10] * 10, learned=32, last=201) == (False, 10)


def test_numbers_are_never_weighed(made):
    table = made(batch_bytes=10_320)
    table.learn(1, 10, 10, bytes_each=1_032)
    assert table.bounds(10) == (20, 10, 10)


def test_the_rows_that_are_left_out_of_an_extent_stay_out_and_its_order_stays():
    extent = Extent("t WHERE rowid > 5 AND rowid <= 9", 9, 4, " ORDER BY rowid").without("rowid", [6, 8])
    assert extent.source == "t WHERE rowid > 5 AND rowid <= 9 AND rowid NOT IN (6, 8) ORDER BY rowid"
    assert (extent.last, extent.rows) == (9, 4)
