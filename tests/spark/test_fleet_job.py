"""The fleet job on Spark, and `edge-delta gather` going on from it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from deltalake import write_deltalake

from tests.spark import kills
from tests.spark.job import fleet_job
from tests.support.gathering import Devices, cleaned, compacted

if TYPE_CHECKING:
    from tests.support.sqlite import Sensor
    from tests.support.tables import Place

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


# -- files that a device's cleanup deletes meanwhile


def deleting(spark: Any, root: str, place: Place, *, before: bool) -> Any:
    """The devices' tables, one of which is joined and cleaned when its rows are about to be read: before or after Spark
    has looked for the files.
    """
    due = [place]

    class Deleting(fleet_job.Devices):
        def rows(self, *arguments: Any) -> Any:
            if due and before:
                compacted(due.pop())
            frame = super().rows(*arguments)
            if due:
                compacted(due.pop())
            return frame

    return Deleting(spark, root, fleet_job.FolderFiles(root))


def gathered(found: Any, devices: Devices, places: Any) -> Any:
    """A round of one mode, with the devices' tables as they are read here."""
    shape = fleet_job.SHAPES["schematized"]
    tables = {device: places.table(device, shape.suffix) for device in devices.names}
    fleet = fleet_job.SparkFleet(found, devices.fleet.base, shape)
    job = fleet_job.Job("schematized", shape, tables, found.files, found, fleet, 86_400)
    return fleet_job.Round(job, fleet_job.Limits()).run()


@pytest.mark.parametrize("before", [True, False])
def test_files_that_cleanup_deletes_while_they_are_read_lose_no_row(spark, devices, before):
    """Also where the cluster passes over missing files."""
    by_spark(spark, devices)
    for _ in range(2):
        devices.deliver("hall-1", 50)
    devices.deliver("hall-2", 50)
    places = fleet_job.Places.of(str(devices.flags["table_path"]))
    found = deleting(spark, places.root, devices.place("hall-1"), before=before)
    spark.conf.set("spark.sql.files.ignoreMissingFiles", "true")
    try:
        outcome = gathered(found, devices, places)
    finally:
        spark.conf.unset("spark.sql.files.ignoreMissingFiles")
    assert outcome.devices["hall-1"].way == "missing"
    assert outcome.devices["hall-2"].way == "append"
    devices.assert_gathered(READINGS)


def test_a_log_that_is_cleaned_while_the_job_looks_at_the_device_stops_nothing(spark, devices):
    class Cleaning(fleet_job.Devices):
        def live(self, *arguments: Any) -> Any:
            found = super().live(*arguments)
            devices.deliver("hall-1", 50)
            cleaned(devices.place("hall-1"), READINGS)
            return found

    by_spark(spark, devices)
    devices.deliver("hall-1", 50)
    cleaned(devices.place("hall-1"), READINGS)
    places = fleet_job.Places.of(str(devices.flags["table_path"]))
    found = Cleaning(spark, places.root, fleet_job.FolderFiles(places.root))
    assert gathered(found, devices, places).devices["hall-1"].way == "missing"
    by_spark(spark, devices)
    devices.assert_gathered(READINGS)


# -- killed


def test_a_folder_that_a_killed_round_left_without_a_table_stops_no_other(spark, devices):
    for suffix in (READINGS, WINDOWS):
        Path(devices.fleet.uri(suffix), "_delta_log").mkdir(parents=True)
    by_spark(spark, devices)
    assert_gathered(devices)
    assert devices.fleet.table(READINGS).metadata().configuration["delta.logRetentionDuration"] == "interval 30 days"


KILLS = 5


@pytest.mark.slow
def test_a_job_that_is_killed_at_any_moment_brings_each_row_once(tmp_path):
    """``make spark-kills`` has more devices and kills; the moments are printed."""
    assert kills.run(tmp_path, kills.Plan(devices=10, kills=KILLS, seed=random.randrange(10_000))) == []
