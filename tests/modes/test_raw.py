"""raw: every source column, value for value."""

from __future__ import annotations

import polars as pl
import pytest

from edge_delta.core.cells import from_json
from tests.support.inprocess import deliver
from tests.support.tables import assert_both_readers_agree, assert_plain_protocol, assert_raw_equals


def test_all_kinds_of_values_are_equal_cell_for_cell(sensor, folder):
    sensor.run("CREATE TABLE t (id INTEGER PRIMARY KEY, i BIGINT, r REAL, s TEXT, b BLOB, at TEXT)")
    rows = [
        (1, 2**63 - 1, 0.1, "", b"", "2026-01-01T00:00:00+02:00"),
        (2, -(2**63), float("inf"), "ü\x00\n日本", b"\x00\xff", "not a time"),
        (3, None, None, None, None, None),
        (4, 0, 5e-324, " 007 ", b"\n", ""),
    ]
    sensor.many("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", rows)
    deliver(sensor.path, folder, processing_mode="raw", timestamp_col="at")
    assert_raw_equals(folder, sensor.rows("t"), ["id", "i", "r", "s", "b", "at"])
    assert_plain_protocol(folder, "_0_raw")
    assert not folder.exists("_rejected")


def test_the_columns_are_the_sources_then_ours(sensor, folder):
    sensor.create()
    sensor.add(1)
    deliver(sensor.path, folder, processing_mode="raw")
    table = folder.read("_0_raw")
    assert table.columns[:6] == ["id", "sensor_id", "timestamp", "temperature", "humidity", "status_code"]
    assert {"source_rowid", "databricks_inserted_at", "node_id", "source_generation"} <= set(table.columns[6:])
    assert table.schema["databricks_inserted_at"] == pl.Datetime("us", "UTC")
    assert table["node_id"].to_list() == ["n1"]


def test_a_column_with_the_name_of_one_of_ours_is_kept_under_another(sensor, folder):
    sensor.run("CREATE TABLE t (node_id TEXT, Databricks_Inserted_At TEXT, source_rowid INTEGER)")
    sensor.run("INSERT INTO t VALUES ('theirs', 'long ago', 77)")
    deliver(sensor.path, folder, processing_mode="raw")
    [row] = folder.read("_0_raw").rows(named=True)
    assert row["source_node_id"] == "theirs"
    assert row["source_Databricks_Inserted_At"] == "long ago"
    assert row["source_source_rowid"] == 77
    assert (row["node_id"], row["source_rowid"]) == ("n1", 1)


@pytest.mark.parametrize("mode", ["raw", "schematized"])
def test_columns_that_would_collide_after_renaming_stay_apart(mode, sensor, folder):
    sensor.run("CREATE TABLE t (node_id TEXT, source_node_id TEXT)")
    sensor.run("INSERT INTO t VALUES ('a', 'b')")
    assert deliver(sensor.path, folder, processing_mode=mode).complete
    assert {"a", "b"} <= set(folder.read("_0_raw" if mode == "raw" else "_1_schematized").row(0))


@pytest.mark.parametrize("mode", ["raw", "schematized"])
def test_columns_with_the_names_of_our_helping_columns_are_delivered(mode, sensor, folder):
    sensor.run("CREATE TABLE t (_rowid TEXT, _rule TEXT, _suspect TEXT, c1 TEXT, c0 TEXT)")
    sensor.run("INSERT INTO t VALUES ('a', 'b', 'c', 'd', 'e')")
    assert deliver(sensor.path, folder, processing_mode=mode).complete
    [row] = folder.read("_0_raw" if mode == "raw" else "_1_schematized").rows(named=True)
    assert {"a", "b", "c"} <= set(row.values())
    assert (row["c1"], row["c0"]) == ("d", "e")


def test_a_misfit_goes_to_the_rejected_table_whole_and_the_rest_goes_on(sensor, folder):
    sensor.create()
    sensor.add(100)
    sensor.run("UPDATE readings SET status_code = 'E42', humidity = x'00ff' WHERE id = 40")
    sensor.run("UPDATE readings SET temperature = 'n/a' WHERE id = 41")
    deliver(sensor.path, folder, processing_mode="raw", max_batch_size=30)
    kept = assert_both_readers_agree(folder, "_0_raw", "source_rowid")
    assert kept["source_rowid"].to_list() == [i for i in range(1, 101) if i not in (40, 41)]
    rejected = assert_both_readers_agree(folder, "_rejected", "reading_id")
    assert rejected["reading_id"].to_list() == [40, 41]
    assert rejected["mode"].to_list() == ["raw", "raw"]
    assert rejected["source_table"].to_list() == ["readings"] * 2
    stored = {row[0]: row for row in sensor.rows()}
    for row in rejected.rows(named=True):
        assert tuple(from_json(row["row"]).values()) == stored[row["reading_id"]]
        assert row["reason"]
    assert_plain_protocol(folder, "_rejected")


def test_an_integer_in_a_text_column_arrives_as_text(sensor, folder):
    sensor.run("CREATE TABLE t (s TEXT, u, d DATETIME)")
    sensor.run("INSERT INTO t VALUES (5, 5, 1767225600), (0.1, 0.1, 'x'), ('007', '007', 2461041.5)")
    deliver(sensor.path, folder, processing_mode="raw", timestamp_col="d")
    table = folder.read("_0_raw").sort("source_rowid")
    assert table["s"].to_list() == ["5", "0.1", "007"]
    assert table["u"].to_list() == ["5", "0.1", "007"]
    assert table["d"].to_list() == ["1767225600", "x", "2461041.5"]


@pytest.mark.parametrize("mode", ["raw", "schematized"])
def test_a_column_whose_declared_type_changes_keeps_the_rows_that_fit(mode, sensor, folder):
    sensor.run("CREATE TABLE t (id INTEGER PRIMARY KEY, timestamp TEXT, x INTEGER)")
    sensor.many("INSERT INTO t VALUES (?, ?, ?)", [(i, f"2026-01-01T00:00:0{i}Z", i) for i in (1, 2)])
    deliver(sensor.path, folder, processing_mode=mode)
    # SQLite has no ALTER COLUMN: the table is made anew (https://sqlite.org/lang_altertable.html, 7).
    sensor.run("ALTER TABLE t RENAME TO old")
    sensor.run("CREATE TABLE t (id INTEGER PRIMARY KEY, timestamp TEXT, x REAL)")
    sensor.run("INSERT INTO t SELECT * FROM old")
    sensor.run("DROP TABLE old")
    sensor.many("INSERT INTO t VALUES (?, ?, ?)", [(i, f"2026-01-01T00:00:0{i}Z", x) for i, x in ((3, 3.0), (4, 3.5))])
    deliver(sensor.path, folder, processing_mode=mode, env={"ON_SOURCE_RESET": "stop"})
    table = folder.read("_0_raw" if mode == "raw" else "_1_schematized")
    assert sorted(table["x"]) == [1, 2, 3]
    assert folder.read("_rejected")["value"].to_list() == ["3.5"]
