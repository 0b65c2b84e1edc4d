"""What `max_memory` promises, under a limit of the kernel; `make box` has it with a million rows in all modes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.generate import generate
from tests.support.cgroup import NoGroups, limited
from tests.support.command import clean_environment, parse_events

MIB = 2**20
ROWS = 40_000


@pytest.fixture
def group():
    try:
        with limited(128 * MIB) as made:
            yield made
    except NoGroups as error:
        pytest.skip(f"no group with a limit can be made here: {error}")


def test_with_half_of_the_memory_a_backlog_is_delivered_in_smaller_batches(tmp_path, folder, group):
    generate(tmp_path / "sensor.db", ROWS)
    words = ["--sqlite", tmp_path / "sensor.db", "--table-path", folder.base, "--state-dir", tmp_path / "state"]
    words += ["--node-id", "n1", "--max-memory", "128 MiB", "--once"]
    done = subprocess.run(
        [sys.executable, "-m", "edge_delta", *map(str, words)],
        env=clean_environment(),
        preexec_fn=group.enter,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, group.killed()) == (0, 0), done.stderr[-2_000:]
    commits = [e["rows"] for e in parse_events(done.stderr) if e["event"] == "batch committed"]
    assert sum(commits) == folder.read().height == ROWS
    assert max(commits) < ROWS / 2  # by default they are one batch
