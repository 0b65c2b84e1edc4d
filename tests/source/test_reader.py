"""Every cell that SQLite allows is delivered value for value, or its row is rejected with a reason."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, example, given, settings

from edge_delta.core.cells import as_json, from_json
from edge_delta.core.memory import PLAIN
from edge_delta.core.model import BEFORE_FIRST, Cursor, Kind
from edge_delta.source import Database, SQLiteSource
from tests.support.inprocess import deliver
from tests.support.tables import Place

DECLARED = (
    *("", "INTEGER", "INT", "REAL", "DOUBLE PRECISION", "TEXT", "VARCHAR(10)", "BLOB", "NUMERIC", "DECIMAL(10,2)"),
    *("BOOLEAN", "DATETIME", "DATE", "TIMESTAMP", "FLOATING POINT", "STRING", "JSON", "ANY"),
)
STANDARD = ("timestamp", "temperature", "status_code", "anomaly_flag", "latitude", "sensor_id", "synced", "model")
numbers = itertools.count()

names = st.one_of(
    st.sampled_from((*STANDARD, "a b", 'q"q', "select", "node_id", "source_rowid", "É", "é", "reading_id", "_rowid")),
    st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), min_size=1, max_size=6),
)
not_utf8 = st.binary(min_size=1, max_size=4).map(lambda raw: b"\xff" + raw)
cells = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from((0, 1, -1, 2**53, 2**53 + 1, -(2**63), 2**63 - 1, 1767225600, 1767225600000, 2461041)),
    st.floats(allow_nan=False),
    st.sampled_from((0.1, 1e300, 5e-324, 2**63 * 1.0, 2.0**64, math.inf, -math.inf, -0.0, 2461041.5)),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
    st.sampled_from(("", "1", " 1.5 ", "a\x00b", "2026-01-01T00:00:00+02:00", "2026-01-01", "9999-99-99", "true")),
    st.binary(max_size=6),
    not_utf8.map(lambda raw: ("text", raw)),
)


@st.composite
def tables(draw):
    """Columns (name, declared type) and rows."""
    columns = draw(
        st.lists(
            st.tuples(names, st.sampled_from(DECLARED)), min_size=1, max_size=6, unique_by=lambda c: ascii_lower(c[0])
        )
    )
    rows = draw(st.lists(st.tuples(*[cells] * len(columns)), min_size=1, max_size=8))
    return columns, rows


def ascii_lower(text):
    """As SQLite folds case."""
    return "".join(c.lower() if c.isascii() else c for c in text)


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def write(sensor, columns, rows):
    """Make a new database with these rows; its path, and the rows as SQLite stores them."""
    path = sensor.path.with_name(f"h{next(numbers)}.db")
    sensor.open(path, wal=False)
    sensor.run(f"CREATE TABLE t ({', '.join(f'{quoted(n)} {t}' for n, t in columns)})")
    for row in rows:
        places = ", ".join("CAST(? AS TEXT)" if isinstance(c, tuple) else "?" for c in row)
        sensor.run(f"INSERT INTO t VALUES ({places})", *(c[1] if isinstance(c, tuple) else c for c in row))
    return path, sensor.run("SELECT * FROM t ORDER BY rowid")


def same(kind, ours, stored):
    """Whether a delivered value says exactly what SQLite stores."""
    if stored is None or ours is None:
        return ours is stored
    if kind is Kind.TEXT and isinstance(stored, int):
        return ours == str(stored)
    if kind is Kind.TEXT and isinstance(stored, float):
        return float(ours) == stored
    if kind is Kind.BOOLEAN and isinstance(stored, str):
        return stored.lower() in (("t", "true") if ours else ("f", "false"))
    if kind is Kind.BOOLEAN:
        return isinstance(ours, bool) and int(ours) == stored
    return ours == stored and isinstance(ours, float) is (kind is Kind.REAL)


quick = settings(
    max_examples=120,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@quick
@example(table=([("a", "BOOLEAN")], [("TRUE",), ("f",), ("yes",), (1,), (2,)]))
@example(table=([("a", "NUMERIC")], [(2**63 - 1,), (2**63 - 512,), (-(2**63),), (0.5,)]))
@given(table=tables())
def test_every_row_is_delivered_value_for_value_or_rejected_with_a_reason(sensor, table):
    path, stored = write(sensor, *table)
    database = Database(path)
    try:
        source = SQLiteSource(database, "t", table[0][0][0])
        batch = source.read_after(Cursor(), limit=100)
    finally:
        database.close()
    assert batch.rows == len(stored)
    kept = {row[0]: row[1:] for row in batch.frame.rows()}
    rejected = {r.rowid: r for r in batch.rejected}
    assert not kept.keys() & rejected.keys()
    for rowid, row in enumerate(stored, start=1):
        if rowid in kept:
            for column, ours, theirs in zip(source.columns, kept[rowid], row, strict=True):
                assert same(column.kind, ours, theirs), (column, ours, theirs)
        else:
            reason = rejected[rowid]
            assert reason.reason
            assert list(reason.cells.values()) == list(row)
            assert from_json(as_json(reason.cells)) == reason.cells
            assert reason.column in {c.alias for c in source.columns}
    path.unlink()


@settings(quick, max_examples=25)
@given(table=tables(), mode=st.sampled_from(["raw", "schematized"]))
def test_whatever_sqlite_holds_the_job_ends_well_and_accounts_for_every_row(sensor, tmp_path, table, mode):
    path, stored = write(sensor, *table)
    place = Place(str(tmp_path / f"lake{next(numbers)}" / "t"))
    done = deliver(
        path, place, sqlite_table_name="t", timestamp_col=table[0][0][0], processing_mode=mode, max_batch_size=3
    )
    assert done.complete
    suffix = "_0_raw" if mode == "raw" else "_1_schematized"
    written = place.read(suffix).height if place.exists(suffix) else 0
    rejected = place.read("_rejected").height if place.exists("_rejected") else 0
    assert written + rejected == len(stored)
    if written:
        assert place.read_by_duckdb(suffix).height == written
    path.unlink()


# -- examples that taught something


@pytest.fixture
def read(sensor):
    """Reads all there is in a table, in batches."""
    opened = []

    def everything(limit=1000, **chosen):
        database = Database(sensor.path)
        opened.append(database)
        source, cursor, batches = SQLiteSource(database, **chosen), Cursor(), []
        while (batch := source.read_after(cursor, limit=limit)) is not None:
            batches.append(batch)
            cursor = batch.cursor
        return batches

    yield everything
    for database in opened:
        database.close()


def test_batches_are_in_rowid_order_and_bounded(sensor, read):
    sensor.create()
    sensor.add(95)
    sensor.run("DELETE FROM readings WHERE id BETWEEN 20 AND 40")
    batches = read(limit=10)
    assert [b.rows for b in batches] == [10, 9, *[10] * 5, 5]  # a gap ends the batch that reaches into it
    ids = [i for b in batches for i in b.frame["_rowid"]]
    assert ids == [*range(1, 20), *range(41, 96)]
    assert [b.cursor.rowid for b in batches] == [b.frame["_rowid"][-1] for b in batches]


def test_a_batch_is_bounded_by_bytes_however_the_weight_of_rows_changes(sensor, read):
    sensor.run("CREATE TABLE notes (id INTEGER PRIMARY KEY, note TEXT)")
    for text, rows in (("'x'", 3000), ("hex(zeroblob(50000))", 300), ("'y'", 3000)):  # 100 kB each, for a while
        sensor.run(
            f"INSERT INTO notes (note) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {rows}) "
            f"SELECT {text} FROM n"
        )
    batches = read(limit=2000)
    assert sum(b.rows for b in batches) == 6300
    sizes = [b.frame.estimated_size() for b in batches]
    assert max(sizes) < 1.1 * PLAIN.batch_bytes
    assert len(batches) < 15  # and light rows come in large batches before and after


def test_ids_far_apart_still_come_in_full_batches(sensor, read):
    sensor.create()
    sensor.many("INSERT INTO readings (id) VALUES (?)", [(i * 10**12,) for i in range(1, 101)])
    assert [b.rows for b in read(limit=25)] == [25] * 4


def test_negative_and_extreme_rowids_are_read(sensor, read):
    sensor.create()
    ids = [-(2**63), -(2**63) + 1, -5, 0, 7, 2**63 - 1]
    sensor.many("INSERT INTO readings (id) VALUES (?)", [(i,) for i in ids])
    assert ids[0] == BEFORE_FIRST
    assert [i for b in read(limit=2) for i in b.frame["_rowid"]] == ids


def test_a_column_that_is_null_for_a_long_time_keeps_its_declared_type(sensor, read):
    sensor.create()
    sensor.add(1)
    sensor.run("UPDATE readings SET temperature = NULL, sensor_id = NULL")
    sensor.run(
        "INSERT INTO readings (id) WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n LIMIT 20000) "
        "SELECT i FROM n"
    )
    sensor.run("INSERT INTO readings (temperature, sensor_id) VALUES (1.5, 's')")
    first, *_, last = read(limit=5000)
    assert first.frame.schema == last.frame.schema
    assert (last.frame["temperature"][-1], last.frame["sensor_id"][-1]) == (1.5, "s")


def test_one_bad_cell_rejects_its_row_alone(sensor, read):
    sensor.create()
    sensor.add(1000)
    sensor.run("UPDATE readings SET temperature = 'n/a' WHERE id = 500")
    [batch] = read()
    assert batch.frame.height == 999
    [bad] = batch.rejected
    assert (bad.rowid, bad.rule, bad.column) == (500, "type", "temperature")
    assert "TEXT in a column declared REAL" in bad.reason
    assert (bad.cells["id"], bad.cells["temperature"]) == (500, "n/a")


@pytest.mark.parametrize("where", ["id = 1", "id = 1000", "1"], ids=["the first", "the last", "all"])
def test_bad_rows_at_the_ends_of_a_batch_move_the_cursor_too(where, sensor, read):
    sensor.create()
    sensor.add(1000)
    sensor.run(f"UPDATE readings SET temperature = x'00' WHERE {where}")
    batches = read(limit=250)
    assert len(batches) == 4
    assert sum(b.rows for b in batches) == 1000
    assert batches[-1].cursor.rowid == 1000


def test_an_integer_that_a_double_cannot_hold_rejects_its_row(sensor, read):
    sensor.run("CREATE TABLE t (x NUMERIC)")
    sensor.many("INSERT INTO t VALUES (?)", [(2**53,), (2**53 + 1,), (0.5,)])
    [batch] = read()
    assert batch.frame["x"].to_list() == [2.0**53, 0.5]
    [bad] = batch.rejected
    assert bad.cells == {"x": 2**53 + 1}


def test_text_that_is_not_utf8_rejects_its_row_and_loses_no_byte(sensor, read):
    sensor.create()
    sensor.add(3)
    sensor.run("UPDATE readings SET sensor_id = CAST(x'41ff42' AS TEXT) WHERE id = 2")
    [batch] = read()
    assert batch.frame["_rowid"].to_list() == [1, 3]
    [bad] = batch.rejected
    assert "UTF-8" in bad.reason
    assert bad.cells["sensor_id"] == b"A\xffB"


def test_booleans_are_0_and_1_and_nothing_else(sensor, read):
    sensor.run("CREATE TABLE t (x BOOLEAN)")
    sensor.many("INSERT INTO t VALUES (?)", [(0,), (1,), (None,), (2,), ("maybe",)])
    [batch] = read()
    assert batch.frame["x"].to_list() == [False, True, None]
    assert [r.rowid for r in batch.rejected] == [4, 5]


def test_waiting_rows_are_told_without_a_scan(sensor):
    sensor.create()
    sensor.add(300_000)
    database = Database(sensor.path)
    source = SQLiteSource(database)
    plan = database.rows('EXPLAIN QUERY PLAN SELECT min("id") FROM "readings" WHERE "id" > 5')
    assert "SEARCH" in plan[0][3]
    waiting = source.waiting(Cursor(rowid=100))
    assert (waiting.first_rowid, waiting.last_rowid, waiting.rows) == (101, 300_000, 299_900)
    database.close()


def test_a_foreign_commit_is_noticed_once(sensor):
    sensor.create()
    database = Database(sensor.path)
    source = SQLiteSource(database)
    source.waiting(Cursor())
    source.changed()
    assert not source.changed()
    sensor.add(1)
    assert source.changed()
    assert not source.changed()
    database.close()


# -- giant rows

GIANT = "INSERT INTO t (x, s) VALUES ({x}, {s})"


@pytest.mark.parametrize("giant", ["zeroblob(100000000)", "hex(zeroblob(20000000))", "hex(zeroblob(4500000))"])
@pytest.mark.parametrize("where", [1, 50, 100])
def test_a_giant_row_is_rejected_with_its_size_and_never_loaded(giant, where, sensor, read):
    sensor.run("CREATE TABLE t (id INTEGER PRIMARY KEY, x, s TEXT)")
    sensor.many("INSERT INTO t (x, s) VALUES (?, ?)", [(i, f"s{i}") for i in range(100)])
    sensor.run(f"UPDATE t SET x = {giant} WHERE id = {where}")
    before = peak_megabytes()
    batches = read(limit=60)
    assert peak_megabytes() - before < 60
    [bad] = [r for b in batches for r in b.rejected]
    assert (bad.rowid, bad.rule, bad.column, bad.cells["s"]) == (where, "too_large", "x", f"s{where - 1}")
    assert "max_row_bytes is 8,388,608" in bad.reason
    assert sum(b.frame.height for b in batches) == 99
    assert batches[-1].cursor.rowid == 100


def peak_megabytes():
    Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def test_rows_just_below_the_limit_are_delivered_also_where_they_do_not_fit(sensor, read):
    sensor.run("CREATE TABLE t (id INTEGER PRIMARY KEY, x REAL, b BLOB)")
    sensor.run("INSERT INTO t (x, b) VALUES (1, zeroblob(8000000)), ('bad', zeroblob(8000000)), (2, x'00')")
    batches = read()
    assert [len(cell) for b in batches for cell in b.frame["b"]] == [8_000_000, 1]
    [bad] = [r for b in batches for r in b.rejected]
    assert (bad.rowid, bad.column, len(bad.cells["b"])) == (2, "x", 8_000_000)
