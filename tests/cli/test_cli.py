"""What people see when something is wrong: one clear line, the right exit code, nothing lost."""

from __future__ import annotations

import subprocess
import sys

import polars as pl
import pytest

from edge_delta import __version__
from tests.source.test_wal import needs_mounts, run_in_mount
from tests.support.command import clean_environment
from tests.support.tables import Place


def edge_delta(*words, cwd, **env):
    return subprocess.run(
        [sys.executable, "-m", "edge_delta", *map(str, words)],
        cwd=cwd,
        env=clean_environment() | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# -- usage


def test_the_version_is_shown_on_stdout(tmp_path):
    done = edge_delta("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"edge-delta {__version__}\n")


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"]])
def test_help_names_the_exit_codes(words, tmp_path):
    done = edge_delta(*words, cwd=tmp_path)
    assert done.returncode == 0
    assert "exit codes" in done.stdout


def test_flags_without_a_command_mean_run(sensor, folder, tmp_path):
    sensor.create()
    sensor.add(3)
    done = edge_delta("--sqlite", sensor.path, "--table-path", folder.base, "--once", cwd=tmp_path)
    assert done.returncode == 0
    assert folder.read().height == 3
    assert (tmp_path / "state" / "node_id").exists()


def test_an_unknown_flag_is_a_usage_error(tmp_path):
    assert edge_delta("--no-such-flag", cwd=tmp_path).returncode == 2


def test_settings_come_from_flag_before_environment_before_file(sensor, folder, tmp_path):
    sensor.create()
    sensor.add(3)
    (tmp_path / "config.toml").write_text(
        f'sqlite = "{sensor.path}"\ntable_path = "{folder.base}"\nnode_id = "file"\nprocessing_mode = "raw"\n'
    )
    cases = [({}, [], "file"), ({"NODE_ID": "env"}, [], "env"), ({"NODE_ID": "env"}, ["--node-id", "flag"], "flag")]
    for env, words, expected in cases:
        done = edge_delta("--once", *words, cwd=tmp_path, **env)
        assert done.returncode == 0, done.stderr
        assert expected in set(folder.read("_0_raw")["node_id"])


# -- wrong settings


def test_all_wrong_settings_are_named_in_one_line(tmp_path):
    (tmp_path / "config.toml").write_text('sqlite = "x.db"\nintervall = 5\nmax_batch_size = "many"\nfuzz_factor = 3\n')
    done = edge_delta("--once", cwd=tmp_path)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    for word in ("4 problems", "table_path", "intervall", "did you mean interval?", "max_batch_size", "fuzz_factor"):
        assert word in line


@pytest.fixture
def faulty(folder, command):
    """Runs the command once over a database and gives its one line."""

    def run(path, *, code, **changed):
        done = command(path, folder, node_id="n1", retry_for=0.5).once(**changed)
        assert done.code == code, done.stderr
        assert not folder.exists("_1_schematized")
        return done.error

    return run


def test_a_missing_file(faulty, tmp_path):
    assert "there is no database at" in faulty(tmp_path / "no.db", code=2)


def test_a_directory_in_place_of_a_file(faulty, tmp_path):
    assert "is a directory" in faulty(tmp_path, code=2)


@pytest.mark.parametrize("content", [b"no database at all, but long enough to have a header" * 50, b"short"])
def test_a_file_that_is_no_database(faulty, tmp_path, content):
    (tmp_path / "bad.db").write_bytes(content)
    assert "is not a SQLite database" in faulty(tmp_path / "bad.db", code=2)


def test_an_empty_file_has_no_table(faulty, tmp_path):
    (tmp_path / "empty.db").touch()
    assert "has no table" in faulty(tmp_path / "empty.db", code=2)


def test_a_damaged_database(faulty, sensor):
    sensor.create()
    sensor.add(20_000)
    sensor.close()
    with sensor.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096 * 20)
    assert "damaged" in faulty(sensor.path, code=1)


def test_a_missing_table_is_said_with_those_there_are(faulty, sensor):
    sensor.create()
    assert "its tables are: readings" in faulty(sensor.path, code=2, table="no_such")


def test_several_tables_are_listed(faulty, sensor):
    sensor.create()
    sensor.create("other")
    line = faulty(sensor.path, code=2)
    assert "2 tables: other, readings" in line
    assert "--table" in line


def test_several_timestamp_candidates_are_listed(faulty, sensor):
    sensor.run("CREATE TABLE t (id INTEGER PRIMARY KEY, made DATETIME, taken DATETIME)")
    line = faulty(sensor.path, code=2)
    assert "made, taken" in line
    assert "--timestamp-field" in line


def test_a_missing_timestamp_column_is_said_with_those_there_are(faulty, sensor):
    sensor.create()
    assert "its columns are: id, sensor_id, timestamp" in faulty(sensor.path, code=2, timestamp_field="when")


# -- the source is busy


def test_a_locked_database_is_waited_for_and_then_delivered(sensor, folder, command):
    sensor.open(sensor.path.with_name("plain.db"), wal=False)
    sensor.create()
    sensor.add(10)
    sensor.run("BEGIN EXCLUSIVE")
    running = command(sensor.path, folder, node_id="n1").start()
    waiting = running.wait_for("unavailable")
    assert "is locked by another process" in waiting["error"]
    sensor.run("COMMIT")
    running.wait_until(lambda: folder.exists("_1_schematized") and folder.read().height == 10, what="the rows")
    assert running.terminate() == 0


def test_a_database_locked_for_too_long_ends_once_with_1(sensor, folder, command):
    sensor.open(sensor.path.with_name("plain.db"), wal=False)
    sensor.create()
    sensor.add(10)
    sensor.run("BEGIN EXCLUSIVE")
    edge = command(sensor.path, folder, node_id="n1", retry_for=1)
    done = edge.once()
    assert done.code == 1
    assert "is locked by another process" in done.error
    sensor.run("COMMIT")
    edge.once().succeeded()
    assert folder.read().height == 10


# -- the store is unwell


def test_unreachable_storage_ends_once_with_1(sensor, lake, command, nowhere):
    sensor.create()
    sensor.add(10)
    edge = command(sensor.path, lake, node_id="n1", retry_for=1)
    done = edge.once(env={"AWS_ENDPOINT_URL": nowhere})
    assert done.code == 1
    assert "cannot be reached" in done.error
    edge.once().succeeded()
    assert lake.read().height == 10


@pytest.mark.parametrize("variable", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_forbidden_storage_ends_once_with_1_and_shows_no_secret(variable, sensor, lake, command):
    sensor.create()
    sensor.add(10)
    edge = command(sensor.path, lake, node_id="n1", retry_for=1)
    done = edge.once(env={variable: "wrong-and-secret"})
    assert done.code == 1
    assert "is refused" in done.error
    assert "credentials" in done.error
    assert "wrong-and-secret" not in done.stderr
    assert "tests-only-no-secret" not in done.stderr
    edge.once().succeeded()
    assert lake.read().height == 10


def test_a_missing_bucket_ends_once_with_1(sensor, lake, command):
    sensor.create()
    sensor.add(10)
    edge = command(sensor.path, lake, node_id="n1", retry_for=1)
    done = edge.once(table_path="s3://no-such-bucket/readings")
    assert done.code == 1
    assert "does not exist" in done.error


def test_an_address_that_is_not_supported_is_a_wrong_setting(faulty, sensor):
    sensor.create()
    assert "not supported" in faulty(sensor.path, code=2, table_path="gs://bucket/x")


def test_the_unsafe_rename_is_refused(sensor, lake, command):
    sensor.create()
    sensor.add(1)
    done = command(sensor.path, lake, node_id="n1").once(env={"AWS_S3_ALLOW_UNSAFE_RENAME": "true"})
    assert done.code == 2
    assert "AWS_S3_ALLOW_UNSAFE_RENAME" in done.error


@needs_mounts
def test_a_full_disk_loses_nothing(sensor, command, tmp_path):
    sensor.create()
    sensor.add(90_000)
    small = tmp_path / "small"
    small.mkdir()
    (tmp_path / "kept").mkdir()
    place = Place(str(small / "readings"))
    edge = command(sensor.path, place, node_id="n1", retry_for=1, max_batch_size=3000)
    # What arrived before the disk was full is copied out of the namespace, because the mount ends with it.
    mounting = f"mount -t tmpfs -o size=300k none {small}; trap 'cp -r {small}/. {tmp_path}/kept' EXIT"
    done = run_in_mount_with_trap(mounting, edge)
    assert done.returncode == 1, done.stderr
    assert "no space left" in done.stderr
    assert "Traceback" not in done.stderr
    kept = Place(str(tmp_path / "kept" / "readings"))
    before = kept.read().height
    assert 0 < before < 90_000
    command(sensor.path, kept, node_id="n1").once().succeeded()
    assert kept.read()["reading_id"].sort().to_list() == list(range(1, 90_001))


def run_in_mount_with_trap(mounting, edge):
    """Like `run_in_mount`, but the shell outlives the command."""
    words = [sys.executable, "-m", "edge_delta", *edge.arguments({"once": True})]
    return subprocess.run(
        ["unshare", "-rm", "sh", "-ec", f'{mounting}\n"$@"', "sh", *words],
        cwd=edge.directory,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@needs_mounts
def test_a_full_state_directory_does_not_stop_the_delivery(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(100)
    (tmp_path / "state").mkdir()
    edge = command(sensor.path, folder, node_id="n1")
    mounting = (
        f"mount -t tmpfs -o size=8k none {tmp_path}/state; : > {tmp_path}/state/lock; "
        f"dd if=/dev/zero of={tmp_path}/state/filler bs=4k count=9 2>/dev/null || true"
    )
    done = run_in_mount(mounting, edge)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("state not written") == 1
    assert folder.read().height == 100


def test_a_table_whose_column_cannot_hold_the_sources_stops_with_3(sensor, folder, command):
    pl.DataFrame({"reading_id": [1], "temperature": [[1.5]]}).write_delta(folder.uri("_1_schematized"))
    sensor.create()
    sensor.add(5)
    done = command(sensor.path, folder, node_id="n1").once()
    assert done.code == 3
    assert "temperature" in done.error
    assert folder.read().height == 1


def test_once_that_is_ended_by_a_signal_with_rows_left_ends_with_1(sensor, folder, command):
    sensor.create()
    sensor.add(30_000)
    running = command(sensor.path, folder, node_id="n1", max_batch_size=50).start(once=True)
    running.wait_for("batch committed", count=2)
    assert running.terminate() == 1
    assert folder.read().height < 30_000


def test_secrets_are_masked_where_settings_are_shown(sensor, folder, command):
    sensor.create()
    sensor.add(1)
    done = command(sensor.path, folder, node_id="n1").once(
        env={"AWS_SECRET_ACCESS_KEY": "very-secret-key", "GPS_FUZZING_SECRET": "very-secret-too-0123"}
    )
    assert done.code == 0
    assert "very-secret" not in done.stderr


def test_paths_are_taken_as_they_are_and_not_interpreted(sensor, command, tmp_path):
    odd = tmp_path / "a $HOME $(touch gone) * ?mode=memory #1 50% ;&"
    odd.mkdir()
    lake = tmp_path / "a $HOME $(touch gone) * 50% ;&"  # in an address, ? and # would cut the path off: refused
    place = Place(str(lake / "readings"))
    sensor.open(odd / "sensor.db")
    sensor.create()
    sensor.add(20)
    command(odd / "sensor.db", place, node_id="n1", state_dir=odd / "state").once().succeeded()
    assert place.table().count() == 20  # by delta-rs; Polars takes such paths for patterns
    assert (odd / "state" / "last_upload.json").exists()
    assert {p.name for p in odd.iterdir()} == {"sensor.db", "sensor.db-wal", "sensor.db-shm", "state"}
    assert not list(tmp_path.rglob("gone"))


@pytest.mark.parametrize("odd", ["%41", "[", "]", "\\", "^", "|"])
def test_a_table_path_that_delta_rs_would_not_find_again_is_refused(odd, sensor, command, tmp_path):
    """It decodes one, takes another for a slash, and panics on the rest."""
    sensor.create()
    done = command(sensor.path, Place(str(tmp_path / f"a{odd}" / "readings")), node_id="n1").once()
    assert done.code == 2
    assert f"has {odd!r}" in done.error
    assert not list(tmp_path.glob("a*"))
