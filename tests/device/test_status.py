"""`edge-delta status`: where every mode stands, also while another process runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from edge_delta.device.health import examine
from edge_delta.device.watching import Progress, screen
from tests.support.ask import ask, status
from tests.support.command import clean_environment, eventually


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


def test_it_works_beside_a_running_process_and_takes_no_lock(sensor, folder, command, state):
    sensor.create()
    sensor.add(100)
    running = command(sensor.path, folder, node_id="n1").start()
    running.wait_for("cycle finished", count=2)
    about = status(state)
    assert about["verdict"] == "up to date"
    assert about["process"]["pid"] == running.process.pid
    assert about["rows_waiting"] == 0
    assert about["lag_seconds"] == 0
    assert about["next_cycle"] is not None
    mode = about["modes"]["schematized"]
    assert (mode["cursor"], mode["rows_written"], mode["rows_rejected"]) == (100, 100, 0)
    assert running.terminate() == 0
    assert status(state)["verdict"] == "stopped"


def test_lag_is_told_in_rows_and_in_seconds(sensor, folder, command, state):
    sensor.create()
    sensor.add(10)
    command(sensor.path, folder, node_id="n1").once().succeeded()
    sensor.run(
        "INSERT INTO readings (sensor_id, timestamp) VALUES ('s', strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '-1 hour'))"
    )
    about = status(state)
    assert about["rows_waiting"] == 1
    assert 3590 < about["lag_seconds"] < 3700
    assert "1 row, the oldest 60 min old" in ask("status", "--state-dir", state).stdout


def test_what_came_between_two_rounds_is_no_growing_backlog(sensor, folder, command, lake, state):
    sensor.create()
    sensor.add(10)
    command(sensor.path, folder, node_id="n1").once().succeeded()
    sensor.add(500, start=10)
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    running = command(sensor.path, lake, node_id="n1").start(env=nowhere)
    eventually(lambda: status(state)["running"], what="the next process")
    about = status(state)
    assert (about["growth_rows_per_second"], about["rows_waiting"]) == (None, 500)
    running.kill()


def test_rejected_rows_are_counted(sensor, folder, command, state):
    sensor.create()
    sensor.add(10)
    sensor.run("INSERT INTO readings (sensor_id, timestamp, temperature) VALUES ('s', '2026-01-01T00:00:00Z', 'hot')")
    command(sensor.path, folder, node_id="n1").once().succeeded()
    mode = status(state)["modes"]["schematized"]
    assert (mode["rows_written"], mode["rows_rejected"]) == (10, 1)


def test_every_mode_has_a_line(sensor, folder, command, state):
    sensor.create()
    sensor.add(10)
    command(sensor.path, folder, node_id="n1", processing_mode="raw,schematized").once().succeeded()
    text = ask("status", "--state-dir", state).stdout
    for mode in ("raw", "schematized"):
        assert re.search(rf"^{mode} +up to id 10, 0 wait; 10 rows written; last commit \d+ s ago", text, re.MULTILINE)


def test_a_lost_or_torn_mirror_is_not_an_error(state):
    state.mkdir()
    (state / "last_upload.json").write_text('{"tor')
    assert status(state)["verdict"] == "never started"


def test_the_live_view_shows_the_backlog_shrink(sensor, folder, command, state):
    sensor.create()
    sensor.add(100)
    command(sensor.path, folder, node_id="n1").once().succeeded()
    sensor.add(60, start=100)
    watch = subprocess.Popen(
        [sys.executable, "-m", "edge_delta", "status", "--state-dir", str(state), "--watch"],
        env=clean_environment(),
        stdout=subprocess.PIPE,
    )
    try:
        os.set_blocking(watch.stdout.fileno(), False)
        seen = bytearray()

        def shows(text):
            seen.extend(watch.stdout.read() or b"")
            return text in seen

        eventually(lambda: shows(b"60 rows"), what="the backlog", pause=0.1)
        command(sensor.path, folder, node_id="n1").once().succeeded()
        eventually(lambda: shows(b"] none"), what="its end", pause=0.1)
    finally:
        watch.send_signal(signal.SIGINT)
    assert watch.wait(10) == 0
    with watch.stdout:
        seen.extend(watch.stdout.read() or b"")
    assert seen.endswith(b"\x1b[?25h")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([100, 80, 60], "40% of 100 rows; shrinking by 20 rows/s, 3 s to go"),
        ([100, 120, 140], "0% of 140 rows; growing by 20 rows/s"),
        ([50, 50, 50], "0% of 50 rows; standing still"),
    ],
)
def test_progress_tells_a_shrinking_backlog_from_a_growing_one(rows, expected):
    progress = Progress()
    about = {"running": True, "next_cycle": None}
    looks = [progress.lines(about | {"rows_waiting": n}, at=float(i)) for i, n in enumerate(rows)]
    assert looks[-1][-1].strip() == expected


def test_the_bar_shows_rounds_and_not_what_comes_between_them(sensor, folder, command, state):
    sensor.create()
    sensor.add(10)
    running = command(sensor.path, folder, node_id="n1", interval=600).start()
    running.wait_for("cycle finished")
    eventually(lambda: status(state)["next_cycle"], what="the end of the round")
    sensor.add(1, start=10)
    bar, words = Progress().lines(status(state))
    assert "#" not in bar
    assert re.fullmatch(r" +1 row for the next round, in \d+ min", words)
    running.terminate()
    assert Progress().lines(status(state))[1].strip() == "1 row for the next round; no process runs now"


@pytest.mark.parametrize("size", [(100, 30), (60, 24), (30, 10), (8, 3)], ids=str)
def test_the_live_view_fits_every_terminal(size, sensor, folder, command, state):
    sensor.create()
    sensor.add(10)
    command(sensor.path, folder, node_id="n1", processing_mode="raw,schematized").once().succeeded()
    sensor.add(5, start=10)
    columns, lines = size
    shown = screen(status(state), Progress(), os.terminal_size(size))
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", shown).splitlines()
    assert len(plain) < lines
    assert max(map(len, plain)) <= columns
    if columns > 20:
        assert "stopped" in plain[0]
        assert any("backlog" in line and "..]" in line for line in plain)
    if lines >= 30:
        assert plain[-1] == "Ctrl-C ends this view only."
        assert any(line.startswith("schematized  up to id 10, 5 wait") for line in plain)


def test_looking_costs_the_same_for_a_large_table(sensor, folder, command, state):
    sensor.create()
    sensor.add(200_000)
    command(sensor.path, folder, node_id="n1").once().succeeded()
    started = time.process_time()
    for _ in range(20):
        examine(state)
    assert (time.process_time() - started) / 20 < 0.02
