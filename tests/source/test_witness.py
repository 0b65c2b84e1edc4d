"""Witnesses: which changes of a database are a new source, and which are not."""

from __future__ import annotations

import shutil

import polars as pl
import pytest

from edge_delta.core.errors import TwoSources
from tests.support.inprocess import deliver
from tests.support.sqlite import Sensor


def ids(place, suffix="_1_schematized", key="reading_id"):
    return sorted(place.read(suffix)[key].to_list())


def remade(sensor):
    sensor.close()
    for suffix in ("", "-wal", "-shm"):
        sensor.path.with_name(sensor.path.name + suffix).unlink(missing_ok=True)
    return Sensor(sensor.path)


@pytest.mark.parametrize("what", ["temperature = temperature + 1", "sensor_id = 'other', humidity = 0.5"])
def test_a_row_updated_after_delivery_is_not_another_source(what, sensor, folder):
    sensor.create()
    sensor.add(300)
    deliver(sensor.path, folder)
    for added in range(3):
        sensor.run(f"UPDATE readings SET {what} WHERE id = (SELECT max(id) FROM readings)")
        done = deliver(sensor.path, folder)
        assert not done.named("source reset")
        assert done.named("delivered row updated")
        sensor.add(1, start=1_000 + added)
        deliver(sensor.path, folder)
    assert ids(folder) == list(range(1, 304))


def test_an_update_of_all_rows_in_one_column_is_not_another_source(sensor, folder):
    sensor.create()
    sensor.add(300)
    deliver(sensor.path, folder)
    sensor.run("UPDATE readings SET temperature = temperature * 1.8 + 32")
    sensor.add(5, start=400)
    assert not deliver(sensor.path, folder).named("source reset")
    assert ids(folder) == list(range(1, 306))


def test_an_update_repeats_neither_windows_nor_alerts(sensor, folder):
    sensor.create()
    sensor.add(900)
    settings = {
        "processing_mode": ["aggregated", "emergency"],
        "env": {"EMERGENCY_CONFIG": '{"severity_thresholds": {"temperature": 29}, "anomaly_flag": false}'},
    }
    deliver(sensor.path, folder, **settings)
    before = [
        sorted(map(str, folder.read(s).drop("databricks_inserted_at").rows()))
        for s in ("_3_aggregated", "_4_emergency")
    ]
    for _ in range(2):
        sensor.run("UPDATE readings SET humidity = humidity + 1 WHERE id = 900")
        assert not deliver(sensor.path, folder, **settings).named("source reset")
    after = [
        sorted(map(str, folder.read(s).drop("databricks_inserted_at").rows()))
        for s in ("_3_aggregated", "_4_emergency")
    ]
    assert after == before


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE readings RENAME COLUMN humidity TO hum",
        "ALTER TABLE readings DROP COLUMN humidity",
        "ALTER TABLE readings ADD COLUMN unit TEXT DEFAULT 'C'",
    ],
)
@pytest.mark.parametrize("timed", [True, False])
def test_a_changed_column_is_not_another_source(change, timed, sensor, folder):
    time = "timestamp TEXT, " if timed else ""
    sensor.run(f"CREATE TABLE readings (id INTEGER PRIMARY KEY, {time}sensor TEXT, temperature REAL, humidity REAL)")
    names = "timestamp, sensor, temperature, humidity" if timed else "sensor, temperature, humidity"
    value = "strftime('%Y-%m-%dT%H:%M:%SZ', 1767225600 + i, 'unixepoch'), " if timed else ""
    sensor.run(
        f"INSERT INTO readings ({names}) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 40) "
        f"SELECT {value}'s', i / 3.0, i / 7.0 FROM n"
    )
    deliver(sensor.path, folder, processing_mode=["raw"])
    sensor.run(change)
    for _ in range(2):
        assert not deliver(sensor.path, folder, processing_mode=["raw"]).named("source reset")
    assert ids(folder, "_0_raw", "source_rowid") == list(range(1, 41))


def test_two_databases_under_one_node_id_are_told_within_two_cycles(sensor, folder, tmp_path):
    sensor.create()
    sensor.add(100)
    deliver(sensor.path, folder)
    other = tmp_path / "other" / "sensor.db"
    other.parent.mkdir()
    with Sensor(other) as second:
        second.create()
        second.add(80, start=7_000, seed=5)
        deliver(other, folder)
        with pytest.raises(TwoSources, match="NODE_ID"):
            deliver(sensor.path, folder)
    assert folder.read().height == 180


@pytest.mark.parametrize("purge", ["id <= 30", "id = 30", "id > 25"])
def test_an_earlier_database_is_told_where_the_row_at_the_cursor_was_purged(purge, sensor, folder):
    """Its rows would look like new ones: the last one that was delivered is gone, and the others are behind it."""
    sensor.create()
    sensor.add(100)
    deliver(sensor.path, folder)
    sensor.run("PRAGMA wal_checkpoint(TRUNCATE)")
    backup = sensor.path.with_name("backup")
    shutil.copy(sensor.path, backup)
    with remade(sensor) as second:
        second.create()
        second.add(30, start=7_000, seed=5)
        deliver(sensor.path, folder)
    with remade(sensor) as third:
        third.close()
        shutil.copy(backup, sensor.path)
    with Sensor(sensor.path) as restored:
        restored.run(f"DELETE FROM readings WHERE {purge}")
        with pytest.raises(TwoSources, match="NODE_ID"):
            deliver(sensor.path, folder)
    assert folder.read().height == 130


@pytest.mark.parametrize("purge", ["id <= 130", "id = 130"])
def test_a_purge_of_a_database_that_took_an_earlier_ones_place_is_none_of_two(purge, sensor, folder):
    sensor.create()
    sensor.add(100)
    deliver(sensor.path, folder)
    with remade(sensor) as second:
        second.create(autoincrement=True)
        second.add(130, start=7_000, seed=5)
        deliver(sensor.path, folder)
        second.run(f"DELETE FROM readings WHERE {purge}")
        second.add(20, start=8_000, seed=6)
        assert not deliver(sensor.path, folder).named("source reset")
    assert folder.read().height == 250


def test_a_copied_database_that_goes_another_way_is_told(sensor, folder, tmp_path):
    sensor.create()
    sensor.add(100)
    deliver(sensor.path, folder)
    sensor.run("PRAGMA wal_checkpoint(TRUNCATE)")
    other = tmp_path / "clone" / "sensor.db"
    other.parent.mkdir()
    shutil.copy(sensor.path, other)
    with Sensor(other) as clone:
        clone.add(10, start=500, seed=1)
        sensor.add(10, start=900, seed=2)
        deliver(sensor.path, folder)
        deliver(other, folder)
        with pytest.raises(TwoSources):
            deliver(sensor.path, folder)
    assert folder.read().height == 120


def test_a_lost_state_directory_repeats_nothing(sensor, folder, tmp_path):
    sensor.create()
    sensor.add(120)
    deliver(sensor.path, folder)
    for number in range(2):
        assert not deliver(sensor.path, folder, state_dir=str(tmp_path / f"s{number}")).named("source reset")
    assert ids(folder) == list(range(1, 121))


def test_without_a_state_directory_a_replaced_source_is_noticed(sensor, folder, tmp_path):
    sensor.create()
    sensor.add(120)
    deliver(sensor.path, folder)
    with remade(sensor) as fresh:
        fresh.create()
        fresh.add(150, start=9_000, seed=3)
        assert deliver(fresh.path, folder, state_dir=str(tmp_path / "another")).named("source reset")
    assert folder.read().height == 270


def test_a_backup_repeats_nothing_though_old_rows_were_updated(sensor, folder, tmp_path):
    sensor.create()
    sensor.add(200)
    sensor.run("PRAGMA wal_checkpoint(TRUNCATE)")
    deliver(sensor.path, folder)
    sensor.run("UPDATE readings SET temperature = 1 WHERE id IN (5, 17)")
    sensor.run("VACUUM INTO ?", str(tmp_path / "backup.db"))
    sensor.add(50, start=300)
    deliver(sensor.path, folder)
    sensor.close()
    for suffix in ("", "-wal", "-shm"):
        sensor.path.with_name(sensor.path.name + suffix).unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", sensor.path)
    with Sensor(sensor.path) as back:
        back.add(80, start=900, seed=4)
        [reset] = deliver(back.path, folder).named("source reset")
    assert reset["known_until"] == 200
    assert folder.read().height == 200 + 50 + 80


def test_deleting_the_newest_rows_repeats_nothing_and_loses_nothing(sensor, folder):
    sensor.create()
    sensor.add(200)
    deliver(sensor.path, folder)
    sensor.run("DELETE FROM readings WHERE id > 197")
    deliver(sensor.path, folder)
    sensor.add(2, start=900)
    deliver(sensor.path, folder)
    table = folder.read()
    assert table.height == 202
    assert table["timestamp"].n_unique() == 202


def test_all_tables_of_a_source_have_one_generation(sensor, folder):
    sensor.create()
    sensor.add(100)
    deliver(sensor.path, folder, processing_mode=["raw"])
    with remade(sensor) as fresh:
        fresh.create()
        fresh.add(40, start=3_000, seed=2)
        deliver(fresh.path, folder, processing_mode=["raw"])
        fresh.add(40, start=4_000, seed=2)
        deliver(fresh.path, folder, processing_mode=["raw", "schematized", "sanitized"])
    assert set(
        folder.read("_0_raw").filter(folder.read("_0_raw")["timestamp"] > "2026-01-01T00:30")["source_generation"]
    ) == {1}
    for suffix in ("_1_schematized", "_2_sanitized"):
        assert set(folder.read(suffix)["source_generation"]) == {1}
        assert folder.read(suffix).height == 80


def test_a_newest_row_whose_time_is_changed_comes_again_in_the_next_generation(sensor, folder):
    sensor.create()
    sensor.add(100)
    deliver(sensor.path, folder)
    sensor.run("UPDATE readings SET timestamp = '2026-02-01T00:00:00+00:00' WHERE id = 100")
    [reset] = deliver(sensor.path, folder).named("source reset")
    assert reset["known_until"] == 99
    again = folder.read().filter(pl.col("reading_id") == 100).sort("source_generation")
    assert again["source_generation"].to_list() == [0, 1]
