"""What columns hold: declarations that mean something else than SQLite thinks, and settings that say it."""

from __future__ import annotations

import itertools
import json
import math
from contextlib import closing
from datetime import UTC, datetime

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from edge_delta.core.cells import RawText
from edge_delta.core.errors import ConfigurationError
from edge_delta.core.model import Cursor, Kind
from edge_delta.source import Database, SQLiteSource
from edge_delta.source.kinds import READ_AS
from edge_delta.source.read_options import Options
from edge_delta.source.values import Misfit, value_of
from tests.support.inprocess import deliver

UUID = bytes(range(16))
DIALECTS = {
    "CTAS, texts": ("NUM", ["2026-01-01", "2026-01-02", None], Kind.TEXT, ["2026-01-01", "2026-01-02", None]),
    "CTAS, numbers": ("NUM", [1, 2.5, None], Kind.REAL, [1.0, 2.5, None]),
    "a point as WKB": ("POINT", [b"\x01\x02", None], Kind.BLOB, [b"\x01\x02", None]),
    "a geometry as WKB": ("GEOMETRY", [b"\x01\x02", None], Kind.BLOB, [b"\x01\x02", None]),
    "a geometry as WKT": ("GEOMETRY", ["POINT(1 2)"], Kind.TEXT, ["POINT(1 2)"]),
    "Rails' booleans": ("boolean", ["t", "f", None], Kind.BOOLEAN, [True, False, None]),
    "booleans in words": ("BOOL", ["true", "FALSE", 1, 0], Kind.BOOLEAN, [True, False, True, False]),
    "identifiers": ("BINARY(16)", [UUID], Kind.TEXT, ["00010203-0405-0607-0809-0a0b0c0d0e0f"]),
    "identifiers, declared": ("uuid", [UUID, "a-b"], Kind.TEXT, ["00010203-0405-0607-0809-0a0b0c0d0e0f", "a-b"]),
    "blobs of another size": ("VARBINARY(20)", [b"\x01" * 20], Kind.BLOB, [b"\x01" * 20]),
    "whatever": ("INTEGER_OR_TEXT", [1, "a", 2], Kind.TEXT, ["1", "a", "2"]),
    "fractions of integers": ("INTEGER", [20, 21.5, 22], Kind.REAL, [20.0, 21.5, 22.0]),
    "times in integers": ("INTEGER", ["2026-01-01T00:00:00Z"], Kind.TEXT, ["2026-01-01T00:00:00Z"]),
    "integers": ("UNSIGNED BIG INT", [1, 2], Kind.INTEGER, [1, 2]),
    "Django's": ("integer unsigned", [1, None], Kind.INTEGER, [1, None]),
    "MySQL's": ("INT(11)", [1, None], Kind.INTEGER, [1, None]),
}


def written(sensor, declared, cells):
    sensor.run("DROP TABLE IF EXISTS t")
    sensor.run(f"CREATE TABLE t (id INTEGER PRIMARY KEY, x {declared})")
    sensor.many("INSERT INTO t (x) VALUES (?)", [(cell,) for cell in cells])


def read(sensor, **chosen):
    with closing(Database(sensor.path)) as database:
        source = SQLiteSource(database, "t", **chosen)
        batch = source.read_after(Cursor(), limit=10_000)
    return batch, batch.layout.named("x").kind


@pytest.mark.parametrize(("declared", "cells", "kind", "values"), DIALECTS.values(), ids=DIALECTS)
def test_the_usual_dialects_are_understood(declared, cells, kind, values, sensor):
    written(sensor, declared, cells)
    batch, found = read(sensor)
    assert (found, batch.frame["x"].to_list(), batch.rejected) == (kind, values, ())


@pytest.mark.parametrize(("declared", "cells", "kind", "values"), DIALECTS.values(), ids=DIALECTS)
def test_a_dialect_is_understood_when_the_first_row_comes_after_the_start(declared, cells, kind, values, sensor):
    written(sensor, declared, [])
    with closing(Database(sensor.path)) as database:
        source = SQLiteSource(database, "t")
        assert source.read_after(Cursor(), limit=10) is None
        sensor.many("INSERT INTO t (x) VALUES (?)", [(cell,) for cell in cells])
        batch = source.read_after(Cursor(), limit=10)
    assert (batch.layout.named("x").kind, batch.frame["x"].to_list(), batch.rejected) == (kind, values, ())


def test_a_few_odd_cells_do_not_change_what_a_column_is(sensor):
    written(sensor, "INTEGER", [*range(100), 0.5, "n/a", b"\x00"])
    batch, kind = read(sensor)
    assert kind is Kind.INTEGER
    assert [r.rowid for r in batch.rejected] == [101, 102, 103]


def test_a_column_that_turns_out_to_be_another_keeps_the_type_that_its_table_has(sensor, folder):
    written(sensor, "INTEGER", range(50))
    deliver(sensor.path, folder, processing_mode="raw")
    sensor.many("INSERT INTO t (x) VALUES (?)", [(i if i % 2 else i + 0.5,) for i in range(400)])
    assert deliver(sensor.path, folder, processing_mode="raw").complete
    assert folder.read("_0_raw").height == 50 + 200
    rejected = folder.read("_rejected")
    assert rejected.height == 200
    assert set(rejected["rule"]) == {"schema"}


# -- what the settings say

TIME = datetime(2026, 1, 1, 12, tzinfo=UTC)
SAID = [
    ("INTEGER", "text", [1, 2.5, "a", None], ["1", "2.5", "a", None]),
    ("TEXT", "integer", ["1", " 2 ", "-3", None], [1, 2, -3, None]),
    ("REAL", "integer", [1.0, 2.0], [1, 2]),
    ("TEXT", "real", ["1.5", "2", "-3e5", None], [1.5, 2.0, -300_000.0, None]),
    ("INTEGER", "real", [1, 2], [1.0, 2.0]),
    ("INTEGER", "boolean", [0, 1, None], [False, True, None]),
    ("TEXT", "boolean", ["yes", "No", "ON", "off", "1", "0", "t", "F"], [True, False] * 4),
    ("TEXT", "blob", ["ab", b"\x00\xff"], [b"ab", b"\x00\xff"]),
    ("INTEGER", "timestamp", [int(TIME.timestamp()), None], [TIME, None]),
    ("TEXT", "timestamp", ["2026-01-01T12:00:00Z", "1767268800"], [TIME, TIME]),
    ("REAL", "timestamp", [TIME.timestamp()], [TIME]),
    ("BLOB", "json", ['{"a": [1, null]}', "7"], ['{"a": [1, null]}', "7"]),
]


@pytest.mark.parametrize("case", SAID, ids=lambda case: f"{case[0]} as {case[1]}")
@pytest.mark.parametrize("mode", ["raw", "schematized"])
def test_a_column_is_what_the_settings_say(case, mode, sensor, folder, tmp_path):
    declared, said, cells, values = case
    written(sensor, declared, cells)
    config = tmp_path / "config.toml"
    config.write_text(f'[columns]\nX = "{said}"\n')
    done = deliver(sensor.path, folder, config=config, processing_mode=mode)
    assert done.complete
    assert folder.read({"raw": "_0_raw", "schematized": "_1_schematized"}[mode])["x"].to_list() == values


@pytest.mark.parametrize(
    ("declared", "said", "cell", "reason"),
    [
        ("TEXT", "integer", "1.5", "TEXT in a column read as integer"),
        ("TEXT", "real", "n/a", "TEXT in a column read as real"),
        ("TEXT", "boolean", "maybe", "TEXT in a column read as boolean"),
        ("INTEGER", "boolean", 2, "a number other than 0 and 1 in a column read as boolean"),
        ("TEXT", "timestamp", "soon", "cannot be read as a time"),
        ("TEXT", "json", "{", "no JSON"),
        ("BLOB", "text", b"\xff\x00", "not UTF-8"),
    ],
)
def test_what_does_not_fit_what_the_settings_say_is_rejected_with_a_reason(declared, said, cell, reason, sensor):
    written(sensor, declared, [None, cell, None])
    batch, _ = read(sensor, options=Options(kinds={"x": said}))
    [bad] = batch.rejected
    assert (bad.rowid, bad.column, bad.cells["x"]) == (2, "x", cell)
    assert reason in bad.reason


def test_a_setting_about_a_column_that_is_not_there_is_refused(sensor):
    written(sensor, "TEXT", [])
    with closing(Database(sensor.path)) as database, pytest.raises(ConfigurationError, match="names 'y', which is no"):
        SQLiteSource(database, "t", options=Options(kinds={"y": "text"}))


cells = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 1, 2, -0.0, 1.0, 1.5, 2.0**53, 2**53 + 1, math.inf, 1e300, 2461366.5]),
    st.sampled_from(
        ["", "t", "F", " true", "1", "0", "-5", "+5", "1.0", "1e5", "1.5 ", ".5", "0x10", "null", "{}", "[1"]
    ),
    st.sampled_from(["2026-01-01T00:00:00Z", "20260101", "1767268800.5", "yes", "9" * 30, "1_0", "NaN", "Infinity"]),
    st.sampled_from([b"", b"a", UUID, b"\xff" * 16]),
)
numbers = itertools.count()


@given(
    rows=st.lists(cells, min_size=1, max_size=12),
    declared=st.sampled_from(["", "TEXT", "INTEGER", "REAL", "uuid", "BOOLEAN", "NUM"]),
    said=st.sampled_from([None, *READ_AS]),
)
@settings(max_examples=250, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_a_rejected_cell_is_one_that_python_would_reject_and_a_delivered_one_is_the_same_value(
    sensor, rows, declared, said
):
    """Rejected rows get their reason in Python, and `replay` reads them so; SQL decides what is rejected."""
    written(sensor, declared, rows)
    stored = [cell for (cell,) in sensor.run("SELECT x FROM t ORDER BY id")]
    batch, _ = read(sensor, timestamp="x", options=Options(kinds={"x": said} if said else {}))
    column = batch.layout.named("x")
    kept = dict(zip(batch.frame["_rowid"], batch.frame["x"], strict=True))
    for rowid, cell in enumerate(stored, start=1):
        if rowid in kept:
            value = value_of(column, cell)
            ours = kept[rowid]
            if column.kind is Kind.TIMESTAMP and value is not None:
                assert abs((ours - value).total_seconds()) < 1e-3
            elif column.kind is Kind.TEXT and isinstance(cell, float):
                assert float(ours) == cell
            else:
                assert ours == value
        else:
            with pytest.raises(Misfit):
                value_of(column, RawText(cell) if isinstance(cell, bytes) and said == "text" else cell)


def test_replayed_rows_are_read_by_the_same_rules(sensor, folder, command):
    """A row that was rejected by a rule comes back with the values that it would have had."""
    sensor.run("CREATE TABLE t (id INTEGER PRIMARY KEY, sensor_id TEXT, timestamp TEXT, ok BOOLEAN, temperature REAL)")
    sensor.run(
        "INSERT INTO t VALUES (1, 's', '2026-01-01T00:00:00Z', 't', 400.0), (2, 's', '2026-01-01T00:00:01Z', 'f', 20)"
    )
    limits = {"SANITIZE_CONFIG": json.dumps({"ranges": {"temperature": {"max": 100}}})}
    edge = command(sensor.path, folder, node_id="n1", processing_mode="sanitized")
    edge.once(env=limits).succeeded()
    sensor.run("DELETE FROM t WHERE id = 1")
    edge.run("replay").succeeded()
    assert folder.read("_2_sanitized").sort("reading_id")["ok"].to_list() == [True, False]


def test_times_of_several_forms_are_each_read_in_their_own(sensor, folder, tmp_path):
    sensor.run("CREATE TABLE readings (id INTEGER PRIMARY KEY, timestamp TEXT, calibrated TEXT)")
    sensor.run("INSERT INTO readings VALUES (1, '20260102030405', '31.12.2025')")
    config = tmp_path / "config.toml"
    config.write_text(
        '[columns]\ncalibrated = "timestamp"\n[times.calibrated]\nformat = "%d.%m.%Y"\n'
        '[times.timestamp]\nformat = "%Y%m%d%H%M%S"\nzone = "Europe/Helsinki"\n'
    )
    deliver(sensor.path, folder, config=config)
    [found] = folder.read().select("timestamp", "calibrated").rows()
    assert found == (datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC), datetime(2025, 12, 31, tzinfo=UTC))
