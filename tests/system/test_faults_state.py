"""The state directory, kills at named places, and clocks: nothing depends on anything but the table's log."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.proxy import DropAnswer, Stall
from tests.support.tables import assert_both_readers_agree

COMMIT = r"_delta_log/\d{20}\.json$"
DATA = r"\.parquet"
# Only the library that the package brings is wanted; its module needs packages of its own.
[PACKAGE] = find_spec("libfaketime").submodule_search_locations
FAKETIME = Path(PACKAGE) / "vendor/libfaketime/src/libfaketime.so.1"


def ids(place):
    return assert_both_readers_agree(place, "_1_schematized", "reading_id")["reading_id"].to_list()


def height(place):
    return place.read().height if place.exists("_1_schematized") else 0


@pytest.fixture
def edge(sensor, folder, command):
    sensor.create()
    sensor.add(100)
    return command(sensor.path, folder, node_id="n1", max_batch_size=40)


# -- the directory


def test_a_state_directory_deleted_while_it_runs_is_made_again(edge, sensor, folder, tmp_path):
    running = edge.start()
    running.wait_for("cycle finished")
    (tmp_path / "state").rename(tmp_path / "gone")  # at once: files of it may be written just now
    shutil.rmtree(tmp_path / "gone", ignore_errors=True)
    sensor.add(50, start=100)
    running.wait_until(lambda: folder.read().height == 150, what="the next rows")
    running.wait_until((tmp_path / "state" / "last_upload.json").exists, what="the mirror")
    assert running.terminate() == 0
    assert ids(folder) == list(range(1, 151))


@pytest.fixture
def full(tmp_path):
    """A state directory on a file system without a free block."""
    state = tmp_path / "state"
    state.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(state)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    yield state
    subprocess.run(["umount", "-l", str(state)], check=True)


def test_a_full_state_directory_is_said_once_and_delivery_goes_on(full, edge, sensor, folder):
    for number in range(8):
        try:
            (full / f"filler{number}").write_bytes(b"x" * 4096)
        except OSError:
            break
    running = edge.start()
    running.wait_for("state not written")
    for start in (100, 150):
        sensor.add(50, start=start)
        running.wait_until(lambda n=start: height(folder) == n + 50, what="the next rows")
    assert running.terminate() == 0
    assert len(running.named("state not written")) == 1
    assert ids(folder) == list(range(1, 201))


def test_a_state_directory_that_becomes_read_only_is_said_once_and_delivery_goes_on(full, edge, sensor, folder):
    running = edge.start()
    running.wait_for("cycle finished")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(full)], check=True)
    for start in (100, 150):
        sensor.add(50, start=start)
        running.wait_until(lambda n=start: height(folder) == n + 50, what="the next rows")
    assert running.terminate() == 0
    subprocess.run(["umount", "-l", str(full)], check=True)
    assert len(running.named("state not written")) == 1
    assert ids(folder) == list(range(1, 201))


def test_a_read_only_state_directory_at_the_start_is_a_wrong_setting(full, edge):
    subprocess.run(["mount", "-o", "remount,ro", str(full)], check=True)
    done = edge.once()
    assert done.code == 2
    assert "Read-only file system" in done.error
    assert "--state-dir" in done.error


@pytest.mark.parametrize(
    "torn", [b"", b'{"last_upload": "2026-', b"\x00" * 512, b"[]", b'{"tables": 3, "node_id": []}']
)
def test_a_torn_state_file_changes_nothing(torn, edge, sensor, folder, tmp_path):
    edge.once().succeeded()
    file = tmp_path / "state" / "last_upload.json"
    file.write_bytes(torn)
    sensor.add(20, start=100)
    edge.once().succeeded()
    assert ids(folder) == list(range(1, 121))
    assert json.loads(file.read_text(encoding="utf-8"))["tables"]["schematized"]["last_id"] == 120


# -- kills at named places


def killed(place, running, reached):
    """Kill the process as soon as it is at a place."""
    running.wait_until(reached, what=place, timeout=40)
    running.kill()


def test_a_kill_before_the_data_file_loses_and_repeats_nothing(sensor, proxy, wired_lake, command):
    killed_on_the_wire(sensor, proxy, wired_lake, command, Stall(60), DATA)


def test_a_kill_after_the_data_file_and_before_the_commit_loses_and_repeats_nothing(sensor, proxy, wired_lake, command):
    killed_on_the_wire(sensor, proxy, wired_lake, command, Stall(60), COMMIT)


def test_a_kill_after_the_commit_and_before_its_answer_loses_and_repeats_nothing(sensor, proxy, wired_lake, command):
    killed_on_the_wire(sensor, proxy, wired_lake, command, DropAnswer(), COMMIT)


def killed_on_the_wire(  # noqa: PLR0917
    sensor, proxy, place, command, fault, path
):
    sensor.create()
    sensor.add(200)
    edge = command(sensor.path, place, node_id="n1", max_batch_size=40)
    for skip in (1, 2):
        rule = proxy.plan(fault, method="PUT", path=path, skip=skip, times=None)
        killed("the request", edge.start(), lambda r=rule: r.hits)
        proxy.clear()
    edge.once().succeeded()
    assert ids(place) == list(range(1, 201))


def test_a_kill_after_the_commit_and_before_the_state_file_loses_and_repeats_nothing(edge, sensor, folder, tmp_path):
    log = Path(folder.uri("_1_schematized")) / "_delta_log"
    for number in (1, 3):  # as soon as the commit's file is there; the mirror is written some milliseconds later
        killed("the commit", edge.start(), lambda n=number: (log / f"{n:020}.json").exists())
        (tmp_path / "state" / "last_upload.json").unlink(missing_ok=True)
        sensor.add(100, start=number * 100)
    edge.once().succeeded()
    assert ids(folder) == list(range(1, 301))


# -- the clock


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the package brings its library for x86_64 alone")
@pytest.mark.parametrize("jump", ["+1y", "-1y"])
def test_a_clock_that_jumps_by_a_year_neither_loses_nor_repeats(jump, edge, sensor, folder, tmp_path):
    clock = tmp_path / "clock"
    clock.write_text("+0d", encoding="ascii")
    running = edge.start(
        env={
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
    )
    running.wait_until(lambda: folder.exists("_1_schematized") and folder.read().height == 100, what="the first rows")
    clock.write_text(jump, encoding="ascii")
    time.sleep(1.5)
    sensor.add(60, start=100)
    running.wait_until(lambda: folder.read().height == 160, what="the rows after the jump")
    clock.write_text("+0d", encoding="ascii")
    time.sleep(1.5)
    sensor.add(40, start=160)
    running.wait_until(lambda: folder.read().height == 200, what="the rows after the clock is right again")
    assert running.terminate() == 0
    years = folder.read()["databricks_inserted_at"].dt.year().unique()
    assert len(years) == 2
    assert ids(folder) == list(range(1, 201))
