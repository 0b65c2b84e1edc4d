"""Rows that come below the cursor: each of them once, and nothing else."""

from __future__ import annotations

import json

from tests.support.inprocess import deliver

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
