from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import eventually


def run_demo(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "edge_delta", "demo", *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_the_demonstration_delivers_each_reading_once_whatever_the_users_settings(tmp_path):
    folder = tmp_path / "demo"
    done = run_demo("--folder", str(folder), "--rows", "500", TABLE_PATH="s3://not/there", UPLOAD_INTERVAL="soon")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "They are the same, each reading once." in done.stdout
    assert "CREATE TABLE" in done.stdout
    found = re.search(r"Readings in SQLite: ([\d,]+)\. Rows in the table: ([\d,]*\d)", done.stdout)
    assert found is not None
    assert found[1] == found[2]
    assert int(found[1].replace(",", "")) > 500
    events = [json.loads(line)["event"] for line in (folder / "edge-delta.log").read_text().splitlines()]
    assert events.count("started") == 2
    assert events.count("batch committed") >= 3


def test_what_the_demonstration_says_to_type_next_works(tmp_path):
    done = run_demo("--folder", str(tmp_path / "demo"), "--rows", "50")
    advice = done.stdout.split("What to type next")[1].splitlines()
    again, read, *_ = [line.strip() for line in advice if line.startswith("  ")]
    assert '"rows_written": 0' in typed(again).stderr
    assert "shape: " in typed(read).stdout


def typed(command):
    """What a person's shell makes of it."""
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran


def test_a_folder_that_is_in_use_is_refused(tmp_path):
    (tmp_path / "precious").touch()
    done = run_demo("--folder", str(tmp_path))
    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_with_s3_the_rows_arrive_on_a_local_server(tmp_path):
    done = run_demo("--s3", "--folder", str(tmp_path / "demo"), "--rows", "500")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "A local S3 server answers at http://127.0.0.1:" in done.stdout
    assert done.stdout.count("--table-path s3://lake/readings") == done.stdout.count("--table-path") == 2
    assert "They are the same, each reading once." in done.stdout
    assert not (tmp_path / "demo" / "lake").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["Ctrl-C", "a closed terminal"])
def test_an_interruption_leaves_no_process_and_no_traceback(number, tmp_path):
    folder = tmp_path / "demo"
    words = [sys.executable, "-m", "edge_delta", "demo", "--s3", "--folder", str(folder), "--rows", "50"]
    output = tmp_path / "output"
    with output.open("wb") as file:
        demo = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    eventually(lambda: b"version   1:" in output.read_bytes(), what="the first rows", timeout=60, tell=output.read_text)
    assert len(processes_about(folder)) >= 3
    os.killpg(demo.pid, number)
    assert demo.wait(30) == 130
    assert processes_about(folder) == []
    assert "Traceback" not in output.read_text()


def processes_about(folder):
    """The demonstration, its sensor, its S3 server and edge-delta all name the folder, or run in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes()
            if str(folder).encode() in words or str((process / "cwd").readlink()).startswith(str(folder)):
                found.append(words)
    return found
