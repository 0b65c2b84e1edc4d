"""What libraries print goes through the log; the last words of a process that falls dead are not lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from edge_delta.device.library_messages import event_of, messages
from tests.support.command import clean_environment
from tests.support.metadata import Metadata

CAPTURED = "import os, sys; from edge_delta.device import library_output; library_output.capture(); "


def run(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", CAPTURED + code],
        capture_output=True,
        timeout=60,
        check=False,
        env=clean_environment() | environment,
    )
    return done.returncode, done.stderr.decode()


def told(stderr):
    """What libraries said. Every line is an event."""
    return [each["said"] for each in map(json.loads, stderr.splitlines()) if each["event"] == "library said"]


def test_a_warning_of_the_sdk_inside_delta_rs_is_an_event(sensor, folder, command):
    sensor.create()
    sensor.add(3)
    with Metadata() as service:
        edge = command(sensor.path, folder, table_path="s3://nowhere/readings", retry_for=0)
        done = edge.once(env=service.environment)
    assert done.code == 1
    assert len(done.events) == len(done.stderr.splitlines()), done.stderr
    [said] = done.named("library said")
    assert (said["source"], said["level"]) == ("aws_config::imds::region", "warning")
    assert "failed to load region" in said["said"]


def test_a_panic_is_an_event():
    code, stderr = run(
        "import polars as pl; from polars._plr import PySeries\n"
        "try: pl.Series([1, 2])._s.gather_with_series(pl.Series(['a'])._s)\n"
        "except BaseException: pass\n"
        "try: pl.LazyFrame({'a': [1]}).map_batches(lambda f: 1 // 0).collect()\n"
        "except BaseException: pass\n"
        "os.write(2, b\"thread 'x' (7) panicked at src/a.rs:1:2:\\nindex 9 out of range\\nnote: run with \"\n"
        "b'`RUST_BACKTRACE=1` environment variable to display a backtrace\\n')\n"
        "library_output.end()"
    )
    assert code == 0
    assert told(stderr)[-1] == "thread 'x' (7) panicked at src/a.rs:1:2: index 9 out of range"


@pytest.mark.parametrize("end", ["os.abort()", "import ctypes; ctypes.string_at(0)"])
def test_the_last_words_of_an_abort_are_not_lost(end):
    for _ in range(10):
        code, stderr = run(f"os.write(2, b'free(): \"invalid\" pointer\\n'); {end}")
        assert -code in (signal.SIGABRT, signal.SIGSEGV)
        assert "".join(told(stderr)).strip("\n ").endswith('free(): "invalid" pointer')


def test_what_fails_again_and_again_is_said_once():
    code, stderr = run(
        "[os.write(2, b'[t WARN  store] try %d failed\\n' % i) for i in range(2000)]; library_output.end()"
    )
    assert code == 0
    assert told(stderr) == ["try 0 failed"]


def test_more_than_a_socket_holds_is_printed_while_it_is_read():
    code, stderr = run("[os.write(2, (b'%d' % i + b'x' * 9000 + b'\\n')) for i in range(200)]; library_output.end()")
    assert code == 0
    assert len(told(stderr)) >= 1


def test_with_rust_log_set_lines_come_as_they_are():
    code, stderr = run("os.write(2, b'as it is\\n')", RUST_LOG="debug")
    assert (code, stderr) == (0, "as it is\n")


def test_a_traceback_of_python_is_written_whole():
    code, stderr = run("raise RuntimeError('x' * 5000)")
    assert code == 1
    assert stderr.endswith("RuntimeError: " + "x" * 5000 + "\n")


def test_neither_signatures_nor_exact_places_are_in_an_event():
    level, keys = event_of("[2026-11-27T07:57:30Z WARN  object_store] X-Amz-Signature=abc123&x=1 at 52.520008, 13.4")
    assert (level, keys["said"]) == ("warning", "X-Amz-Signature=…&x=1 at …, 13.4")


def test_a_panic_is_told_with_its_lines_and_others_line_by_line():
    text = "one\nthread 'a' panicked at b.rs:1:1:\nwhy\n[t WARN  c] two\nthree\n"
    assert [*messages(text)] == ["one", "thread 'a' panicked at b.rs:1:1:\nwhy", "[t WARN  c] two", "three"]
