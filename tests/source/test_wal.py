"""The database beside its writer: read-only mounts, write-ahead logs, and mounts that hide them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_delta.core.errors import SourceUnavailable
from edge_delta.source.database import Database, is_mount_point
from tests.support.command import clean_environment
from tests.support.sqlite import Sensor
from tests.support.tables import assert_both_readers_agree


def can_mount():
    probe = subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False)
    return probe.returncode == 0


needs_mounts = pytest.mark.skipif(not can_mount(), reason="the kernel forbids user namespaces with mounts here")


def run_in_mount(mounting, edge, **changed):
    """The command inside a mount namespace, after a shell line that mounts something there."""
    words = [sys.executable, "-m", "edge_delta", *edge.arguments({"once": True, **changed})]
    return subprocess.run(
        ["unshare", "-rm", "sh", "-ec", f'{mounting}\nexec "$@"', "sh", *words],
        cwd=edge.directory,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def ids(place):
    return assert_both_readers_agree(place, "_1_schematized", "reading_id")["reading_id"].to_list()


@needs_mounts
def test_a_read_only_directory_with_a_live_writer_works(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(50)
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    edge = command(mounted / "sensor.db", folder, node_id="n1")
    mounting = f"mount --bind {sensor.path.parent} {mounted}; mount -o remount,ro,bind {mounted}"
    for count in (50, 80):
        done = run_in_mount(mounting, edge)
        assert done.returncode == 0, done.stderr
        assert ids(folder) == list(range(1, count + 1))
        sensor.add(30, start=count)


@needs_mounts
def test_a_read_only_directory_whose_writer_closed_properly_works(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(50)
    sensor.close()
    assert [p.name for p in sensor.path.parent.iterdir()] == ["sensor.db"]
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    edge = command(mounted / "sensor.db", folder, node_id="n1")
    done = run_in_mount(f"mount --bind {sensor.path.parent} {mounted}; mount -o remount,ro,bind {mounted}", edge)
    assert done.returncode == 0, done.stderr
    assert ids(folder) == list(range(1, 51))


@needs_mounts
def test_a_read_only_directory_with_the_log_of_a_crashed_writer_works(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(50)
    sensor.kill()
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    edge = command(mounted / "sensor.db", folder, node_id="n1")
    done = run_in_mount(f"mount --bind {sensor.path.parent} {mounted}; mount -o remount,ro,bind {mounted}", edge)
    assert done.returncode == 0, done.stderr
    assert ids(folder) == list(range(1, 51))


@needs_mounts
def test_a_lone_file_mounted_out_of_a_wal_database_is_refused_with_the_right_mount(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(50)
    mounted = tmp_path / "lone.db"
    mounted.touch()
    edge = command(mounted, folder, node_id="n1")
    done = run_in_mount(f"mount --bind {sensor.path} {mounted}", edge)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "mounted as a single file" in done.stderr
    assert "Mount its directory instead" in done.stderr
    assert not folder.exists("_1_schematized")


@needs_mounts
def test_a_lone_file_without_a_write_ahead_log_may_be_mounted(sensor, folder, command, tmp_path):
    sensor.open(sensor.path.with_name("plain.db"), wal=False)
    sensor.create()
    sensor.add(50)
    mounted = tmp_path / "lone.db"
    mounted.touch()
    edge = command(mounted, folder, node_id="n1")
    done = run_in_mount(f"mount --bind {sensor.path} {mounted}", edge)
    assert done.returncode == 0, done.stderr
    assert ids(folder) == list(range(1, 51))


def test_a_mount_point_is_told_from_a_file(tmp_path):
    (tmp_path / "file").touch()
    assert not is_mount_point(tmp_path / "file")
    assert is_mount_point(Path("/proc"))


def test_nothing_is_written_beside_the_database(sensor, folder, command):
    sensor.create()
    sensor.add(50)
    sensor.close()
    before = {p.name: (p.stat().st_mtime_ns, p.stat().st_size) for p in sensor.path.parent.iterdir()}
    command(sensor.path, folder, node_id="n1").once().succeeded()
    assert {p.name: (p.stat().st_mtime_ns, p.stat().st_size) for p in sensor.path.parent.iterdir()} == before


def test_the_writers_log_can_be_checkpointed_while_it_runs(sensor, folder, command):
    """A read transaction left open would make the -wal file grow for ever."""
    sensor.create()
    sensor.add(500)
    edge = command(sensor.path, folder, node_id="n1", max_batch_size=50)
    running = edge.start()
    running.wait_for("cycle finished")
    for start in range(500, 2500, 500):
        sensor.add(500, start=start)
        running.wait_until(lambda at=start: folder.read().height == at + 500, what="the next rows")
        running.wait_until(lambda: sensor.run("PRAGMA wal_checkpoint(TRUNCATE)")[0][0] == 0, what="a checkpoint")
        assert sensor.path.with_name("sensor.db-wal").stat().st_size == 0
    assert running.terminate() == 0
    assert ids(folder) == list(range(1, 2501))


def test_a_writer_that_closes_and_comes_back_is_followed(sensor, folder, command):
    sensor.create()
    sensor.add(40)
    running = command(sensor.path, folder, node_id="n1").start()
    running.wait_until(lambda: folder.exists("_1_schematized") and folder.read().height == 40, what="the first rows")
    for start in (40, 80, 120):
        sensor.open(sensor.path)  # closing checkpoints and removes the log if nobody else has it
        sensor.add(40, start=start)
        running.wait_until(lambda at=start: folder.read().height == at + 40, what="the next rows")
    assert running.terminate() == 0
    assert ids(folder) == list(range(1, 161))


def test_a_connection_follows_a_writer_that_comes_back_also_if_another_one_was_opened_beside_it(sensor):
    """Such as the one that reads ahead: whoever closes a file drops the locks of its whole process on it."""
    sensor.create()
    sensor.add(10)
    first, second = Database(sensor.path), Database(sensor.path)
    for rows in (10, 20, 30):
        for database in (first, second):
            assert database.scalar("SELECT count(*) FROM readings") == rows
        sensor.open(sensor.path.with_name("aside.db"))  # the writer closes the database
        sensor.open(sensor.path.with_name("sensor.db"))
        sensor.add(10, start=rows)
        second.close()
    first.close()
    assert Database(sensor.path).scalar("SELECT count(*) FROM readings") == 40


def test_a_database_opened_after_its_writer_closed_is_followed_when_the_writer_comes(sensor, folder, command):
    sensor.create()
    sensor.add(40)
    path = sensor.path
    sensor.open(path.with_name("elsewhere.db"))
    running = command(path, folder, node_id="n1").start()
    running.wait_until(lambda: folder.exists("_1_schematized") and folder.read().height == 40, what="the first rows")
    sensor.open(path)
    sensor.add(40, start=40)
    running.wait_until(lambda: folder.read().height == 80, what="the next rows")
    assert running.terminate() == 0


@pytest.mark.parametrize("journal", ["DELETE", "TRUNCATE", "PERSIST"])
def test_a_database_without_a_write_ahead_log_is_followed(journal, sensor, folder, command):
    sensor.open(sensor.path.with_name("plain.db"), wal=False)
    sensor.run(f"PRAGMA journal_mode={journal}")
    sensor.create()
    sensor.add(40)
    running = command(sensor.path, folder, node_id="n1").start()
    running.wait_until(lambda: folder.exists("_1_schematized") and folder.read().height == 40, what="the first rows")
    sensor.add(40, start=40)
    running.wait_until(lambda: folder.read().height == 80, what="the next rows")
    assert running.terminate() == 0


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_a_wrong_setting(sensor, folder, command):
    sensor.create()
    sensor.path.chmod(0)
    assert command(sensor.path, folder).once().code == 2


def test_a_file_opened_as_unchanging_that_is_written_while_it_is_read_is_read_again(sensor):
    sensor.create()
    sensor.add(100)
    path = sensor.path
    sensor.close()  # no -wal file is left, so that it is read as a file that nobody writes
    with contextlib.closing(Database(path)) as database:
        with database.snapshot():
            assert database.scalar("SELECT count(*) FROM readings") == 100
        with contextlib.ExitStack() as stack:

            def read_beside_a_writer():
                with database.snapshot():
                    stack.enter_context(Sensor(path)).add(50, start=100)
                    database.scalar("SELECT count(*) FROM readings")

            with pytest.raises(SourceUnavailable, match="opened for writing while it was read"):
                read_beside_a_writer()
            with database.snapshot():
                assert database.scalar("SELECT count(*) FROM readings") == 150


def test_a_file_opened_as_unchanging_that_is_replaced_while_it_is_read_stays_open(sensor, tmp_path):
    sensor.create()
    sensor.add(100)
    path = sensor.path
    sensor.close()
    with Sensor(tmp_path / "other.db") as other:
        other.create()

    def replaced(database):
        with database.snapshot():
            database.scalar("SELECT count(*) FROM readings")
            (tmp_path / "other.db").replace(path)

    with contextlib.closing(Database(path)) as database:
        replaced(database)
        for _ in range(2):
            with database.snapshot():
                assert database.scalar("SELECT count(*) FROM readings") == 100
            path.touch()  # what is written to the other one says nothing of this one
        database.close()
        with database.snapshot():
            assert database.scalar("SELECT count(*) FROM readings") == 0


# -- other names of the file


def test_rows_in_the_log_are_read_through_a_symbolic_link(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(50)
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "data.db"
    link.symlink_to(sensor.path)
    running = command(link, folder, node_id="n1").start()
    for start in (50, 100, 150):
        running.wait_until(lambda at=start: folder.exists("_1_schematized") and folder.read().height == at, what="rows")
        sensor.add(50, start=start)
    running.wait_until(lambda: folder.read().height == 200, what="the last rows")
    assert running.terminate() == 0


def test_a_symbolic_link_that_leads_elsewhere_is_another_file(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(50)
    link = tmp_path / "data.db"
    link.symlink_to(sensor.path)
    edge = command(link, folder, node_id="n1")
    edge.once().succeeded()
    sensor.open(sensor.path.with_name("second.db"))
    sensor.create()
    sensor.add(30, start=500)
    link.unlink()
    link.symlink_to(sensor.path)
    edge.once().succeeded()
    assert folder.read().height == 80


def test_a_hard_link_beside_the_name_that_is_written_is_refused_with_that_name(sensor, folder, command):
    sensor.create()
    sensor.add(50)
    link = sensor.path.with_name("other.db")
    link.hardlink_to(sensor.path)
    done = command(link, folder, node_id="n1").once()
    assert done.code == 2
    assert "hard links" in done.error
    assert f"Set --sqlite to {sensor.path}" in done.error
    assert not folder.exists("_1_schematized")


def test_a_hard_link_elsewhere_is_not_read_while_its_log_is_not_seen(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(50)
    link = tmp_path / "other.db"
    link.hardlink_to(sensor.path)
    done = command(link, folder, node_id="n1", retry_for=0).once()
    assert done.code == 1
    assert "would stay invisible" in done.error
    command(sensor.path, folder, node_id="n1").once().succeeded()
    assert ids(folder) == list(range(1, 51))


# -- what cannot be read without writing


@needs_mounts
def test_a_hot_journal_on_a_read_only_mount_is_said_with_what_to_do(sensor, folder, command, tmp_path):
    sensor.open(sensor.path.with_name("plain.db"), wal=False)
    sensor.create()
    sensor.run("PRAGMA cache_size = 1")
    sensor.add(500)
    sensor.run("BEGIN")
    sensor.run("UPDATE readings SET sensor_id = hex(randomblob(200))")
    sensor.kill()
    assert sensor.path.with_name("plain.db-journal").stat().st_size
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    edge = command(mounted / "plain.db", folder, node_id="n1", retry_for=0)
    done = run_in_mount(f"mount --bind {sensor.path.parent} {mounted}; mount -o remount,ro,bind {mounted}", edge)
    assert done.returncode == 1
    assert "plain.db-journal has to be rolled back" in done.stderr
    assert "Start the application" in done.stderr


@needs_mounts
def test_a_log_without_its_index_on_a_read_only_mount_is_said_with_what_to_do(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(50)
    sensor.kill()
    sensor.path.with_name("sensor.db-shm").unlink()
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    edge = command(mounted / "sensor.db", folder, node_id="n1", retry_for=0)
    done = run_in_mount(f"mount --bind {sensor.path.parent} {mounted}; mount -o remount,ro,bind {mounted}", edge)
    assert done.returncode == 1
    assert "there is sensor.db-wal without sensor.db-shm" in done.stderr


def test_an_application_that_leaves_wal_mode_is_refused_beside_a_running_process_and_loses_nothing(
    sensor, folder, command
):
    sensor.create()
    sensor.add(10)
    edge = command(sensor.path, folder, node_id="n1", interval=0.2)
    running = edge.start()
    running.wait_for("batch committed")
    for _ in range(3):  # SQLite refuses it at once, without waiting for a lock, so nobody could make way for it
        with pytest.raises(RuntimeError, match="database is locked"):
            sensor.run("PRAGMA journal_mode=DELETE")
        sensor.add(5, start=100)
    assert sensor.run("PRAGMA journal_mode") == [("wal",)]
    running.wait_until(lambda: folder.read().height == 25, what="all rows")
    assert running.terminate() == 0
    assert sensor.run("PRAGMA journal_mode=DELETE") == [("delete",)]
    running = edge.start()
    sensor.add(5, start=200)
    running.wait_until(lambda: folder.read().height == 30, what="the rows of the other mode")
    assert ids(folder) == list(range(1, 31))


def test_a_single_run_leaves_the_journal_mode_to_the_application(sensor, folder, command):
    sensor.create()
    for mode in ("delete", "wal"):
        sensor.add(5)
        command(sensor.path, folder, node_id="n1").once().succeeded()
        assert sensor.run(f"PRAGMA journal_mode={mode}") == [(mode,)]
    assert len(ids(folder)) == 10


def beside_a_file_that_goes(sensor, folder, command):
    """A process that delivered ten rows, before seven more came into a file that was deleted meanwhile."""
    sensor.create()
    sensor.add(10)
    running = command(sensor.path, folder, node_id="n1", interval=0.2, fuzz_factor=0).start()
    running.wait_for("batch committed")
    sensor.run("BEGIN")
    sensor.add(7, start=10)
    sensor.unlink()
    sensor.run("COMMIT")
    return running


def test_rows_of_a_file_that_is_deleted_between_two_cycles_are_read_through_the_open_connection(
    sensor, folder, command, tmp_path
):
    """Why the connection stays open, though an application cannot leave WAL mode beside it."""
    sensor.create()
    sensor.add(10)
    running = command(sensor.path, folder, node_id="n1", interval=2, fuzz_factor=0).start()
    running.wait_for("batch committed")
    sensor.add(7, start=10)
    sensor.kill()
    sensor.unlink()
    with Sensor(tmp_path / "device" / "sensor.db") as again:
        again.create()
        again.add(4, start=5_000)
        running.wait_until(lambda: folder.read().height == 21, what="all rows of both files")
    assert sorted(folder.read()["source_generation"].to_list()) == [0] * 17 + [1] * 4


@pytest.mark.parametrize("how", ["deleted", "moved away", "replaced", "deleted before a stop"])
def test_rows_of_a_file_that_goes_are_read_where_the_sensor_connects_for_each_write(how, folder, command, tmp_path):
    """Then there is no -wal file when the file is opened, which is read as one that nobody writes."""
    path = tmp_path / "device" / "sensor.db"
    path.parent.mkdir()
    with Sensor(path) as sensor:
        sensor.create()
        sensor.add(10)
    running = command(path, folder, node_id="n1", interval=600 if how.endswith("stop") else 2, fuzz_factor=0).start()
    running.wait_for("cycle finished")
    for number in range(10, 17):
        with Sensor(path) as sensor:
            sensor.add(1, start=number)
    with Sensor(tmp_path / "other.db") as other:
        other.create()
        other.add(4, start=5_000)
    if how == "moved away":
        path.rename(tmp_path / "kept.db")
    elif how != "replaced":
        path.unlink()
    (tmp_path / "other.db").replace(path)
    if how.endswith("stop"):
        assert running.terminate() == 0
    else:
        running.wait_until(lambda: folder.read().height == 21, what="all rows of both files")
    assert folder.read()["source_generation"].to_list().count(0) == 17


def test_rows_of_a_file_that_is_deleted_are_read_before_there_is_another_one(sensor, folder, command, tmp_path):
    """A cycle that meets no file at all lets nothing go."""
    running = beside_a_file_that_goes(sensor, folder, command)
    told = running.wait_for("unavailable")
    assert "is gone" in told["error"]
    running.wait_until(lambda: folder.read().height == 17, what="rows of the file that is gone")
    sensor.kill()
    with Sensor(tmp_path / "device" / "sensor.db") as again:
        again.create()
        again.add(4, start=5_000)
        running.wait_until(lambda: folder.read().height == 21, what="all rows of both files")
        running.wait_for("recovered")
    assert sorted(folder.read()["source_generation"].to_list()) == [0] * 17 + [1] * 4


@pytest.mark.parametrize("again", [False, True], ids=["deleted", "deleted and made again"])
def test_rows_of_a_file_that_is_deleted_are_read_where_the_process_is_told_to_stop(
    again, sensor, folder, command, tmp_path
):
    sensor.create()
    sensor.add(10)
    running = command(sensor.path, folder, node_id="n1", interval=600).start()
    running.wait_for("cycle finished")
    sensor.add(7, start=10)
    sensor.kill()
    sensor.unlink()
    with Sensor(tmp_path / "device" / "sensor.db") if again else contextlib.nullcontext() as other:
        if again:
            other.create()
            other.add(4, start=5_000)
        assert running.terminate() == 0
    assert folder.read()["source_generation"].to_list().count(0) == 17


def test_rows_of_a_file_that_is_gone_are_told_as_lost_by_nobody_once_they_are_delivered(sensor, folder, command):
    """The cycle that read them ends with the error that there is no file, and the process ends there."""
    running = beside_a_file_that_goes(sensor, folder, command)
    running.wait_until(lambda: folder.read().height == 17, what="rows of the file that is gone")
    running.wait_for("unavailable")
    running.kill()
    sensor.kill()
    with Sensor(sensor.path) as again:
        again.create()
        again.add(4, start=5_000)
        device = command(sensor.path, folder, node_id="n1")
        assert not device.once().succeeded().named("rows lost")
        assert device.run("verify").code == 0
    assert folder.read().height == 21
