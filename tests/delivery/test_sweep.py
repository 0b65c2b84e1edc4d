"""Rows that come below the cursor: each of them once, and nothing else."""

from __future__ import annotations

import json

import pytest

from tests.support.inprocess import deliver
from tests.support.tables import Place

ALWAYS = {"SWEEP": "0"}


def row(sensor, rowid, second):
    sensor.run(
        "INSERT OR REPLACE INTO readings (id, sensor_id, timestamp, temperature) "
        "VALUES (?, 's', strftime('%Y-%m-%dT%H:%M:%SZ', ?, 'unixepoch'), ?)",
        rowid,
        1_767_225_600 + second,
        second / 7,
    )


def ids(place, suffix="_1_schematized"):
    return sorted(place.read(suffix)["reading_id"].to_list())


def test_rows_filled_in_below_the_cursor_arrive_once(sensor, folder):
    sensor.create()
    for number in range(10, 200, 10):
        row(sensor, number, number)
    modes = ["schematized", "sanitized"]
    deliver(sensor.path, folder, env=ALWAYS, processing_mode=modes)
    for number in (5, 15, 37, 101):
        row(sensor, number, number)
    found = deliver(sensor.path, folder, env=ALWAYS, processing_mode=modes).named("rows below the cursor")
    assert [(f["mode"], f["rows"]) for f in found] == [("schematized", 4), ("sanitized", 4)]
    row(sensor, 500, 500)
    for _ in range(2):
        assert not deliver(sensor.path, folder, env=ALWAYS, processing_mode=modes).named("rows below the cursor")
    wanted = sorted([*range(10, 200, 10), 5, 15, 37, 101, 500])
    assert ids(folder) == wanted
    assert ids(folder, "_2_sanitized") == wanted


def test_a_lost_state_directory_makes_the_sweep_ask_the_table(sensor, folder, tmp_path):
    sensor.create()
    for number in range(10, 100, 10):
        row(sensor, number, number)
    deliver(sensor.path, folder, env=ALWAYS)
    row(sensor, 15, 15)
    deliver(sensor.path, folder, env=ALWAYS)
    row(sensor, 25, 25)
    done = deliver(sensor.path, folder, env=ALWAYS, state_dir=str(tmp_path / "another"))
    assert [f["rows"] for f in done.named("rows below the cursor")] == [1]
    assert ids(folder) == sorted([*range(10, 100, 10), 15, 25])


def test_purged_and_rejected_rows_are_not_delivered_by_the_sweep(sensor, folder):
    sensor.create()
    for number in range(10, 200, 10):
        row(sensor, number, number)
    sensor.run("UPDATE readings SET temperature = 'broken' WHERE id IN (20, 150)")
    deliver(sensor.path, folder, env=ALWAYS)
    sensor.run("DELETE FROM readings WHERE id < 100")
    row(sensor, 105, 105)
    sensor.run("INSERT INTO readings (id, timestamp, temperature) VALUES (115, '2026-01-01T00:00:00Z', 'broken')")
    for _ in range(2):
        deliver(sensor.path, folder, env=ALWAYS)
    assert ids(folder) == sorted([*(n for n in range(10, 200, 10) if n not in (20, 150)), 105])
    assert sorted(folder.read("_rejected")["reading_id"].to_list()) == [20, 115, 150]


def test_ids_of_a_ring_that_are_used_again_are_new_rows(sensor, folder):
    sensor.create()
    second = 0
    for slot in range(1, 101):
        second += 1
        row(sensor, slot, second)
    deliver(sensor.path, folder, env=ALWAYS)
    turn = iter(list(range(1, 101)) * 3)
    for _ in range(7):
        for _ in range(30):
            second += 1
            row(sensor, next(turn), second)
        deliver(sensor.path, folder, env=ALWAYS)
    table = folder.read()
    assert table["timestamp"].n_unique() == 100 + 210
    assert table.height == 100 + 210


def test_a_sweep_is_not_due_before_its_time(sensor, folder):
    sensor.create()
    row(sensor, 10, 10)
    deliver(sensor.path, folder)
    row(sensor, 5, 5)
    assert not deliver(sensor.path, folder).named("rows below the cursor")
    state = sensor.path.parent / "state" / "sweep.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "at": 0}))
    row(sensor, 20, 20)
    assert deliver(sensor.path, folder).named("rows below the cursor")
    assert ids(folder) == [5, 10, 20]


AGGREGATE = {**ALWAYS, "AGGREGATE_CONFIG": '{"window_minutes": 1, "aggregations": {"temperature": ["sum", "max"]}}'}
ALERTS = {**ALWAYS, "EMERGENCY_CONFIG": '{"severity_thresholds": {"temperature": 20}, "anomaly_flag": false}'}


def windows(place):
    table = place.read("_3_aggregated")
    columns = ["window_start", "record_count", "sum_temperature", "max_temperature"]
    return sorted((str(a), n, round(b, 6), c) for a, n, b, c in table.select(columns).rows())


def as_one_batch(sensor, tmp_path, name="whole"):
    place = Place(str(tmp_path / name / "t"))
    folder = str(tmp_path / name / "state")
    deliver(sensor.path, place, env=AGGREGATE, processing_mode=["aggregated"], flush=True, state_dir=folder)
    return windows(place)


@pytest.mark.parametrize("modes", [["aggregated"], ["schematized", "aggregated"]])
@pytest.mark.parametrize("keep_state", [True, False])
def test_rows_filled_in_below_the_cursor_reach_their_windows_once(modes, keep_state, sensor, folder, tmp_path):
    sensor.create()
    for number in range(10, 400, 10):
        row(sensor, number, number)
    settings = {"env": AGGREGATE, "processing_mode": modes}
    deliver(sensor.path, folder, **settings)
    for turn, numbers in enumerate([(5, 15, 37, 385, 391), (11, 392), (1_000,), (12, 999)]):
        for number in numbers:
            row(sensor, number, number)
        for again in range(2):
            state = {} if keep_state else {"state_dir": str(tmp_path / f"s{turn}{again}")}
            deliver(sensor.path, folder, **settings, **state)
    deliver(sensor.path, folder, **settings, flush=True)
    assert windows(folder) == as_one_batch(sensor, tmp_path)


@pytest.mark.parametrize("modes", [["emergency"], ["schematized", "emergency"]])
def test_rows_filled_in_below_the_cursor_raise_their_alerts_once(modes, sensor, folder):
    sensor.create()
    for number in range(10, 400, 10):
        row(sensor, number, number)
    settings = {"env": ALERTS, "processing_mode": modes}
    deliver(sensor.path, folder, **settings)
    for numbers in [(5, 15, 237, 385, 391), (211, 392), (1_000,), (12, 999)]:
        for number in numbers:
            row(sensor, number, number)
        for _ in range(2):
            deliver(sensor.path, folder, **settings)
    wanted = [i for i, t in sensor.rows(columns="id, temperature") if t > 20]
    assert ids(folder, "_4_emergency") == wanted


@pytest.mark.parametrize("modes", [["emergency"], ["raw", "emergency"]])
def test_used_ids_raise_their_alerts_once(modes, sensor, folder):
    sensor.create()
    for slot in range(1, 31):
        row(sensor, slot, slot)
    settings = {"env": ALERTS, "processing_mode": modes}
    deliver(sensor.path, folder, **settings)
    second, slots = 300, iter(list(range(1, 31)) * 3)
    wanted = []
    for _ in range(4):
        for _ in range(11):
            second += 1
            wanted.append(second)
            row(sensor, next(slots), second)
        deliver(sensor.path, folder, **settings)
    assert sorted(round(v * 7) for v in folder.read("_4_emergency")["value"]) == wanted


@pytest.mark.parametrize("modes", [["emergency"], ["raw", "emergency"]])
def test_a_row_under_the_id_of_a_deleted_one_raises_its_alert(modes, sensor, folder):
    sensor.create()
    for number in range(1, 40):
        row(sensor, number, number)
    settings = {"env": {**ALERTS, "SWEEP": "1000000"}, "processing_mode": modes}
    deliver(sensor.path, folder, **settings)
    for number in range(40, 60):
        row(sensor, number, number)
    sensor.run("DELETE FROM readings WHERE id = 45")
    deliver(sensor.path, folder, **settings)
    row(sensor, 45, 301)
    row(sensor, 60, 60)
    deliver(sensor.path, folder, **{**settings, "env": ALERTS})
    assert ids(folder, "_4_emergency") == [45]


def test_alerts_of_rows_that_nobody_can_tell_are_said(sensor, folder, tmp_path):
    sensor.create()
    for number in range(10, 400, 10):
        row(sensor, number, number)
    settings = {"env": ALERTS, "processing_mode": ["emergency"]}
    deliver(sensor.path, folder, **settings)
    row(sensor, 15, 300)
    [told] = deliver(sensor.path, folder, **settings, state_dir=str(tmp_path / "another")).named(
        "rows below the cursor not delivered"
    )
    assert (told["mode"], told["last_id"]) == ("emergency", 390)
    row(sensor, 25, 310)
    deliver(sensor.path, folder, **settings, state_dir=str(tmp_path / "another"))
    assert 25 in ids(folder, "_4_emergency")
