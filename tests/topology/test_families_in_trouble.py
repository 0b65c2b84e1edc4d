"""Files that rotate, some of which are damaged or locked; and their tables on S3, with every command."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from edge_delta.core.errors import FilesUnreadable
from edge_delta.device.health import examine
from tests.support.ask import verified
from tests.support.command import EdgeDelta
from tests.support.inprocess import deliver
from tests.support.rotating import DAY, assert_each_once, delivered, raw
from tests.support.sqlite import Sensor
from tests.topology.test_families import ALERTS, HOURS, windows

if TYPE_CHECKING:
    from pathlib import Path


def tear(path: Path, *, page: int) -> bytes:
    """Tear a page; the file as it was."""
    whole = path.read_bytes()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(bytes(4096))
    return whole


def each_but(files, place, path, **more):
    """Deliver all but what is in one file, which is an error of its own."""
    with pytest.raises(FilesUnreadable, match=path.name) as found:
        raw(files, place, retry_for=0, **more)
    assert found.value.exit_code == 1
    return found.value


@pytest.mark.parametrize("damaged", [1, 3])
def test_a_file_that_is_damaged_when_it_is_found_holds_up_no_other_and_comes_once_it_is_whole(files, folder, damaged):
    paths = {day: files.day(day, 50) for day in (1, 2, 3)}
    files.rest()
    path = paths[damaged]
    whole = tear(path, page=2)
    assert "is damaged" in each_but(files, folder, path).fact
    assert sum(delivered(folder).values()) == 100
    files.day(4, 20)
    files.rest()
    each_but(files, folder, path)
    assert sum(delivered(folder).values()) == 120
    path.write_bytes(whole)
    raw(files, folder)
    assert_each_once(files, folder)


def test_a_delivered_file_that_becomes_something_else_holds_up_no_other(files, folder):
    paths = [files.day(day, 50) for day in (1, 2, 3)]
    files.rest()
    raw(files, folder)
    whole = paths[1].read_bytes()
    paths[1].write_bytes(b"no database any more" * 1000)
    files.day(3, 9, first=500)
    files.day(4, 20)
    files.rest()
    left = raw(files, folder).named("table left out")
    assert [e["source"] for e in left] == [paths[1].name]
    assert_each_once(files, folder)
    paths[1].write_bytes(whole)
    raw(files, folder)
    assert_each_once(files, folder)


def test_rows_behind_a_torn_page_are_told_as_gone_and_come_once_a_whole_copy_is_there(files, folder):
    """The first and the last row of the file can be read, so that it gets its place."""
    paths = [files.day(1, 50), files.day(2, 3000), files.day(3, 50)]
    files.rest()
    deliver(files.pattern, folder, processing_mode="emergency", env=ALERTS)  # gives them their places
    whole = tear(paths[1], page=8)
    each_but(files, folder, paths[1])
    assert sum(delivered(folder).values()) == 100
    mirror = json.loads((files.folder / "state" / "last_upload.json").read_text())
    assert mirror["tables"]["raw"]["rows_gone"] == 3000
    paths[1].write_bytes(whole)
    raw(files, folder, env={"SWEEP": "0"})
    raw(files, folder, env={"SWEEP": "0"})
    assert_each_once(files, folder)
    assert verified(files.pattern, folder, files.folder, processing_mode="raw", node_id="n1")["equal"]


def test_a_locked_file_holds_up_no_other_and_comes_once_it_is_free(files, folder):
    paths = [files.day(day, 50) for day in (1, 2, 3)]
    files.rest()
    with Sensor(paths[2], wal=False) as writer:
        writer.run("BEGIN EXCLUSIVE")
        each_but(files, folder, paths[2])
        assert sum(delivered(folder).values()) == 100
        files.day(4, 20)
        files.rest()
        each_but(files, folder, paths[2])
        assert sum(delivered(folder).values()) == 120
        writer.run("COMMIT")
    raw(files, folder)
    assert_each_once(files, folder)


def test_the_file_that_is_written_may_be_locked_while_the_next_one_comes(files, folder):
    paths = [files.day(day, 50) for day in (1, 2)]
    files.rest()
    raw(files, folder)
    with Sensor(paths[1], wal=False) as writer:
        files.sensor.open(paths[1], wal=False)
        files.sensor.add(5, start=2 * DAY + 600)
        files.written += [t for (t,) in files.sensor.run("SELECT timestamp FROM readings ORDER BY id DESC LIMIT 5")]
        files.rest()
        writer.run("BEGIN EXCLUSIVE")
        files.day(3, 30)
        files.rest()
        each_but(files, folder, paths[1])
        assert sum(delivered(folder).values()) == 130
        writer.run("COMMIT")
    raw(files, folder)
    assert_each_once(files, folder)


def test_windows_of_whole_files_are_flushed_beside_a_damaged_one(files, folder):
    paths = [files.day(day, 50) for day in (1, 2, 3)]
    files.rest()
    tear(paths[0], page=2)
    with pytest.raises(FilesUnreadable):
        deliver(files.pattern, folder, processing_mode="aggregated", env=HOURS, flush=True, retry_for=0)
    assert windows(folder) == [50, 50]


def test_while_it_runs_a_damaged_file_is_told_until_it_is_whole(files, folder, tmp_path):
    paths = [files.day(day, 50) for day in (1, 2)]
    files.rest()
    whole = tear(paths[1], page=2)
    state = files.folder / "state"
    flags = {"sqlite": files.pattern, "table_path": folder.base, "state_dir": state, "node_id": "n1"}
    edge = EdgeDelta(tmp_path, flags | {"processing_mode": "raw", "interval": 0.2})
    running = edge.start()
    try:
        running.wait_for("unavailable")
        files.day(3, 20)
        files.rest()
        running.wait_for("batch committed", count=2)
        found = examine(state, allowed=0.01)
        assert not found.ok
        assert "is damaged" in found.line()
        assert len(running.named("unavailable")) == 1
        paths[1].write_bytes(whole)
        running.wait_for("recovered")
        running.wait_for("batch committed", count=3)
        running.wait_until(lambda: examine(state, allowed=9).ok, what="health")
        assert running.terminate() == 0
    finally:
        edge.end()
    assert_each_once(files, folder)


# -- on S3, and by commands


@pytest.fixture
def edge(files, lake, tmp_path):
    """The command for files whose tables are on S3; three days of them are delivered."""
    state = files.folder / "state"
    flags = {"sqlite": files.pattern, "table_path": lake.base, "state_dir": state, "node_id": "n1"}
    command = EdgeDelta(tmp_path, flags | {"processing_mode": "sanitized"}, lake.environment)
    for day in (1, 2, 3):
        files.day(day, 50)
    files.rest()
    command.once(env={"SANITIZE_CONFIG": '{"ranges": {"temperature": {"max": 25}}}'}).succeeded()
    return command


def test_on_s3_files_come_once_through_late_rows_and_the_loss_of_the_state_directory(files, lake, edge):
    env = {"EDGE_DELTA_WITNESS_KEY": "a key that is kept elsewhere"}
    edge.once(processing_mode="raw", state_dir=files.folder / "other", env=env).succeeded()
    shutil.rmtree(files.folder / "other")
    files.day(1, 7, first=500)
    files.day(4, 20)
    files.rest()
    edge.once(processing_mode="raw", state_dir=files.folder / "other", env=env).succeeded()
    assert_each_once(files, lake)


def test_replay_verify_and_status_know_the_files_of_a_family(files, lake, edge):
    ids = sorted(lake.read("_2_sanitized")["reading_id"])
    assert 0 < len(ids) < 150
    replayed = edge.run("replay", json=True, env={"SANITIZE_CONFIG": '{"ranges": {"temperature": {"max": 99}}}'})
    replayed.succeeded()
    assert json.loads(replayed.stdout) == {"sanitized": {"tried": 150 - len(ids), "passed": 150 - len(ids)}}
    assert sorted(lake.read("_2_sanitized")["reading_id"]) == list(range(1, 151))
    assert edge.run("verify").succeeded().stdout
    status = edge.run("status", table_path=None, sqlite=None, node_id=None, processing_mode=None, json=True)
    assert json.loads(status.stdout)["rows_waiting"] == 0
    path = files.folder / "readings-0002.db"
    tear(path, page=2)
    found = edge.run("verify")
    assert found.code == 1
    assert f"{path} is damaged" in found.stdout


def test_a_reset_delivers_the_files_again_from_a_place_on(lake, edge):
    before = lake.read("_2_sanitized").height
    assert edge.run("reset", to_id=101, yes=True).code == 0
    edge.once().succeeded()
    after = lake.read("_2_sanitized")
    again = after.filter(after["source_generation"] == after["source_generation"].max())
    assert sorted(again["reading_id"]) == list(range(101, 151))
    assert after.height == before + 50
    assert edge.run("verify").code == 0
