"""Rejected rows put through again: those that pass arrive once, and the table says so."""

from __future__ import annotations

import io

import polars as pl
import pytest

from edge_delta.core import events as telemetry
from edge_delta.settings import load as config
from edge_delta.topology import commands
from tests.support import modes
from tests.support.ask import health, status

HOT = {"ranges": {"temperature": {"max": 50}}}
WARM = {"ranges": {"temperature": {"max": 80}}}
PLACE = (52.123456, 13.654321)


@pytest.fixture
def stations(sensor):
    """Ten readings of 10, 20 … 100 degrees at one place."""
    modes.create(sensor)
    for k in range(1, 11):
        modes.insert(
            sensor,
            {
                "sensor_id": "s",
                "timestamp": f"2026-01-01T00:00:{k:02}Z",
                "temperature": 10.0 * k,
                "latitude": PLACE[0],
                "longitude": PLACE[1],
            },
        )
    return sensor


def replay(sensor, place, mode="sanitized", **settings):
    values = {
        "sqlite": sensor.path,
        "table_path": place.base,
        "state_dir": sensor.path.parent / "state",
        "node_id": "n1",
        "processing_mode": mode,
    }
    file = sensor.path.parent / "settings.toml"
    file.write_text(modes.toml(values | settings), encoding="utf-8")
    loaded = config.load({"config": str(file)}, environment={"GPS_FUZZING_SECRET": modes.SECRET})
    outcome = commands.replay(loaded, telemetry.configure(stream=io.StringIO()))[mode]
    return outcome.tried, outcome.passed


def ids(place, suffix="_2_sanitized"):
    return sorted(modes.read(place, suffix)["reading_id"])


def waiting(place):
    table = place.read("_rejected")
    return sorted(table.filter(table["replayed_at"].is_null())["reading_id"])


def test_rows_that_pass_the_changed_rules_arrive_once_and_are_marked(stations, folder):
    modes.deliver(stations.path, folder, "sanitized", sanitize=HOT)
    assert (ids(folder), waiting(folder)) == ([1, 2, 3, 4, 5], [6, 7, 8, 9, 10])
    assert replay(stations, folder, sanitize=WARM) == (5, 3)
    assert (ids(folder), waiting(folder)) == ([1, 2, 3, 4, 5, 6, 7, 8], [9, 10])
    assert replay(stations, folder, sanitize=WARM) == (2, 0)
    assert ids(folder) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_new_rows_go_on_after_a_replay(stations, folder):
    modes.deliver(stations.path, folder, "sanitized", sanitize=HOT)
    replay(stations, folder, sanitize=WARM)
    modes.insert(stations, {"sensor_id": "s", "timestamp": "2026-01-01T00:01:00Z", "temperature": 1.0})
    modes.deliver(stations.path, folder, "sanitized", sanitize=WARM)
    assert ids(folder) == [1, 2, 3, 4, 5, 6, 7, 8, 11]


def test_a_row_that_the_sensor_has_purged_comes_from_the_rejected_table(stations, folder):
    modes.deliver(stations.path, folder, "sanitized", sanitize=HOT)
    stations.run("DELETE FROM stations WHERE id = 7")
    assert replay(stations, folder, sanitize=WARM) == (5, 3)
    found = {row["reading_id"]: row for row in modes.read(folder, "_2_sanitized").rows(named=True)}
    assert found[7]["temperature"] == 70.0
    assert found[7].keys() == found[6].keys()
    assert [k for k, v in found[7].items() if v != found[6][k]] == ["reading_id", "timestamp", "temperature"]


def test_a_cell_that_the_sensor_has_mended_passes(stations, folder):
    stations.run("UPDATE stations SET humidity = 'wet' WHERE id = 3")
    modes.deliver(stations.path, folder, "schematized")
    assert waiting(folder) == [3]
    assert replay(stations, folder, "schematized") == (1, 0)
    stations.run("UPDATE stations SET humidity = 44.5 WHERE id = 3")
    assert replay(stations, folder, "schematized") == (1, 1)
    table = modes.read(folder, "_1_schematized")
    assert table.filter(table["reading_id"] == 3)["humidity"].to_list() == [44.5]
    assert ids(folder, "_1_schematized") == list(range(1, 11))


def test_a_replay_that_was_cut_off_after_its_rows_only_marks_them(stations, folder):
    modes.deliver(stations.path, folder, "sanitized", sanitize=HOT)
    replay(stations, folder, sanitize=WARM)
    # What a crash between the two commits leaves behind: rows that are there, but not marked.
    folder.table("_rejected").update(updates={"replayed_at": "NULL"})
    assert waiting(folder) == [6, 7, 8, 9, 10]
    assert replay(stations, folder, sanitize=WARM) == (5, 3)
    assert (ids(folder), waiting(folder)) == ([1, 2, 3, 4, 5, 6, 7, 8], [9, 10])


@pytest.mark.parametrize("purged", [False, True])
def test_replayed_places_are_displaced_once(purged, stations, folder):
    gps = {"enabled": True, "harmless": ["location"]}
    modes.deliver(stations.path, folder, "sanitized", sanitize=HOT, gps_fuzzing=gps)
    if purged:
        stations.run("DELETE FROM stations WHERE id BETWEEN 6 AND 9")
    replay(stations, folder, sanitize=WARM, gps_fuzzing=gps)
    table = modes.read(folder, "_2_sanitized")
    assert table.height == 8
    assert len(set(table.select("latitude", "longitude").rows())) == 1
    assert table["latitude"][0] != PLACE[0]


def test_a_replayed_row_that_was_rejected_before_places_were_displaced_is_not_exact(stations, folder):
    modes.deliver(stations.path, folder, "sanitized", sanitize=HOT)
    stations.run("DELETE FROM stations WHERE id BETWEEN 6 AND 9")
    replay(stations, folder, sanitize=WARM, gps_fuzzing={"enabled": True, "harmless": ["location"]})
    table = modes.read(folder, "_2_sanitized").filter(pl.col("reading_id") > 5)
    assert table.height == 3
    assert PLACE[0] not in table["latitude"].to_list()


def test_rows_of_an_earlier_generation_come_from_the_rejected_table(stations, folder):
    modes.deliver(stations.path, folder, "sanitized", sanitize=HOT)
    stations.run("DELETE FROM stations")
    modes.insert(stations, {"sensor_id": "s", "timestamp": "2026-02-01T00:00:00Z", "temperature": 2.0})
    modes.deliver(stations.path, folder, "sanitized", sanitize=HOT)
    assert replay(stations, folder, sanitize=WARM) == (5, 3)
    table = modes.read(folder, "_2_sanitized").select("source_generation", "reading_id", "temperature")
    assert sorted(table.rows())[-4:] == [(0, 6, 60.0), (0, 7, 70.0), (0, 8, 80.0), (1, 1, 2.0)]


def test_the_command_says_what_passed(stations, place, command):
    file = stations.path.parent / "rules.toml"
    file.write_text("[sanitize.ranges]\ntemperature = { max = 50 }\n")
    device = command(stations.path, place, node_id="n1", processing_mode="sanitized", config=file)
    device.once().succeeded()
    file.write_text("[sanitize.ranges]\ntemperature = { max = 80 }\n")
    finished = device.run("replay").succeeded()
    assert "3 of 5 rejected rows passed" in finished.stdout
    assert ids(place) == [1, 2, 3, 4, 5, 6, 7, 8]


COLD = {"ranges": {"temperature": {"max": 5}}}


def test_status_and_health_say_that_every_row_is_rejected_until_a_replay_delivered_them(stations, folder):
    state = stations.path.parent / "state"
    modes.deliver(stations.path, folder, "sanitized", sanitize=COLD)
    said = (1, "every row is rejected; nothing waits; sanitized rejected the last 10 rows")
    assert health(state) == said
    assert status(state)["verdict"] == "every row is rejected"
    assert replay(stations, folder, sanitize=COLD) == (10, 0)
    assert health(state) == said
    assert replay(stations, folder) == (10, 10)
    assert health(state) == (0, "stopped; nothing waits")
    about = status(state)["modes"]["sanitized"]
    assert (about["rows_written"], about["rows_rejected"], about["rejected_in_a_row"]) == (10, 0, 0)
    assert about["version"] is not None


def test_after_a_replay_only_rows_behind_the_last_one_that_passed_are_rejected_in_a_row(stations, folder):
    state = stations.path.parent / "state"
    modes.deliver(stations.path, folder, "sanitized", sanitize=COLD)
    assert replay(stations, folder, sanitize={"ranges": {"temperature": {"max": 75}}}) == (10, 7)
    about = status(state)["modes"]["sanitized"]
    assert (about["rows_written"], about["rows_rejected"], about["rejected_in_a_row"]) == (7, 3, 3)
    assert health(state)[0] == 0
