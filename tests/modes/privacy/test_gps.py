"""No exact coordinate leaves the device in a fuzzed table, in what is rejected, in logs or in metadata."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest

from edge_delta.core.errors import ConfigurationError
from edge_delta.modes.privacy.displacement import Displacement
from edge_delta.modes.privacy.policy import Policy
from tests.modes.privacy.test_displacement import meters
from tests.support import modes
from tests.support.tables import Place

ALL = ["schematized", "sanitized", "aggregated", "emergency"]
TRUE = (52.518_626_3, 13.376_198_7)
GPS = {"enabled": True, "radius_meters": 500, "harmless": ["location"]}
DAY = "2026-01-01T00:00:00Z"


def places(count=40):
    """Places that share no digits after the sixth with anything else."""
    return [(TRUE[0] + i * 0.01000007, TRUE[1] + i * 0.01000003) for i in range(count)]


@pytest.fixture
def stations(sensor):
    modes.create(sensor)
    rows = [
        (f"s{i}", f"2026-01-01T{i // 6:02}:{i % 6}0:00Z", 99.0 if i % 3 else -999.0, y, x, "EMERGENCY")
        for i, (y, x) in enumerate(places())
    ]
    sensor.many(
        "INSERT INTO stations (sensor_id, timestamp, temperature, latitude, longitude, note) VALUES (?, ?, ?, ?, ?, ?)",
        rows,
    )
    return sensor


def run(sensor, place, mode="schematized", **changed):
    gps = GPS | changed.pop("gps", {})
    return modes.deliver(sensor.path, place, mode, gps_fuzzing=gps, **changed)


# -- a scan of everything that was written


def written_files(place):
    return [file for file in Path(place.base).parent.rglob("*") if file.is_file()]


def numbers_in(text):
    return [float(found) for found in re.findall(r"-?\d+\.\d+(?:[eE][-+]?\d+)?", text)]


def numbers_written(place, log):
    """Every number in every data file, removed ones too, in the Delta log and in the program's log."""
    found = numbers_in(log)
    for file in written_files(place):
        if file.suffix == ".parquet":
            frame = pl.read_parquet(file)
            for column in frame:
                if column.dtype.is_float():
                    found += [v for v in column.to_list() if v is not None]
                elif column.dtype == pl.String:
                    found += numbers_in(" ".join(v for v in column.to_list() if v is not None))
        elif file.suffix == ".json":
            found += numbers_in(file.read_text(encoding="utf-8"))
    return found


def assert_no_exact_place(place, log, true):
    coordinates = sorted({value for pair in true for value in pair})
    for number in numbers_written(place, log):
        near = min(coordinates, key=lambda c: abs(c - number))
        assert abs(near - number) > 1e-7, f"{number} is an exact coordinate"


def test_the_scan_finds_what_it_looks_for(stations, folder):
    done = modes.deliver(stations.path, folder, "schematized")
    with pytest.raises(AssertionError, match="exact coordinate"):
        assert_no_exact_place(folder, done.log, places())


@pytest.mark.parametrize("strategy", ["per_place", "planar_laplace"])
def test_no_exact_coordinate_is_in_any_file_log_or_rejected_row(stations, folder, strategy):
    stations.run("UPDATE stations SET timestamp = 'soon' WHERE id % 7 = 0")
    stations.run("UPDATE stations SET latitude = NULL WHERE id % 11 = 0")
    stations.run("UPDATE stations SET humidity = 'broken' WHERE id % 13 = 0")
    stations.run("UPDATE stations SET longitude = 'x' || longitude WHERE id % 17 = 0")
    done = run(
        stations,
        folder,
        ALL,
        flush=True,
        gps={"strategy": strategy, "epsilon": 0.004},
        max_batch_size=7,
        aggregate={
            "aggregations": {"latitude": ["mean", "first", "max"], "longitude": ["last"]},
            "group_by": ["sensor_id", "latitude"],
        },
        emergency={"severity_thresholds": {"latitude": 10, "longitude": {"min": 50}}},
        sanitize={"ranges": {"latitude": {"max": 52.6}, "longitude": {"min": 13.4}}},
    )
    assert_no_exact_place(folder, done.log, places())
    state = (stations.path.parent / "state" / "last_upload.json").read_text(encoding="utf-8")
    assert not set(numbers_in(state)) & {v for p in places() for v in p}
    rejected = folder.read("_rejected")
    assert {"type", "coordinates", "range", "impossible"} <= set(rejected["rule"])
    assert rejected.height > 50


def test_every_place_is_displaced_by_at_most_the_radius_and_not_by_nothing(stations, folder):
    run(stations, folder)
    found = folder.read().sort("reading_id").select("latitude", "longitude").rows()
    distances = [meters(one, true) for one, true in zip(found, places(), strict=True)]
    assert max(distances) <= 500.001
    assert min(distances) > 1


def test_one_sensor_has_one_displacement_in_every_mode_batch_and_restart(stations, folder):
    stations.run("UPDATE stations SET sensor_id = 'one', latitude = ?, longitude = ?, temperature = 50", *TRUE)
    run(stations, folder, ["schematized", "sanitized"], max_batch_size=7)
    stations.run("INSERT INTO stations (sensor_id, timestamp, latitude, longitude) VALUES ('one', ?, ?, ?)", DAY, *TRUE)
    run(stations, folder, ["schematized", "sanitized"])
    found = {
        row
        for suffix in ("_1_schematized", "_2_sanitized")
        for row in folder.read(suffix).select("latitude", "longitude").rows()
    }
    assert len(found) == 1
    [published] = found
    assert published == one_displaced(TRUE)


def one_displaced(true):
    how = Displacement(Policy(radius_meters=500.0, secret=modes.SECRET.encode(), device="n1"))
    return how.points(pl.DataFrame([true], schema=["y", "x"], orient="row")).row(0)


def test_rejected_rows_show_the_displaced_place(stations, folder):
    run(stations, folder, "sanitized")
    row = json.loads(folder.read("_rejected").sort("reading_id")["row"][0])
    assert row["temperature"] == -999.0
    assert (row["latitude"], row["longitude"]) == pytest.approx(one_displaced(TRUE), abs=1e-12)


# -- rows whose coordinates cannot be displaced


def test_half_a_place_and_no_place_on_the_globe_are_rejected_without_showing_them(sensor, folder):
    modes.create(sensor)
    odd = [(TRUE[0], None), (None, TRUE[1]), (95.123456, 13.0), (52.0, 190.123456), (9e999, 1.0)]
    modes.insert(sensor, *({"timestamp": DAY, "latitude": y, "longitude": x} for y, x in [*odd, (None, None)]))
    done = run(sensor, folder)
    assert folder.read()["reading_id"].to_list() == [6]
    assert [(row, rule) for row, rule, _ in modes.rejected(folder)] == [(i, "coordinates") for i in range(1, 6)]
    assert_no_exact_place(folder, done.log, [(TRUE[0], TRUE[1]), (95.123456, 190.123456)])


def test_coordinates_in_another_form_are_withheld(sensor, folder):
    sensor.run(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, timestamp TEXT, lat TEXT, lon TEXT, geohash TEXT, gps_fix TEXT, "
        "location TEXT, hall TEXT)"
    )
    sensor.run(f"INSERT INTO t VALUES (1, '{DAY}', '52.5186263', '13.3761987', 'u33db2', '3D', 'gate 7', 'gate 7')")
    run(sensor, folder, gps={"withhold": ["HALL", "location", "gps_fix", "geohash"], "harmless": []})
    row = folder.read().row(0, named=True)
    assert (row["geohash"], row["gps_fix"], row["hall"], row["location"]) == (None, None, None, None)
    assert row["latitude"] is not None
    assert meters((row["latitude"], row["longitude"]), TRUE) <= 500


# -- which modes


def test_raw_is_exact_unless_the_settings_say_otherwise(stations, folder, tmp_path):
    run(stations, folder, "raw")
    assert folder.read("_0_raw").sort("id").select("latitude", "longitude").rows() == places()
    fuzzed = Place(str(tmp_path / "fuzzed" / "readings"))
    done = run(stations, fuzzed, ["raw"], gps={"modes": ["raw"]})
    assert_no_exact_place(fuzzed, done.log, places())


def test_columns_called_like_what_the_displacement_is_made_of_are_kept(sensor, folder):
    sensor.run("CREATE TABLE t (id INTEGER PRIMARY KEY, timestamp TEXT, latitude REAL, longitude REAL, _angle, _drawn)")
    sensor.many("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", [(1, DAY, *TRUE, "steep", "by hand")])
    run(sensor, folder)
    written = folder.read("_1_schematized")
    assert written.select("_angle", "_drawn").rows() == [("steep", "by hand")]


def test_a_mode_that_is_not_named_is_exact(stations, folder):
    run(stations, folder, ["schematized", "sanitized"], gps={"modes": ["sanitized"]})
    assert folder.read().sort("reading_id")["latitude"].to_list() == [p[0] for p in places()]


# -- devices that report no place


def test_a_base_place_stands_in_and_is_fuzzed_and_not_logged(sensor, folder, command):
    sensor.create()
    sensor.add(5)
    file = sensor.path.parent / "settings.toml"
    file.write_text(
        modes.toml({"gps_fuzzing": GPS | {"base_lat": TRUE[0], "base_lon": TRUE[1]}}),
        encoding="utf-8",
    )
    edge = command(sensor.path, folder, config=file, node_id="n1")
    done = edge.once(env={"GPS_FUZZING_SECRET": modes.SECRET}).succeeded()
    found = folder.read().select("latitude", "longitude").rows()
    assert 1 < meters(found[0], TRUE) <= 500.001
    assert_no_exact_place(folder, done.stderr, [TRUE])
    assert modes.SECRET not in done.stderr


# -- metadata


@pytest.mark.parametrize(
    ("gps", "policy"),
    [
        ({}, {"gps_fuzzing": "per_place", "gps_fuzzing_radius_meters": "500"}),
        (
            {"strategy": "planar_laplace", "epsilon": 0.004},
            {"gps_fuzzing": "planar_laplace", "gps_fuzzing_epsilon": "0.004"},
        ),
        ({"strategy": "per_sensor"}, {"gps_fuzzing": "per_place", "gps_fuzzing_radius_meters": "500"}),
    ],
    ids=["per_place", "planar_laplace", "an old name"],
)
def test_the_policy_is_recorded_with_every_commit_and_the_key_by_a_hash(stations, folder, gps, policy):
    run(stations, folder, gps=gps, max_batch_size=10)
    commits = [c for c in modes.history(folder, "_1_schematized") if c["operation"] == "WRITE"]
    assert len(commits) == 4
    for commit in commits:
        assert policy.items() <= commit.items()
        assert re.fullmatch(r"[0-9a-f]{2}", commit["gps_fuzzing_draw"])
        assert modes.SECRET not in str(commit)


def test_a_table_that_is_not_fuzzed_records_no_policy(stations, folder):
    modes.deliver(stations.path, folder, "schematized")
    assert "gps_fuzzing" not in str(modes.history(folder, "_1_schematized"))


def test_the_log_of_a_fuzzed_table_is_the_same_wherever_the_sensor_is(sensor, tmp_path):
    """Else whoever reads it could try places until it fits: the other values of a row are public."""
    modes.create(sensor)
    modes.insert(
        sensor,
        {"sensor_id": "a", "timestamp": DAY, "temperature": 1.5, "latitude": TRUE[0], "longitude": TRUE[1]},
    )
    here, there = (Place(str(tmp_path / name / "readings")) for name in ("here", "there"))
    run(sensor, here)
    sensor.run("UPDATE stations SET latitude = latitude + 0.00001")
    run(sensor, there)
    assert transactions(here) == transactions(there)


def transactions(place):
    found = []
    for file in sorted(Path(place.uri("_1_schematized"), "_delta_log").glob("*.json")):
        actions = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        found += [(a["txn"]["appId"], a["txn"]["version"]) for a in actions if "txn" in a]
    return sorted(found)


# -- settings that cannot work


WRONG = {
    "no secret": ({}, None, "GPS_FUZZING_SECRET"),
    "a short secret": ({}, "short", "gps_fuzzing_secret"),
    "laplace without epsilon": ({"strategy": "planar_laplace"}, modes.SECRET, "epsilon"),
    "an unknown strategy": ({"strategy": "round"}, modes.SECRET, "gps_fuzzing.strategy"),
    "noise per reading": ({"strategy": "per_reading"}, modes.SECRET, "use 'per_place'"),
    "a secret of blanks": ({}, " " * 20, "gps_fuzzing_secret"),
    "a secret of one letter": ({}, "y" * 40, "easy to guess"),
    "a place as text": ({"base_lat": "52,518626"}, modes.SECRET, "gps_fuzzing.base_lat"),
    "no radius": ({"radius_meters": 0}, modes.SECRET, "gps_fuzzing.radius_meters"),
    "half a base": ({"base_lat": 52.0}, modes.SECRET, "base_lon"),
    "a base off the globe": ({"base_lat": 91.0, "base_lon": 0.0}, modes.SECRET, "gps_fuzzing.base_lat"),
    "an unknown mode": ({"modes": ["rare"]}, modes.SECRET, "gps_fuzzing.modes"),
    "a key that is not there": ({"radius": 5}, modes.SECRET, "did you mean"),
    "the secret in the section": ({"secret": "x" * 20}, modes.SECRET, "secret"),
}


@pytest.mark.parametrize("case", WRONG)
def test_settings_that_cannot_work_are_one_clear_error(stations, folder, case):
    gps, secret, told = WRONG[case]
    with pytest.raises(ConfigurationError) as found:
        run(stations, folder, gps=gps, secret=secret)
    assert told in str(found.value)
    assert "\n" not in str(found.value)
    assert "x" * 20 not in str(found.value)
    assert "52,518" not in str(found.value)
    assert not folder.exists("_1_schematized")
