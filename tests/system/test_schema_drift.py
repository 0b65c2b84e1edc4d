"""The sensor's table changes its columns while rows are delivered: what becomes of the Delta table."""

from __future__ import annotations

import pytest

from tests.support.inprocess import deliver
from tests.support.tables import assert_both_readers_agree, assert_plain_protocol

MODES = {"raw": "_0_raw", "schematized": "_1_schematized"}


@pytest.fixture(params=MODES)
def drift(request, sensor, folder):
    """Makes a table with one column beside id and time, delivers, and reads back; a change is no reset."""

    def again(*columns):
        done = deliver(sensor.path, folder, processing_mode=request.param, env={"ON_SOURCE_RESET": "stop"})
        assert done.complete
        suffix = MODES[request.param]
        assert_plain_protocol(folder, suffix)
        key = "source_rowid" if request.param == "raw" else "reading_id"
        return assert_both_readers_agree(folder, suffix, key).select(columns).rows(), done

    return again


def begin(sensor, column, *cells):
    sensor.run(f"CREATE TABLE t (id INTEGER PRIMARY KEY, timestamp TEXT, {column})")
    more(sensor, *cells)


def more(sensor, *cells):
    """A row for each, one second apart; a tuple where there are more columns."""
    [(last,)] = sensor.run("SELECT coalesce(max(id), 0) FROM t")
    for number, cell in enumerate(cells, start=last + 1):
        row = cell if isinstance(cell, tuple) else (cell,)
        marks = ", ".join("?" * len(row))
        sensor.run(f"INSERT INTO t VALUES (?, ?, {marks})", number, f"2026-01-01T00:00:{number:02}Z", *row)


def declared_anew(sensor, column):
    """SQLite has no ALTER COLUMN: the table is made anew (https://sqlite.org/lang_altertable.html, 7)."""
    sensor.run("ALTER TABLE t RENAME TO old")
    sensor.run(f"CREATE TABLE t (id INTEGER PRIMARY KEY, timestamp TEXT, {column})")
    sensor.run("INSERT INTO t SELECT * FROM old")
    sensor.run("DROP TABLE old")


def test_a_column_that_is_added_is_added_to_the_table(drift, sensor):
    begin(sensor, "x REAL", 1.0)
    drift("x")
    sensor.run("ALTER TABLE t ADD COLUMN y INTEGER")
    more(sensor, (2.0, 20))
    assert drift("x", "y")[0] == [(1.0, None), (2.0, 20)]


def test_a_column_that_is_dropped_is_null_from_then_on(drift, sensor):
    begin(sensor, "x REAL, y TEXT", (1.0, "a"))
    drift("x", "y")
    sensor.run("ALTER TABLE t DROP COLUMN y")
    more(sensor, 2.0)
    assert drift("x", "y")[0] == [(1.0, "a"), (2.0, None)]


def test_a_column_that_is_renamed_leaves_both_names(drift, sensor):
    begin(sensor, "x REAL", 1.0)
    drift("x")
    sensor.run("ALTER TABLE t RENAME COLUMN x TO y")
    more(sensor, 2.0)
    assert drift("x", "y")[0] == [(1.0, None), (None, 2.0)]


def test_a_column_of_which_only_the_case_changes_stays_one_column(drift, sensor):
    begin(sensor, "rain REAL", 1.0)
    drift("rain")
    sensor.run("ALTER TABLE t RENAME COLUMN rain TO RAIN")
    more(sensor, 2.0)
    assert drift("rain")[0] == [(1.0,), (2.0,)]


@pytest.mark.parametrize(
    ("before", "after", "cells", "kept", "rejected"),
    [
        pytest.param(("INTEGER", 1), "REAL", [2.0, 2.5], [1, 2], ["2.5"], id="INTEGER to REAL"),
        pytest.param(("REAL", 1.5), "INTEGER", [2, 2**53 + 1], [1.5, 2.0], [str(2**53 + 1)], id="REAL to INTEGER"),
        pytest.param(("INTEGER", 1), "TEXT", ["2", "two"], [1, 2], ["two"], id="INTEGER to TEXT"),
        pytest.param(("TEXT", "a"), "INTEGER", [2, 3], ["a", "2", "3"], [], id="TEXT to INTEGER"),
        pytest.param(("TEXT", "a"), "BLOB", [b"\xff"], ["a"], ["ff"], id="TEXT to BLOB"),
    ],
)
def test_a_column_declared_anew_keeps_its_type_in_the_table_and_rejects_what_does_not_fit(  # noqa: PLR0917
    before, after, cells, kept, rejected, drift, sensor, folder
):
    """No type is widened: readers at version 1 cannot follow that, it takes the feature ``typeWidening``."""
    begin(sensor, f"x {before[0]}", before[1])
    drift("x")
    declared_anew(sensor, f"x {after}")
    more(sensor, *cells)
    rows, done = drift("x")
    assert [x for (x,) in rows] == kept
    if rejected:
        assert folder.read("_rejected").select("rule", "column_name", "value").rows() == [
            (folder.read("_rejected")["rule"][0], "x", value) for value in rejected
        ]
        [warning] = done.named("rows rejected")
        assert warning["level"] == "warning"
        assert list(warning["by"].values()) == [len(rejected)]
        assert folder.read("_rejected")["reason"].str.contains("the table holds|cannot hold exactly").all()


def test_a_device_with_another_schema_writes_to_the_same_table(sensor, folder, command, tmp_path):
    first = command(sensor.path, folder, node_id="n1", interval=0.1)
    begin(sensor, "x REAL, y TEXT", (1.0, "a"))
    running = first.start()
    running.wait_until(lambda: folder.exists("_1_schematized") and folder.read().height == 1, what="the first row")
    other = tmp_path / "device" / "other.db"
    one = sensor.path
    sensor.open(other)
    begin(sensor, "Y TEXT, x TEXT, z INTEGER", ("b", "2.5", 5), ("c", "wet", 6))
    command(other, folder, node_id="n2", state_dir=tmp_path / "state2").once().succeeded()
    sensor.open(one)
    more(sensor, (3.0, "d"))
    running.wait_until(lambda: folder.read().height == 3, what="the next row of the first device")
    assert running.terminate() == 0
    table = folder.read().sort("node_id", "reading_id").select("node_id", "x", "y", "z")
    assert table.rows() == [("n1", 1.0, "a", None), ("n1", 3.0, "d", None), ("n2", 2.5, "b", 5)]
    assert folder.read("_rejected").select("node_id", "value").rows() == [("n2", "wet")]


def test_a_renamed_table_is_not_delivered_again_unless_it_is_named(sensor, folder, command):
    sensor.create()
    sensor.add(10)
    edge = command(sensor.path, folder, node_id="n1")
    edge.once().succeeded()
    sensor.run("ALTER TABLE readings RENAME TO renamed")
    refused = edge.once()
    assert refused.code == 2
    assert "table 'readings', which was delivered so far" in refused.error
    assert folder.read().height == 10
    sensor.run("ALTER TABLE renamed RENAME TO readings")
    sensor.add(5, start=10)
    edge.once().succeeded()
    assert folder.read().height == 15
    sensor.run("ALTER TABLE readings RENAME TO renamed")
    edge.once(table="renamed").succeeded()
