"""What happens to the sensor's database: every row of it is delivered once, or the process says why it stops."""

from __future__ import annotations

import shutil

import pytest

from tests.source.test_identity import delivered, everything, wait_until_there
from tests.support.ask import verified
from tests.support.tables import assert_both_readers_agree


def values_of(place):
    """Time and temperature of what is in the table, for sources whose ids change."""
    table = assert_both_readers_agree(place, "_1_schematized", "timestamp")
    return [
        (t.isoformat(timespec="milliseconds"), c) for t, c in zip(table["timestamp"], table["temperature"], strict=True)
    ]


@pytest.fixture
def edge(sensor, folder, command):
    sensor.create()
    sensor.add(100)
    return command(sensor.path, folder, node_id="n1", max_batch_size=40)


def test_a_source_that_is_locked_is_waited_for(edge, sensor, folder):
    sensor.run("PRAGMA journal_mode=DELETE")
    running = edge.start()
    wait_until_there(folder, 100, running)
    sensor.run("BEGIN EXCLUSIVE")
    sensor.add(50, start=100)
    running.wait_for("unavailable", timeout=40)
    sensor.run("COMMIT")
    running.wait_for("recovered", timeout=60)
    wait_until_there(folder, 150, running)
    assert running.terminate() == 0
    assert len(running.named("unavailable")) == 1
    assert delivered(folder) == everything(sensor.rows())


def copied(sensor, to):
    """A backup as `sqlite3 .backup` makes it."""
    sensor.run(f"VACUUM INTO '{to}'")
    return to


def restored(sensor, backup):
    """The backup in the database's place, as after a crash of the disk."""
    path = sensor.path
    sensor.open(backup.with_name("elsewhere.db"))
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.copy(backup, path.with_name("restored"))
    path.with_name("restored").replace(path)
    sensor.open(path)


def test_a_database_rolled_back_to_a_backup_goes_on_behind_the_rows_that_both_have(edge, sensor, folder, tmp_path):
    sensor.run("DELETE FROM readings WHERE id > 60")
    backup = copied(sensor, tmp_path / "backup.db")
    sensor.add(40, start=60)
    first = sensor.rows()
    edge.once().succeeded()
    restored(sensor, backup)
    sensor.add(70, start=5000)
    second = sensor.rows()
    done = edge.once().succeeded()
    assert done.named("source reset")
    assert delivered(folder) == everything(first, second[60:])
    assert verified(sensor.path, folder, tmp_path, node_id="n1")["equal"]


def test_a_backup_without_a_new_row_is_delivered_on_as_soon_as_there_is_one(edge, sensor, folder, tmp_path):
    backup = copied(sensor, tmp_path / "backup.db")
    sensor.add(40, start=100)
    first = sensor.rows()
    running = edge.start()
    wait_until_there(folder, 140, running)
    restored(sensor, backup)
    running.wait_for("source reset")
    sensor.add(30, start=7000)
    wait_until_there(folder, 170, running)
    assert running.terminate() == 0
    assert delivered(folder) == everything(first, sensor.rows()[100:])


@pytest.mark.parametrize("added", [10, 500], ids=["ids end below the cursor", "ids end above the cursor"])
def test_ids_changed_by_vacuum_lose_and_repeat_nothing(added, sensor, folder, command):
    sensor.run("CREATE TABLE readings (sensor_id TEXT, timestamp TEXT, temperature REAL)")

    def add(count, start):
        sensor.run(
            "INSERT INTO readings WITH RECURSIVE n(i) AS (SELECT ? UNION ALL SELECT i + 1 FROM n LIMIT ?) "
            "SELECT 's', strftime('%Y-%m-%dT%H:%M:%f+00:00', 1767225600 + i, 'unixepoch'), i / 8.0 FROM n",
            start,
            count,
        )

    add(100, 0)
    edge = command(sensor.path, folder, node_id="n1", max_batch_size=40)
    edge.once().succeeded()
    sensor.run("DELETE FROM readings WHERE rowid % 2")
    sensor.run("VACUUM")
    assert sensor.run("SELECT max(rowid) FROM readings") == [(50,)]
    add(added, 100)
    assert edge.once().succeeded().named("source reset")
    assert [c * 8 for _, c in values_of(folder)] == list(range(100 + added))


def test_a_database_vacuumed_with_ids_of_its_own_goes_on(edge, sensor, folder):
    edge.once().succeeded()
    first = sensor.rows()
    sensor.run("DELETE FROM readings WHERE id <= 50")
    sensor.run("VACUUM")
    sensor.add(20, start=100)
    done = edge.once(env={"ON_SOURCE_RESET": "stop"}).succeeded()
    assert not done.named("source reset")
    assert delivered(folder) == everything(first, sensor.rows()[50:])


@pytest.mark.parametrize("size", [0, 4096, 20_000], ids=["empty", "one page", "half a table"])
def test_a_truncated_database_is_no_traceback_and_loses_nothing_when_it_is_put_right(
    size, edge, sensor, folder, tmp_path
):
    sensor.add(2000, start=100)
    backup = copied(sensor, tmp_path / "backup.db")
    running = edge.start()
    wait_until_there(folder, 2100, running)
    sensor.add(300, start=2100)
    wait_until_there(folder, 2400, running)
    first = sensor.rows()
    assert running.terminate() == 0
    sensor.close()
    whole = sensor.path.read_bytes()
    sensor.path.write_bytes(whole[:size])
    done = edge.once(retry_for=1)
    assert done.code in (1, 2)
    assert "Traceback" not in done.stderr
    sensor.path.write_bytes(whole)
    edge.once().succeeded()
    assert backup.exists()
    assert delivered(folder) == everything(first)


def test_a_database_corrupted_in_the_middle_delivers_what_is_before_and_goes_on_when_mended(edge, sensor, folder):
    sensor.add(20_000, start=100)
    first = sensor.rows()
    sensor.close()
    whole = bytearray(sensor.path.read_bytes())
    broken = bytearray(whole)
    middle = len(whole) // 2 // 4096 * 4096
    broken[middle : middle + 8192] = b"\xff" * 8192
    sensor.path.write_bytes(broken)
    running = edge.start(max_batch_size=1000)
    said = running.wait_for("unavailable", timeout=40)
    assert "damaged" in said["error"] or "cannot be read" in said["error"]
    there = folder.read()["reading_id"].sort().to_list()
    assert 0 < len(there) < 20_100
    assert there == list(range(1, len(there) + 1))
    mended = sensor.path.with_name("mended.db")
    mended.write_bytes(whole)
    mended.replace(sensor.path)
    running.wait_for("recovered", timeout=60)
    wait_until_there(folder, 20_100, running)
    assert running.terminate() == 0
    assert delivered(folder) == everything(first)
