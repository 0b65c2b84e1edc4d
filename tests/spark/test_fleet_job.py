"""The fleet job on Spark, and `edge-delta gather` going on from it."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from deltalake import write_deltalake

from tests.support.gathering import Devices, cleaned, compacted

if TYPE_CHECKING:
    from tests.support.sqlite import Sensor

JOB = Path(__file__).parents[2] / "deploy" / "databricks" / "fleet_job.py"
_spec = importlib.util.spec_from_file_location("fleet_job", JOB)
assert _spec is not None
assert _spec.loader is not None
fleet_job = importlib.util.module_from_spec(_spec)
sys.modules["fleet_job"] = fleet_job  # dataclasses ask for it
_spec.loader.exec_module(fleet_job)

READINGS, WINDOWS = "_1_schematized", "_3_aggregated"
MODES = ["schematized", "aggregated"]


@pytest.fixture
def devices(tmp_path: Path, sensor: Sensor) -> Devices:
    aggregate = {"window_minutes": 1, "allowed_lateness": 0, "aggregations": {"temperature": ["mean"]}}
    found = Devices(tmp_path, sensor, MODES, {"aggregate": aggregate})
    for name in ("hall-1", "hall-2"):
        found.deliver(name, 200)
    return found


def by_spark(spark: Any, devices: Devices) -> dict[str, Any]:
    found = fleet_job.gather(spark, str(devices.flags["table_path"]), devices.fleet.base, MODES)
    return {outcome.mode: outcome for outcome in found}


def assert_gathered(devices: Devices) -> None:
    devices.assert_gathered(READINGS)
    devices.assert_gathered(WINDOWS)


def test_spark_and_the_command_take_turns_and_each_row_comes_once(spark, devices):
    assert by_spark(spark, devices)["schematized"].rows == 400
    assert_gathered(devices)
    devices.deliver("hall-1", 100)
    devices.late("hall-2", 70)
    devices.gather()
    assert_gathered(devices)
    devices.deliver("hall-2", 100)
    devices.deliver("hall-3", 100)
    devices.late("hall-1", 70)
    found = by_spark(spark, devices)
    assert found["aggregated"].devices["hall-1"].way == "replace"
    assert_gathered(devices)
    assert devices.gather().mode()["commits"] == 0
    assert by_spark(spark, devices)["schematized"].commits == 0
    assert devices.fleet.read("_gather").height == 6


@pytest.mark.slow
def test_spark_handles_what_happens_to_devices(spark, devices):
    by_spark(spark, devices)
    devices.deliver("hall-1", 50)
    compacted(devices.place("hall-1"))  # its files are gone
    devices.late("hall-2", 70)
    cleaned(devices.place("hall-2"), READINGS)
    cleaned(devices.place("hall-2"), WINDOWS)
    frame = devices.fleet.read(READINGS).head(3).with_columns(node_id=pl.lit("hall-9"), humidity=pl.lit("wet"))
    write_deltalake(devices.place("hall-9").uri(READINGS), frame.to_arrow())
    found = by_spark(spark, devices)
    assert found["schematized"].devices["hall-1"].way == "missing"
    assert found["schematized"].devices["hall-9"].state == "quarantined"
    assert found["aggregated"].devices["hall-2"].way == "replace"
    assert_gathered(devices)


def test_a_commit_of_a_round_that_another_run_made_is_not_taken_for_ours(spark, devices):
    by_spark(spark, devices)
    devices.deliver("hall-1", 50)
    place = fleet_job.Places.of(str(devices.flags["table_path"]))
    files = fleet_job.FolderFiles(place.root)
    ours = fleet_job.SparkFleet(
        fleet_job.Devices(spark, place.root, files), devices.fleet.base, fleet_job.SHAPES["schematized"]
    )
    before = ours.state()
    by_spark(spark, devices)
    late = before.after({"hall-1": fleet_job.states.Taken(9, "x")})
    with pytest.raises(fleet_job.Overtaken):
        ours.commit([], late)
    assert_gathered(devices)


# -- killed

KILLS = int(os.environ.get("KILLS", "5"))


def started(devices: Devices, number: int) -> subprocess.Popen[str]:
    """The job as a process, with Spark up."""
    folder = devices.directory / f"job-{number}"
    folder.mkdir()
    words = [str(folder), ",".join(MODES), str(devices.flags["table_path"]), devices.fleet.base]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.spark.job", *words],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,  # Spark is a process of its own, and has to go with it
        )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", (folder / "log").read_text()
    return process


def finished(process: subprocess.Popen[str]) -> float:
    """The seconds until it was done."""
    began = time.monotonic()
    assert process.stdout is not None
    with process, process.stdout as said:
        assert "done\n" in said.read()
    return time.monotonic() - began


def kill(process: subprocess.Popen[str]) -> bool:
    """Whether it was still at work."""
    os.killpg(process.pid, signal.SIGKILL)
    assert process.stdout is not None
    with process, process.stdout as said:
        return "done\n" not in said.read()


@pytest.mark.slow
def test_a_job_that_is_killed_at_any_moment_brings_each_row_once(devices):
    """``KILLS=50`` for more of them; the moments are printed."""
    longest = finished(started(devices, 0))
    assert_gathered(devices)
    kills, chance = 0, random.Random()
    for number in range(1, KILLS + 1):
        devices.deliver("hall-1", 50)
        devices.late("hall-2", 70)
        if number % 2:
            devices.deliver(f"new-{number}", 50)
        process = started(devices, number)
        after = chance.uniform(0, longest)
        time.sleep(after)
        killed = kill(process)
        kills += killed
        frame = devices.fleet.read(READINGS)
        became = "killed" if killed else "was done"
        sys.stdout.write(f"{number}: {became} after {after:.2f} of {longest:.2f} s, {frame.height} rows\n")
        assert not frame.select("node_id", "source_generation", "reading_id").is_duplicated().any()
    finished(started(devices, KILLS + 1))
    assert_gathered(devices)
    assert kills
