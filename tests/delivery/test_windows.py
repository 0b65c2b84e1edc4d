"""When windows are written and corrected: always one row a window and group, and always right."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from edge_delta.modes.aggregated import Aggregated
from edge_delta.modes.schematized import Schematized
from tests.support import expected, modes

SUFFIX = "_3_aggregated"
ALL = {"pressure": list(expected.ALL_FUNCTIONS), "temperature": ["sum", "count"]}
SUM = {"pressure": ["sum", "count"]}


def rows_at(*minutes, sensor="a", pressure=1.0, day="2026-01-01"):
    return [
        {"sensor_id": sensor, "timestamp": f"{day}T{m // 60:02}:{m % 60:02}:00+00:00", "pressure": pressure}
        for m in minutes
    ]


def run(sensor, place, *, flush=False, size=131_072, aggregations=None, **aggregate):
    settings = {"aggregations": aggregations or SUM} | aggregate
    return modes.deliver(sensor.path, place, "aggregated", flush=flush, max_batch_size=size, aggregate=settings)


def windows(place):
    """Minute of the first day, sensor, number of rows and sum."""
    if not place.exists(SUFFIX):
        return []
    frame = modes.read(place, SUFFIX).sort("window_start", "sensor_id")
    found = frame.select("window_start", "sensor_id", "record_count", "sum_pressure").rows()
    return [((start - modes.EPOCH * 1_000_000) // 60_000_000, *rest) for start, *rest in found]


@pytest.fixture
def stations(sensor):
    modes.create(sensor)
    return sensor


# -- equal to one aggregation, whatever happened on the way


def late_readings(chance, count):
    """5 % come late by up to three windows of 5 minutes, the others by a few seconds."""
    rows = []
    for i in range(count):
        late = chance.uniform(0, 900) if chance.random() < 0.05 else chance.uniform(0, 20)
        time = datetime.fromtimestamp(modes.EPOCH + i, UTC) - timedelta(seconds=late)
        pressure = None if chance.random() < 0.1 else chance.randrange(1 << 20) / 64
        sensor = None if chance.random() < 0.01 else f"s{chance.randrange(4)}"
        rows.append((sensor, time.isoformat(), chance.randrange(4000) / 64, pressure))
    return rows


@pytest.mark.parametrize("size", [1_000, 131_072])
def test_late_rows_and_restarts_change_nothing_in_the_result(stations, folder, size):
    chance = random.Random(size)
    rows = late_readings(chance, 20_000)
    sql = "INSERT INTO stations (sensor_id, timestamp, temperature, pressure) VALUES (?, ?, ?, ?)"
    delivered = 0
    while delivered < len(rows):
        portion = chance.randrange(500, 4_000)
        stations.many(sql, rows[delivered : delivered + portion])
        delivered += portion
        run(stations, folder, size=size, aggregations=ALL)
        assert_written_windows_are_right(stations, folder)
    run(stations, folder, size=size, aggregations=ALL, flush=True)
    assert_written_windows_are_right(stations, folder, all_of_them=True)
    assert not folder.exists("_rejected")


def assert_written_windows_are_right(sensor, place, *, all_of_them=False, minutes=5):
    found = modes.read(place, SUFFIX)
    wanted = expected.aggregated(expected.station_rows(sensor), aggregations=ALL, minutes=minutes)
    if not all_of_them:
        written = found["window_start"].unique()
        assert written.max() < wanted["window_start"].max()
        wanted = wanted.filter(pl.col("window_start").is_in(written.to_list()))
    expected.assert_windows_equal(found, wanted, group_by=("sensor_id",))


def test_a_window_is_written_when_the_watermark_has_passed_its_end_by_the_lateness(stations, folder):
    modes.insert(stations, *rows_at(0, 4, 5))
    run(stations, folder, allowed_lateness=60)
    assert windows(folder) == []
    stations.run("INSERT INTO stations (sensor_id, timestamp, pressure) VALUES ('a', '2026-01-01T00:05:59.999Z', 1)")
    run(stations, folder, allowed_lateness=60)
    assert windows(folder) == []
    modes.insert(stations, *rows_at(6))
    run(stations, folder, allowed_lateness=60)
    assert windows(folder) == [(0, "a", 2, 2.0)]


def test_a_time_on_the_border_belongs_to_the_later_window(stations, folder):
    modes.insert(stations, *rows_at(0, 5, 10))
    run(stations, folder, flush=True)
    assert windows(folder) == [(0, "a", 1, 1.0), (5, "a", 1, 1.0), (10, "a", 1, 1.0)]
    ends = modes.read(folder, SUFFIX).select((pl.col("window_end") - pl.col("window_start")).unique()).to_series()
    assert ends.to_list() == [300_000_000]


def test_a_late_row_corrects_its_window_and_no_other_in_the_commit_that_carries_the_cursor(stations, folder):
    modes.insert(stations, *rows_at(0, 5, 10, 15, 30))
    run(stations, folder)
    before = modes.read(folder, SUFFIX)
    modes.insert(stations, *rows_at(6, pressure=10.0))
    done = run(stations, folder)
    assert len(done.named("batch committed")) == 1
    assert windows(folder)[:3] == [(0, "a", 1, 1.0), (5, "a", 2, 11.0), (10, "a", 1, 1.0)]
    after = modes.read(folder, SUFFIX)
    same = [c for c in before.columns if c != "databricks_inserted_at"]
    untouched = pl.col("window_start") != (modes.EPOCH + 300) * 1_000_000
    assert after.filter(untouched).sort("window_start").rows() == before.filter(untouched).sort("window_start").rows()
    assert before.select(same).height == after.select(same).height


def test_a_late_row_can_open_a_window_that_nobody_had(stations, folder):
    modes.insert(stations, *rows_at(0, 60))
    run(stations, folder)
    modes.insert(stations, *rows_at(30), *rows_at(1, sensor="b"))
    run(stations, folder)
    assert windows(folder) == [(0, "a", 1, 1.0), (0, "b", 1, 1.0), (30, "a", 1, 1.0)]


def test_a_window_spread_over_many_batches_is_one_row(stations, folder):
    modes.insert(stations, *rows_at(*([2] * 50), 60))
    run(stations, folder, size=7)
    assert windows(folder) == [(0, "a", 50, 50.0)]
    assert folder.table(SUFFIX).version() <= 2


def test_open_windows_are_found_again_after_a_restart(stations, folder):
    for minute in range(8):
        modes.insert(stations, *rows_at(minute))
        run(stations, folder, window_minutes=5)
    assert windows(folder) == [(0, "a", 5, 5.0)]
    modes.insert(stations, *rows_at(20))
    run(stations, folder, window_minutes=5)
    assert windows(folder) == [(0, "a", 5, 5.0), (5, "a", 3, 3.0)]


# -- flush


def test_flush_writes_the_open_windows_and_a_later_run_corrects_them(stations, folder):
    modes.insert(stations, *rows_at(0, 7, 8))
    run(stations, folder, flush=True)
    assert windows(folder) == [(0, "a", 1, 1.0), (5, "a", 2, 2.0)]
    modes.insert(stations, *rows_at(9, pressure=5.0))
    run(stations, folder)
    assert windows(folder) == [(0, "a", 1, 1.0), (5, "a", 3, 7.0)]
    modes.insert(stations, *rows_at(30))
    run(stations, folder)
    assert windows(folder) == [(0, "a", 1, 1.0), (5, "a", 3, 7.0)]
    run(stations, folder, flush=True)
    assert windows(folder) == [(0, "a", 1, 1.0), (5, "a", 3, 7.0), (30, "a", 1, 1.0)]


def test_a_second_flush_writes_nothing(stations, folder):
    modes.insert(stations, *rows_at(0, 7))
    run(stations, folder, flush=True)
    version = folder.table(SUFFIX).version()
    run(stations, folder, flush=True)
    assert folder.table(SUFFIX).version() == version


# -- purged rows


def test_a_late_row_of_a_window_whose_rows_were_purged_is_rejected_with_that_reason(stations, folder):
    modes.insert(stations, *rows_at(0, 1, 2, 30, 60))
    run(stations, folder)
    stations.run("DELETE FROM stations WHERE id <= 2")
    modes.insert(stations, *rows_at(3, pressure=100.0), *rows_at(31, pressure=10.0), *rows_at(61))
    done = run(stations, folder)
    assert windows(folder) == [(0, "a", 3, 3.0), (30, "a", 2, 11.0)]
    assert modes.rejected(folder) == [(6, "purged", "timestamp")]
    assert "no longer in the source" in folder.read("_rejected")["reason"][0]
    assert done.named("rows came too late")
    run(stations, folder, flush=True)
    assert windows(folder) == [(0, "a", 3, 3.0), (30, "a", 2, 11.0), (60, "a", 2, 2.0)]


def test_rows_purged_before_their_window_closed_are_in_it_all_the_same(tmp_path, stations, folder, command):
    modes.insert(stations, *rows_at(0, 1, 2))
    running = started(tmp_path, stations, folder, command)
    stations.run("DELETE FROM stations WHERE id = 1")
    modes.insert(stations, *rows_at(30))
    running.wait_until(lambda: windows(folder) == [(0, "a", 3, 3.0)], what="the window")
    assert running.terminate() == 0


def started(tmp_path, sensor, place, command):
    """A running process that has read all there is."""
    file = tmp_path / "settings.toml"
    file.write_text(modes.toml({"aggregate": {"aggregations": SUM}}), encoding="utf-8")
    last = sensor.run("SELECT max(id) FROM stations")[0][0]
    running = command(sensor.path, place, config=file, processing_mode="aggregated", node_id="n1").start()
    running.wait_until(
        lambda: any(e.get("last_id") == last for e in running.named("cycle finished")), what="the first rows"
    )
    return running


# -- clocks


def test_a_time_far_ahead_of_the_clock_closes_nothing(stations, folder):
    now = datetime.now(UTC)
    ahead = (now + timedelta(days=30)).isoformat()
    modes.insert(stations, *rows_at(0, 5), {"sensor_id": "a", "timestamp": ahead, "pressure": 1.0}, *rows_at(6, 7))
    run(stations, folder)
    assert windows(folder) == [(0, "a", 1, 1.0)]
    modes.insert(stations, *rows_at(8, 30))
    run(stations, folder)
    assert windows(folder) == [(0, "a", 1, 1.0), (5, "a", 4, 4.0)]


def test_a_clock_that_jumps_ahead_and_back_leaves_every_window_right(stations, folder):
    modes.insert(stations, *rows_at(0, 1))
    modes.insert(stations, *rows_at(1, day="2026-03-01"))  # behind the real clock, so it counts as time
    modes.insert(stations, *rows_at(2, 3, 7))
    for size in (1, 2):
        run(stations, folder, size=size)
    modes.insert(stations, *rows_at(4, 8, 12))
    run(stations, folder, size=1)
    assert windows(folder) == [(0, "a", 5, 5.0), (5, "a", 2, 2.0), (10, "a", 1, 1.0)]


def test_a_row_far_in_the_future_does_not_make_restarts_hold_all_that_came_after_it(stations, folder):
    modes.insert(stations, {"sensor_id": "a", "timestamp": "2099-01-01T00:00:00Z", "pressure": 1.0})
    modes.insert(stations, *rows_at(*range(60)))
    run(stations, folder, size=10)
    run(stations, folder, size=10)
    modes.insert(stations, *rows_at(90))
    run(stations, folder, size=10)
    assert windows(folder) == [(m, "a", 5, 5.0) for m in range(0, 60, 5)]


def test_a_sensor_that_goes_silent_holds_back_nobody(stations, folder):
    modes.insert(stations, *rows_at(0, 1, sensor="silent"), *rows_at(0, 10, 20, sensor="b"))
    run(stations, folder)
    assert windows(folder) == [(0, "b", 1, 1.0), (0, "silent", 2, 2.0), (10, "b", 1, 1.0)]
    # What it had stored in the meantime comes in when it is back.
    modes.insert(stations, *rows_at(2, 11, sensor="silent"))
    run(stations, folder)
    assert windows(folder)[:4] == [(0, "b", 1, 1.0), (0, "silent", 3, 3.0), (10, "b", 1, 1.0), (10, "silent", 1, 1.0)]


# -- a source that begins again


def test_windows_of_another_generation_are_kept_apart(stations, folder):
    modes.insert(stations, *rows_at(0, 1, 2, 30))
    run(stations, folder, flush=True)
    stations.run("DELETE FROM stations")
    modes.insert(stations, *rows_at(0, pressure=50.0))
    run(stations, folder, flush=True)
    assert windows(folder)[:2] in (
        [(0, "a", 1, 50.0), (0, "a", 3, 3.0)],
        [(0, "a", 3, 3.0), (0, "a", 1, 50.0)],
    )
    assert sorted(modes.read(folder, SUFFIX)["source_generation"]) == [0, 0, 1]


def test_a_replaced_file_has_its_open_windows_written_first(tmp_path, stations, folder, command):
    modes.insert(stations, *rows_at(0, 1))
    running = started(tmp_path, stations, folder, command)
    assert windows(folder) == []
    stations.open(stations.path.with_name("next.db"))
    modes.create(stations)
    modes.insert(stations, *rows_at(30, pressure=7.0))
    stations.path.rename(tmp_path / "device" / "sensor.db")
    running.wait_until(lambda: windows(folder) != [], what="the old file's windows")
    assert windows(folder) == [(0, "a", 2, 2.0)]
    assert running.terminate() == 0


# -- time zones: the calendar, by the standard library


ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kolkata", "UTC"]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("minutes", [30, 120, 360, 1440, 2880])
def test_windows_in_a_time_zone_are_without_gap_or_overlap_the_whole_year(zone, minutes):
    mode = Aggregated(Schematized(), window_minutes=minutes, time_zone=zone)
    times = pl.datetime_range(
        datetime(2018, 1, 1, tzinfo=UTC), datetime(2018, 12, 31, tzinfo=UTC), "13m", time_unit="us", eager=True
    )
    frame = pl.DataFrame({"t": times}).with_columns(start=mode.window_of(pl.col("t")))
    frame = frame.with_columns(end=mode.end_of(pl.col("start")))
    assert frame.filter(~pl.col("t").is_between("start", "end", closed="left")).is_empty()
    borders = frame.select("start", "end").unique().sort("start")
    assert borders["end"][:-1].to_list() == borders["start"][1:].to_list()


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2025-10-26", 25),
        ("America/Sao_Paulo", "2018-11-04", 23),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Asia/Kolkata", "2026-05-01", 24),
    ],
)
def test_a_window_of_a_day_follows_the_calendar(stations, folder, zone, day, hours):
    here = ZoneInfo(zone)
    noon = datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=here)
    times = [noon.astimezone(UTC) + timedelta(minutes=7 * i) for i in range(-260, 260)]
    rows = [(t.isoformat(), float(i)) for i, t in enumerate(times)]
    stations.many("INSERT INTO stations (sensor_id, timestamp, pressure) VALUES ('a', ?, ?)", rows)
    run(stations, folder, flush=True, window_minutes=1440, time_zone=zone, aggregations={"pressure": ["sum", "last"]})
    by_day: dict = {}
    for time, (_, pressure) in zip(times, rows, strict=True):
        by_day.setdefault(time.astimezone(here).date(), []).append(pressure)
    found = modes.read(folder, SUFFIX).sort("window_start")
    assert found.select("record_count", "sum_pressure", "last_pressure").rows() == [
        (len(p), sum(p), p[-1]) for _, p in sorted(by_day.items())
    ]
    middle = found.row(sorted(by_day).index(noon.date()), named=True)
    assert (middle["window_end"] - middle["window_start"]) / 3.6e9 == hours
    starts = [datetime.fromtimestamp(s / 1e6, UTC).astimezone(here).date() for s in found["window_start"]]
    assert starts == sorted(by_day)


# -- bounds


def test_many_groups_and_columns_that_are_null_make_groups_of_their_own(stations, folder):
    rows = [(None if i % 100 == 0 else f"s{i}", f"2026-01-01T00:0{i % 5}:00Z", float(i)) for i in range(30_000)]
    stations.many("INSERT INTO stations (sensor_id, timestamp, pressure) VALUES (?, ?, ?)", rows)
    run(stations, folder, flush=True, size=5_000)
    found = modes.read(folder, SUFFIX)
    assert found.height == 30_000 - 300 + 1
    assert found.filter(pl.col("sensor_id").is_null())["record_count"].to_list() == [300]
