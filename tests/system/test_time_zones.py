"""A system without a time-zone database, as Yocto and slim containers are: Python has the one that is a package."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata

from tests.support.command import clean_environment
from tests.support.modes import create as stations

NO_DATABASE = {"PYTHONTZPATH": ""}
WINDOWS = {"window_minutes": 1440, "time_zone": "Europe/Helsinki", "aggregations": {"temperature": ["mean"]}}
SETTINGS = {
    "SOURCE_TIME_ZONE": "Europe/Helsinki",
    "AGGREGATE_CONFIG": json.dumps(WINDOWS),
    "EMERGENCY_CONFIG": json.dumps({"severity_thresholds": {"temperature": 1}}),
}
MODES = ("raw", "schematized", "sanitized", "aggregated", "emergency")


def test_time_zones_are_a_dependency_that_no_marker_leaves_out():
    [found] = [one for one in metadata.requires("edge-delta") if one.startswith("tzdata")]
    assert ";" not in found


def test_each_mode_delivers_without_a_time_zone_database(sensor, folder, command):
    stations(sensor)
    sensor.many(
        "INSERT INTO stations (sensor_id, timestamp, temperature) VALUES (?, ?, ?)",
        [("s", f"2026-01-01T{i % 24:02}:00:00", 20.5) for i in range(48)],
    )
    edge = command(sensor.path, folder, node_id="n1", processing_mode=",".join(MODES), flush=True)
    words = [sys.executable, "-m", "edge_delta", *edge.arguments({"once": True})]
    environment = clean_environment() | SETTINGS | NO_DATABASE
    done = subprocess.run(words, cwd=edge.directory, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [folder.read(f"_{i}_{mode}").height for i, mode in enumerate(MODES)] == [48, 48, 48, 1, 48]


def test_the_tests_environment_has_no_other_database_by_that_setting():
    asked = "import zoneinfo; print(zoneinfo.TZPATH, zoneinfo.ZoneInfo('Asia/Tokyo').key)"
    environment = clean_environment() | NO_DATABASE
    done = subprocess.run([sys.executable, "-c", asked], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "() Asia/Tokyo\n"
