"""`edge-delta gather` over devices that deliver with the real program."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from edge_delta.core import events
from edge_delta.settings.load import load
from edge_delta.topology import gathering
from edge_delta.topology.one_table import OneTable
from tests.support.gathering import Devices, cleaned, compacted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sqlite import Sensor

READINGS = "_1_schematized"


@pytest.fixture
def devices(tmp_path: Path, sensor: Sensor) -> Devices:
    found = Devices(tmp_path, sensor)
    for name in ("hall-1", "hall-2", "hall-3"):
        found.deliver(name)
    return found


def test_each_row_of_each_device_comes_once(devices):
    first = devices.gather().mode()
    assert (first["rows"], first["commits"]) == (60, 1)
    devices.assert_gathered()
    devices.deliver("hall-1")
    devices.deliver("hall-1")
    again = devices.gather()
    assert again.mode()["rows"] == 40
    assert again.about("hall-1")["commits"] == 2
    devices.assert_gathered()


def test_a_round_without_news_writes_nothing(devices):
    devices.gather()
    version = devices.fleet.table(READINGS).version()
    assert devices.gather().mode()["commits"] == 0
    assert devices.fleet.table(READINGS).version() == version


def test_a_new_device_and_a_new_column_come_by_themselves(devices):
    devices.gather()
    devices.sensor.open(devices.directory / "devices" / "hall-1" / "sensor.db")
    devices.sensor.run("ALTER TABLE readings ADD COLUMN rain REAL DEFAULT 1.5")
    devices.deliver("hall-1")
    devices.deliver("hall-4")
    devices.gather()
    assert devices.assert_gathered().get_column("rain").drop_nulls().len() == 20


def test_rows_that_a_compaction_moves_are_not_new(devices):
    devices.gather()
    devices.deliver("hall-2")
    compacted(devices.place("hall-2"))
    found = devices.gather()
    assert found.mode()["rows"] == 20
    devices.assert_gathered()


def test_files_that_were_deleted_before_they_were_taken_are_told_and_no_row_is_lost(devices):
    devices.gather()
    devices.deliver("hall-2")
    compacted(devices.place("hall-2"))
    about = devices.gather().about("hall-2")
    assert "deleted before they were taken" in about["told"][0]
    assert about["way"] == "missing"
    devices.assert_gathered()


def test_a_log_that_was_cleaned_before_it_was_taken_loses_no_row(devices):
    devices.gather()
    for _ in range(3):
        devices.deliver("hall-2")
    cleaned(devices.place("hall-2"))
    about = devices.gather().about("hall-2")
    assert "cleaned" in about["told"][0]
    devices.assert_gathered()
    devices.deliver("hall-2")
    assert devices.gather().mode()["rows"] == 20
    devices.assert_gathered()


def test_a_quiet_device_of_which_only_a_checkpoint_is_left_is_not_taken_again(devices):
    devices.gather()
    table = devices.place("hall-2").table(READINGS)
    table.create_checkpoint()
    for file in devices.log("hall-2").glob("*.json"):
        file.unlink()
    found = devices.gather()
    assert found.mode()["commits"] == 0
    assert not found.about("hall-2")["told"]
    devices.assert_gathered()


def test_a_device_that_is_first_seen_with_a_cleaned_log_comes_whole(devices):
    devices.deliver("hall-2")
    cleaned(devices.place("hall-2"))
    devices.gather()
    devices.assert_gathered()


def test_a_deleted_table_is_told_and_its_rows_stay(devices):
    devices.gather()
    shutil.rmtree(devices.place("hall-2").uri(READINGS))
    found = devices.gather()
    assert found.about("hall-2")["state"] == "deleted"
    assert "hall-2, schematized: deleted" in found.stderr
    assert devices.fleet.read(READINGS).height == 60


def test_a_table_that_was_made_anew_is_told_and_adds_what_was_not_there(devices):
    devices.gather()
    shutil.rmtree(devices.place("hall-2").uri(READINGS))
    shutil.rmtree(devices.directory / "devices" / "hall-2" / "state")
    devices.deliver("hall-2", rows=5)
    about = devices.gather().about("hall-2")
    assert about["told"] == ["its table was created again"]
    found = devices.fleet.read(READINGS).filter(node_id="hall-2")
    assert sorted(found.get_column("reading_id")) == list(range(1, 26))


def test_a_restored_table_is_told_and_repeats_nothing(devices):
    devices.gather()
    before = devices.place("hall-2").table(READINGS).version()
    devices.deliver("hall-2")
    devices.gather()
    table = devices.place("hall-2").table(READINGS)
    table.alter.set_table_properties({"delta.appendOnly": "false"})
    table.restore(before)
    about = devices.gather().about("hall-2")
    assert "restored" in about["told"][0]
    found = devices.fleet.read(READINGS).filter(node_id="hall-2")
    assert sorted(found.get_column("reading_id")) == list(range(1, 41))


def test_a_device_whose_column_has_another_type_is_quarantined_and_the_others_go_on(devices):
    devices.gather()
    odd = devices.place("hall-9")
    frame = devices.fleet.read(READINGS).head(3).with_columns(node_id=pl.lit("hall-9"), humidity=pl.lit("wet"))
    write_deltalake(odd.uri(READINGS), frame.to_arrow())
    devices.deliver("hall-1")
    found = devices.gather(code=3)
    assert found.mode()["rows"] == 20
    assert "humidity is string, expected double" in found.about("hall-9")["told"][0]
    assert "hall-9, schematized: quarantined" in found.stderr
    devices.assert_gathered()
    assert devices.gather(without="hall-9").mode()["rows"] == 0


def test_rows_of_another_node_in_a_devices_folder_are_refused(devices):
    write_deltalake(devices.place("hall-9").uri(READINGS), devices.place("hall-1").read(READINGS).to_arrow())
    assert "has rows of node 'hall-1'" in devices.gather(code=3).about("hall-9")["told"][0]
    devices.assert_gathered()


def test_a_fleet_table_that_was_restored_takes_again_what_it_lost(devices):
    devices.gather()
    for name in devices.names:
        devices.deliver(name)
    devices.gather()
    devices.fleet.table(READINGS).restore(1)
    assert devices.gather().mode()["rows"] == 60
    devices.assert_gathered()


def test_a_fleet_table_whose_log_no_longer_says_what_was_taken_repeats_nothing(devices):
    devices.gather()
    for name in devices.names:
        devices.deliver(name)
    fleet = devices.fleet.table(READINGS)
    fleet.optimize.compact()
    cleaned(devices.fleet)
    assert devices.gather().mode()["rows"] == 60
    devices.assert_gathered()


def test_rows_that_somebody_else_put_into_the_fleets_table_first_are_not_repeated(devices):
    write_deltalake(devices.fleet.uri(READINGS), devices.place("hall-1").read(READINGS).to_arrow())
    assert devices.gather().mode()["rows"] == 40
    devices.assert_gathered()


def test_compaction_of_the_fleets_table_does_not_disturb(devices):
    devices.gather()
    devices.deliver("hall-1")
    devices.gather()
    DeltaTable(devices.fleet.uri(READINGS)).optimize.compact()
    devices.deliver("hall-1")
    assert devices.gather().mode()["rows"] == 20
    devices.assert_gathered()


def test_two_rounds_at_once_take_each_row_once(devices):
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda _: gathered(devices), range(3)))
    devices.assert_gathered()


def gathered(devices: Devices) -> None:
    wanted = gathering.Wanted(devices.fleet.base)
    flags = {name: str(value) for name, value in devices.flags.items()}
    settings = load({**flags, "database_not_needed": True}, environment={})
    gathering.gather(OneTable("", "", settings), wanted, events.configure())


# -- windows, and other tables whose rows are replaced


@pytest.fixture
def windows(tmp_path: Path, sensor: Sensor) -> Devices:
    aggregate = {"window_minutes": 1, "allowed_lateness": 0, "aggregations": {"temperature": ["mean"]}}
    found = Devices(tmp_path, sensor, ["aggregated"], {"aggregate": aggregate})
    for name in ("hall-1", "hall-2"):
        found.deliver(name, 400)
    return found


WINDOWS = "_3_aggregated"


def test_a_table_whose_first_window_is_open_is_gathered_as_one_without_rows(tmp_path, sensor):
    aggregate = {"window_minutes": 1, "allowed_lateness": 0, "aggregations": {"temperature": ["mean"]}}
    windows = Devices(tmp_path, sensor, ["aggregated"], {"aggregate": aggregate})
    windows.deliver("hall-1", 5)
    assert windows.gather().mode("aggregated")["rows"] == 0
    assert "window_start" in windows.fleet.read(WINDOWS).columns
    assert windows.gather().mode("aggregated")["commits"] == 0
    windows.deliver("hall-1", 200)
    windows.gather()
    assert windows.assert_gathered(WINDOWS).height > 0


def test_a_corrected_window_takes_the_place_of_the_one_before(windows):
    windows.gather()
    windows.assert_gathered(WINDOWS)
    windows.late("hall-1", 70)
    found = windows.gather()
    assert found.about("hall-1", "aggregated")["way"] == "replace"
    assert 0 < found.mode("aggregated")["rows"] <= 5  # the windows of that minute
    windows.assert_gathered(WINDOWS)


def test_windows_whose_earlier_files_are_gone_come_whole(windows):
    windows.gather()
    windows.late("hall-1", 70)
    compacted(windows.place("hall-1"), WINDOWS)
    windows.deliver("hall-1", 200)
    windows.gather()
    windows.assert_gathered(WINDOWS)


def test_windows_whose_log_was_cleaned_come_whole(windows):
    windows.gather()
    windows.late("hall-1", 70)
    windows.late("hall-1", 130)
    cleaned(windows.place("hall-1"), WINDOWS)
    assert "cleaned" in windows.gather().about("hall-1", "aggregated")["told"][0]
    windows.assert_gathered(WINDOWS)


def test_windows_of_a_table_made_anew_take_the_place_of_the_same_ones(windows):
    windows.gather()
    shutil.rmtree(windows.place("hall-2").uri(WINDOWS))
    shutil.rmtree(windows.directory / "devices" / "hall-2" / "state")
    windows.again("hall-2")
    assert windows.gather().about("hall-2", "aggregated")["told"] == ["its table was created again"]
    windows.assert_gathered(WINDOWS)


# -- what is told


def test_how_far_each_device_is_stands_in_a_table(devices):
    devices.gather()
    found = devices.fleet.read("_gather").sort("node_id")
    assert found.get_column("node_id").to_list() == ["hall-1", "hall-2", "hall-3"]
    assert found.get_column("state").unique().to_list() == ["taken"]
    version = devices.fleet.table("_gather").version()
    devices.gather()
    assert devices.fleet.table("_gather").version() == version
    devices.deliver("hall-1")
    devices.gather()
    found = devices.fleet.read("_gather").filter(node_id="hall-1")
    assert found.get_column("version").item() == devices.place("hall-1").table(READINGS).version()
    assert found.get_column("last_commit_at").item() is not None


def test_a_device_that_was_behind_for_half_of_its_logs_retention_is_told(devices):
    devices.gather()
    devices.deliver("hall-1")
    table = devices.place("hall-1").table(READINGS)
    commit = devices.log("hall-1") / f"{table.version():020}.json"
    now = table.history(1)[0]["timestamp"]
    commit.write_text(commit.read_text().replace(f'"timestamp":{now}', f'"timestamp":{now - 2 * 86_400_000}'))
    assert "gather more often" in devices.gather().about("hall-1")["told"][0]


def test_a_shared_table_is_nothing_to_gather(devices):
    devices.gather(table_path=devices.fleet.base, code=2)
