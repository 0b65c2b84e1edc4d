"""Health fails when rows wait and nothing is delivered, and for no other reason; it tells the causes apart."""

from __future__ import annotations

import json

import pytest

from tests.support.ask import ask, health
from tests.support.command import eventually
from tests.system.test_startup import HEAVY, modules_after


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


def test_nothing_to_do_is_healthy_however_long_ago_the_last_commit_was(sensor, folder, command, state):
    sensor.create()
    sensor.add(10)
    command(sensor.path, folder, node_id="n1").once().succeeded()
    assert health(state, "--health-after", "0.001") == (0, "stopped; nothing waits")


def test_rows_that_wait_too_long_after_the_process_stopped_are_told(sensor, folder, command, state):
    sensor.create()
    sensor.add(10)
    command(sensor.path, folder, node_id="n1").once().succeeded()
    sensor.add(5, start=10)
    assert health(state)[0] == 0
    code, line = health(state, "--health-after", "0.001")
    assert code == 1
    assert line.startswith("stopped; 5 rows wait")


def test_a_deaf_store_is_told_from_a_stopped_process(sensor, lake, command, state, nowhere):
    sensor.create()
    sensor.add(10)
    running = command(sensor.path, lake, node_id="n1").start(env={"AWS_ENDPOINT_URL": nowhere})
    running.wait_for("unavailable")
    code, line = health(state, "--health-after", "0.001")
    assert code == 1
    assert line.startswith("storage unavailable; 10 rows wait")
    assert "cannot be reached" in line
    running.kill()
    assert health(state, "--health-after", "0.001")[1].startswith("stopped with an error; 10 rows wait")


def test_a_stopped_writer_is_no_fault(sensor, folder, command, state):
    sensor.create()
    sensor.add(10)
    running = command(sensor.path, folder, node_id="n1").start()
    running.wait_for("cycle finished", count=2)
    assert health(state) == (0, "up to date; nothing waits")


def test_a_locked_or_missing_database_is_told_from_a_deaf_store(sensor, folder, command, state):
    sensor.create()
    sensor.add(10)
    command(sensor.path, folder, node_id="n1").once().succeeded()
    sensor.close()
    sensor.path.unlink()
    code, line = health(state, "--health-after", "0.001")
    assert code == 1
    assert "there is no database at" in line


def test_restarts_do_not_make_a_process_healthy_that_never_delivers(sensor, lake, command, state, nowhere):
    sensor.create()
    sensor.add(10)
    edge = command(sensor.path, lake, node_id="n1")
    since = []
    for _ in range(2):
        running = edge.start(env={"AWS_ENDPOINT_URL": nowhere})
        running.wait_for("unavailable")
        running.kill()
        since.append(json.loads((state / "last_upload.json").read_text())["trying_since"])
    assert since[0] == since[1]


def test_an_error_that_stops_the_process_is_kept_with_its_cure(sensor, folder, command, state):
    sensor.create()
    sensor.add(10)
    edge = command(sensor.path, folder, node_id="n1", on_source_reset=None)
    edge.once().succeeded()
    sensor.run("DELETE FROM readings")
    sensor.add(3, seed=9)
    assert edge.once(env={"ON_SOURCE_RESET": "stop"}).code == 3
    code, line = health(state, "--health-after", "0.001")
    assert code == 1
    assert line.startswith("stopped with an error; 3 rows wait")
    assert "on_source_reset" in line


def test_ids_that_began_again_count_as_waiting(sensor, folder, command, state):
    sensor.create()
    sensor.add(10)
    command(sensor.path, folder, node_id="n1").once().succeeded()
    sensor.run("DELETE FROM readings")
    sensor.add(3, seed=9)
    assert "3 rows wait" in health(state)[1]


@pytest.mark.parametrize("autoincrement", [False, True])
def test_after_the_newest_rows_were_deleted_only_new_ones_wait(autoincrement, sensor, folder, command, state):
    sensor.create(autoincrement=autoincrement)
    sensor.add(20)
    edge = command(sensor.path, folder, node_id="n1", processing_mode="schematized,aggregated")
    edge.once().succeeded()
    sensor.run("DELETE FROM readings WHERE id > 17")
    edge.once().succeeded()
    assert health(state, "--health-after", "0.001") == (0, "stopped; nothing waits")
    sensor.add(2, start=30)
    assert health(state)[1].startswith("stopped; 2 rows wait")
    edge.once().succeeded()
    assert health(state, "--health-after", "0.001") == (0, "stopped; nothing waits")
    sensor.run("DELETE FROM readings")
    sensor.run("DELETE FROM sqlite_sequence" if autoincrement else "VACUUM")
    sensor.add(3, seed=9)
    assert health(state)[1].startswith("stopped; 3 rows wait")


def test_with_autoincrement_nothing_waits_right_after_the_newest_row_was_deleted(sensor, folder, command, state):
    sensor.create(autoincrement=True)
    sensor.add(20)
    command(sensor.path, folder, node_id="n1").once().succeeded()
    sensor.run("DELETE FROM readings WHERE id = 20")
    assert health(state, "--health-after", "0.001") == (0, "stopped; nothing waits")


def test_a_running_process_says_that_nothing_waits_after_its_newest_row_was_deleted(sensor, folder, command, state):
    sensor.create()
    sensor.add(20)
    running = command(sensor.path, folder, node_id="n1", interval=0.2).start()
    running.wait_for("cycle finished", count=2)
    sensor.run("DELETE FROM readings WHERE id = 20")
    running.wait_for("source reset")
    eventually(lambda: health(state)[1] == "up to date; nothing waits", what="nothing that waits", pause=0.2)


def test_it_needs_no_flag_of_the_process_it_looks_at(sensor, folder, command, state):
    sensor.create()
    sensor.add(10)
    command(sensor.path, folder, node_id="n1").once().succeeded()
    done = ask("health", env={"STATE_DIR": str(state)})
    assert (done.returncode, done.stdout) == (0, "stopped; nothing waits\n")


def test_before_the_first_start_nothing_is_wrong(tmp_path):
    assert health(tmp_path / "none") == (0, "never started; nothing waits")


def test_it_is_cheap(sensor, folder, command, state):
    sensor.create()
    sensor.add(10)
    command(sensor.path, folder, node_id="n1").once().succeeded()
    code, names = modules_after("health", "--state-dir", str(state))
    assert code == 0
    assert names & (HEAVY | {"deltalake", "structlog", "prometheus_client", "sqlite3"}) == set()


def test_recovery_is_noticed(sensor, lake, command, state, nowhere):
    sensor.create()
    sensor.add(10)
    running = command(sensor.path, lake, node_id="n1").start(env={"AWS_ENDPOINT_URL": nowhere})
    running.wait_for("unavailable")
    running.kill()
    running = command(sensor.path, lake, node_id="n1").start()
    eventually(lambda: health(state) == (0, "up to date; nothing waits"), what="good health", pause=0.3)
    assert json.loads((state / "last_upload.json").read_text())["last_error"]["over_at"] is not None


def test_a_cycle_without_rows_does_not_wait_for_the_disk(sensor, folder, command, state):
    """The mirror is written at most once a cycle."""
    sensor.create()
    sensor.add(1)
    running = command(sensor.path, folder, node_id="n1", interval=0.2).start()
    running.wait_for("cycle finished", count=3)
    before = json.loads((state / "last_upload.json").read_text())["last_cycle"]
    running.wait_for("cycle finished", count=6)
    assert json.loads((state / "last_upload.json").read_text())["last_cycle"] > before
