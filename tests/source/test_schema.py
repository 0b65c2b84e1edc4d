"""Which table is read, and what its declarations promise."""

from __future__ import annotations

import pytest

from edge_delta.core.errors import ConfigurationError
from edge_delta.core.model import Cursor, Kind
from edge_delta.source import Database, SQLiteSource, find_table
from tests.support.inprocess import deliver


def table(sensor, sql, **chosen):
    sensor.run(sql)
    return found(sensor, **chosen)


def found(sensor, **chosen):
    database = Database(sensor.path)
    try:
        return find_table(database, **chosen)
    finally:
        database.close()


def test_the_only_table_is_taken_and_views_and_internal_tables_do_not_count(sensor):
    sensor.run("CREATE VIEW v AS SELECT 1")
    assert table(sensor, "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, x)").name == "t"


def test_several_tables_are_an_error_that_lists_them(sensor):
    sensor.run("CREATE TABLE b (x)")
    with pytest.raises(ConfigurationError, match="2 tables: a, b"):
        table(sensor, "CREATE TABLE a (x)")


def test_a_table_is_found_in_any_case(sensor):
    assert table(sensor, 'CREATE TABLE "Order" (x)', name="ORDER").name == "Order"


@pytest.mark.parametrize(
    ("columns", "stamp"),
    [
        ("id INTEGER PRIMARY KEY, timestamp TEXT, x REAL", "timestamp"),
        ("id INTEGER PRIMARY KEY, made DATETIME, x REAL", "made"),
        ("id INTEGER PRIMARY KEY, made DATETIME, timestamp TEXT", "timestamp"),
        ("id INTEGER PRIMARY KEY, made DATETIME, timestamp DATETIME", "timestamp"),
        ("id INTEGER PRIMARY KEY, TS INTEGER", "TS"),
        ("id INTEGER PRIMARY KEY, x REAL", None),
    ],
)
def test_the_timestamp_column_is_told_by_name_then_by_type(columns, stamp, sensor):
    column = table(sensor, f"CREATE TABLE t ({columns})").timestamp
    assert (column.name if column else None) == stamp


@pytest.mark.parametrize("columns", ["made DATETIME, began DATETIME", "ts TEXT, time TEXT"])
def test_several_timestamp_candidates_are_an_error_that_lists_them(columns, sensor):
    with pytest.raises(ConfigurationError, match="could be the timestamp: "):
        table(sensor, f"CREATE TABLE t ({columns})")


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ("INTEGER", Kind.INTEGER),
        ("BIGINT", Kind.INTEGER),
        ("UNSIGNED BIG INT", Kind.INTEGER),
        ("REAL", Kind.REAL),
        ("DOUBLE PRECISION", Kind.REAL),
        ("FLOAT", Kind.REAL),
        ("DECIMAL(10,5)", Kind.REAL),
        ("NUMERIC", Kind.REAL),
        ("TEXT", Kind.TEXT),
        ("VARCHAR(20)", Kind.TEXT),
        ("NCHAR(55)", Kind.TEXT),
        ("DATETIME", Kind.TEXT),
        ("STRING", Kind.TEXT),
        ("JSON", Kind.TEXT),
        ("", Kind.TEXT),
        ("BLOB", Kind.BLOB),
        ("BOOLEAN", Kind.BOOLEAN),
    ],
)
def test_a_declaration_pins_the_kind(declared, kind, sensor):
    assert table(sensor, f"CREATE TABLE t (x {declared})", timestamp="x").columns[0].kind is kind


def test_the_keys_of_all_sorts_of_tables(sensor):
    cases = {
        "a": ("id INTEGER PRIMARY KEY, x", "`id`"),
        "b": ("id INT PRIMARY KEY, x", "rowid"),
        "c": ("x", "rowid"),
        "d": ("rowid TEXT, x", "_rowid_"),
        "e": ("a, b, PRIMARY KEY (a, b)", "rowid"),
        "f": ("rowid TEXT, _rowid_ TEXT, oid INTEGER PRIMARY KEY", "`oid`"),
    }
    for name, (columns, _) in cases.items():
        sensor.run(f"CREATE TABLE {name} ({columns})")
    assert {name: found(sensor, name=name).key for name in cases} == {n: key for n, (_, key) in cases.items()}


def test_a_table_without_rowid_and_time_cannot_be_read(sensor):
    with pytest.raises(ConfigurationError, match="neither a rowid"):
        table(sensor, "CREATE TABLE t (a TEXT PRIMARY KEY, x) WITHOUT ROWID")


@pytest.mark.parametrize(
    "create",
    [
        "CREATE TABLE t (sensor TEXT, at TEXT, v REAL, PRIMARY KEY (at, sensor)) WITHOUT ROWID",
        "CREATE TABLE t (sensor TEXT, at TEXT, v REAL, PRIMARY KEY (at, sensor)) STRICT, WITHOUT ROWID",
    ],
)
def test_a_table_without_rowid_is_read_by_time_with_ties_kept_whole(create, sensor, folder):
    sensor.run(create)
    times = [f"2026-01-01T00:00:{i // 7:02}.5Z" for i in range(50)]
    sensor.many("INSERT INTO t VALUES (?, ?, ?)", [(f"s{i}", at, i) for i, at in enumerate(times)])
    deliver(sensor.path, folder, timestamp_col="at", max_batch_size=5, processing_mode="raw")
    sensor.many("INSERT INTO t VALUES (?, ?, ?)", [(f"s{i}", "2026-01-01T00:01:00Z", i) for i in range(50, 60)])
    deliver(sensor.path, folder, timestamp_col="at", max_batch_size=5, processing_mode="raw")
    assert sorted(folder.read("_0_raw")["v"]) == list(range(60))


def test_a_view_is_read_by_time(sensor, folder):
    sensor.create()
    sensor.add(30)
    sensor.run("CREATE VIEW v AS SELECT * FROM readings WHERE id % 2 = 0")
    deliver(sensor.path, folder, sqlite_table_name="v", max_batch_size=4)
    assert folder.read().height == 15


def test_generated_columns_are_columns(sensor, folder):
    sensor.run(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, c REAL, f REAL GENERATED ALWAYS AS (c * 1.8 + 32) VIRTUAL, "
        "k REAL AS (c + 273.15) STORED)"
    )
    sensor.run("INSERT INTO t (c) VALUES (100.0)")
    deliver(sensor.path, folder, processing_mode="raw")
    assert folder.read("_0_raw").select("c", "f", "k").rows() == [(100.0, 212.0, 373.15)]


def test_names_that_spark_refuses_are_renamed_and_stay_apart(sensor, folder):
    names = ["a b", "a,b", "A_b", "ü;{}()=", "select", 'qu"ote', "tab\there", "node_id", "Straße", "日本"]
    columns = ", ".join('"' + name.replace('"', '""') + '" INTEGER' for name in names)
    sensor.run(f"CREATE TABLE t ({columns})")
    sensor.run(f"INSERT INTO t VALUES ({', '.join(map(str, range(len(names))))})")
    deliver(sensor.path, folder, processing_mode="raw")
    table = folder.read("_0_raw")
    theirs = table.columns[: len(names)]
    assert table.select(theirs).row(0) == tuple(range(len(names)))
    assert len({name.lower() for name in table.columns}) == len(table.columns)
    assert not any(set(name) & set(" ,;{}()\n\t=") for name in table.columns)
    assert folder.read_by_duckdb("_0_raw").height == 1


def test_a_table_whose_name_needs_quotes(sensor, folder):
    sensor.run('CREATE TABLE "my ""odd"" table; --" (id INTEGER PRIMARY KEY AUTOINCREMENT, x TEXT)')
    sensor.run('INSERT INTO "my ""odd"" table; --" (x) VALUES (?)', "ok")
    deliver(sensor.path, folder, processing_mode="raw")
    deliver(sensor.path, folder, processing_mode="raw")
    assert folder.read("_0_raw")["x"].to_list() == ["ok"]


def test_a_wide_table_of_a_thousand_columns(sensor, folder):
    sensor.run(f"CREATE TABLE t ({', '.join(f'c{i} REAL' for i in range(1000))})")
    sensor.run(f"INSERT INTO t VALUES ({', '.join(str(i / 2) for i in range(1000))})")
    sensor.run("INSERT INTO t (c999) VALUES ('broken')")
    deliver(sensor.path, folder, processing_mode="raw")
    assert folder.read("_0_raw").row(0)[:1000] == tuple(i / 2 for i in range(1000))
    assert folder.read("_rejected")["column_name"].to_list() == ["c999"]


def test_a_column_added_while_it_reads_is_seen_by_the_next_batch(sensor):
    sensor.create()
    sensor.add(5)
    database = Database(sensor.path)
    source = SQLiteSource(database)
    batch = source.read_after(Cursor(), limit=10)
    sensor.run("ALTER TABLE readings ADD COLUMN rain REAL")
    sensor.add(5)
    assert "rain" in source.read_after(batch.cursor, limit=10).frame.columns
    database.close()


def test_the_smallest_integer_as_a_time_does_not_stop_a_table_that_is_read_by_time(sensor, folder):
    """SQLite's abs() ends the statement with "integer overflow" on it."""
    sensor.run("CREATE TABLE t (sensor TEXT PRIMARY KEY, at INTEGER, v REAL) WITHOUT ROWID")
    sensor.many("INSERT INTO t VALUES (?, ?, ?)", [("a", -(2**63), 1.0), ("b", 1767225600, 2.0)])
    deliver(sensor.path, folder, timestamp_col="at", processing_mode="raw")
    assert sorted(folder.read("_0_raw")["v"]) == [1.0, 2.0]
