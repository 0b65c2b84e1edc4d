"""Sources whose rows got other ids, or whose ids went to other rows: nothing is repeated, and nothing is missed."""

from __future__ import annotations

import json

import pytest

from tests.support.inprocess import deliver

ALERTS = {"EMERGENCY_CONFIG": json.dumps({"severity_thresholds": {"temperature": 25}, "anomaly_flag": False})}
SUFFIXES = {
    "raw": "_0_raw",
    "schematized": "_1_schematized",
    "aggregated": "_3_aggregated",
    "emergency": "_4_emergency",
}


def put(sensor, count, start):
    sensor.run(
        "INSERT INTO readings (sensor_id, timestamp, temperature, note) "
        f"WITH RECURSIVE n(i) AS (SELECT {start} UNION ALL SELECT i + 1 FROM n LIMIT {count}) "
        "SELECT 'sensor-' || (i % 5), strftime('%Y-%m-%dT%H:%M:%SZ', 1767225600 + 20 * i, 'unixepoch'), "
        "20 + (i * 7919 % 1000) / 97.0, 'n' FROM n"
    )


@pytest.fixture
def plain(sensor):
    """A table without an INTEGER PRIMARY KEY, of which VACUUM gives every row another id."""
    sensor.run("CREATE TABLE readings (sensor_id TEXT, timestamp TEXT, temperature REAL, note TEXT)")
    put(sensor, 120, 0)
    return sensor


def delivered(place, mode):
    if mode == "aggregated":
        return int(place.read(SUFFIXES[mode])["record_count"].sum())
    times = place.read(SUFFIXES[mode])["timestamp"].to_list()
    assert len(set(times)) == len(times)
    return len(times)


@pytest.mark.parametrize(
    "between", ["", "UPDATE readings SET note = 'all of them'", "DELETE FROM readings WHERE rowid = 40"]
)
@pytest.mark.parametrize("mode", SUFFIXES)
def test_vacuum_after_a_purge_repeats_nothing_though_all_ids_are_others(mode, between, plain, folder):
    settings = {"processing_mode": mode, "env": {**ALERTS, "SWEEP": "0"}}
    deliver(plain.path, folder, **settings, flush=True)
    before = delivered(folder, mode)
    plain.run("DELETE FROM readings WHERE rowid <= 30 OR rowid % 10 = 3")
    if between:
        plain.run(between)
    plain.run("VACUUM")
    put(plain, 1, 400)
    for _ in range(2):
        deliver(plain.path, folder, **settings, flush=True)
    hot = 20 + (400 * 7919 % 1000) / 97.0 > 25
    assert delivered(folder, mode) == before + (hot if mode == "emergency" else 1)


@pytest.mark.parametrize("mode", ["raw", "schematized"])
@pytest.mark.parametrize("rows", [6, 9])
def test_a_table_without_times_that_is_made_again_is_another_source(mode, rows, sensor, folder):
    """Its rows have the same units and models as those before, as all rows of a table have."""
    declared = "CREATE TABLE r (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, value REAL, unit TEXT, model TEXT)"
    add = (
        "INSERT INTO r (name, value, unit, model) WITH RECURSIVE n(i) AS (SELECT {start} UNION ALL SELECT i + 1 FROM n "
        "LIMIT {count}) SELECT 'row ' || i, i / 7.0, 'C', 'm' || (i % 3) FROM n"
    )
    sensor.run(declared)
    sensor.run(add.format(start=0, count=6))
    deliver(sensor.path, folder, processing_mode=mode)
    sensor.run("DROP TABLE r")
    sensor.run(declared)
    sensor.run(add.format(start=60, count=rows))
    assert deliver(sensor.path, folder, processing_mode=mode).named("source reset")
    names = folder.read(SUFFIXES[mode])["name"].to_list()
    assert sorted(names) == sorted(f"row {i}" for i in [*range(6), *range(60, 60 + rows)])
