"""SIGHUP: a service reads its settings again, and goes on; a process on a terminal goes with it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from tests.support.command import clean_environment, eventually


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "edge.toml"
    file.write_text("max_batch_size = 5\n")
    return file


def test_sighup_reads_the_settings_again_and_the_process_goes_on(sensor, folder, command, config):
    sensor.create()
    sensor.add(10)
    running = command(sensor.path, folder, node_id="n1", config=config).start()
    running.wait_for("cycle finished")
    config.write_text("max_batch_size = 'many'\n")
    running.signal(signal.SIGHUP)
    assert running.wait_for("settings read again")["file"] == str(config)
    running.wait_for("settings not taken over")
    running.signal(signal.SIGHUP)  # the file is as it was, and its error is said again: it was read
    running.wait_for("settings not taken over", count=2)
    config.write_text("max_batch_size = 6\n")
    running.signal(signal.SIGHUP)
    assert running.wait_for("settings changed")["new"] == 6
    sensor.add(10, start=10)
    running.wait_until(lambda: folder.read("_1_schematized").height == 20, what="the rows that came later")
    assert running.terminate() == 0


def test_sighup_without_a_settings_file_says_that_there_is_none(sensor, folder, command):
    sensor.create()
    running = command(sensor.path, folder, node_id="n1").start()
    running.wait_for("cycle finished")
    running.signal(signal.SIGHUP)
    assert running.wait_for("settings read again")["file"] is None
    running.wait_for("cycle finished", count=len(running.named("cycle finished")) + 1)
    assert running.terminate() == 0


def test_several_sources_read_their_settings_again(sensor, folder, command, config):
    sensor.create("readings")
    sensor.create("events")
    running = command(
        sensor.path, folder, node_id="n1", config=config, all_tables=True, table_path=folder.base + "/{table}"
    ).start()
    running.wait_for("cycle finished", count=2)
    config.write_text("max_batch_size = 'many'\n")
    running.wait_for("settings not taken over")
    running.signal(signal.SIGHUP)
    running.wait_for("settings not taken over", count=2)
    assert running.terminate() == 0


def test_a_terminal_that_is_closed_ends_it_in_order(sensor, folder, command):
    sensor.create()
    sensor.add(10)
    edge = command(sensor.path, folder, node_id="n1")
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "edge_delta", *edge.arguments({})]
    with (edge.directory / "log").open("wb") as log:
        process = subprocess.Popen(words, cwd=edge.directory, env=clean_environment(), stdin=theirs, stderr=log)
    os.close(theirs)
    try:
        eventually(lambda: folder.exists("_1_schematized"), what="the first commit")
        process.send_signal(signal.SIGHUP)
        assert process.wait(12) == 0
    finally:
        process.kill()
        with suppress(OSError):
            os.close(ours)
    assert folder.read("_1_schematized").height == 10
