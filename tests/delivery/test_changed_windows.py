"""Windows whose rows, or whose settings, are no longer what they were when the windows were written."""

from __future__ import annotations

import pytest

from edge_delta.core import events as telemetry
from edge_delta.core.errors import SchemaMismatch
from edge_delta.settings import load as config
from edge_delta.topology import commands
from tests.support import modes

SUFFIX = "_3_aggregated"
SETTINGS = {"window_minutes": 5, "allowed_lateness": 0, "aggregations": {"pressure": ["sum", "count"]}}


def add(sensor, *minutes, start="2026-01-01T00"):
    rows = [{"sensor_id": "a", "timestamp": f"{start}:{m:02}:00+00:00", "pressure": 1.0} for m in minutes]
    modes.insert(sensor, *rows)


def run(sensor, place, *, flush=False, **aggregate):
    return modes.deliver(sensor.path, place, "aggregated", flush=flush, sweep=0, aggregate=SETTINGS | aggregate)


def windows(place):
    """Rows and sum by window."""
    frame = modes.read(place, SUFFIX).sort("window_start")
    return frame.select("record_count", "sum_pressure").rows()


@pytest.fixture
def stations(sensor):
    modes.create(sensor)
    return sensor


@pytest.mark.parametrize("early", [True, False])
def test_a_written_window_keeps_the_rows_that_were_deleted_since_and_later_ones_are_told(stations, folder, early):
    how = {"emit": "early"} if early else {}
    add(stations, 0, 1, 2)
    run(stations, folder, flush=not early, **how)
    stations.run("DELETE FROM stations WHERE id IN (1, 2)")
    add(stations, 1, 2, 3, 4, 5)
    done = run(stations, folder, flush=True, **how)
    run(stations, folder, flush=True, **how)
    assert windows(folder) == [(3, 3.0), (1, 1.0)]
    assert [row for row, *_ in modes.rejected(folder)] == [4, 5, 6, 7]
    assert {rule for _, rule, _ in modes.rejected(folder)} == {"purged"}
    assert done.named("rows came too late")


def verified(stations):
    settings = config.load({"config": str(stations.path.with_name("settings.toml"))}, environment={})
    [report] = commands.verify(settings, telemetry.configure())
    return report


def test_rows_that_came_too_late_for_their_window_are_told_by_verify_after_a_backup_too(stations, folder):
    add(stations, 0, 1, 2)
    run(stations, folder, flush=True)
    assert verified(stations).equal
    stations.run("DELETE FROM stations WHERE id IN (1, 2)")
    add(stations, 3, 4, 10)
    modes.insert(stations, {"sensor_id": "a", "timestamp": "no time", "pressure": 1.0})
    run(stations, folder, flush=True)
    report = verified(stations)
    assert dict(report.counts) == {"lost": 2}
    assert "rule purged" in report.differences[0].detail
    assert any(note.startswith("1 rejected rows are in no window") for note in report.notes)
    stations.run("DELETE FROM stations WHERE id > 3")
    add(stations, 20)
    run(stations, folder, flush=True)
    assert dict(verified(stations).counts) == {"lost": 2}


def test_a_window_of_the_year_one_is_written_a_second_time(stations, folder):
    add(stations, 0, start="0001-01-01T00")
    add(stations, 10)
    run(stations, folder)
    add(stations, 1, start="0001-01-01T00")
    add(stations, 20)
    run(stations, folder, flush=True)
    assert windows(folder) == [(2, 2.0), (1, 1.0), (1, 1.0)]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"window_minutes": 10}, "windows of 5 minutes, and aggregate.window_minutes is 10"),
        ({"group_by": []}, "another aggregate.group_by"),
    ],
)
def test_other_windows_than_the_table_has_are_refused_until_a_reset(stations, folder, change, named):
    add(stations, 0, 6)
    run(stations, folder)
    add(stations, 7, 12)
    with pytest.raises(SchemaMismatch, match=named) as error:
        run(stations, folder, flush=True, **change)
    assert "reset --processing-mode aggregated --to-beginning" in str(error.value)
    assert run(stations, folder, flush=True).complete
    assert windows(folder) == [(1, 1.0), (2, 2.0), (1, 1.0)]


def test_another_time_zone_is_other_windows_only_where_they_begin_elsewhere(stations, folder):
    add(stations, 0, 6)
    run(stations, folder, flush=True)
    add(stations, 7)
    assert run(stations, folder, flush=True, time_zone="Asia/Kathmandu").complete
    assert windows(folder) == [(1, 1.0), (2, 2.0)]


def test_a_sum_that_64_bits_do_not_hold_is_null_and_not_another_number(sensor, folder):
    sensor.run("CREATE TABLE stations (id INTEGER PRIMARY KEY, timestamp TEXT, sensor_id TEXT, n INTEGER)")
    rows = [("2026-01-01T00:00:00Z", 6 * 10**18), ("2026-01-01T00:01:00Z", 6 * 10**18), ("2026-01-01T00:06:00Z", 7)]
    for row in rows:
        sensor.run("INSERT INTO stations (timestamp, sensor_id, n) VALUES (?, 'a', ?)", *row)
    run(sensor, folder, flush=True, aggregations={"n": ["sum", "mean", "count"]})
    frame = modes.read(folder, SUFFIX).sort("window_start")
    assert frame.select("sum_n", "avg_n", "count_n").rows() == [(None, 6e18, 2), (7, 7.0, 1)]


def test_a_window_that_begins_in_the_year_zero_is_verified(stations, folder):
    add(stations, 0, 5, start="0001-01-01T00")
    add(stations, 10)
    days = {"window_minutes": 1440, "time_zone": "Asia/Tokyo"}
    run(stations, folder, flush=True, **days)
    settings = config.load({"config": str(stations.path.with_name("settings.toml"))}, environment={})
    assert commands.verify(settings, telemetry.configure())[0].equal
    stations.run("UPDATE stations SET pressure = 2 WHERE id = 1")
    [report] = commands.verify(settings, telemetry.configure())
    assert [(one.kind, str(one.id)[:4]) for one in report.differences] == [("cell", "0000")]
    add(stations, 20, start="0001-01-01T00")
    run(stations, folder, flush=True, **days)
    assert windows(folder) == [(3, 4.0), (1, 1.0)]
