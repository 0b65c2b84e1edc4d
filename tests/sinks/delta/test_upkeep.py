"""Upkeep: small files are joined, nothing is lost or repeated, and there is one compactor at a time."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from edge_delta.core import events as telemetry
from edge_delta.core.errors import CompactorAtWork
from edge_delta.core.model import Cursor
from edge_delta.sinks.delta.compaction import joinable
from edge_delta.sinks.delta.cursors import application_id
from edge_delta.sinks.delta.durable import Disk
from edge_delta.sinks.delta.heal import heal
from edge_delta.sinks.delta.lease import LEASE
from edge_delta.sinks.delta.sink import DeltaSink
from edge_delta.sinks.delta.upkeep import Keeper, Plan, _worth_asking
from tests.support.tables import assert_plain_protocol

APP = application_id("n1", "readings")
SUFFIX = "_t"
NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)


def rows(first, count=10):
    columns = {"id": list(range(first, first + count)), "name": ["a"] * count}
    return pl.DataFrame(columns, schema={"id": pl.Int64, "name": pl.String})


def fill(place, commits=5):
    sink = DeltaSink(place.uri(SUFFIX), place.options, APP)
    for k in range(commits):
        sink.append(rows(k * 10), Cursor(rowid=k * 10 + 9))
    return sink


def keeper(place, now=lambda: datetime.now(UTC), disk=None, **plan):
    log = telemetry.configure(stream=io.StringIO())
    return Keeper(place.uri(SUFFIX), place.options, Plan(**plan), now=now, log=log, disk=disk)


def files(place):
    return len(place.table(SUFFIX).file_uris())


def test_small_files_become_one_and_every_row_stays(place):
    fill(place)
    report = keeper(place).run()
    assert (report.files_before, report.files_after, files(place)) == (5, 1, 1)
    assert sorted(place.read(SUFFIX)["id"]) == list(range(50))
    assert_plain_protocol(place, SUFFIX)


def test_the_cursor_stands_after_a_compaction(place):
    sink = fill(place)
    keeper(place).run()
    sink.forget()
    assert sink.committed().rowid == 49
    sink.append(rows(50), Cursor(rowid=59))
    assert sorted(place.read(SUFFIX)["id"]) == list(range(60))


def test_a_sink_with_an_older_view_goes_on_beside_a_compaction(place):
    sink = fill(place)
    keeper(place).run()
    sink.append(rows(50), Cursor(rowid=59))
    assert sorted(place.read(SUFFIX)["id"]) == list(range(60))


def test_z_order_writes_all_rows_once(folder):
    fill(folder)
    keeper(folder).run(["id"])
    assert sorted(folder.read(SUFFIX)["id"]) == list(range(50))


def test_one_file_is_left_alone(folder):
    fill(folder, commits=1)
    before = folder.table(SUFFIX).version()
    keeper(folder).run()
    assert folder.table(SUFFIX).version() == before


def test_a_table_that_is_not_there_is_nothing_to_do(folder):
    assert keeper(folder).run() is None


def test_who_finds_a_lease_leaves_the_table_alone(place):
    fill(place)
    until = round((datetime.now(UTC) + timedelta(minutes=5)).timestamp() * 1000)
    lease = CommitProperties(app_transactions=[Transaction(LEASE, until)])
    write_deltalake(place.table(SUFFIX), rows(0, 0), mode="append", commit_properties=lease)
    with pytest.raises(CompactorAtWork, match="another compactor is at work"):
        keeper(place).run()
    assert keeper(place, every_commits=1).committed(DeltaSink(place.uri(SUFFIX), place.options, APP)) is None
    assert files(place) == 5


def test_maintain_does_not_end_well_where_another_compactor_is_at_work(sensor, folder, command):
    sensor.create()
    sensor.add(20)
    device = command(sensor.path, folder, max_batch_size=5)
    device.once().succeeded()
    until = round((datetime.now(UTC) + timedelta(minutes=5)).timestamp() * 1000)
    lease = CommitProperties(app_transactions=[Transaction(LEASE, until)])
    table = folder.table()
    write_deltalake(table, table.schema().to_arrow().empty_table(), mode="append", commit_properties=lease)
    finished = device.run("maintain", max_batch_size=None)
    assert finished.code == 1
    assert "another compactor is at work" in finished.error


def test_a_lease_from_a_clock_that_was_wrong_is_taken_over(folder):
    fill(folder)
    keeper(folder, now=lambda: datetime.now(UTC) + timedelta(days=3650)).run()
    sink = DeltaSink(folder.uri(SUFFIX), folder.options, APP)
    for k in (5, 6):
        sink.append(rows(k * 10), Cursor(rowid=k * 10 + 9))
    crashed = round((datetime.now(UTC) + timedelta(days=3650)).timestamp() * 1000)
    lease = CommitProperties(app_transactions=[Transaction(LEASE, crashed)])
    write_deltalake(folder.table(SUFFIX), rows(0, 0), mode="append", commit_properties=lease)
    assert keeper(folder).run().files_after == 1


def aged(folder, days):
    then = time.time() - timedelta(days=days).total_seconds()
    for path in Path(folder.uri(SUFFIX)).rglob("*"):
        if path.is_file() and "_delta_log" not in path.parts:
            os.utime(path, (then, then))


def on_disk(folder):
    return {path.name for path in Path(folder.uri(SUFFIX)).iterdir() if path.is_file()}


def test_files_whose_tombstones_a_checkpoint_dropped_are_found_and_go(folder):
    """A day of it: joined files stay for the retention, and each checkpoint drops the tombstones that are past it."""
    fill(folder)
    keeper(folder).run()
    joined = on_disk(folder) - {Path(uri).name for uri in folder.table(SUFFIX).file_uris()}
    assert len(joined) == 5
    aged(folder, 8)
    without_tombstones = folder.table(SUFFIX)
    log = Path(folder.uri(SUFFIX)) / "_delta_log"
    for commit in log.glob("*.json"):
        kept = [line for line in commit.read_text().splitlines() if not line.startswith('{"remove"')]
        commit.write_text("\n".join(kept))
    for checkpoint in (*log.glob("*.checkpoint.parquet"), log / "_last_checkpoint"):
        checkpoint.unlink()
    live = {Path(uri).name for uri in without_tombstones.file_uris()}
    for path in joined:  # without tombstones the log has them as live: they are no more in any commit
        for commit in log.glob("*.json"):
            kept = [line for line in commit.read_text().splitlines() if path not in line]
            commit.write_text("\n".join(kept))
    assert keeper(folder).run().files_vacuumed == 5
    assert on_disk(folder) == live


def test_what_failed_commits_left_goes_when_it_is_older_than_the_retention(folder):
    fill(folder)
    place = Path(folder.uri(SUFFIX))
    left = ("part-00000-orphan-c000.zstd.parquet", "part-00000-torn-c000.zstd.parquet#1", "x.tmp")
    for name in left:
        (place / name).write_bytes(b"PAR1")
    (place / "_torn").mkdir()
    (place / "_torn" / "0.json").write_bytes(b"")
    keeper(folder).run()
    assert set(left) <= on_disk(folder)
    aged(folder, 8)
    fresh = "part-00000-in-flight-c000.zstd.parquet"
    (place / fresh).write_bytes(b"PAR1")
    keeper(folder).run()
    assert not set(left) & on_disk(folder)
    assert {Path(uri).name for uri in folder.table(SUFFIX).file_uris()} | {fresh} <= on_disk(folder)
    assert list((place / "_torn").iterdir()) == []
    assert sorted(folder.read(SUFFIX)["id"]) == list(range(50))


def test_a_lease_that_ran_out_binds_nobody(folder):
    fill(folder)
    gone = round((datetime.now(UTC) - timedelta(minutes=5)).timestamp() * 1000)
    lease = CommitProperties(app_transactions=[Transaction(LEASE, gone)])
    write_deltalake(folder.table(SUFFIX), rows(0, 0), mode="append", commit_properties=lease)
    assert keeper(folder).run().files_after == 1


def test_delta_rs_still_lets_two_compactions_repeat_rows(tmp_path):
    """Why there is a lease. When an upgrade makes this fail, the lease may go."""
    path = str(tmp_path / "t")
    for k in range(3):
        write_deltalake(path, rows(k * 10), mode="append")
    one, other = DeltaTable(path), DeltaTable(path)
    one.optimize.compact()
    other.optimize.compact()
    assert pl.scan_delta(path).collect().height == 60


def race(place, rounds):
    """Two processes look after one table at the same moment, again and again, between appends."""
    sink = fill(place, commits=1)
    arguments = [place.uri(SUFFIX), json.dumps(place.options)]
    start = [sys.executable, "-m", "tests.support.compactor", *arguments]
    processes = [
        subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(2)
    ]
    outcomes = Counter()
    try:
        assert [p.stdout.readline() for p in processes] == ["ready\n"] * 2
        for k in range(1, rounds + 1):
            for part in (0, 1):
                first = k * 20 + part * 10
                sink.append(rows(first), Cursor(rowid=first + 9))
            for process in processes:
                process.stdin.write(f"{time.time() + 0.05}\n")
            outcomes.update(p.stdout.readline().strip() for p in processes)
            ids = place.read(SUFFIX)["id"]
            assert (ids.len(), ids.n_unique()) == (10 + 20 * k,) * 2
    finally:
        for process in processes:
            process.stdin.close()
            process.wait(20)
            process.stdout.close()
    assert outcomes["ran"] >= rounds
    assert set(outcomes) <= {"ran", "held", "CommitConflict"}
    return outcomes


def test_two_compactors_never_repeat_a_row(place):
    race(place, rounds=12)


@pytest.mark.slow
def test_two_compactors_never_repeat_a_row_in_a_hundred_races(place):
    race(place, rounds=100)


def step(sink, own, k):
    """A commit, and whether the table was looked after then."""
    sink.append(rows(k * 10), Cursor(rowid=k * 10 + 9))
    looked = own.committed(sink) is not None
    if looked:
        sink.forget()
    return looked


def test_upkeep_is_due_after_so_many_commits_of_one_process_or_of_many(place):
    """A device that runs once every five minutes makes one commit in each process."""
    sink = fill(place, commits=1)  # two commits: one made the table
    one = keeper(place, every_commits=5)
    assert [step(sink, one, k) for k in range(1, 5)] == [False, False, False, True]
    looked = []
    for k in range(5, 30):
        sink = DeltaSink(place.uri(SUFFIX), place.options, APP)
        looked.append(step(sink, keeper(place, every_commits=5), k))
    assert looked == [k % 5 == 0 for k in range(1, 26)]
    assert files(place) <= 5
    assert sorted(place.read(SUFFIX)["id"]) == list(range(300))


def test_a_process_that_stays_looks_after_a_table_that_others_fill_each_time_it_is_due(folder):
    """With a thousand devices, eight of its own commits are eight thousand files."""
    sink, own = fill(folder), keeper(folder, every_commits=100)
    log = Path(folder.uri(SUFFIX), "_delta_log")
    done = []
    for k in range(5, 45):
        for version in range(folder.table(SUFFIX).version() + 1, folder.table(SUFFIX).version() + 111):
            (log / f"{version:020}.json").write_text(f'{{"commitInfo":{{"timestamp":{version}}}}}')
        sink.forget()
        done.append(step(sink, own, k))
        if sum(done) == 4:
            break
    assert done[done.index(True) :] == [True] * 4


@pytest.mark.parametrize("commits_per_run", [1, 2, 3, 8])
def test_a_process_of_one_commit_seldom_asks_and_never_misses_maintenance_for_long(commits_per_run):
    asked = [_worth_asking(version, 100) for version in range(0, 100_000, commits_per_run)]
    assert 0.1 < sum(asked) / len(asked) < 0.15
    gaps = [len(run) for run in "".join("x" if a else "-" for a in asked).split("x")]
    assert max(gaps) <= 40


def test_upkeep_that_failed_is_tried_again_after_as_many_commits(folder):
    sink = fill(folder)
    own = keeper(folder, every_commits=3)
    until = round((datetime.now(UTC) + timedelta(minutes=5)).timestamp() * 1000)
    lease = CommitProperties(app_transactions=[Transaction(LEASE, until)])
    write_deltalake(folder.table(SUFFIX), rows(0, 0), mode="append", commit_properties=lease)
    assert [step(sink, own, k) for k in range(5, 12)] == [False] * 7
    write_deltalake(
        folder.table(SUFFIX),
        rows(0, 0),
        mode="append",
        commit_properties=CommitProperties(app_transactions=[Transaction(LEASE, 1)]),
    )
    sink.forget()
    assert any(step(sink, own, k) for k in range(12, 15))


def test_upkeep_is_due_once_in_each_named_hour_in_whichever_process(folder):
    sink = fill(folder)
    moments = [NOW - timedelta(hours=1), NOW, NOW, NOW + timedelta(minutes=30), NOW + timedelta(days=1)]
    moment = [NOW]
    for fresh in (False, True):
        own, done = keeper(folder, now=lambda: moment[0], hours=(3,)), []
        for moment[0] in moments:
            if fresh:
                own = keeper(folder, now=lambda: moment[0], hours=(3,))
            sink.forget()
            done.append(own.committed(sink) is not None)
        assert done == [False, True, False, False, True]
        moments = [m + timedelta(days=10) for m in moments]


def noise(first, count):
    columns = {"id": list(range(first, first + count)), "name": [os.urandom(20).hex() for _ in range(count)]}
    return pl.DataFrame(columns, schema={"id": pl.Int64, "name": pl.String})


def test_compaction_writes_what_is_new_and_not_the_table_again(folder):
    """A file is joined with smaller ones only if it is not much larger than all of them together."""
    sink = DeltaSink(folder.uri(SUFFIX), folder.options, APP)
    rowid, written = 0, 0
    for _ in range(12):
        for _ in range(4):
            sink.append(noise(rowid, 20_000), Cursor(rowid=rowid + 19_999))
            rowid += 20_000
        written += keeper(folder).run().bytes_rewritten
        sink.forget()
    live = sink.files().live_bytes
    assert live > 20_000_000
    assert written < 3 * live  # all of it each time: 6.5 times
    assert sink.files().live <= 8
    assert folder.read(SUFFIX)["id"].n_unique() == rowid


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], None),
        ([5_000], None),
        ([5_000] * 3, 15_000),
        ([5_000] * 20 + [400_000], 100_000),  # four times as large as all of the others together
        ([5_000] * 20 + [150_000], 250_000),
        ([2_000_000] * 4, 8_000_000),
        ([10_000, 2_000_000, 2_000_000], 4_010_000),
        ([10_000, 2_000_000], None),
        ([5_000] * 20 + [40_000_000, 60_000_000], 100_000),
        ([40_000_000, 60_000_000], None),
        ([20_000_000] * 9, 64_000_000),
    ],
)
def test_files_are_joined_with_others_of_about_their_size(sizes, expected):
    assert joinable(sizes, 64_000_000) == expected


def test_z_order_leaves_a_table_alone_that_has_nothing_new(folder):
    sink = fill(folder)
    assert keeper(folder).run(["id"]).bytes_rewritten > 0
    version = folder.table(SUFFIX).version()
    assert keeper(folder).run(["id"]).bytes_rewritten == 0
    assert folder.table(SUFFIX).version() == version
    sink.forget()
    sink.append(rows(50), Cursor(rowid=59))
    assert keeper(folder).run(["id"]).bytes_rewritten > 0
    assert sorted(folder.read(SUFFIX)["id"]) == list(range(60))


def test_files_are_told_as_live_kept_or_dead(place):
    sink = fill(place)
    assert (sink.files(listing=True).live, sink.files(listing=True).kept, sink.files(listing=True).dead) == (5, 0, 0)
    found = keeper(place).run().inventory
    assert (found.live, found.kept, found.dead) == (1, 5, 0)
    sink.forget()
    found = sink.files(listing=True)
    assert (found.live, found.kept, found.dead) == (1, 5, 0)
    if place.url is None:
        assert found.kept_bytes > 0
        aged(place, 8)
        found = sink.files(listing=True)
        assert (found.live, found.kept, found.dead) == (1, 0, 5)


def test_the_log_in_a_folder_keeps_so_many_commits_at_short_intervals(folder):
    disk = Disk(Path(folder.uri(SUFFIX)), log=telemetry.configure(stream=io.StringIO()))
    sink = DeltaSink(folder.uri(SUFFIX), folder.options, APP, disk=disk)
    own = keeper(folder, disk=disk, every_commits=10, log_commits=20)
    most = 0
    for k in range(120):
        step(sink, own, k)
        most = max(most, len(list((Path(folder.uri(SUFFIX)) / "_delta_log").iterdir())))
    assert most < 55
    assert sorted(folder.read(SUFFIX)["id"]) == list(range(1200))
    assert DeltaSink(folder.uri(SUFFIX), folder.options, APP).committed().rowid == 1199
    assert heal(Path(folder.uri(SUFFIX))) == []


def test_a_device_compacts_tables_of_its_own_while_it_runs(sensor, folder, command):
    sensor.create()
    sensor.add(2_000)
    device = command(
        sensor.path, folder, table_path=folder.base + "/{node_id}/readings", max_batch_size=50, node_id="n1"
    )
    settings = sensor.path.parent / "settings.toml"
    settings.write_text("[maintenance]\nevery_commits = 10\n")
    finished = device.once(config=settings).succeeded()
    assert finished.named("table looked after")
    table = pl.scan_delta(folder.base + "/n1/readings_1_schematized").collect()
    assert sorted(table["reading_id"]) == list(range(1, 2_001))
    assert len(DeltaTable(folder.base + "/n1/readings_1_schematized").file_uris()) <= 11


def test_single_runs_of_a_timer_compact_in_time_and_status_and_check_tell_the_files(sensor, folder, command):
    sensor.create()
    base = folder.base + "/{node_id}/readings"
    device = command(sensor.path, folder, table_path=base, node_id="n1", processing_mode="raw")
    settings = sensor.path.parent / "settings.toml"
    settings.write_text("[maintenance]\nevery_commits = 3\n")
    looked = []
    for k in range(5):
        sensor.add(5, start=5 * k)
        looked += device.once(config=settings).succeeded().named("table looked after")
    assert looked
    own = {
        "table_path": None,
        "processing_mode": None,
        "interval": None,
        "retry_for": None,
        "sqlite": None,
        "node_id": None,
    }
    files = json.loads(device.run("status", json=True, **own).stdout)["modes"]["raw"]["files"]
    assert (files["live"], files["dead"]) == (1, 0)
    assert files["kept"] >= 2
    assert "kept for the retention" in device.run("status", **own).stdout
    checked = device.run("check", config=settings, interval=None, retry_for=None).succeeded()
    assert "live files" in checked.stdout


@pytest.mark.parametrize(
    ("retention_days", "kept"), [(None, {"folder": 72, "store": 168}), (1.5, {"folder": 36, "store": 36})]
)
def test_older_versions_are_kept_for_as_long_as_is_set(retention_days, kept, sensor, lake, command):
    expected = kept["folder" if lake.url is None else "store"]
    sensor.create()
    sensor.add(5)
    settings = sensor.path.parent / "settings.toml"
    settings.write_text(f"[maintenance]\nretention_days = {retention_days}\n" if retention_days else "")
    command(sensor.path, lake).once(config=settings).succeeded()
    properties = lake.table().metadata().configuration
    for name in ("delta.logRetentionDuration", "delta.deletedFileRetentionDuration"):
        assert properties[name] == f"interval {expected} hours"


def test_what_is_expired_of_the_log_goes_with_each_upkeep(folder):
    sink, own = fill(folder), keeper(folder)
    log = Path(folder.uri(SUFFIX)) / "_delta_log"
    own.run()
    for k in (5, 6):
        eight_days_ago = time.time() - timedelta(days=8).total_seconds()
        for file in log.iterdir():
            os.utime(file, (eight_days_ago, eight_days_ago))
        checkpoint = max(log.glob("*.checkpoint.parquet")).name
        sink.append(rows(k * 10), Cursor(rowid=k * 10 + 9))
        own.run()
        assert min(log.glob("0*")).name >= checkpoint[:20]
    assert sorted(folder.read(SUFFIX)["id"]) == list(range(70))


def test_what_is_expired_of_the_log_goes_where_there_is_nothing_to_compact(folder):
    sink = fill(folder, commits=1)
    for rowid in range(100, 110):
        sink.append(rows(0, 0), Cursor(rowid=rowid))  # as a mode does that has nothing to write
    log = Path(folder.uri(SUFFIX)) / "_delta_log"
    eight_days_ago = time.time() - timedelta(days=8).total_seconds()
    for file in log.iterdir():
        os.utime(file, (eight_days_ago, eight_days_ago))
    before = len(list(log.glob("0*.json")))
    keeper(folder).run()
    assert (before, len(list(log.glob("0*.json")))) == (12, 1)
    assert sorted(folder.read(SUFFIX)["id"]) == list(range(10))
    assert DeltaSink(folder.uri(SUFFIX), folder.options, APP).committed() == Cursor(rowid=109)


def test_a_device_leaves_tables_alone_that_others_may_look_after(sensor, folder, command):
    sensor.create()
    sensor.add(500)
    settings = sensor.path.parent / "settings.toml"
    settings.write_text("[maintenance]\nevery_commits = 5\n")
    finished = command(sensor.path, folder, max_batch_size=50).once(config=settings).succeeded()
    assert not finished.named("table looked after")
    assert len(folder.table().file_uris()) == 10


def test_maintain_upgrade_gives_tables_of_earlier_versions_the_properties_of_new_ones(sensor, folder, command):
    sensor.create()
    sensor.add(20)
    device = command(sensor.path, folder, max_batch_size=5, node_id="n1")
    device.once().succeeded()
    new = folder.table().metadata().configuration
    assert "reading_id" in new["delta.dataSkippingStatsColumns"].split(",")
    held, old = folder.table(), folder.uri("_1_schematized") + "_old"
    DeltaTable.create(old, held.schema(), configuration={"delta.appendOnly": "true"})
    shutil.rmtree(folder.uri("_1_schematized"))
    Path(old).rename(folder.uri("_1_schematized"))
    assert device.run("maintain", max_batch_size=None, upgrade=True).succeeded().code == 0
    assert folder.table().metadata().configuration == new
    version = folder.table().version()
    device.run("maintain", max_batch_size=None, upgrade=True).succeeded()
    assert folder.table().version() == version
