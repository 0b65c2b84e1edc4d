"""What the system says of the machine, and what there is instead where it does not, as on macOS."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys

import pytest

from edge_delta.core import machine
from tests.source.test_wal import needs_mounts

ASKED = """
import json, os, sys, time
from pathlib import Path
del os.sched_getaffinity, time.CLOCK_BOOTTIME
from edge_delta.core import machine
descriptor = os.open(sys.argv[2], os.O_RDWR)
machine.take_lock(descriptor)
machine.sync(descriptor)
print(json.dumps({
    "cores": machine.cores(),
    "resident": machine.resident_bytes(),
    "boot": machine.boot(),
    "since": machine.since_boot(),
    "mounts": machine.mount_points(),
    "held": machine.is_locked(Path(sys.argv[1])),
    "own": machine.is_locked(Path(sys.argv[2])),
    "none": machine.is_locked(Path(sys.argv[1] + ".no")),
}))
"""


def test_linux_tells_all_of_it():
    assert machine.cores() == len(os.sched_getaffinity(0))
    assert machine.resident_bytes() > 10_000_000
    assert len(machine.boot()) == 36
    assert machine.since_boot() > 0
    assert {"/", "/proc"} <= set(machine.mount_points())


@needs_mounts
def test_without_the_files_of_linux_there_is_an_answer_to_everything(tmp_path):
    held, own = tmp_path / "held", tmp_path / "own"
    own.touch()
    with held.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        words = ["unshare", "-rm", "sh", "-ec", 'mount -t tmpfs none /proc\nexec "$@"', "sh"]
        asked = [*words, sys.executable, "-c", ASKED, str(held), str(own)]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("cores") == os.cpu_count()
    assert found.pop("resident") > 5_000_000
    assert found.pop("since") > 0
    assert found == {"boot": None, "mounts": [], "held": True, "own": True, "none": False}


def test_a_lock_is_seen_without_taking_it(tmp_path):
    file = tmp_path / "lock"
    with file.open("w") as holder:
        assert not machine.is_locked(file)
        machine.take_lock(holder.fileno())
        assert machine.is_locked(file)
        with file.open("w") as other, pytest.raises(BlockingIOError):
            machine.take_lock(other.fileno())


def test_what_is_given_back_comes_again_when_it_is_needed():
    asked = """
import polars as pl, deltalake
from edge_delta.core import machine
frame = pl.DataFrame({"a": range(300_000)}).with_columns(pl.col("a").cast(pl.String).alias("b"))
before = frame.group_by(pl.col("b").str.slice(0, 2)).len().sort("b")
was = machine.resident_bytes()
machine.give_back()
now = machine.resident_bytes()
assert frame.group_by(pl.col("b").str.slice(0, 2)).len().sort("b").equals(before)
assert deltalake.__version__
machine.give_back()
print(was, now)
"""
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    was, now = map(int, done.stdout.split())
    assert now < 0.7 * was
