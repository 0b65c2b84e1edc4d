"""Rows go on into the table that they were delivered to, and into no other one that has its place."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake

from edge_delta.core import events as telemetry
from edge_delta.core.errors import CommitConflict, TableReplaced
from edge_delta.core.model import Cursor
from edge_delta.sinks.delta.cursors import application_id
from edge_delta.sinks.delta.durable import Disk
from edge_delta.sinks.delta.sink import DeltaSink

APP = application_id("n1", "readings")


def rows(*ids):
    return pl.DataFrame({"id": ids}, schema={"id": pl.Int64})


def another(root, commits):
    """Another table with the same columns takes the place of one."""
    shutil.rmtree(root)
    for _ in range(commits):
        write_deltalake(str(root), rows(900), mode="append")


@pytest.mark.parametrize("commits", [1, 3, 4, 9])
def test_a_table_replaced_while_the_process_runs_gets_no_row_and_stops_it(commits, tmp_path):
    root = tmp_path / "t"
    sink = DeltaSink(str(root), {}, APP, disk=Disk(root, log=telemetry.configure(stream=io.StringIO())))
    for rowid in (1, 2):
        sink.append(rows(rowid), Cursor(rowid=rowid))
    another(root, commits)
    with pytest.raises(CommitConflict, match="not the one that was opened"):
        sink.append(rows(3), Cursor(rowid=3))
    with pytest.raises(TableReplaced, match=r"was replaced by another one") as error:  # at the next try
        sink.append(rows(3), Cursor(rowid=3))
    assert error.value.exit_code == 3
    assert set(pl.read_delta(str(root))["id"]) == {900}


def test_another_table_is_seen_when_the_table_is_opened_again(tmp_path):
    """All that can be done in a store without a request for each commit."""
    sink = DeltaSink(str(tmp_path / "t"), {}, APP)
    sink.append(rows(1), Cursor(rowid=1))
    another(tmp_path / "t", 3)
    sink.forget()
    with pytest.raises(TableReplaced):
        sink.committed()


def test_rows_without_a_cursor_stop_the_device_that_delivered_them(sensor, folder, command):
    """As after a copy of the table by CREATE TABLE AS, or after Spark dropped the transactions."""
    sensor.create()
    sensor.add(20)
    device = command(sensor.path, folder, node_id="n1")
    device.once().succeeded()
    held = folder.read()
    shutil.rmtree(folder.uri("_1_schematized"))
    write_deltalake(folder.uri("_1_schematized"), held)
    sensor.add(5, start=20)
    finished = device.once()
    assert finished.code == 3
    assert "rows up to id 20 were delivered" in finished.error
    assert "no cursor of ours" in finished.error
    assert folder.read().height == 20


def test_an_empty_table_in_the_place_of_the_old_one_gets_every_row(sensor, folder, command):
    sensor.create()
    sensor.add(20)
    device = command(sensor.path, folder, node_id="n1")
    device.once().succeeded()
    shutil.rmtree(Path(folder.uri("_1_schematized")))
    device.once().succeeded()
    assert sorted(folder.read()["reading_id"]) == list(range(1, 21))


def test_a_device_that_was_cut_off_before_its_first_alert_goes_on_beside_the_alerts_of_others(
    sensor, folder, command, tmp_path
):
    """The table is there, and has no cursor of this device: it had nothing to write but the position."""
    sensor.create()
    sensor.add(20)
    calm, hot = (
        {"EMERGENCY_CONFIG": f'{{"severity_thresholds": {{"temperature": {limit}}}, "anomaly_flag": false}}'}
        for limit in (90, 1)
    )
    device = command(sensor.path, folder, node_id="n1", processing_mode="emergency")
    running = device.start(env=calm)
    running.wait_for("cycle finished")
    running.kill()
    other = command(sensor.path, folder, node_id="n2", processing_mode="emergency")
    other.once(state_dir=tmp_path / "other", env=hot).succeeded()
    device.once(env=calm).succeeded()
    assert set(folder.read("_4_emergency")["node_id"]) == {"n2"}


def restored(place, version=1):
    table = place.table()
    table.restore(version)
    return table.version()


def test_a_restored_table_stops_the_process_that_delivers_to_it(place):
    sink = DeltaSink(place.uri("_t"), place.options, APP)
    for rowid in (1, 2, 3):
        sink.append(rows(rowid), Cursor(rowid=rowid))
    place.table("_t").restore(2)
    with pytest.raises(CommitConflict):  # delta-rs refuses the first try, so that it looks again
        sink.append(rows(4), Cursor(rowid=4))
    with pytest.raises(TableReplaced, match="was restored") as error:
        sink.append(rows(4), Cursor(rowid=4))
    assert error.value.exit_code == 3
    assert sorted(place.read("_t")["id"]) == [1, 2]


def test_other_commits_in_between_stop_nobody(folder):
    sink, other = (DeltaSink(folder.uri("_t"), {}, application_id(node, "readings")) for node in ("n1", "n2"))
    for rowid in range(1, 8):
        sink.append(rows(rowid), Cursor(rowid=rowid))
        other.append(rows(100 + rowid), Cursor(rowid=rowid))
    folder.table("_t").optimize.compact()
    sink.append(rows(8), Cursor(rowid=8))
    assert folder.read("_t").height == 15


def test_a_table_restored_between_two_runs_stops_the_second_until_reset_says_how_to_go_on(sensor, place, command):
    sensor.create()
    sensor.add(20)
    device = command(sensor.path, place, node_id="n1", max_batch_size=10)
    device.once().succeeded()
    restored(place)
    assert place.read().height == 10
    sensor.add(5, start=20)
    for _ in range(2):
        stopped = device.once()
        assert stopped.code == 3
        assert "was restored" in stopped.error
        assert "after rows up to id 20 were delivered" in stopped.error
    assert place.read().height == 10
    assert device.run("verify", max_batch_size=None).code == 1
    device.run("reset", max_batch_size=None, to_id=11, yes=True).succeeded()
    device.once().succeeded()
    assert sorted(place.read()["reading_id"]) == list(range(1, 26))
    device.once().succeeded()


def without_cursors(folder):
    """The table as Spark leaves it that dropped our transactions."""
    held = folder.read()
    shutil.rmtree(folder.uri("_1_schematized"))
    write_deltalake(folder.uri("_1_schematized"), held)


def test_rows_of_ours_without_a_cursor_stop_also_where_the_state_directory_is_lost(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(20)
    device = command(sensor.path, folder, node_id="n1")
    device.once().succeeded()
    without_cursors(folder)
    shutil.rmtree(tmp_path / "state")
    stopped = device.once()
    assert stopped.code == 3
    assert "20 rows of node n1, but no cursor" in stopped.error
    assert folder.read().height == 20
    device.once(node_id="n2").succeeded()
    assert folder.read().height == 40


def test_a_lost_state_directory_is_no_reason_to_stop_where_the_table_has_its_cursor(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(20)
    device = command(sensor.path, folder, node_id="n1")
    device.once().succeeded()
    shutil.rmtree(tmp_path / "state")
    sensor.add(5, start=20)
    device.once().succeeded()
    assert sorted(folder.read()["reading_id"]) == list(range(1, 26))


def test_another_source_of_the_same_device_is_delivered_when_it_is_said_to_be_new(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.create("other")
    sensor.add(20)
    sensor.add(10, "other")
    command(sensor.path, folder, node_id="n1", table="readings").once().succeeded()
    second = command(sensor.path, folder, node_id="n1", table="other", state_dir=tmp_path / "second")
    assert second.once().code == 3
    second.once(new_node=True).succeeded()
    assert folder.read().height == 30
    second.once().succeeded()
