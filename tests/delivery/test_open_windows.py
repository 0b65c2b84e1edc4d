"""Every row that was read is in a written window, or in the source, or told as lost; and who may purge what."""

from __future__ import annotations

import io
import json
import shutil
import time
from datetime import UTC, datetime, timedelta

import pytest

from edge_delta.core import events as telemetry
from edge_delta.core.errors import SourceUnavailable
from edge_delta.core.model import BEFORE_FIRST, Cursor, Mark
from edge_delta.delivery.late_windows import SweptWindows
from edge_delta.delivery.open_windows import Emission
from edge_delta.delivery.windows import Windows
from edge_delta.doctor.check import check
from edge_delta.doctor.findings import Level
from edge_delta.settings import load as config
from edge_delta.topology import commands
from edge_delta.topology.lanes import Session, lanes_of, open_source
from tests.delivery.test_windows import SUM, rows_at, run, started, windows
from tests.support import modes
from tests.support.ask import ask, health, status
from tests.support.command import parse_events


@pytest.fixture
def stations(sensor):
    modes.create(sensor)
    return sensor


def state_of(sensor):
    return sensor.path.parent / "state"


def verified(sensor):
    """The report of `verify` with the settings of the last run."""
    loaded = config.load({"config": str(sensor.path.parent / "settings.toml")}, environment={})
    [report] = commands.verify(loaded, telemetry.configure())
    return report


def recreate(sensor):
    """The database is deleted and made again, as some sensor processes do at every start."""
    path = sensor.path
    sensor.open(path.with_name("other.db"))
    for file in path.parent.glob(path.name + "*"):
        file.unlink()
    sensor.open(path)
    modes.create(sensor)


def test_a_window_that_a_late_row_closes_is_not_written_again_if_it_has_no_new_rows(stations, folder):
    modes.insert(stations, *[row | {"id": i} for i, row in zip((10, 11), rows_at(0, 1), strict=True)])
    run(stations, folder, flush=True, allowed_lateness=0)
    modes.insert(stations, *[row | {"id": 5} for row in rows_at(8)])
    settings = {"aggregate": {"aggregations": SUM, "allowed_lateness": 0}}
    version = folder.table("_3_aggregated").version()
    delivered = modes.deliver(stations.path, folder, "aggregated", sweep=0, **settings)
    assert "unavailable" not in [event["event"] for event in delivered.events]
    assert windows(folder) == [(0, "a", 2, 2.0), (5, "a", 1, 1.0)]
    assert folder.table("_3_aggregated").version() == version + 1
    assert verified(stations).equal


# -- a source that is gone


def test_rows_of_open_windows_that_went_with_their_source_are_told_as_lost(stations, folder):
    modes.insert(stations, *rows_at(0, 1, 2, 30, 31))
    run(stations, folder)
    assert windows(folder) == [(0, "a", 3, 3.0)]
    recreate(stations)
    modes.insert(stations, *rows_at(40, pressure=9.0))
    done = run(stations, folder, flush=True)
    [lost] = done.named("rows lost")
    assert (lost["mode"], lost["rows"], lost["level"]) == ("aggregated", 2, "warning")
    assert windows(folder) == [(0, "a", 3, 3.0), (40, "a", 1, 9.0)]
    report = verified(stations)
    assert not report.equal
    assert report.counts["lost"] == 2
    assert status(state_of(stations))["modes"]["aggregated"]["rows_lost"] == 2
    assert "LOST: 2 rows" in ask("status", "--state-dir", state_of(stations)).stdout


def test_what_was_lost_stays_told_in_later_generations(stations, folder):
    for day in ("2026-01-01", "2026-01-02"):
        modes.insert(stations, *rows_at(0, 1, day=day))
        run(stations, folder)
        recreate(stations)
    modes.insert(stations, *rows_at(0, day="2026-01-03"))
    run(stations, folder, flush=True)
    assert verified(stations).counts["lost"] == 4


def test_nothing_is_lost_where_open_windows_were_written_before_the_source_went(stations, folder):
    modes.insert(stations, *rows_at(0, 1, 2, 30, 31))
    run(stations, folder, flush=True)
    recreate(stations)
    modes.insert(stations, *rows_at(40))
    done = run(stations, folder, flush=True)
    assert not done.named("rows lost")
    assert verified(stations).equal
    assert windows(folder) == [(0, "a", 3, 3.0), (30, "a", 2, 2.0), (40, "a", 1, 1.0)]


def test_a_running_process_writes_the_windows_of_a_table_that_is_emptied(tmp_path, stations, folder, command):
    modes.insert(stations, *rows_at(0, 1))
    running = started(tmp_path, stations, folder, command)
    stations.run("DELETE FROM stations")
    modes.insert(stations, *rows_at(30, pressure=7.0))
    running.wait_until(lambda: windows(folder) == [(0, "a", 2, 2.0)], what="the windows of the rows that are gone")
    running.wait_until(lambda: any(e["last_id"] == 1 for e in running.named("cycle finished")), what="the new row")
    assert running.terminate() == 0
    assert not running.named("rows lost")
    assert windows(folder) == [(0, "a", 2, 2.0), (30, "a", 1, 7.0)]


def test_rows_of_open_windows_that_were_purged_while_nothing_ran_are_told_of(stations, folder):
    modes.insert(stations, *rows_at(0, 1, 2))
    run(stations, folder)
    stations.run("DELETE FROM stations WHERE id = 1")
    modes.insert(stations, *rows_at(30))
    done = run(stations, folder)
    assert done.named("rows purged before their window closed")[0]["rows"] == 1
    assert windows(folder) == [(0, "a", 2, 2.0)]
    assert verified(stations).counts["lost"] == 1


# -- a process that ends


def test_a_graceful_stop_writes_the_open_windows_and_the_next_run_corrects_them(tmp_path, stations, folder, command):
    modes.insert(stations, *rows_at(0, 1))
    running = started(tmp_path, stations, folder, command)
    assert windows(folder) == []
    assert running.terminate() == 0
    assert windows(folder) == [(0, "a", 2, 2.0)]
    modes.insert(stations, *rows_at(2, 30))
    run(stations, folder)
    assert windows(folder) == [(0, "a", 3, 3.0)]


def test_the_table_knows_at_the_end_of_each_cycle_how_many_rows_wait_in_open_windows(
    tmp_path, stations, folder, command
):
    modes.insert(stations, *rows_at(0, 1))
    running = started(tmp_path, stations, folder, command)
    running.wait_until(
        lambda: folder.exists("_3_aggregated") and folder.table("_3_aggregated").version() > 0,
        what="the end of the cycle",
    )
    running.kill()
    recreate(stations)
    modes.insert(stations, *rows_at(30))
    done = run(stations, folder, flush=True)
    assert [event["rows"] for event in done.named("rows lost")] == [2]


def test_a_flush_is_in_the_log_and_in_the_status(stations, folder):
    modes.insert(stations, *rows_at(0, 1), *rows_at(2, sensor="b"))
    done = run(stations, folder, flush=True)
    [commit] = done.named("batch committed")
    assert commit["rows"] == 2
    assert [finished["rows_written"] for finished in done.named("cycle finished")] == [0, 2]
    assert status(state_of(stations))["modes"]["aggregated"]["rows_written"] == 2


def test_a_flush_without_once_is_refused(stations, folder, command):
    done = command(stations.path, folder, processing_mode="aggregated", node_id="n1", flush=True)
    ended = ask("run", "--sqlite", stations.path, "--table-path", folder.base, "--node-id", "n1", "--flush")
    assert ended.returncode == 2
    assert "--once" in ended.stderr
    del done


# -- early windows


def test_early_windows_are_there_after_every_run_and_replaced_as_they_fill(stations, folder):
    modes.insert(stations, *rows_at(0, 1))
    run(stations, folder, emit="early")
    assert windows(folder) == [(0, "a", 2, 2.0)]
    modes.insert(stations, *rows_at(2, sensor="b"), *rows_at(3, 7))
    run(stations, folder, emit="early", size=1)
    assert windows(folder) == [(0, "a", 3, 3.0), (0, "b", 1, 1.0), (5, "a", 1, 1.0)]
    modes.insert(stations, *rows_at(30))
    run(stations, folder, emit="early")
    assert windows(folder) == [(0, "a", 3, 3.0), (0, "b", 1, 1.0), (5, "a", 1, 1.0), (30, "a", 1, 1.0)]
    assert verified(stations).equal


def test_early_windows_lose_nothing_when_the_source_goes(stations, folder):
    modes.insert(stations, *rows_at(0, 1, 30))
    run(stations, folder, emit="early")
    recreate(stations)
    modes.insert(stations, *rows_at(60))
    done = run(stations, folder, emit="early")
    assert not done.named("rows lost")
    assert windows(folder) == [(0, "a", 2, 2.0), (30, "a", 1, 1.0), (60, "a", 1, 1.0)]


def test_a_cycle_without_rows_writes_no_early_window_again(stations, folder):
    modes.insert(stations, *rows_at(0, 1))
    run(stations, folder, emit="early")
    version = folder.table("_3_aggregated").version()
    run(stations, folder, emit="early")
    assert folder.table("_3_aggregated").version() == version


# -- up to where rows may be purged


def test_rows_of_an_open_window_are_not_settled(stations, folder):
    modes.insert(stations, *rows_at(0, 1, 30, 31))
    run(stations, folder)
    assert status(state_of(stations))["settled"] == {"stations": 2}
    assert ask("status", "--state-dir", state_of(stations), "--settled").stdout == "2\n"
    run(stations, folder, flush=True)  # it can still be corrected
    assert status(state_of(stations))["settled"] == {"stations": 2}
    assert json.loads((state_of(stations) / "last_upload.json").read_text(encoding="utf-8"))["settled_id"] == 2


@pytest.mark.parametrize("minutes", [range(60, 62), range(60, 80)], ids=["fewer rows", "more rows"])
def test_nothing_is_settled_of_a_source_that_took_the_place_of_another_one(minutes, stations, folder):
    modes.insert(stations, *rows_at(0, 1, 2, 30, 31))
    run(stations, folder)
    settled = ("status", "--state-dir", state_of(stations), "--settled")
    assert ask(*settled).stdout == "3\n"
    stations.run("DELETE FROM stations WHERE id <= 3")
    assert ask(*settled).stdout == "3\n"
    recreate(stations)
    modes.insert(stations, *rows_at(*minutes))
    told = ask(*settled)
    assert (told.returncode, told.stdout) == (1, "")
    assert "nothing may be purged" in told.stderr


def test_purging_settled_rows_at_any_moment_changes_no_window(stations, folder):
    for minute in range(20):
        modes.insert(stations, *rows_at(minute, minute + 1 if minute % 7 else max(0, minute - 1)))
        run(stations, folder, size=3)
        settled = status(state_of(stations))["settled"]["stations"]
        if settled is not None:
            stations.run("DELETE FROM stations WHERE id <= ?", settled)
    run(stations, folder, flush=True)
    assert sum(rows for _, _, rows, _ in windows(folder)) == 40
    assert not folder.exists("_rejected")


def test_nothing_is_settled_before_every_mode_has_delivered(stations, folder):
    modes.insert(stations, *rows_at(0, 1))
    modes.deliver(stations.path, folder, "raw")
    assert ask("status", "--state-dir", state_of(stations), "--settled").stdout == "2\n"
    mirror = state_of(stations) / "last_upload.json"
    content = json.loads(mirror.read_text(encoding="utf-8"))
    mirror.write_text(json.dumps(content | {"modes": ["raw", "aggregated"]}), encoding="utf-8")
    done = ask("status", "--state-dir", state_of(stations), "--settled")
    assert (done.returncode, done.stdout) == (1, "")


# -- times ahead of the clock


def ahead(minutes, *, seconds=0):
    return (datetime.now(UTC) + timedelta(minutes=minutes, seconds=seconds)).isoformat()


def test_rows_that_are_ahead_of_the_clock_wait_and_that_is_said(stations, folder):
    modes.insert(stations, *rows_at(0), {"sensor_id": "a", "timestamp": ahead(200), "pressure": 1.0})
    done = run(stations, folder)
    [told] = done.named("times ahead of the clock")
    assert told["rows"] == 1
    assert status(state_of(stations))["modes"]["aggregated"]["rows_ahead_until"]
    assert "are ahead of the clock and in no window" in health(state_of(stations))[1]
    settings = config.load({"config": str(state_of(stations).parent / "settings.toml")}, environment={})
    told = [found.level for found in check(lambda: settings) if "are in no window" in found.fact]
    assert told == [Level.WARNING]
    assert windows(folder) == []


def test_windows_ahead_of_the_clock_close_when_it_gets_there(stations, folder):
    minute = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=4)
    due = datetime.now(UTC) + timedelta(seconds=15)
    for moment in (minute + timedelta(seconds=10), minute + timedelta(seconds=20), due):
        modes.insert(stations, {"sensor_id": "a", "timestamp": moment.isoformat(), "pressure": 1.0})
    settings = {"window_minutes": 1, "allowed_lateness": 0, "future_tolerance": 0}
    run(stations, folder, **settings)
    assert windows(folder) == []
    time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds() + 0.2))
    run(stations, folder, **settings)  # no row is new
    assert [rows for _, _, rows, _ in windows(folder)] == [2]


# -- generations and other modes


def test_a_mode_that_wrote_nothing_begins_in_the_generation_of_the_others(stations, folder):
    modes.insert(stations, *rows_at(0, 1))
    both = {"aggregate": {"aggregations": {"pressure": ["sum"]}}, "emergency": {"trigger_keywords": ["EMERGENCY"]}}
    modes.deliver(stations.path, folder, ["raw", "emergency"], **both)
    for life in range(2):
        recreate(stations)
        modes.insert(stations, *rows_at(30 + life))
        modes.deliver(stations.path, folder, ["raw"], **both)
    modes.insert(stations, *rows_at(40), {"sensor_id": "a", "timestamp": "2026-01-01T01:00:00Z", "note": "EMERGENCY"})
    modes.deliver(stations.path, folder, ["raw", "emergency", "aggregated"], flush=True, **both)
    latest = {suffix: modes.read(folder, suffix)["source_generation"].max() for suffix in ("_0_raw", *LATER)}
    assert latest == {"_0_raw": 2, "_3_aggregated": 2, "_4_emergency": 2}


def lanes(loaded):
    return lanes_of(loaded, Session(open_source(loaded), "n1", telemetry.configure()))


LATER = ("_3_aggregated", "_4_emergency")


def test_windows_that_are_written_stay_known_when_another_mode_delivered_meanwhile(stations, folder):
    settings = {"aggregate": {"aggregations": SUM}}
    modes.insert(stations, *rows_at(0, 1, 30))
    modes.deliver(stations.path, folder, "aggregated", **settings)
    assert windows(folder) == [(0, "a", 2, 2.0)]
    modes.insert(stations, *rows_at(31))
    values = {"config": str(state_of(stations).parent / "settings.toml"), "processing_mode": "raw,aggregated"}
    loaded = config.load(values, environment={})
    other, lane = lanes(loaded)
    other.step(limit=100)
    lane.adopt(other.cursor())
    modes.insert(stations, *rows_at(2))
    modes.deliver(stations.path, folder, "aggregated", **settings)
    assert windows(folder) == [(0, "a", 3, 3.0)]


@pytest.mark.parametrize("behind", ["raw", "aggregated", "emergency"])
def test_rows_that_went_before_one_mode_read_them_are_told_as_lost(behind, stations, folder):
    settings = {"aggregate": {"aggregations": SUM}, "emergency": {"severity_thresholds": {"pressure": 5}}}
    both = ["schematized", behind]
    modes.insert(stations, *rows_at(0, 1, 30, 60, pressure=9.0))
    modes.deliver(stations.path, folder, both, flush=True, **settings)
    modes.insert(stations, *rows_at(61, 62, 63, pressure=9.0))
    loaded = config.load({"config": str(state_of(stations).parent / "settings.toml")}, environment={})
    lanes(loaded)[0].step(limit=100)  # and then it is killed
    recreate(stations)
    modes.insert(stations, *rows_at(*range(70, 72), pressure=9.0))
    done = modes.deliver(stations.path, folder, both, flush=True, **settings)
    assert [(lost["mode"], lost["rows"]) for lost in done.named("rows lost")] == [(behind, 3)]
    assert not modes.deliver(stations.path, folder, both, flush=True, **settings).named("rows lost")
    assert status(state_of(stations))["modes"][behind]["rows_lost"] == 3
    reports = {report.mode: report for report in commands.verify(loaded, telemetry.configure())}
    assert reports["schematized"].equal
    assert not reports[behind].equal


@pytest.mark.parametrize("behind", ["aggregated", "emergency"])
def test_rows_that_a_backup_took_back_before_one_mode_read_them_are_told_as_lost(behind, stations, folder):
    settings = {"aggregate": {"aggregations": SUM}, "emergency": {"severity_thresholds": {"pressure": 5}}}
    both, backup = ["schematized", behind], stations.path.with_name("backup.db")
    modes.insert(stations, *rows_at(0, 1, 30, 60, pressure=9.0))
    modes.deliver(stations.path, folder, both, flush=True, **settings)
    modes.insert(stations, *rows_at(61, 62, pressure=9.0))
    stations.run("VACUUM INTO ?", str(backup))
    modes.insert(stations, *rows_at(63, 64, 65, pressure=9.0))
    loaded = config.load({"config": str(state_of(stations).parent / "settings.toml")}, environment={})
    lanes(loaded)[0].step(limit=100)  # and then it is killed
    recreate(stations)
    stations.open(stations.path.with_name("aside.db"))
    backup.replace(stations.path.with_name("sensor.db"))
    stations.open(stations.path.with_name("sensor.db"))
    modes.insert(stations, *rows_at(*range(70, 72), pressure=9.0))
    done = modes.deliver(stations.path, folder, both, flush=True, **settings)
    assert [(lost["mode"], lost["rows"]) for lost in done.named("rows lost")] == [(behind, 3)]
    assert not modes.deliver(stations.path, folder, both, flush=True, **settings).named("rows lost")
    reports = {report.mode: report for report in commands.verify(loaded, telemetry.configure())}
    assert reports["schematized"].equal
    assert reports[behind].counts == {"lost": 3}


@pytest.mark.parametrize("chosen", [True, False], ids=["killed before its first commit", "chosen later"])
def test_rows_of_a_life_that_a_mode_had_no_part_in_are_told_as_lost_if_it_was_there(chosen, stations, folder):
    settings = {"aggregate": {"aggregations": SUM}}
    both = ["schematized", "aggregated"]
    modes.insert(stations, *rows_at(0, 1, 30))
    if chosen:
        modes.deliver(stations.path, folder, both, **settings)
        shutil.rmtree(folder.uri("_3_aggregated"))
    else:
        modes.deliver(stations.path, folder, "schematized")
    recreate(stations)
    modes.insert(stations, *rows_at(70))
    done = modes.deliver(stations.path, folder, both, flush=True, **settings)
    assert [(lost["mode"], lost["rows"]) for lost in done.named("rows lost")] == [("aggregated", 3)] * chosen


def test_rows_of_another_source_never_go_into_windows_of_the_one_before(stations, folder):
    modes.insert(stations, *rows_at(0, 1, 2))
    run(stations, folder, flush=True)
    loaded = config.load({"config": str(state_of(stations).parent / "settings.toml")}, environment={})
    [lane] = lanes(loaded)
    lane.check_source()  # and then, before the open windows' rows are read again:
    stations.run("DELETE FROM stations")
    modes.insert(stations, *rows_at(0, 1, 2, 3, pressure=7.0))
    with pytest.raises(SourceUnavailable, match="replaced"):
        lane.finish()
    run(stations, folder, flush=True)
    found = modes.read(folder, "_3_aggregated").sort("source_generation")
    assert found.select("source_generation", "record_count", "sum_pressure").rows() == [(0, 3, 3.0), (1, 4, 28.0)]


def test_rows_of_a_source_that_goes_during_an_outage_are_told_as_lost(stations, folder):
    modes.insert(stations, *rows_at(0, 1))
    run(stations, folder)
    modes.insert(stations, *rows_at(2, 3, 4))
    loaded = config.load({"config": str(state_of(stations).parent / "settings.toml")}, environment={})
    stream = io.StringIO()
    [lane] = lanes_of(loaded, Session(open_source(loaded), "n1", telemetry.configure(stream=stream)))
    lane.step(limit=100)
    lane.forget()
    lane.forget()
    stations.run("DELETE FROM stations")
    modes.insert(stations, *rows_at(0, pressure=7.0))
    lane.check_source()
    assert [event["rows"] for event in parse_events(stream.getvalue()) if event["event"] == "rows lost"] == [5]


def test_rows_of_a_source_that_goes_while_it_is_swept_are_told_as_lost(stations, folder, monkeypatch):
    modes.insert(stations, *rows_at(0, 1))
    stations.run("UPDATE stations SET id = id * 10")
    run(stations, folder)
    modes.insert(stations, *rows_at(2))
    stations.run(
        "INSERT INTO stations (id, sensor_id, timestamp) SELECT 15, sensor_id, timestamp FROM stations LIMIT 1"
    )
    corrected, refills = SweptWindows.corrected, []

    def refilled(self, *asked):
        if not refills:
            refills.append(asked)
            stations.run("DELETE FROM stations")
            modes.insert(stations, *rows_at(0, pressure=7.0))
        return corrected(self, *asked)

    monkeypatch.setattr(SweptWindows, "corrected", refilled)
    swept = {"sweep": 0, "aggregate": {"aggregations": SUM}}
    modes.deliver(stations.path, folder, "aggregated", **swept)
    done = modes.deliver(stations.path, folder, "aggregated", flush=True, **swept)
    assert refills
    assert [lost["rows"] for lost in done.named("rows lost")] == [4]
    assert windows(folder) == [(0, "a", 1, 7.0)]


def test_a_row_that_was_updated_does_not_keep_open_windows_from_being_read_again(stations, folder):
    modes.insert(stations, *rows_at(0, 1, 2))
    run(stations, folder)
    stations.run("UPDATE stations SET pressure = 5.0 WHERE id = 3")
    modes.insert(stations, *rows_at(3, 30))
    assert run(stations, folder).complete
    assert windows(folder) == [(0, "a", 4, 8.0)]


# -- positions


def writing(sensor):
    """The windows of a lane whose table has closed one of 2 rows, and holds one of 2 rows from id 3 on open."""
    loaded = config.load({"config": str(state_of(sensor).parent / "settings.toml")}, environment={})
    [lane] = lanes(loaded)
    return lane, Windows(lane.route, Emission(early=False, chunk=100, folder=loaded.state_dir, held=1_000))


def test_taking_over_from_another_mode_forgets_what_is_open_and_keeps_what_is_written(stations, folder):
    modes.insert(stations, *rows_at(0, 1, 30, 31))
    run(stations, folder)
    lane, own = writing(stations)
    stands = lane.cursor()
    assert (stands.rowid, stands.marks[Mark.OPEN], stands.marks[Mark.PENDING]) == (4, 3, 2)
    began = {Mark.BEGINS: 9, Mark.OPEN: 10, Mark.PENDING: 0, Mark.AHEAD: 0, Mark.IDS: 0}
    taken = own.adopted(Cursor(generation=0, rowid=9, marks={Mark.WATERMARK: 5}))
    assert (taken.generation, taken.rowid) == (0, 9)
    assert taken.marks == {**stands.marks, **began}
    later = own.adopted(Cursor(generation=2, rowid=9, marks={Mark.LIFE: 1}))
    assert later.marks == {Mark.LIFE: 1, **began}


def test_taking_over_reads_the_windows_that_were_open_no_more(stations, folder):
    modes.insert(stations, *rows_at(0, 1, 30, 31))
    run(stations, folder)
    lane, own = writing(stations)
    own.forget()
    assert own.cycle_over(lane.cursor()) is None
    adopted = own.adopted(lane.cursor())
    assert own.finish(adopted) is None


def test_going_back_keeps_what_is_written_and_lost_and_opens_the_first_window_that_either_has_open(stations, folder):
    modes.insert(stations, *rows_at(0, 1, 30, 31))
    run(stations, folder)
    lane, own = writing(stations)
    written = lane.cursor().marks[Mark.WRITTEN]
    stands = Cursor(rowid=4, marks={Mark.WRITTEN: written, Mark.LOST: 7, Mark.OPEN: 3})
    assert own.rewound(Cursor(rowid=1), stands).marks == {Mark.WRITTEN: written, Mark.LOST: 7, Mark.OPEN: 2}
    assert own.rewound(Cursor(rowid=4), stands).marks == {Mark.WRITTEN: written, Mark.LOST: 7, Mark.OPEN: 3}
    assert own.rewound(Cursor(rowid=1), Cursor(rowid=4)).marks == {Mark.OPEN: 2}


def test_a_mode_that_read_nothing_yet_reads_no_rows_of_another_life_into_the_generation_of_the_others(stations, folder):
    settings = {"aggregate": {"aggregations": SUM}}
    modes.insert(stations, *rows_at(0, 1, 30, 60))
    modes.deliver(stations.path, folder, ["schematized", "aggregated"], **settings)
    shutil.rmtree(folder.uri("_3_aggregated"))
    loaded = config.load({"config": str(state_of(stations).parent / "settings.toml")}, environment={})
    readings, lane = lanes(loaded)
    stations.run("DELETE FROM stations")
    readings.check_source()  # all rows were purged, as far as it can tell
    modes.insert(stations, *rows_at(70, 71))
    lane.check_source()
    assert (lane.cursor().generation, lane.cursor().rowid) == (1, BEFORE_FIRST)
