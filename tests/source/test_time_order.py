"""Tables and views without a rowid are read in the order of time; what that cannot do exactly is said."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime

import pytest

from edge_delta.core.errors import ConfigurationError
from edge_delta.core.model import Cursor
from edge_delta.core.time_formats import TimeForm, moment
from edge_delta.source import Database, SQLiteSource
from edge_delta.source.read_options import Options
from tests.support.inprocess import deliver

KEYED = "CREATE TABLE t (at {declared}, sensor TEXT, v REAL, PRIMARY KEY (at, sensor)) WITHOUT ROWID"
FORMS = [
    ("TEXT", "auto", [f"17000{i:05}" for i in range(12)]),
    ("INTEGER", "auto", [1_700_000_000 + i for i in range(12)]),
    ("INTEGER", "auto", [1_700_000_000_000 + i for i in range(12)]),
    ("INTEGER", "auto", [1_700_000_000_000_000_000 + i * 10**9 for i in range(12)]),
    ("REAL", "auto", [2_461_366.5 + i / 86400 for i in range(12)]),
    ("REAL", "auto", [1_700_000_000.25 + i for i in range(12)]),
    ("TEXT", "auto", [f"2026-01-01T00:00:{i:02}+0000" for i in range(12)]),
    ("TEXT", "auto", [f"2026-01-01 00:00:{i:02},5" for i in range(12)]),
    ("TEXT", "auto", [f" 2026-01-01T00:00:{i:02}.25Z " for i in range(12)]),
    ("TEXT", "auto", [f"2026-01-01T02:00:{i:02}+02" for i in range(12)]),
    ("TEXT", "auto", [f"202601010000{i:02}" for i in range(12)]),
    ("INTEGER", "auto", [20260101000000 + i for i in range(12)]),
    ("INTEGER", "auto", [20260101 + i for i in range(12)]),
    ("INTEGER", "s", [2_000_000 + i for i in range(12)]),
    ("INTEGER", "ms", [5 + i for i in range(12)]),
    ("INTEGER", "us", [1_700_000_000_000_000 + i * 1000 for i in range(12)]),
    ("INTEGER", "dotnet", [638_995_980_940_000_000 + i * 10**7 for i in range(12)]),
    ("REAL", "apple", [700_000_000.5 + i for i in range(12)]),
    ("REAL", "days", [20_000 + i / 86400 for i in range(12)]),
    ("REAL", "julian", [2_461_366 + i / 86400 for i in range(12)]),
    ("TEXT", "%d.%m.%Y %H:%M:%S", [f"01.02.2026 00:00:{i:02}" for i in range(12)]),
]


def _id(value):
    return str(value[0]) if isinstance(value, list) else value


def forms(name):
    return pytest.mark.parametrize(("declared", "form", "times"), FORMS, ids=_id)(name)


def opened(sensor, form="auto", zone="UTC"):
    database = Database(sensor.path)
    return closing(database), SQLiteSource(database, "t", "at", Options(TimeForm(form, zone)))


def drained(source, cursor=None):
    """The values of `v` in their order, and where they end."""
    cursor, values = cursor or Cursor(), []
    while (batch := source.read_after(cursor, limit=4)) is not None:
        values += batch.frame["v"].to_list()
        cursor = batch.cursor
    return values, cursor


@forms
def test_times_of_every_form_put_rows_in_order_and_none_is_lost(declared, form, times, sensor):
    sensor.run(KEYED.format(declared=declared))
    closing_, source = opened(sensor, form)
    with closing_:
        values, cursor = [], Cursor()
        for part in (times[:5], times[5:12]):
            sensor.many("INSERT INTO t VALUES (?, 's', ?)", [(at, float(times.index(at))) for at in part])
            more, cursor = drained(source, cursor)
            values += more
    assert values == [float(i) for i in range(12)]


@forms
def test_the_key_of_a_row_is_its_time_as_it_is_understood_everywhere(declared, form, times, sensor):
    sensor.run(KEYED.format(declared=declared))
    sensor.many("INSERT INTO t VALUES (?, 's', 1.0)", [(at,) for at in times])
    closing_, source = opened(sensor, form)
    with closing_:
        keys = source.read_after(Cursor(), limit=100).frame["_rowid"].to_list()
        assert source.span() == (moment(times[0], TimeForm(form)), moment(times[-1], TimeForm(form)))
    for key, at in zip(keys, times, strict=True):
        assert abs(key - moment(at, TimeForm(form)).timestamp() * 1000) <= 1


def now(seconds=0.0):
    return datetime.fromtimestamp(datetime.now(UTC).timestamp() + seconds, UTC).isoformat(timespec="seconds")


def test_rows_of_a_second_that_is_not_over_wait_until_it_is(sensor, monkeypatch):
    """Of 160 rows 44 were lost that came in the second of the last one that was delivered."""
    sensor.run(KEYED.format(declared="TEXT"))
    closing_, source = opened(sensor)
    second = now()
    with closing_:
        sensor.many("INSERT INTO t VALUES (?, ?, ?)", [(second, f"a{i}", i) for i in range(80)])
        assert drained(source)[0] == []
        assert source.waiting(Cursor()).rows == 0
        sensor.many("INSERT INTO t VALUES (?, ?, ?)", [(second, f"b{i}", 80 + i) for i in range(80)])
        monkeypatch.setattr("edge_delta.source.time_order.SETTLED_AFTER", -2.0)
        assert sorted(drained(source)[0]) == [float(i) for i in range(160)]


def test_a_row_ahead_of_the_clock_does_not_hide_those_that_come_after_it(sensor):
    sensor.run(KEYED.format(declared="TEXT"))
    closing_, source = opened(sensor)
    with closing_:
        sensor.run("INSERT INTO t VALUES (?, 'a', 1.0), (?, 'a', 2.0)", now(-100), now(10**8))
        values, cursor = drained(source)
        assert values == [1.0]
        assert source.passed(cursor).ahead == 1
        sensor.run("INSERT INTO t VALUES (?, 'a', 3.0)", now(-50))
        assert drained(source, cursor)[0] == [3.0]


def test_rows_that_come_with_a_time_that_is_passed_are_counted(sensor):
    sensor.run(KEYED.format(declared="TEXT"))
    closing_, source = opened(sensor)
    with closing_:
        sensor.many("INSERT INTO t VALUES (?, 'a', 1)", [(now(-100 + i),) for i in range(10)])
        _, cursor = drained(source)
        assert source.passed(cursor).late == 0
        sensor.run("INSERT INTO t VALUES (?, 'b', 2), (?, 'c', 2), ('soon', 'd', 3)", now(-95), now(-99))
        assert source.passed(cursor).late == 3


def test_late_rows_are_said_in_the_log(sensor, folder):
    sensor.run(KEYED.format(declared="TEXT"))
    for start, sensor_id in ((-100, "a"), (-200, "b")):
        sensor.many("INSERT INTO t VALUES (?, ?, 1)", [(now(start + i), sensor_id) for i in range(10)])
        done = deliver(sensor.path, folder, processing_mode="raw", sqlite_table_name="t", timestamp_col="at")
    assert [e["rows"] for e in done.named("rows came with a time that is passed")] == [10]


def test_an_index_on_the_time_is_used_so_that_the_cost_does_not_grow(sensor):
    sensor.run(KEYED.format(declared="TEXT"))
    closing_, source = opened(sensor)
    with closing_:
        key = source._table.behind(1_790_000_000_000)
        plan = source._database.rows(f"EXPLAIN QUERY PLAN SELECT min(1) FROM t WHERE {key}")
    assert any("SEARCH" in step[3] and "at>" in step[3] for step in plan), plan


def test_a_pattern_that_sqlite_cannot_put_in_order_is_refused(sensor):
    sensor.run(KEYED.format(declared="TEXT"))
    with (
        closing(Database(sensor.path)) as database,
        pytest.raises(ConfigurationError, match=r"put times like '%b.*order"),
    ):
        SQLiteSource(database, "t", "at", Options(TimeForm("%b %d %Y")))


@pytest.mark.parametrize("form", ["ns", "julian", "%Y%m%d%H%M%S", "auto"])
def test_the_first_row_since_a_time_is_found_by_the_same_reading_of_times(form, sensor):
    sensor.run("CREATE TABLE t (at, v REAL)")
    wanted = datetime(2026, 1, 1, 12, tzinfo=UTC)
    cells = {
        "ns": lambda s: s * 10**9,
        "julian": lambda s: s / 86400 + 2440587.5,
        "%Y%m%d%H%M%S": lambda s: datetime.fromtimestamp(s, UTC).strftime("%Y%m%d%H%M%S"),
        "auto": lambda s: datetime.fromtimestamp(s, UTC).isoformat(),
    }[form]
    start = int(wanted.timestamp()) - 50
    sensor.many("INSERT INTO t VALUES (?, 1)", [(cells(start + i),) for i in range(100)])
    closing_, source = opened(sensor, form)
    with closing_:
        assert source.first_since(wanted, upto=100) in (51, 52)  # a Julian day in a double is exact to 40 µs
        assert source.first_since(wanted, upto=40) is None


def keyed(sensor, place, rows, **env):
    sensor.many("INSERT INTO t VALUES (?, ?, ?)", rows)
    return deliver(sensor.path, place, processing_mode="raw", timestamp_col="at", env=env)


def test_the_hour_that_a_clock_shows_twice_comes_late_and_once(sensor, folder):
    sensor.run(KEYED.format(declared="TEXT"))
    for who, times in (("a", ["03:10", "03:50"]), ("b", ["03:20", "03:40"]), ("c", ["04:10"])):
        rows = [(f"2026-10-25 {time}:00", who, 1.0) for time in times]
        keyed(sensor, folder, rows, SWEEP="0", SOURCE_TIME_ZONE="Europe/Helsinki")
    assert sorted(folder.read("_0_raw")["sensor"]) == ["a", "a", "b", "b", "c"]


def test_rows_of_the_very_millisecond_of_a_rejected_one_are_rejected_with_it(sensor, folder):
    sensor.run(KEYED.format(declared="TEXT"))
    rows = [("00:00:00", "a", 1.0), ("00:00:01", "a", "broken"), ("00:00:01", "b", 2.0), ("00:00:02", "a", 3.0)]
    keyed(sensor, folder, [(f"2026-01-01T{time}Z", who, v) for time, who, v in rows])
    assert folder.read("_0_raw")["v"].sort().to_list() == [1.0, 3.0]
    assert folder.read("_rejected").height == 2
