"""What is reported is on the disk first, and what a power cut leaves of a table is healed, told, and loses nothing."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import polars as pl
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from edge_delta.core import events as telemetry
from edge_delta.core.errors import DiskFailed, TableDamaged
from edge_delta.core.model import Cursor
from edge_delta.sinks.delta.cursors import application_id
from edge_delta.sinks.delta.disk import written
from edge_delta.sinks.delta.durable import Disk
from edge_delta.sinks.delta.heal import TORN, heal
from edge_delta.sinks.delta.sink import DeltaSink

CHECKPOINT = f"{20:020}.checkpoint.parquet"
APP = application_id("n1", "readings")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "lake" / "n1" / "t"


def rows(first, count=10):
    return pl.DataFrame({"id": range(first, first + count)}, schema={"id": pl.Int64})


def sink_of(root, log=None, app=APP):
    return DeltaSink(str(root), {}, app, disk=Disk(root, log=log or telemetry.configure(stream=io.StringIO())))


def filled(root, commits=5, sink=None):
    sink = sink or sink_of(root)
    for k in range(commits):
        sink.append(rows(k * 10), Cursor(rowid=k * 10 + 9))
    return sink


def commit(root, version):
    return root / "_delta_log" / f"{version:020}.json"


def data_of(root, version):
    [path] = written(commit(root, version))
    return root / path


def ids(root):
    return sorted(pl.read_delta(str(root))["id"])


def deliver_the_rest(root, until=50):
    """What a device does after a start: on from where the log says that it stands."""
    sink = sink_of(root)
    stands = sink.committed()
    first = 0 if stands is None else stands.rowid + 1
    for k in range(first, until, 10):
        sink.append(rows(k), Cursor(rowid=k + 9))
    assert ids(root) == list(range(until))


@pytest.fixture
def synced(monkeypatch):
    """Paths in the order in which the disk was asked to keep them."""
    real, paths = os.fsync, []

    def fsync(descriptor):
        paths.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return paths


def test_data_commit_and_their_directories_are_on_the_disk_before_append_returns(root, synced):
    sink = filled(root, 1)
    synced.clear()
    sink.append(rows(10), Cursor(rowid=19))
    assert synced[:2] == [str(data_of(root, 2)), str(commit(root, 2))]
    assert set(synced[2:]) == {str(root), str(root / "_delta_log")}


def test_the_folders_made_for_a_table_are_on_the_disk_too(root, synced, tmp_path):
    filled(root, 1)
    assert {str(tmp_path / "lake"), str(tmp_path / "lake" / "n1"), str(tmp_path)} <= set(synced)


def test_commits_of_others_that_came_before_are_on_the_disk_before_ours_is_reported(root, synced):
    sink = filled(root, 1)
    write_deltalake(str(root), rows(900), mode="append")
    synced.clear()
    sink.append(rows(10), Cursor(rowid=19))
    assert [path for path in synced if path.endswith(".json")] == [str(commit(root, 2)), str(commit(root, 3))]
    assert str(data_of(root, 2)) in synced


def test_a_commit_that_a_killed_process_did_not_sync_is_on_the_disk_before_it_counts(root, synced):
    DeltaSink(str(root), {}, APP).append(rows(0), Cursor(rowid=9))
    assert synced == []
    assert sink_of(root).committed() == Cursor(rowid=9)
    assert {str(commit(root, 1)), str(data_of(root, 1))} <= set(synced)


def test_a_checkpoint_names_only_what_is_on_the_disk_and_is_on_it_before_append_returns(root, synced):
    sink = filled(root, 19)
    synced.clear()
    sink.append(rows(190), Cursor(rowid=199))
    names = [path.rpartition("/")[2] for path in synced]
    assert names.index(commit(root, 20).name) < names.index(CHECKPOINT) < names.index("_last_checkpoint")


def test_nothing_is_synced_where_durability_is_off(root, synced):
    disk = Disk(root, sync=False, log=telemetry.configure(stream=io.StringIO()))
    filled(root, 1, DeltaSink(str(root), {}, APP, disk=disk))
    assert synced == []


def test_a_disk_that_does_not_store_is_not_asked_again_until_it_says_yes(root, monkeypatch):
    sink = filled(root, 1)

    def broken(_descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(DiskFailed, match=r"did not store .*dmesg"):
        sink.append(rows(10), Cursor(rowid=19))


def test_many_quick_commits_have_few_checkpoints(root):
    filled(root, 61)
    assert len(list((root / "_delta_log").glob("*.checkpoint.parquet"))) == 1


# -- healing


def empty_commit(root):
    commit(root, 5).write_bytes(b"")


def half_a_commit(root):
    commit(root, 5).write_bytes(commit(root, 5).read_bytes()[:200])


def empty_data(root):
    data_of(root, 5).write_bytes(b"")


def short_data(root):
    os.truncate(data_of(root, 5), data_of(root, 5).stat().st_size - 10)


def data_of_zeros(root):
    data_of(root, 5).write_bytes(bytes(data_of(root, 5).stat().st_size))


def no_data(root):
    data_of(root, 5).unlink()


def three_empty_commits(root):
    for version in (3, 4, 5):
        commit(root, version).write_bytes(b"")


def a_torn_commit_below_whole_ones(root):
    commit(root, 3).write_bytes(b"")


def all_of_it_empty(root):
    for version in range(6):
        commit(root, version).write_bytes(b"")


def a_gap(root):
    commit(root, 4).unlink()


@pytest.mark.parametrize(
    "cut",
    [
        empty_commit,
        half_a_commit,
        empty_data,
        short_data,
        data_of_zeros,
        no_data,
        three_empty_commits,
        a_torn_commit_below_whole_ones,
        all_of_it_empty,
        a_gap,
    ],
)
def test_after_a_power_cut_what_stands_is_read_and_the_rest_is_delivered_once(cut, root):
    filled(root)
    cut(root)
    log = io.StringIO()
    assert (sink_of(root, telemetry.configure(stream=log)).committed() or Cursor()).rowid < 49
    [said] = [json.loads(line) for line in log.getvalue().splitlines()]
    assert (said["event"], said["level"], said["table"]) == ("table healed", "warning", str(root))
    assert "torn" in said["found"]
    deliver_the_rest(root)
    assert heal(root) == []


def empty_checkpoint(log):
    (log / CHECKPOINT).write_bytes(b"")


def hint_to_nothing(log):
    (log / CHECKPOINT).unlink()


def empty_hint(log):
    (log / "_last_checkpoint").write_bytes(b"")


def half_a_checkpoint(log):
    os.truncate(log / CHECKPOINT, 100)


@pytest.mark.parametrize("cut", [empty_checkpoint, hint_to_nothing, empty_hint, half_a_checkpoint])
def test_a_torn_checkpoint_and_a_hint_to_nothing_are_healed_and_every_row_stays(cut, root):
    filled(root, 20)
    cut(root / "_delta_log")
    assert sink_of(root).committed() == Cursor(rowid=199)
    deliver_the_rest(root, 210)
    assert heal(root) == []


def test_a_checkpoint_that_names_torn_data_goes_with_its_commit(root):
    filled(root, 20)
    data_of(root, 20).write_bytes(b"")
    deliver_the_rest(root, 200)


def test_a_torn_compaction_is_taken_back_and_the_commits_after_it_stay(root):
    sink = filled(root)
    table = DeltaTable(str(root))
    table.optimize.compact()
    sink.append(rows(50), Cursor(rowid=59))
    data_of(root, 6).write_bytes(b"")
    assert heal(root) == ["a compaction, version 6, was torn"]
    assert ids(root) == list(range(60))
    assert sink_of(root).committed() == Cursor(rowid=59)


def test_files_that_were_joined_and_vacuumed_since_are_not_missed(root):
    filled(root)
    table = DeltaTable(str(root))
    table.optimize.compact()
    table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    assert heal(root) == []
    assert ids(root) == list(range(50))


def test_half_written_files_in_the_log_go_when_nobody_can_be_writing_them(root):
    filled(root)
    old, new = (root / "_delta_log" / name for name in ("_commit_1.json.tmp", "_commit_2.json.tmp"))
    for path in (old, new):
        path.write_bytes(b"{")
    os.utime(old, (1, 1))
    assert heal(root) == ["1 temporary files were left in the log"]
    assert (old.exists(), new.exists()) == (False, True)


def test_commits_of_other_devices_after_a_torn_one_go_on_by_their_own_cursor(root):
    filled(root)
    other = sink_of(root, app=application_id("n2", "readings"))
    other.append(rows(1000), Cursor(rowid=9))
    commit(root, 5).write_bytes(b"")
    assert sink_of(root, app=application_id("n2", "readings")).committed() is None
    deliver_the_rest(root)


def test_what_others_wrote_after_a_torn_commit_is_a_decision_for_people(root):
    filled(root)
    write_deltalake(str(root), rows(900), mode="append")
    commit(root, 5).write_bytes(b"")
    with pytest.raises(TableDamaged, match=r"commit 5 of table .* is torn, and 1 by others came after it") as error:
        sink_of(root).committed()
    assert error.value.exit_code == 3
    assert commit(root, 6).exists()


def test_a_log_whose_beginning_is_gone_is_a_decision_for_people(root):
    filled(root, 20)
    for version in range(10):
        commit(root, version).unlink()
    (root / "_delta_log" / CHECKPOINT).write_bytes(b"")
    with pytest.raises(TableDamaged, match="the only checkpoint"):
        sink_of(root).committed()


def test_what_is_set_aside_is_no_part_of_the_table_for_any_reader(root):
    filled(root)
    empty_data(root)
    heal(root)
    assert len(list((root / TORN).iterdir())) == 1
    assert ids(root) == list(range(40))
    table = DeltaTable(str(root))
    table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True)
    assert (root / TORN).is_dir()


def test_a_table_that_is_whole_is_left_as_it_is(root):
    filled(root)
    write_deltalake(
        str(root), rows(900), mode="append", commit_properties=CommitProperties(app_transactions=[Transaction("x", 1)])
    )
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert heal(root) == []
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    assert heal(root / "nothing") == []


def very_many(root, version, count=300, padding=30_000):
    """A commit of others that names very many files, as a RESTORE does; 9 MB of log."""
    first = data_of(root, 1)
    with commit(root, version).open("w") as file:
        for number in range(count):
            name = f"other-{number}.parquet"
            os.link(first, root / name)
            added = {"path": name, "partitionValues": {}, "size": first.stat().st_size, "modificationTime": 1}
            file.write(json.dumps({"add": added | {"dataChange": True, "tags": {"note": "x" * padding}}}) + "\n")


def test_a_commit_of_very_many_files_is_synced_at_once_and_followed_by_a_checkpoint(root, synced):
    filled(root, 2)
    very_many(root, 3)
    synced.clear()
    sink = sink_of(root)
    sink.append(rows(20), Cursor(rowid=29))
    assert not [path for path in synced if Path(path).name.startswith("other-")]
    assert (root / "_delta_log" / f"{4:020}.checkpoint.parquet").exists()
    sink.append(rows(30), Cursor(rowid=39))
    assert len(list((root / "_delta_log").glob("*.checkpoint.parquet"))) == 1
    assert heal(root) == []
    assert pl.read_delta(str(root)).height == 20 + 300 * 10 + 20


def test_one_short_file_of_a_commit_of_very_many_is_found(root):
    filled(root, 2)
    very_many(root, 3, padding=1)
    short = root / "other-299.parquet"
    short.unlink()
    short.write_bytes(b"PAR1")
    with pytest.raises(TableDamaged):
        heal(root)
