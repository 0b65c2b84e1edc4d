"""Small ways in which a place could get out: reasons, errors, and what commands print."""

from __future__ import annotations

import pytest

from tests.modes.privacy.test_gps import DAY, GPS, TRUE
from tests.support import modes

CELL = f"at {TRUE[0]},{TRUE[1]}"
ENV = {"GPS_FUZZING_SECRET": modes.SECRET}
SETTINGS = {
    "processing_mode": ["schematized", "sanitized"],
    "node_id": "n1",
    "gps_fuzzing": GPS | {"modes": ["schematized", "sanitized"], "withhold": ["geohash"], "harmless": []},
}


@pytest.fixture
def edge(sensor, folder, command, tmp_path):
    columns = "sensor_id TEXT, timestamp TEXT, temperature REAL, latitude REAL, longitude REAL, geohash TEXT"
    sensor.run(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {columns})")
    rows = [(1, "a", DAY, 21.0, *TRUE, "u33db2m3"), (2, "a", DAY, 22.0, CELL, TRUE[1], b"\xff"), (3, b"\xfe", DAY, 1.0)]
    for row in rows:
        sensor.run(f"INSERT INTO t VALUES ({', '.join('?' * 7)})", *row, *[None] * (7 - len(row)))
    file = tmp_path / "settings.toml"
    file.write_text(modes.toml(SETTINGS), encoding="utf-8")
    return command(sensor.path, folder, config=file, node_id="n1")


def tells(text):
    return [part for part in (f"{TRUE[0]}", f"{TRUE[1]}", "u33d", "13.376", "52.518") if part in text]


def test_the_reason_of_a_rejected_row_does_not_quote_the_cell(edge, folder):
    done = edge.once(env=ENV).succeeded()
    rejected = folder.read("_rejected")
    assert set(rejected["reading_id"]) == {2, 3}
    assert tells(" ".join(rejected["reason"]) + " ".join(rejected["row"]) + done.stderr) == []


def test_verify_and_check_print_no_position_and_no_geohash(edge, sensor):
    edge.once(env=ENV).succeeded()
    sensor.run("UPDATE t SET temperature = 5, geohash = 'u33dzzzz', latitude = latitude + 1 WHERE id = 1")
    for command in ("verify", "check", "status"):
        done = edge.run(command, env=ENV)
        assert tells(done.stdout + done.stderr) == [], command
        assert "Traceback" not in done.stderr


def test_a_base_place_that_is_a_text_is_quoted_by_no_command(edge, tmp_path):
    wrong = SETTINGS | {"gps_fuzzing": SETTINGS["gps_fuzzing"] | {"base_lat": "52,518626", "base_lon": 13.376}}
    (tmp_path / "settings.toml").write_text(modes.toml(wrong), encoding="utf-8")
    for command in ("run", "check"):
        done = edge.run(command, env=ENV)
        assert done.code == 2
        assert "base_lat" in done.stdout + done.stderr
        assert "52,518" not in done.stdout + done.stderr
