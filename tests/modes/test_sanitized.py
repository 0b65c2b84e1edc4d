"""sanitized: what cannot be true is rejected with its rule, nothing vanishes, and nothing leaves unasked."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from edge_delta.core.errors import ConfigurationError
from tests.support import modes

SUFFIX = "_2_sanitized"
DAY = "2026-01-01T00:00:00Z"


@pytest.fixture
def stations(sensor):
    modes.create(sensor)
    return sensor


def run(sensor, place, *, size=131_072, **sanitize):
    return modes.deliver(sensor.path, place, "sanitized", max_batch_size=size, sanitize=sanitize)


def kept(place, *columns):
    frame = modes.read(place, SUFFIX).sort("reading_id")
    return frame.select("reading_id", *columns).rows() if columns else frame["reading_id"].to_list()


def readings(*values, column="temperature", sensor="a"):
    return [{"sensor_id": sensor, "timestamp": DAY, column: value} for value in values]


# -- what no sensor can have measured


IMPOSSIBLE = {
    "temperature": ([-273.15, 1e6], [-273.16, -1e9]),
    "humidity": ([0.0, 100.0], [-0.01, 100.01]),
    "pressure": ([-5.0, 0.0, 1.013, 1013.25, 101325.0], []),
}


@pytest.mark.parametrize("column", IMPOSSIBLE)
def test_the_impossible_is_refused_without_settings_and_units_are_not_assumed(stations, folder, column):
    fine, impossible = IMPOSSIBLE[column]
    modes.insert(stations, *readings(*fine, None, *impossible, column=column))
    run(stations, folder)
    assert kept(folder, column) == list(enumerate([*fine, None], 1))
    first = len(fine) + 2
    assert modes.rejected(folder) == [(first + i, "impossible", column) for i in range(len(impossible))]


@pytest.mark.parametrize(("latitude", "longitude"), [(90.001, 0.0), (-91.0, 0.0), (0.0, 180.001), (0.0, -999.0)])
def test_coordinates_off_the_globe_are_refused(stations, folder, latitude, longitude):
    fine = [(90.0, 180.0), (-90.0, -180.0), (None, None)]
    places = [*fine, (latitude, longitude)]
    modes.insert(stations, *({"timestamp": DAY, "latitude": y, "longitude": x} for y, x in places))
    run(stations, folder)
    assert kept(folder) == [1, 2, 3]
    [(row, rule, _)] = modes.rejected(folder)
    assert (row, rule) == (4, "impossible")


@pytest.mark.parametrize("column", ["temperature", "pressure", "co2"])
@pytest.mark.parametrize("value", ["9e999", "-9e999"])
def test_infinities_are_refused_in_every_column(stations, folder, column, value):
    stations.run(f"INSERT INTO stations (timestamp, {column}) VALUES ('{DAY}', {value}), ('{DAY}', 1)")
    run(stations, folder)
    assert kept(folder) == [2]
    assert modes.rejected(folder) == [(1, "not_finite", column)]


def test_text_that_reads_as_no_number_is_refused_too(sensor, folder):
    sensor.run("CREATE TABLE t (id INTEGER PRIMARY KEY, timestamp TEXT, temperature TEXT)")
    for value in ("nan", "inf", "21.5", " 7 ", "warm", None):
        sensor.run("INSERT INTO t (timestamp, temperature) VALUES (?, ?)", DAY, value)
    run(sensor, folder)
    assert kept(folder, "temperature") == [(3, 21.5), (4, 7.0), (6, None)]
    assert modes.rejected(folder) == [
        (1, "not_finite", "temperature"),
        (2, "not_finite", "temperature"),
        (5, "type", "temperature"),
    ]


def test_times_that_do_not_parse_or_lie_in_the_future_are_refused(stations, folder):
    now = datetime.now(UTC)
    times = [
        (now + timedelta(hours=23)).isoformat(),
        (now + timedelta(hours=25)).isoformat(),
        "tomorrow",
        None,
        "1999-01-01",
    ]
    modes.insert(stations, *({"timestamp": time} for time in times))
    run(stations, folder)
    assert kept(folder) == [1, 4, 5]
    assert modes.rejected(folder) == [(2, "future", "timestamp"), (3, "type", "timestamp")]


def test_the_tolerance_for_the_future_is_a_setting(stations, folder):
    modes.insert(stations, {"timestamp": (datetime.now(UTC) + timedelta(minutes=5)).isoformat()})
    run(stations, folder, future_tolerance=60)
    assert modes.rejected(folder) == [(1, "future", "timestamp")]


# -- ranges


def test_a_range_keeps_its_ends_and_null_and_refuses_what_is_beyond(stations, folder):
    modes.insert(stations, *readings(-40.0, 85.0, None, -40.001, 85.001, -300.0))
    run(stations, folder, ranges={"temperature": {"min": -40, "max": 85}})
    assert kept(folder) == [1, 2, 3]
    assert modes.rejected(folder) == [
        (4, "range", "temperature"),
        (5, "range", "temperature"),
        (6, "impossible", "temperature"),
    ]
    found = folder.read("_rejected").sort("reading_id").row(0, named=True)
    assert (found["mode"], found["value"], found["node_id"]) == ("sanitized", "-40.001", "n1")
    assert found["reason"] == "not within -40 and 85"
    assert '"temperature": -40.001' in found["row"]
    assert abs(found["databricks_inserted_at"] - datetime.now(UTC)) < timedelta(minutes=5)


def test_a_range_can_be_open_and_can_be_of_a_column_that_only_the_source_has(stations, folder):
    modes.insert(stations, *readings(0.0, 399.0, 1e9, column="co2"))
    run(stations, folder, ranges={"co2": {"min": 300}})
    assert kept(folder) == [2, 3]


def test_every_row_is_kept_or_rejected_once_and_never_both(stations, folder):
    modes.add(stations, 5_000)
    done = run(stations, folder, size=700, ranges={"temperature": {"min": -5, "max": 50}, "humidity": {"max": 99}})
    found = kept(folder) + [row for row, *_ in modes.rejected(folder)]
    assert sorted(found) == list(range(1, 5_001))
    [cycle] = done.named("cycle finished")
    assert cycle["rows_written"] + cycle["rows_rejected"] == 5_000


# -- missing values


def test_missing_values_are_kept_rejected_or_filled_by_column(stations, folder):
    modes.insert(
        stations,
        {"timestamp": DAY, "temperature": 1.0},
        {"timestamp": DAY, "humidity": 2.0, "status_code": 3},
        {"timestamp": DAY, "temperature": 4.0, "location": "roof", "pressure": 5.0},
    )
    run(
        stations,
        folder,
        missing={
            "temperature": "reject",
            "humidity": "keep",
            "pressure": {"fill": 1000},
            "location": {"fill": "nowhere"},
            "status_code": {"fill": 0},
        },
    )
    assert kept(folder, "temperature", "humidity", "pressure", "location", "status_code") == [
        (1, 1.0, None, 1000.0, "nowhere", 0),
        (3, 4.0, None, 5.0, "roof", 0),
    ]
    assert modes.rejected(folder) == [(2, "missing", "temperature")]


def carried(sensor):
    """Forward fill by SQLite: the last possible value of the sensor in a row that can be read."""
    return sensor.run(
        "WITH good AS (SELECT *, typeof(temperature) <> 'text' AND typeof(humidity) <> 'text' AS ok "
        "FROM stations), last AS (SELECT *, max(CASE WHEN ok AND temperature BETWEEN -40 AND 85 THEN id END) "
        "OVER (PARTITION BY sensor_id ORDER BY id) AS s FROM good) "
        "SELECT l.id, coalesce(l.temperature, s.temperature) AS t FROM last l LEFT JOIN stations s ON s.id = l.s "
        "WHERE l.ok AND (t IS NULL OR t BETWEEN -40 AND 85) ORDER BY 1"
    )


@pytest.mark.parametrize(("size", "portions"), [(131_072, 1), (1_000, 1), (7, 1), (1_000, 12)])
def test_forward_fill_is_the_same_whatever_the_batches_and_restarts_are(stations, folder, size, portions):
    chance = random.Random(3)
    rows = 600 if size == 7 else 6_000
    values = [None, None, 20.0, -300.0, float("inf"), 90.0, "broken"]
    for start in range(0, rows, rows // portions):
        stations.many(
            "INSERT INTO stations (sensor_id, timestamp, temperature, humidity) VALUES (?, ?, ?, ?)",
            [
                (
                    chance.choice(["a", "b", "c", None]),
                    DAY,
                    chance.choice([*values, chance.randrange(-2000, 5000) / 64]),
                    chance.choice(["wet"] + [50.0] * 20),
                )
                for _ in range(start, start + rows // portions)
            ],
        )
        run(
            stations,
            folder,
            size=size,
            ranges={"temperature": {"min": -40, "max": 85}},
            missing={"temperature": "forward_fill"},
        )
    assert kept(folder, "temperature") == carried(stations)


def test_forward_fill_reads_numbers_and_text_in_text_columns_across_restarts(sensor, folder):
    sensor.run("CREATE TABLE t (id INTEGER PRIMARY KEY, timestamp TEXT, humidity TEXT, location TEXT)")
    for humidity, place in (("45.5", "hall"), ("101", None), (None, None), (None, "roof"), (None, None)):
        sensor.run("INSERT INTO t (timestamp, humidity, location) VALUES (?, ?, ?)", DAY, humidity, place)
        run(sensor, folder, missing={"humidity": "forward_fill", "location": "forward_fill"})
    assert kept(folder, "humidity", "location") == [
        (1, 45.5, "hall"),
        (3, 45.5, "hall"),
        (4, 45.5, "roof"),
        (5, 45.5, "roof"),
    ]


def test_nothing_to_fill_from_stays_missing(stations, folder):
    modes.insert(stations, *readings(None, sensor="a"), *readings(5.0, sensor="b"), *readings(None, sensor="a"))
    run(stations, folder, missing={"temperature": "forward_fill"})
    assert kept(folder, "temperature") == [(1, None), (2, 5.0), (3, None)]


# -- the allow-list


def test_a_column_that_is_not_allowed_leaves_neither_with_rows_nor_with_rejected_ones(stations, folder):
    allowed = ["temperature", "note"]
    modes.insert(
        stations,
        {"timestamp": DAY, "temperature": 1.0, "location": "hidden-7391", "note": "shown"},
        {"timestamp": DAY, "temperature": -500.0, "location": "hidden-7391", "humidity": 13.75, "note": "shown"},
    )
    run(stations, folder, columns=allowed)
    stations.run("ALTER TABLE stations ADD COLUMN owner TEXT")
    modes.insert(
        stations,
        {"timestamp": DAY, "temperature": 1.0, "owner": "hidden-7391"},
        {"timestamp": DAY, "temperature": -500.0, "owner": "hidden-7391"},
    )
    run(stations, folder, columns=allowed)
    assert set(modes.read(folder, SUFFIX).columns) == {
        "reading_id", "sensor_id", "timestamp", "temperature", "note",
        "databricks_inserted_at", "node_id", "source_generation",
    }  # fmt: skip
    assert kept(folder, "note") == [(1, "shown"), (3, None)]
    rejected = folder.read("_rejected")
    assert rejected.height == 2
    assert "shown" in rejected["row"][0] or "shown" in rejected["row"][1]
    assert "hidden-7391" not in str(rejected.rows())
    assert "13.75" not in str(rejected.rows())


def test_a_rejection_because_of_a_column_that_is_not_allowed_shows_no_value(stations, folder):
    modes.insert(stations, {"timestamp": DAY, "humidity": 123.5})
    run(stations, folder, columns=["temperature"], ranges={"humidity": {"max": 110}})
    assert modes.rejected(folder) == [(1, "impossible", "humidity")]
    assert "123.5" not in str(folder.read("_rejected").rows())


# -- settings that cannot work


WRONG = {
    "an unknown column with a range": ({"ranges": {"radiation": {"min": 1}}}, "radiation"),
    "an unknown column in the allow-list": ({"columns": ["radiation"]}, "radiation"),
    "an unknown missing column": ({"missing": {"radiation": "reject"}}, "radiation"),
    "an unknown policy": ({"missing": {"humidity": "drop"}}, "sanitize.missing"),
    "a range of text": ({"ranges": {"location": {"max": 1}}}, "location"),
    "a range of the source's text": ({"ranges": {"note": {"max": 1}}}, "note"),
    "a range the wrong way round": ({"ranges": {"humidity": {"min": 9, "max": 1}}}, "min 9 is above max 1"),
    "text to fill a number": ({"missing": {"humidity": {"fill": "wet"}}}, "wet"),
    "a fraction to fill an integer": ({"missing": {"status_code": {"fill": 0.5}}}, "0.5"),
    "forward fill of a time": ({"missing": {"timestamp": "forward_fill"}}, "timestamp"),
    "forward fill of a column of the source": ({"missing": {"co2": "forward_fill"}}, "co2"),
    "a key that is not there": ({"range": {}}, "did you mean ranges?"),
    "a negative tolerance": ({"future_tolerance": -1}, "future_tolerance"),
}


@pytest.mark.parametrize("case", WRONG)
def test_settings_that_cannot_work_are_one_clear_error(stations, folder, case):
    sanitize, told = WRONG[case]
    modes.insert(stations, *readings(1.0))
    with pytest.raises(ConfigurationError) as found:
        run(stations, folder, **sanitize)
    assert told in str(found.value)
    assert "\n" not in str(found.value)
    assert not folder.exists(SUFFIX)


def test_the_error_is_one_line_and_the_exit_code_2(stations, folder, command):
    modes.insert(stations, *readings(1.0))
    edge = command(stations.path, folder, processing_mode="sanitized", node_id="n1")
    done = edge.once(env={"SANITIZE_CONFIG": '{"ranges": {"radiation": {"max": 1}}}'})
    assert done.code == 2
    assert "radiation" in done.error
