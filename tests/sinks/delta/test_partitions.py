"""Partitions are the owner's choice: everything works with them as without."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable

from tests.support.tables import assert_both_readers_agree


def settings(sensor, partition_by, extra=""):
    file = sensor.path.parent / "settings.toml"
    by = f'partition_by = "{partition_by}"\n' if partition_by else ""
    file.write_text(f"{extra}[maintenance]\nkeeper = true\nevery_commits = 4\n{by}")
    return file


def over_days(sensor, count, *, start=0):
    """Readings six hours apart."""
    sensor.add(count, start=start)
    sensor.run(
        "UPDATE readings SET timestamp = strftime('%Y-%m-%dT%H:%M:%f+00:00', 1767225600 + id * 21600, 'unixepoch') "
        "WHERE id > ?",
        start,
    )


@pytest.mark.parametrize(("partition_by", "column"), [("date", "partition_date"), ("node_id", "node_id")])
def test_a_partitioned_table_is_delivered_to_compacted_and_equal_for_verify(
    partition_by, column, sensor, place, command
):
    sensor.create()
    over_days(sensor, 12)
    device = command(sensor.path, place, node_id="hall/7 ä", max_batch_size=3, config=settings(sensor, partition_by))
    device.once().succeeded()
    over_days(sensor, 12, start=12)
    assert device.once().succeeded().named("table looked after")
    table = place.table()
    assert table.metadata().partition_columns == [column]
    assert column not in table.metadata().configuration["delta.dataSkippingStatsColumns"].split(",")
    found = assert_both_readers_agree(place, "_1_schematized", "reading_id")
    assert found["reading_id"].to_list() == list(range(1, 25))
    if partition_by == "date":
        assert (found["partition_date"] == found["timestamp"].dt.date()).all()
        assert found["partition_date"].n_unique() >= 6
    device.run("maintain", max_batch_size=None, z_order="sensor_id").succeeded()
    device.run("verify", max_batch_size=None).succeeded()


def test_z_order_writes_only_partitions_with_new_files(sensor, folder, command):
    sensor.create()
    over_days(sensor, 12)
    file = settings(sensor, "date")
    device = command(sensor.path, folder, node_id="n1", config=file)
    device.once().succeeded()
    device.run("maintain", z_order="sensor_id").succeeded()
    before = set(folder.table().file_uris())
    over_days(sensor, 3, start=12)
    device.once().succeeded()
    device.run("maintain", z_order="sensor_id").succeeded()
    stayed = before & set(folder.table().file_uris())
    assert len(stayed) == len(before) - 1  # the last day of before has new rows
    assert sorted(folder.read()["reading_id"]) == list(range(1, 16))


def test_windows_are_replaced_in_a_partitioned_table(sensor, folder, command):
    sensor.create()
    over_days(sensor, 9)
    extra = '[aggregate]\nwindow_minutes = 1440\nemit = "early"\n'
    device = command(
        sensor.path, folder, node_id="n1", processing_mode="aggregated", config=settings(sensor, "date", extra)
    )
    device.once().succeeded()
    over_days(sensor, 9, start=9)
    device.once(flush=True).succeeded()
    found = folder.read("_3_aggregated")
    assert (found["partition_date"] == found["window_start"].dt.date()).all()
    assert found["record_count"].sum() == 18
    device.run("verify").succeeded()


def test_rejected_rows_are_partitioned_and_replayed(sensor, folder, command):
    sensor.create()
    sensor.add(10)
    sensor.run("UPDATE readings SET temperature = 'warm' WHERE id IN (2, 5)")
    device = command(sensor.path, folder, node_id="n1", config=settings(sensor, "date"))
    device.once().succeeded()
    rejected = folder.read("_rejected")
    assert rejected["reading_id"].to_list() == [2, 5]
    assert set(rejected["partition_date"]) <= {date.today(), date.today() - timedelta(days=1)}  # noqa: DTZ011
    sensor.run("UPDATE readings SET temperature = 21.5 WHERE id IN (2, 5)")
    device.run("replay").succeeded()
    assert sorted(folder.read()["reading_id"]) == list(range(1, 11))
    assert folder.read("_rejected")["replayed_at"].null_count() == 0


def test_another_layout_than_the_tables_is_refused_with_the_cure(sensor, folder, command):
    sensor.create()
    sensor.add(10)
    device = command(sensor.path, folder, node_id="n1")
    device.once(config=settings(sensor, "date")).succeeded()
    sensor.add(5, start=10)
    finished = device.once(config=settings(sensor, "node_id"))
    assert finished.code == 2
    assert re.search(r'is partitioned by partition_date.*Set partition_by = "date"', finished.error)
    assert folder.read().height == 10
    device.once(config=settings(sensor, None)).succeeded()  # as the table is
    assert folder.read()["partition_date"].null_count() == 0
    assert folder.read().height == 15


def test_a_table_without_partitions_is_not_given_some(sensor, folder, command):
    sensor.create()
    sensor.add(10)
    device = command(sensor.path, folder, node_id="n1")
    device.once().succeeded()
    assert DeltaTable(folder.uri("_1_schematized")).metadata().partition_columns == []
    finished = device.once(config=settings(sensor, "date"))
    assert finished.code == 2
    assert "is partitioned by nothing" in finished.error
    assert "Remove partition_by" in finished.error
    assert not list(Path(folder.uri("_1_schematized")).glob("partition_date=*"))
