"""Files that rotate: each file's rows once, whatever becomes of the files."""

from __future__ import annotations

import gzip
import shutil
from collections import Counter

import polars as pl
import pytest

from edge_delta.core.errors import FileUnsure
from edge_delta.device.health import examine
from edge_delta.device.settled import settled_files_of, settled_of
from edge_delta.device.status import report, text
from tests.support.command import EdgeDelta
from tests.support.inprocess import deliver
from tests.support.rotating import DAY, assert_each_once, delivered, raw
from tests.support.tables import Place


def test_each_files_rows_come_once_in_the_order_of_the_files(files, folder):
    for day in (10, 9, 1):
        files.day(day, 50)
    files.rest()
    raw(files, folder)
    assert_each_once(files, folder)
    table = folder.read("_0_raw").sort("source_rowid")
    assert table["timestamp"].is_sorted()
    assert table["source_rowid"].to_list() == list(range(1, 151))
    raw(files, folder)
    assert_each_once(files, folder)


def test_a_file_that_grows_and_the_next_one_are_read_on_where_they_ended(files, folder):
    files.day(1, 50)
    raw(files, folder)
    files.day(1, 20, first=100)
    raw(files, folder)
    files.day(1, 5, first=200)
    files.day(2, 30)
    files.day(3, 30)
    raw(files, folder)
    assert_each_once(files, folder)
    assert folder.read("_0_raw").sort("source_rowid")["timestamp"].is_sorted()


def test_late_rows_of_an_older_file_come_and_nothing_else_comes_with_them(files, folder):
    for day in (1, 2, 3):
        files.day(day, 50)
    raw(files, folder)
    files.day(1, 7, first=500)
    files.rest()
    events = raw(files, folder).named("rows came into an older file")
    assert [(e["file"], e["ids"]) for e in events] == [("readings-0001.db", 7)]
    files.day(3, 5, first=700)
    files.day(2, 5, first=700)
    raw(files, folder)
    files.day(4, 5)
    raw(files, folder)
    assert_each_once(files, folder)


def test_a_renamed_file_is_the_one_that_it_was(files, folder):
    path = files.day(2, 50, name="readings-current.db")
    files.rest()
    raw(files, folder)
    path.rename(files.folder / "readings-0002.db")
    files.day(3, 50, name="readings-current.db")
    files.rest()
    raw(files, folder)
    assert_each_once(files, folder)
    files.day(2, 3, first=900)
    files.rest()
    raw(files, folder)
    assert_each_once(files, folder)


def test_a_file_that_comes_back_as_a_copy_under_another_name_brings_nothing_again(files, folder, tmp_path):
    for day in (1, 2, 3):
        files.day(day, 50)
    files.rest()
    raw(files, folder)
    shutil.copyfile(files.folder / "readings-0001.db", tmp_path / "kept")
    (files.folder / "readings-0001.db").unlink()
    raw(files, folder)
    shutil.copyfile(tmp_path / "kept", files.folder / "readings-old.db")
    raw(files, folder)
    shutil.copyfile(files.folder / "readings-0002.db", files.folder / "readings-copy.db")
    raw(files, folder)
    assert_each_once(files, folder)


def test_delivered_files_may_be_removed_all_of_them(files, folder):
    paths = [files.day(day, 50) for day in (1, 2, 3)]
    files.rest()
    raw(files, folder)
    for path in paths:
        path.unlink()
    files.day(4, 20)
    files.rest()
    raw(files, folder)
    assert_each_once(files, folder)


@pytest.mark.parametrize("withholds", ["", '[sanitize]\ncolumns = ["temperature"]\n'])
@pytest.mark.parametrize("key", [None, "a key that is kept elsewhere"])
def test_without_its_state_directory_it_repeats_and_loses_nothing(files, folder, tmp_path, key, withholds):
    env = {} if key is None else {"EDGE_DELTA_WITNESS_KEY": key}
    (config := tmp_path / "config.toml").write_text(withholds)
    for day in (1, 2, 3):
        files.day(day, 50)
    files.rest()
    raw(files, folder, env=env, config=config)
    shutil.rmtree(files.folder / "state")
    files.day(3, 10, first=900)
    files.day(4, 10)
    files.rest()
    (files.folder / "readings-0001.db").rename(files.folder / "readings-one.db")
    raw(files, folder, env=env, config=config)
    assert_each_once(files, folder)
    assert (folder.read("_files")["bytes"] == 0).all() == bool(withholds), "a size has what stays on the device in it"


@pytest.mark.parametrize(("lost", "rows"), [(False, 20), (True, 60)])
def test_a_file_that_is_made_again_under_its_name_is_another_one(files, folder, lost, rows):
    path = files.day(1, 50)
    files.rest()
    raw(files, folder)
    if lost:
        shutil.rmtree(files.folder / "state")
    path.unlink()
    files.day(5, rows, name="readings-0001.db")
    files.rest()
    raw(files, folder)
    assert_each_once(files, folder)


def test_what_is_no_database_is_left_out_and_said(files, folder):
    path = files.day(1, 50)
    files.rest()
    (files.folder / "readings-0000.db").write_bytes(gzip.compress(path.read_bytes()))
    (files.folder / "readings-0009.db").touch()
    assert [e["source"] for e in raw(files, folder).named("table left out")] == ["readings-0000.db"]
    assert_each_once(files, folder)


def test_an_old_copy_that_went_on_by_itself_is_left_to_a_person(files, folder, tmp_path):
    path = files.day(1, 50)
    files.rest()
    shutil.copyfile(path, tmp_path / "kept")
    files.day(1, 1000, first=100)
    files.rest()
    raw(files, folder)
    path.unlink()
    shutil.copyfile(tmp_path / "kept", path)
    files.day(1, 7, first=5000)
    files.rest()
    with pytest.raises(FileUnsure, match="it cannot be told which of them are new"):
        raw(files, folder)


ALERTS = {"EMERGENCY_CONFIG": '{"severity_thresholds": {"temperature": 29}}'}
HOURS = {"AGGREGATE_CONFIG": '{"window_minutes": 60, "aggregations": {"temperature": ["mean"]}}'}


def test_rows_of_a_file_that_went_before_they_were_read_are_told(files, folder):
    files.day(1, 50)
    files.day(2, 50)
    files.rest()
    raw(files, folder)
    files.day(2, 30, first=100)
    path = files.day(3, 40)
    files.day(4, 50)
    files.rest()
    deliver(files.pattern, folder, processing_mode="emergency", env=ALERTS)  # gives them their places
    path.unlink()
    gone = raw(files, folder).named("rows gone before they were delivered")
    assert [e["rows"] for e in gone] == [40]
    assert sum(delivered(folder).values()) == 180


def windows(place):
    """The rows of each hour, which are of several sensors; a window that stands there twice would count twice."""
    return (
        place.read("_3_aggregated")
        .group_by("window_start")
        .agg(pl.col("record_count").sum())
        .sort("window_start")["record_count"]
        .to_list()
    )


def test_windows_take_late_rows_of_an_older_file(files, folder):
    files.day(1, 600, first=DAY - 600)
    deliver(files.pattern, folder, processing_mode="aggregated", env=HOURS)
    files.day(2, 600)
    files.day(1, 60, first=DAY - 700)  # in the hour before midnight, whose window is closed or open by then
    files.rest()
    deliver(files.pattern, folder, processing_mode="aggregated", env=HOURS)
    files.day(2, 600, first=1800)
    files.day(3, 1)
    files.rest()
    deliver(files.pattern, folder, processing_mode="aggregated", env=HOURS, flush=True)
    assert windows(folder) == [660, 1200, 1]


def test_a_window_that_files_share_is_one(files, folder):
    files.day(1, 300, first=DAY - 300)
    files.day(1, 300, first=DAY, name="readings-0002.db")
    files.rest()
    deliver(files.pattern, folder, processing_mode="aggregated", env=HOURS)
    files.day(1, 300, first=DAY + 300, name="readings-0003.db")
    files.rest()
    deliver(files.pattern, folder, processing_mode="aggregated", env=HOURS, flush=True)
    assert windows(folder) == [300, 600]


def test_two_modes_stand_where_they_are_while_files_come_and_go(files, folder):
    path = files.day(1, 50)
    raw(files, folder)
    files.day(2, 50)
    deliver(files.pattern, folder, processing_mode="schematized")
    files.day(3, 50)
    files.rest()
    raw(files, folder)
    path.unlink()
    deliver(files.pattern, folder, processing_mode=["raw", "schematized"])
    assert_each_once(files, folder)
    assert Counter(folder.read("_1_schematized")["reading_id"]) == Counter(range(1, 151))


def test_status_tells_what_waits_and_which_files_may_go(files, folder):
    state = files.folder / "state"
    one = files.day(1, 50)
    two = files.day(2, 50)
    files.rest()
    raw(files, folder)
    assert settled_files_of(state) == {"": [one]}
    files.day(2, 7, first=100)
    files.day(3, 5)
    files.rest()
    found = examine(state)
    assert found.unreadable is None
    assert found.rows_waiting == 12
    assert "whole files may be removed" in text(report(state))
    raw(files, folder)
    assert settled_files_of(state) == {"": [one, two]}
    assert settled_of(state) == {}


def test_verify_compares_what_is_there_and_says_what_is_gone(files, folder, tmp_path):
    first = files.day(1, 50)
    for day in (2, 3):
        files.day(day, 50)
    files.rest()
    raw(files, folder)
    first.unlink()
    (files.folder / "readings-0002.db").rename(files.folder / "readings-two.db")
    flags = {"sqlite": files.pattern, "table_path": folder.base, "state_dir": files.folder / "state", "node_id": "n1"}
    found = EdgeDelta(tmp_path, flags).run("verify", processing_mode="raw")
    assert found.code == 0, found.stdout
    assert "purged from the source" in found.stdout
    assert EdgeDelta(tmp_path, flags).run("purge", keep="0").code == 2


def test_a_family_among_other_sources_has_tables_of_its_own(files, folder, tmp_path):
    files.day(1, 50)
    files.rest()
    file = tmp_path / "config.toml"
    file.write_text(
        f'node_id = "n1"\nstate_dir = "{tmp_path / "state"}"\nprocessing_mode = "raw"\n'
        f'table_path = "{folder.base}/{{source}}"\n'
        f'[[sources]]\nname = "old"\nsqlite = "{files.pattern}"\ntables = "*"\n'
        f'[[sources]]\nname = "new"\nsqlite = "{files.folder / "readings-0001.db"}"\ntables = "*"\n'
    )
    for expected in (50, 80):
        found = EdgeDelta(tmp_path, {"config": file}).once()
        assert found.code == 0, found.stderr
        for name in ("old", "new"):
            table = Place(f"{folder.base}/{name}").read("_0_raw")
            assert table.height == (expected if name == "old" else 50)
        files.day(2, 30)
        files.rest()


def test_a_copy_that_goes_on_beside_its_file_is_left_to_a_person(files, folder):
    path = files.day(1, 50)
    files.rest()
    raw(files, folder)
    shutil.copyfile(path, files.folder / "readings-copy.db")
    raw(files, folder)
    files.day(9, 5, name="readings-copy.db")
    files.rest()
    with pytest.raises(FileUnsure, match="goes on with rows of its own"):
        raw(files, folder)


def test_the_next_file_may_have_other_columns_under_the_name_of_the_one_before(files, folder):
    path = files.day(1, 50, name="readings-current.db")
    files.rest()
    raw(files, folder)
    path.rename(files.folder / "readings-0001.db")
    files.sensor.open(path)
    files.sensor.create()
    files.sensor.run("ALTER TABLE readings ADD COLUMN pressure REAL")
    files.day(2, 80, name="readings-current.db")
    files.rest()
    raw(files, folder)
    assert_each_once(files, folder)
    assert "pressure" in folder.read("_0_raw").columns


def test_a_sweep_finds_ids_that_were_filled_in_and_repeats_nothing_of_files_that_are_gone(files, folder):
    modes = {"processing_mode": ["raw", "aggregated", "emergency"], "env": HOURS | ALERTS | {"SWEEP": "0"}}
    one = files.day(1, 50)
    files.day(2, 50)
    files.sensor.run("DELETE FROM readings WHERE id BETWEEN 20 AND 22")
    del files.written[-22:-19]
    files.day(3, 50)
    files.rest()
    deliver(files.pattern, folder, **modes)
    alerts = folder.read("_4_emergency").height
    one.unlink()
    files.sensor.open(files.folder / "readings-0002.db")
    files.sensor.run(
        "INSERT INTO readings (id, sensor_id, timestamp, temperature) VALUES (21, 's', '2026-01-03T00:00:20+00:00', 20)"
    )
    files.written.append("2026-01-03T00:00:20+00:00")
    files.day(3, 5, first=500)
    files.rest()
    found = deliver(files.pattern, folder, **modes)
    assert {e["mode"]: e["rows"] for e in found.named("rows below the cursor")}["raw"] == 1
    deliver(files.pattern, folder, **modes)
    assert_each_once(files, folder)
    assert windows(folder) == [50, 48]  # that of the third day is open
    assert folder.read("_4_emergency").height >= alerts
    assert folder.read("_4_emergency").select("reading_id", "alert_type").is_duplicated().sum() == 0
