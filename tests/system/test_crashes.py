"""The process is killed at random moments and started again: every row arrives once."""

from __future__ import annotations

import os
import random
import shutil
import time

import pytest

from tests.support.tables import assert_both_readers_agree, assert_plain_protocol

SEED = int(os.environ.get("CRASH_SEED", "20261122"))


def wait_for_a_random_moment(chance, running):
    """Half of them between commits, the others while the process starts or makes its first one."""
    draw = chance.random()
    if draw < 0.5:
        running.wait_for("batch committed")
    elif draw < 0.75:
        running.wait_for("cycle started")
    time.sleep(chance.uniform(0, 0.5 if draw < 0.5 else 1.2))


def kill_again_and_again(edge, sensor, *, kills, before_start=lambda: None, a_start=1500):
    """Kill the process somewhere between its start and the end of the backlog; the number of commits it saw."""
    chance = random.Random(SEED)
    commits = 0
    for kill in range(kills):
        sensor.add(a_start, start=kill * a_start)
        before_start()
        running = edge.start()
        wait_for_a_random_moment(chance, running)
        running.kill()
        commits += len(running.named("batch committed"))
    return commits


def assert_delivered(place, sensor, edge, **changed):
    done = edge.once(timeout=300, **changed).succeeded()
    table = assert_both_readers_agree(place, "_1_schematized", "reading_id")
    rows = sensor.rows()
    assert table["reading_id"].to_list() == [row[0] for row in rows]
    assert table["temperature"].to_list() == [row[3] for row in rows]
    assert_plain_protocol(place, "_1_schematized")
    assert not place.exists("_rejected")
    return done


def crash(sensor, place, command, *, kills, forget=None):
    sensor.create()
    edge = command(sensor.path, place, max_batch_size=20, node_id="n1", interval=0.05)
    commits = kill_again_and_again(edge, sensor, kills=kills, before_start=forget or (lambda: None))
    assert commits >= kills // 3, "the process was killed before it did anything"
    assert_delivered(place, sensor, edge, max_batch_size=5000)


def test_a_process_killed_again_and_again_loses_and_repeats_no_row(sensor, folder, command):
    crash(sensor, folder, command, kills=15)


def test_the_same_with_the_state_directory_deleted_at_every_start(sensor, folder, command, tmp_path):
    crash(sensor, folder, command, kills=8, forget=lambda: shutil.rmtree(tmp_path / "state", ignore_errors=True))


def test_a_process_killed_again_and_again_on_s3_loses_and_repeats_no_row(sensor, lake, command):
    crash(sensor, lake, command, kills=6)


@pytest.mark.slow
@pytest.mark.parametrize("forgetting", [False, True], ids=["state kept", "state deleted"])
def test_a_hundred_kills_lose_and_repeat_no_row(sensor, place, command, tmp_path, forgetting):
    def forget():
        shutil.rmtree(tmp_path / "state", ignore_errors=True)

    crash(sensor, place, command, kills=100, forget=forget if forgetting else None)


def test_a_sensor_that_dies_leaves_rows_that_are_still_delivered(sensor, folder, command):
    sensor.create()
    sensor.add(300)
    rows = sensor.rows()
    sensor.kill()
    assert sensor.path.with_name("sensor.db-wal").exists()
    command(sensor.path, folder, node_id="n1").once().succeeded()
    table = assert_both_readers_agree(folder, "_1_schematized", "reading_id")
    assert table["reading_id"].to_list() == [row[0] for row in rows]


def test_rejected_rows_are_there_once_after_kills_too(sensor, folder, command):
    sensor.create()
    edge = command(sensor.path, folder, max_batch_size=10, node_id="n1", interval=0.05)
    chance = random.Random(SEED)
    for _ in range(6):
        sensor.add(300)
        sensor.run("UPDATE readings SET temperature = 'broken' WHERE id % 7 = 0 AND typeof(temperature) = 'real'")
        running = edge.start()
        running.wait_for("batch committed", count=3)
        time.sleep(chance.uniform(0, 0.3))
        running.kill()
    edge.once(max_batch_size=1000).succeeded()
    kept = assert_both_readers_agree(folder, "_1_schematized", "reading_id")
    rejected = assert_both_readers_agree(folder, "_rejected", "reading_id")
    ids = [row[0] for row in sensor.rows()]
    assert kept["reading_id"].to_list() == [i for i in ids if i % 7]
    assert rejected["reading_id"].to_list() == [i for i in ids if not i % 7]
    assert set(rejected["value"]) == {"broken"}
