"""aggregated: every function means what it means in SQL. When windows are written is in `test_windows`."""

from __future__ import annotations

import polars as pl
import pytest

from edge_delta.core.errors import ConfigurationError
from tests.support import expected, modes

SUFFIX = "_3_aggregated"
DAY = "2026-01-01T00:00:00Z"


@pytest.fixture
def stations(sensor):
    modes.create(sensor)
    return sensor


def run(sensor, place, **aggregate):
    return modes.deliver(sensor.path, place, "aggregated", flush=True, aggregate=aggregate)


def insert(sensor, *pressures, stamp="2026-01-01T00:00:{:02}Z", name="a"):
    modes.insert(
        sensor,
        *({"sensor_id": name, "timestamp": stamp.format(i), "pressure": p} for i, p in enumerate(pressures)),
    )


@pytest.mark.parametrize(
    "pressures",
    [
        [5.0],
        [1.0, 2.0],
        [3.0, 1.0, 2.0, None, 10.0],
        [None, None],
        [None, 4.0, None],
        [-1e100, 1e100, 0.0],
        [0.1] * 7,
        [float(i * 7919 % 101) for i in range(60)],
    ],
    ids=lambda values: f"{len(values)} from {values[0]}",
)
def test_every_function_equals_the_one_of_sql(stations, folder, pressures):
    insert(stations, *pressures)
    aggregations = {"pressure": list(expected.ALL_FUNCTIONS)}
    run(stations, folder, aggregations=aggregations)
    wanted = expected.aggregated(expected.station_rows(stations), aggregations=aggregations)
    found = modes.read(folder, SUFFIX)
    # Sums of such numbers depend on their order.
    exact = tuple(prefix for prefix in expected.EXACT if prefix not in ("sum", "avg"))
    expected.assert_windows_equal(found, wanted, group_by=("sensor_id",), exact=exact)


def test_names_and_types_of_the_columns(stations, folder):
    insert(stations, 1.0, 2.0)
    run(
        stations,
        folder,
        aggregations={"temperature": ["mean", "max"], "pressure": ["count", "p95", "std"], "note": ["first", "max"]},
        group_by=["sensor_id", "status_code"],
    )
    assert dict(folder.read(SUFFIX).schema) == {
        "window_start": pl.Datetime("us", "UTC"),
        "window_end": pl.Datetime("us", "UTC"),
        "sensor_id": pl.String,
        "status_code": pl.Int32,
        "record_count": pl.Int64,
        "avg_temperature": pl.Float64,
        "max_temperature": pl.Float64,
        "count_pressure": pl.Int64,
        "p95_pressure": pl.Float64,
        "std_pressure": pl.Float64,
        "first_note": pl.String,
        "max_note": pl.String,
        "first_reading_id": pl.Int64,
        "last_reading_id": pl.Int64,
        "databricks_inserted_at": pl.Datetime("us", "UTC"),
        "node_id": pl.String,
        "source_generation": pl.Int32,
    }


def test_first_and_last_go_by_time_and_then_by_row(stations, folder):
    for second, pressure in [(30, 1.0), (10, 2.0), (20, None), (10, 3.0), (30, 4.0), (5, None)]:
        insert(stations, pressure, stamp=f"2026-01-01T00:00:{second:02}Z")
    run(stations, folder, aggregations={"pressure": ["first", "last"]})
    [row] = modes.read(folder, SUFFIX).select("first_pressure", "last_pressure").rows()
    assert row == (2.0, 4.0)


def test_integers_and_flags_of_the_source_are_aggregated_too(sensor, folder):
    sensor.run("CREATE TABLE t (id INTEGER PRIMARY KEY, timestamp TEXT, people INTEGER, kind TEXT)")
    sensor.run(
        f"INSERT INTO t (timestamp, people, kind) VALUES ('{DAY}', 3, 'x'), ('{DAY}', 4, 'x'), ('{DAY}', 9, 'y')"
    )
    run(sensor, folder, group_by=["kind"], aggregations={"people": ["sum", "mean", "median", "max"]})
    found = modes.read(folder, SUFFIX).sort("kind")
    assert found.select("kind", "record_count", "sum_people", "avg_people", "median_people", "max_people").rows() == [
        ("x", 2, 7, 3.5, 3.5, 4),
        ("y", 1, 9, 9.0, 9.0, 9),
    ]


def test_a_sum_of_small_integers_can_be_larger_than_they(stations, folder):
    modes.insert(stations, *({"timestamp": DAY, "status_code": 2**31 - 1} for _ in range(3)))
    run(stations, folder, aggregations={"status_code": ["sum", "max"]})
    assert modes.read(folder, SUFFIX).select("sum_status_code", "max_status_code").rows() == [
        (3 * (2**31 - 1), 2**31 - 1)
    ]


def test_without_groups_a_window_is_one_row(stations, folder):
    insert(stations, 1.0, name="a")
    insert(stations, 2.0, name="b")
    run(stations, folder, group_by=[], aggregations={"pressure": ["sum"]})
    assert modes.read(folder, SUFFIX)["sum_pressure"].to_list() == [3.0]


def test_a_row_without_a_time_is_rejected(stations, folder):
    insert(stations, 1.0)
    modes.insert(stations, {"pressure": 1.0}, {"timestamp": "soon", "pressure": 1.0})
    run(stations, folder)
    assert modes.rejected(folder) == [(2, "no_time", "timestamp"), (3, "type", "timestamp")]
    assert modes.read(folder, SUFFIX)["record_count"].to_list() == [1]


def test_times_before_1970_have_windows_too(stations, folder):
    insert(stations, 1.0, stamp="1969-12-31T23:59:{:02}Z")
    run(stations, folder, aggregations={"pressure": ["sum"]})
    assert modes.read(folder, SUFFIX)["window_start"].to_list() == [-300_000_000]


@pytest.mark.parametrize("minutes", [1, 7, 60, 1440])
def test_windows_begin_at_the_epoch(stations, folder, minutes):
    modes.add(stations, 3_000)
    run(stations, folder, window_minutes=minutes, aggregations={"pressure": ["sum", "max"]})
    wanted = expected.aggregated(
        expected.station_rows(stations), aggregations={"pressure": ["sum", "max"]}, minutes=minutes
    )
    expected.assert_windows_equal(modes.read(folder, SUFFIX), wanted, group_by=("sensor_id",))


WRONG = {
    "a function that is not there": ({"aggregations": {"pressure": ["average"]}}, "aggregations"),
    "a column that is not there": ({"aggregations": {"radiation": ["mean"]}}, "radiation"),
    "a group that is not there": ({"group_by": ["radiation"]}, "radiation"),
    "the mean of text": ({"aggregations": {"location": ["mean"]}}, "location"),
    "the mean of the source's text": ({"aggregations": {"note": ["mean"]}}, "note"),
    "the mean of a time": ({"aggregations": {"timestamp": ["mean"]}}, "timestamp"),
    "no window": ({"window_minutes": 0}, "window_minutes"),
    "a fraction of a minute": ({"window_minutes": 0.5}, "window_minutes"),
    "a negative lateness": ({"allowed_lateness": -1}, "allowed_lateness"),
    "an unknown time zone": ({"time_zone": "Europe/Atlantis"}, "Europe/Atlantis"),
    "a window that the clock's change cuts": ({"time_zone": "Europe/Berlin", "window_minutes": 90}, "full hours"),
    "a key that is not there": ({"window": 5}, "no such setting"),
    "the same column twice": ({"group_by": ["sensor_id", "sensor_id"]}, "sensor_id"),
}


@pytest.mark.parametrize("case", WRONG)
def test_settings_that_cannot_work_are_one_clear_error(stations, folder, case):
    aggregate, told = WRONG[case]
    insert(stations, 1.0)
    with pytest.raises(ConfigurationError) as found:
        run(stations, folder, **aggregate)
    assert told in str(found.value)
    assert "\n" not in str(found.value)
    assert not folder.exists(SUFFIX)


def test_a_source_without_times_cannot_be_aggregated(sensor, folder, command):
    sensor.run("CREATE TABLE t (id INTEGER PRIMARY KEY, pressure REAL)")
    done = command(sensor.path, folder, processing_mode="aggregated", node_id="n1").once()
    assert done.code == 2
    assert "--timestamp-field" in done.error
