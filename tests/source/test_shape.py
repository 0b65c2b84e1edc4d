"""What a table is, is asked of SQLite; whatever its text says and whatever its columns are called, its rows arrive."""

from __future__ import annotations

from contextlib import closing

import polars as pl
import pytest

from edge_delta.core.errors import SourceUnavailable
from edge_delta.core.model import Cursor
from edge_delta.source import Database, SQLiteSource, find_table
from tests.support.inprocess import deliver

# The columns of each come last, so that a row is (1, 20.5), (2, 21.5) and so on.
SHAPES = {
    "descending": "CREATE TABLE t (id INTEGER PRIMARY KEY DESC, x REAL)",
    "descending, as a clause": "CREATE TABLE t (id INTEGER, x REAL, PRIMARY KEY (id DESC))",
    "int is no alias": "CREATE TABLE t (id INT PRIMARY KEY, x REAL)",
    "a comment says AUTOINCREMENT": "CREATE TABLE t (id INTEGER PRIMARY KEY /* no AUTOINCREMENT here */, x REAL)",
    "a default says AUTOINCREMENT": "CREATE TABLE t (id INTEGER PRIMARY KEY, x REAL DEFAULT 'AUTOINCREMENT')",
    "autoincrement": "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, x REAL)",
    "WITHOUT ROWID with a comment inside": "CREATE TABLE t (id INTEGER PRIMARY KEY, x REAL) WITHOUT /*c*/ ROWID",
    "WITHOUT ROWID of another integer": "CREATE TABLE t (id BIGINT PRIMARY KEY, x REAL) WITHOUT ROWID",
    "WITHOUT ROWID, descending": "CREATE TABLE t (id INTEGER PRIMARY KEY DESC, x REAL) WITHOUT ROWID",
    "a comment says WITHOUT ROWID": "CREATE TABLE t (id INTEGER, x REAL) -- WITHOUT ROWID",
    "a column's name says it": 'CREATE TABLE t (id INTEGER, x REAL, "without rowid" TEXT)',
    "strict": "CREATE TABLE t (id INTEGER PRIMARY KEY, x REAL) STRICT",
    "a column called rowid": "CREATE TABLE t (rowid TEXT, x REAL)",
    "columns called rowid and oid": "CREATE TABLE t (ROWID TEXT, x REAL, Oid TEXT)",
    "the key is called _rowid_": "CREATE TABLE t (_rowid_ INTEGER PRIMARY KEY, x REAL, rowid TEXT, oid TEXT)",
    "generated columns": "CREATE TABLE t (id INTEGER PRIMARY KEY, x REAL, y REAL AS (x * 2) STORED, z AS (x + 1))",
    "a collation of the application's": "CREATE TABLE t (id INTEGER PRIMARY KEY, x REAL, s TEXT COLLATE NOCASE)",
}


@pytest.mark.parametrize("create", SHAPES.values(), ids=SHAPES)
def test_each_row_of_any_table_arrives_once(create, sensor, folder):
    sensor.run(create)
    first = next(c for c in ("id", "rowid", "_rowid_") if f"({c} " in create.replace("ROWID TEXT", "rowid TEXT"))
    for start in (0, 7, 7, 14):
        if start != 7 or not sensor.run("SELECT count(*) FROM t WHERE x > 27")[0][0]:
            rows = [(i, i + 20.5) for i in range(start, start + 7)]
            sensor.many(f"INSERT INTO t ({first}, x) VALUES (?, ?)", rows)
        deliver(sensor.path, folder, processing_mode="raw", sqlite_table_name="t", max_batch_size=3)
    assert folder.read("_0_raw")["x"].sort().to_list() == [i + 20.5 for i in range(21)]


@pytest.mark.parametrize(
    "create",
    [
        "CREATE TABLE t (id INTEGER PRIMARY KEY DESC, x REAL, timestamp TEXT)",
        "CREATE TABLE t (id INTEGER PRIMARY KEY /* no AUTOINCREMENT here */, x REAL, timestamp TEXT)",
        "CREATE TABLE t (id TEXT PRIMARY KEY, x REAL, timestamp TEXT) WITHOUT /*c*/ ROWID",
    ],
    ids=["descending", "a comment says AUTOINCREMENT", "WITHOUT ROWID with a comment inside"],
)
def test_rows_arrive_once_where_the_newest_were_deleted_though_the_text_of_the_table_misleads(create, sensor, folder):
    """A descending key is no alias, so it stays empty; a table has no AUTOINCREMENT because a comment names it."""
    sensor.run(create)
    given = "WITHOUT" in create
    insert = f"INSERT INTO t ({'id, ' if given else ''}x, timestamp) VALUES ({'?1, ' if given else ''}?1, ?2)"
    for start in (0, 10):
        rows = [(i, f"2026-01-01T00:00:{i:02}Z") for i in range(start, start + 10)]
        sensor.many(insert, rows)
        for _ in range(2):
            deliver(sensor.path, folder, env={"SWEEP": "0"}, processing_mode="raw", sqlite_table_name="t")
            sensor.run("DELETE FROM t WHERE x > ?", start + 7)
    assert folder.read("_0_raw")["x"].sort().to_list() == [float(i) for i in range(20)]


def test_full_text_and_spatial_indexes_are_no_tables_beside_the_only_one(sensor):
    sensor.create()
    sensor.run("CREATE VIRTUAL TABLE words USING fts5(sensor_id)")
    sensor.run("CREATE VIRTUAL TABLE boxes USING rtree(id, low, high)")
    with closing(Database(sensor.path)) as database:
        assert find_table(database).name == "readings"


def test_a_full_text_index_is_read_when_it_is_named(sensor, folder):
    sensor.run("CREATE VIRTUAL TABLE words USING fts5(word)")
    for start in (0, 5):
        sensor.many("INSERT INTO words VALUES (?)", [(f"w{i}",) for i in range(start, start + 5)])
        deliver(sensor.path, folder, processing_mode="raw", sqlite_table_name="words")
    assert folder.read("_0_raw")["word"].sort().to_list() == [f"w{i}" for i in range(10)]


def test_an_emptied_table_counts_on_where_sqlite_counts_its_ids(sensor):
    """Its ids never come again, so the next rows are behind the cursor and not of another source."""
    sensor.create(autoincrement=True)
    sensor.add(5)
    with closing(Database(sensor.path)) as database:
        source = SQLiteSource(database)
        cursor = source.read_after(Cursor(), limit=10).cursor
        sensor.run("DELETE FROM readings")
        source.verify(cursor)
        sensor.add(5, start=5)
        assert source.read_after(cursor, limit=10).frame["_rowid"].to_list() == [6, 7, 8, 9, 10]


# -- columns that are renamed or dropped while it is open


@pytest.mark.parametrize("change", ["RENAME COLUMN humidity TO hum", "DROP COLUMN humidity"])
def test_a_column_that_is_gone_is_never_read_as_its_own_name(change, sensor):
    sensor.create()
    sensor.add(5)
    with closing(Database(sensor.path)) as database:
        source = SQLiteSource(database)
        cursor = source.read_after(Cursor(), limit=10).cursor
        sensor.run(f"ALTER TABLE readings {change}")
        source.verify(cursor)
        with pytest.raises(SourceUnavailable, match="no such column: humidity"):
            database.rows("SELECT `humidity` FROM readings")
        assert source.waiting(cursor).rows == 0


@pytest.mark.parametrize("change", ["RENAME COLUMN humidity TO hum", "DROP COLUMN humidity"])
def test_a_table_whose_column_goes_between_two_cycles_is_not_delivered_again(change, sensor, folder, command):
    sensor.create()
    sensor.add(40)
    running = command(sensor.path, folder, node_id="n1").start()
    running.wait_until(lambda: folder.exists("_1_schematized") and folder.read().height == 40, what="the first rows")
    sensor.run(f"ALTER TABLE readings {change}")
    sensor.run("INSERT INTO readings (sensor_id, timestamp) VALUES ('s', '2026-02-01T00:00:00Z')")
    running.wait_until(lambda: folder.read().height >= 41, what="the next row")
    running.wait_for("cycle finished", count=len(running.named("cycle finished")) + 2)
    assert running.terminate() == 0
    assert folder.read()["reading_id"].sort().to_list() == list(range(1, 42))
    assert not running.named("source reset")


# -- many columns, odd columns


@pytest.mark.parametrize("count", [999, 2_000])
def test_as_many_columns_of_text_as_sqlite_allows_arrive(count, sensor, folder):
    sensor.run(f"CREATE TABLE t ({', '.join(f'c{i} TEXT' for i in range(count))})")
    sensor.run(f"INSERT INTO t VALUES ({', '.join(f'{i!r}' for i in range(count))})".replace("(0,", "('0',"))
    sensor.run("INSERT INTO t (c5) VALUES (x'00ff')")
    assert deliver(sensor.path, folder, processing_mode="raw").complete
    assert folder.read("_0_raw").row(0)[:count] == tuple(str(i) for i in range(count))
    assert folder.read("_rejected")["column_name"].to_list() == ["c5"]


@pytest.mark.parametrize("name", ["*", "^x$", "^.*$", '"', "`", "a`b", "[x]", "?", ":x", "'", "t.x", "--", "%"])
@pytest.mark.parametrize("mode", ["raw", "schematized", "sanitized"])
def test_a_column_may_be_called_anything(name, mode, sensor, folder):
    quoted = '"' + name.replace('"', '""') + '"'
    sensor.run(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {quoted} REAL, x REAL, s)")
    sensor.run(f"INSERT INTO t ({quoted}, x, s) VALUES (1.5, 2.5, 1), (2.5, 3.5, 'a'), ('bad', 4.5, NULL)")
    assert deliver(sensor.path, folder, processing_mode=mode).complete
    suffix = {"raw": "_0_raw", "schematized": "_1_schematized", "sanitized": "_2_sanitized"}[mode]
    table = folder.read(suffix).sort("x")
    [column] = [c for c in table.columns if table[c].to_list() == [1.5, 2.5]]
    assert table["x"].to_list() == [2.5, 3.5]
    assert column != "x"
    assert folder.read("_rejected").height == 1


def test_rejected_rows_of_a_utf16_database_say_what_is_stored(sensor):
    sensor.run("PRAGMA encoding = 'UTF-16le'")
    sensor.run("CREATE TABLE t (a TEXT, x REAL)")
    sensor.run("INSERT INTO t VALUES ('22 °C \U0001f321', 'n/a')")
    with closing(Database(sensor.path)) as database:
        [bad] = SQLiteSource(database).read_after(Cursor(), limit=10).rejected
    assert bad.cells == {"a": "22 °C \U0001f321", "x": "n/a"}


def test_values_are_carried_forward_for_more_sensors_than_a_driver_looks_at_first(sensor, folder):
    """The driver takes a column's type from its first 1,024 values, and a NUMERIC column has whole numbers first."""
    sensor.run("CREATE TABLE t (id INTEGER PRIMARY KEY, sensor_id TEXT, timestamp TEXT, temperature NUMERIC)")
    rows = [(f"s{i:05}", "2026-01-01T00:00:00Z", i if i < 1500 else i + 0.5) for i in range(2000)]
    sensor.many("INSERT INTO t (sensor_id, timestamp, temperature) VALUES (?, ?, ?)", rows)
    env = {"SANITIZE_CONFIG": '{"missing": {"temperature": "forward_fill"}}'}
    deliver(sensor.path, folder, processing_mode="sanitized", env=env)
    sensor.many("INSERT INTO t (sensor_id, timestamp) VALUES (?, '2026-01-01T00:01:00Z')", [(r[0],) for r in rows])
    assert deliver(sensor.path, folder, processing_mode="sanitized", env=env).complete
    table = folder.read("_2_sanitized").filter(pl.col("reading_id") > 2000).sort("sensor_id")
    assert table["temperature"].to_list() == [float(r[2]) for r in rows]


def test_an_id_that_is_no_primary_key_is_a_column_beside_the_id_of_the_row(sensor, folder):
    """As pandas' `to_sql` writes it: ids may repeat, and rows are told by what SQLite calls them."""
    sensor.run("CREATE TABLE readings (id INTEGER, timestamp TEXT, temperature REAL)")
    for number in (30, 10, 10):
        sensor.run("INSERT INTO readings VALUES (?, '2026-01-01T00:00:00Z', ?)", number, number / 2)
    deliver(sensor.path, folder, processing_mode="schematized")
    assert folder.read("_1_schematized").sort("reading_id")["reading_id", "id"].rows() == [(1, 30), (2, 10), (3, 10)]
