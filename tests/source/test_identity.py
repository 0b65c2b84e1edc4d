"""The sensor replaces its database, or what is in it: no row of either is lost or repeated."""

from __future__ import annotations

import pytest

from edge_delta.source.cells import is_left_out
from tests.support.inprocess import deliver
from tests.support.sqlite import Sensor
from tests.support.tables import assert_both_readers_agree


def values(rows):
    """What tells a reading from all others: its id, time and temperature."""
    return [(row[0], row[2], row[3]) for row in rows]


def delivered(place):
    table = assert_both_readers_agree(place, "_1_schematized", "databricks_inserted_at")
    picked = zip(table["reading_id"], table["timestamp"], table["temperature"], strict=True)
    return sorted((i, t.isoformat(timespec="milliseconds"), c) for i, t, c in picked)


def everything(*generations):
    return sorted(row for rows in generations for row in values(rows))


def wait_until_there(place, count, running):
    running.wait_until(lambda: place.exists("_1_schematized") and place.read().height >= count, what=f"row {count}")


def recreate(sensor):
    """Delete the database as a sensor's start does, and make a new one in its place."""
    sensor.close()
    for suffix in ("", "-wal", "-shm"):
        sensor.path.with_name(sensor.path.name + suffix).unlink(missing_ok=True)
    return Sensor(sensor.path)


def replaced_database(sensor, place, command, *, second, **settings):
    """Run over a database that is deleted and made again while it runs."""
    sensor.create()
    sensor.add(120)
    first = sensor.rows()
    edge = command(sensor.path, place, node_id="n1", **settings)
    running = edge.start()
    wait_until_there(place, 120, running)
    with recreate(sensor) as fresh:
        fresh.create()
        second(fresh)
        wait_until_there(place, 120 + len(fresh.rows()), running)
        fresh.add(10, start=10_000)
        rows = fresh.rows()
        wait_until_there(place, 120 + len(rows), running)
        assert running.terminate() == 0
    assert delivered(place) == everything(first, rows)
    assert running.named("source reset")
    assert set(place.read()["source_generation"]) == {0, 1}


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(lambda s: s.add(50, start=5000), id="fewer rows, later times"),
        pytest.param(lambda s: s.add(200, start=5000), id="more rows, later times"),
        pytest.param(lambda s: s.add(120, seed=9), id="the same times, other values"),
        pytest.param(lambda s: s.add(300, seed=9), id="the same times, more rows"),
    ],
)
def test_every_row_of_a_database_made_again_while_running_is_there_once(second, sensor, folder, command):
    replaced_database(sensor, folder, command, second=second)


def test_a_database_made_again_on_s3(sensor, lake, command):
    replaced_database(sensor, lake, command, second=lambda s: s.add(150, seed=3))


def test_rows_written_just_before_the_database_is_replaced_are_not_lost(sensor, folder, command):
    sensor.create()
    sensor.add(50)
    running = command(sensor.path, folder, node_id="n1", interval=2).start()
    wait_until_there(folder, 50, running)
    sensor.add(25, start=50)
    first = sensor.rows()
    with recreate(sensor) as fresh:
        fresh.create()
        fresh.add(40, start=9000)
        rows = fresh.rows()
        wait_until_there(folder, 115, running)
        assert running.terminate() == 0
    assert delivered(folder) == everything(first, rows)


def test_a_database_made_again_between_two_runs_is_a_new_generation(sensor, folder, command):
    sensor.create()
    sensor.add(60)
    first = sensor.rows()
    edge = command(sensor.path, folder, node_id="n1")
    edge.once().succeeded()
    with recreate(sensor) as fresh:
        fresh.create()
        fresh.add(90, seed=4)
        rows = fresh.rows()
        edge.once().succeeded()
        edge.once().succeeded()
    assert delivered(folder) == everything(first, rows)


def test_under_stop_a_database_made_again_ends_the_process_with_3(sensor, folder, command):
    sensor.create()
    sensor.add(120)
    edge = command(sensor.path, folder, node_id="n1")
    running = edge.start(env={"ON_SOURCE_RESET": "stop"})
    wait_until_there(folder, 120, running)
    with recreate(sensor) as fresh:
        fresh.create()
        fresh.add(20, start=7000)
        done = running.finished()
        assert done.code == 3
        assert "on_source_reset" in done.error
        assert edge.once(env={"ON_SOURCE_RESET": "stop"}).code == 3
        assert folder.read().height == 120
        # The person decides.
        edge.once().succeeded()
        assert folder.read().height == 140


@pytest.mark.parametrize("autoincrement", [False, True])
def test_every_row_of_a_table_emptied_and_refilled_is_there_once(autoincrement, sensor, folder, command):
    sensor.create(autoincrement=autoincrement)
    sensor.add(100)
    first = sensor.rows()
    running = command(sensor.path, folder, node_id="n1").start()
    wait_until_there(folder, 100, running)
    sensor.run("DELETE FROM readings")
    sensor.add(70, start=3000)
    second = sensor.rows()
    assert second[0][0] == (101 if autoincrement else 1)
    wait_until_there(folder, 170, running)
    assert running.terminate() == 0
    assert delivered(folder) == everything(first, second)
    assert bool(running.named("source reset")) is not autoincrement


def test_under_stop_a_table_emptied_and_refilled_ends_the_process_with_3(sensor, folder, command):
    sensor.create()
    sensor.add(100)
    edge = command(sensor.path, folder, node_id="n1")
    running = edge.start(env={"ON_SOURCE_RESET": "stop"})
    wait_until_there(folder, 100, running)
    sensor.run("DELETE FROM readings")
    sensor.add(70, start=3000)
    assert running.finished().code == 3
    assert folder.read().height == 100


def test_an_autoincrement_table_emptied_and_refilled_goes_on_under_stop(sensor, folder, command):
    sensor.create(autoincrement=True)
    sensor.add(100)
    running = command(sensor.path, folder, node_id="n1").start(env={"ON_SOURCE_RESET": "stop"})
    wait_until_there(folder, 100, running)
    sensor.run("DELETE FROM readings")
    sensor.add(30, start=3000)
    wait_until_there(folder, 130, running)
    assert running.terminate() == 0


def test_a_table_dropped_and_made_again_is_read_from_its_first_row(sensor, folder, command):
    sensor.create()
    sensor.add(100)
    first = sensor.rows()
    running = command(sensor.path, folder, node_id="n1").start()
    wait_until_there(folder, 100, running)
    sensor.run("BEGIN")
    sensor.run("DROP TABLE readings")
    sensor.create()
    sensor.run("COMMIT")
    sensor.add(150, seed=2)
    rows = sensor.rows()
    wait_until_there(folder, 250, running)
    assert running.terminate() == 0
    assert delivered(folder) == everything(first, rows)


@pytest.mark.parametrize("purged", ["id <= 50", "id < 100", "id <= 100"], ids=["half", "all but the last", "all"])
@pytest.mark.parametrize("autoincrement", [False, True])
def test_old_rows_purged_by_the_sensor_are_no_reset(purged, autoincrement, sensor, folder, command):
    sensor.create(autoincrement=autoincrement)
    sensor.add(100)
    first = sensor.rows()
    running = command(sensor.path, folder, node_id="n1").start(env={"ON_SOURCE_RESET": "stop"})
    wait_until_there(folder, 100, running)
    # The sensor inserts before it purges, so the highest id stays.
    sensor.add(1, start=100)
    sensor.run(f"DELETE FROM readings WHERE {purged}")
    sensor.add(40, start=101)
    wait_until_there(folder, 141, running)
    assert running.terminate() == 0
    later = [row for row in sensor.rows() if row[0] > 100]
    assert delivered(folder) == everything(first, later)
    assert not running.named("source reset")


def test_a_table_emptied_and_not_refilled_waits(sensor, folder, command):
    sensor.create()
    sensor.add(30)
    edge = command(sensor.path, folder, node_id="n1")
    edge.once().succeeded()
    sensor.run("DELETE FROM readings")
    edge.once(env={"ON_SOURCE_RESET": "stop"}).succeeded()
    assert folder.read().height == 30


def test_upload_marks_set_by_the_application_are_no_reset(sensor, folder, command):
    sensor.run("CREATE TABLE readings (id INTEGER PRIMARY KEY, timestamp TEXT, temperature REAL, synced INTEGER)")
    sensor.run("INSERT INTO readings VALUES (1, '2026-01-01T00:00:00+00:00', 20.5, 0)")
    edge = command(sensor.path, folder, node_id="n1")
    edge.once().succeeded()
    sensor.run("UPDATE readings SET synced = 1")
    sensor.run("INSERT INTO readings VALUES (2, '2026-01-01T00:00:01+00:00', 20.6, 0)")
    edge.once(env={"ON_SOURCE_RESET": "stop"}).succeeded()
    assert folder.read()["reading_id"].sort().to_list() == [1, 2]


def test_a_column_added_to_the_source_is_no_reset(sensor, folder, command):
    sensor.create()
    sensor.add(20)
    running = command(sensor.path, folder, node_id="n1").start(env={"ON_SOURCE_RESET": "stop"})
    wait_until_there(folder, 20, running)
    sensor.run("ALTER TABLE readings ADD COLUMN rain REAL DEFAULT 0.5")
    sensor.add(20, start=20)
    wait_until_there(folder, 40, running)
    assert running.terminate() == 0
    table = assert_both_readers_agree(folder, "_1_schematized", "reading_id")
    assert table["rain"].to_list() == [None] * 20 + [0.5] * 20


def test_a_database_that_is_gone_for_a_while_is_waited_for(sensor, folder, command):
    sensor.create()
    sensor.add(20)
    first = sensor.rows()
    running = command(sensor.path, folder, node_id="n1").start()
    wait_until_there(folder, 20, running)
    sensor.close()
    for suffix in ("", "-wal", "-shm"):
        sensor.path.with_name(sensor.path.name + suffix).unlink(missing_ok=True)
    running.wait_for("unavailable")
    with Sensor(sensor.path) as fresh:
        fresh.create()
        fresh.add(25, start=400)
        wait_until_there(folder, 45, running)
        assert running.terminate() == 0
        assert delivered(folder) == everything(first, fresh.rows())


@pytest.mark.parametrize("fewer", [1, 9])
def test_a_database_made_again_whose_ids_end_a_little_earlier_is_a_new_generation(fewer, sensor, folder):
    sensor.create()
    sensor.add(100)
    first = sensor.rows()
    deliver(sensor.path, folder)
    with recreate(sensor) as fresh:
        fresh.create()
        fresh.add(100 - fewer, start=5_000)
        rows = fresh.rows()
        assert deliver(fresh.path, folder).named("source reset")
    assert delivered(folder) == everything(first, rows)


UPDATED = ["sync", "upload", "sent", "send", "process", "deliver", "export", "status", "state", "flag", "ack", "retr"]
PLACES = [
    "lat",
    "lon",
    "lng",
    "long",
    "latitude",
    "longitude",
    "gps",
    "geo",
    "geohash",
    "coord",
    "coordinates",
    "position",
]


@pytest.mark.parametrize(
    "name", [*UPDATED, *(f"was{w.upper()}ed" for w in UPDATED), *PLACES, "GPS_Lat", "a-Lng", "\u017ftatus"]
)
def test_a_column_that_is_updated_or_tells_a_place_has_no_part_in_fingerprints(name):
    assert is_left_out(name)


@pytest.mark.parametrize(
    "name", ["temperature", "humidity", "relation", "surgeon", "along", "composition", "h\u00f6he"]
)
def test_any_other_column_has(name):
    assert not is_left_out(name)
