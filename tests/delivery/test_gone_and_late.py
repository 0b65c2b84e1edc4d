"""Rows of open windows that are deleted while others come late: told if so many came that no checksum tells them."""

from __future__ import annotations

import shutil

import pytest

from edge_delta.core import events as telemetry
from edge_delta.delivery.known_rows import ANY, Gone, KnownRows
from edge_delta.settings import load as config
from edge_delta.topology import commands
from tests.delivery.test_windows import SUM, rows_at, windows
from tests.support import modes

KEPT, LOST = False, True


def equal(sensor):
    """Whether `verify` finds all tables of the last run's settings equal."""
    loaded = config.load({"config": str(sensor.path.parent / "settings.toml")}, environment={})
    return all(report.equal for report in commands.verify(loaded, telemetry.configure()))


@pytest.fixture
def stations(sensor):
    """Thirty rows of one open window, under ids that leave room."""
    modes.create(sensor)
    modes.insert(sensor, *[row | {"id": 10 * i} for i, row in enumerate(rows_at(*[0, 1, 2] * 10), 1)])
    return sensor


def once(stations, folder, sweep, chosen="aggregated"):
    settings = {"aggregations": SUM, "allowed_lateness": 0}
    return modes.deliver(stations.path, folder, chosen, sweep=sweep, aggregate=settings)


def told(stations, folder, *, deleted, late, lost, sweep, chosen="aggregated"):
    """What the log says of rows that are gone or left, until the window is written."""
    once(stations, folder, sweep, chosen)
    if lost:
        shutil.rmtree(stations.path.parent / "state")
    stations.run("DELETE FROM stations WHERE id IN (SELECT id FROM stations ORDER BY id LIMIT ?)", deleted)
    modes.insert(stations, *[row | {"id": 100 + i} for i, row in enumerate(rows_at(*[3] * late), 1)])
    done = [once(stations, folder, sweep, chosen) for _ in range(2)]
    modes.insert(stations, *rows_at(20))
    done += [once(stations, folder, sweep, chosen) for _ in range(2)]
    assert windows(folder) == [(0, "a", 30 - deleted + late, 30.0 - deleted + late)]
    names = "rows purged before their window closed", "rows below the cursor not delivered"
    return [event for one in done for name in names for event in one.named(name) if event["mode"] == "aggregated"]


@pytest.mark.parametrize("chosen", ["aggregated", ["aggregated", "raw"]], ids=["alone", "beside readings"])
@pytest.mark.parametrize("sweep", [0, 3_600])
@pytest.mark.parametrize("lost", [KEPT, LOST], ids=["state kept", "state lost"])
@pytest.mark.parametrize(("deleted", "late"), [(1, 1), (1, 3), (1, 5), (3, 9), (5, 4)])
def test_rows_that_are_gone_are_told_however_many_came_late(  # noqa: PLR0917
    deleted, late, lost, sweep, chosen, stations, folder
):
    assert told(stations, folder, deleted=deleted, late=late, lost=lost, sweep=sweep, chosen=chosen)


@pytest.mark.parametrize("sweep", [0, 3_600])
@pytest.mark.parametrize("late", [1, 2, 5, 9])
def test_late_rows_are_not_told_as_gone_or_left(late, sweep, stations, folder):
    assert told(stations, folder, deleted=0, late=late, lost=KEPT, sweep=sweep) == []
    assert equal(stations)


@pytest.mark.parametrize("late", [3, 9])
def test_late_rows_are_told_as_unsure_where_nothing_else_knows_them(late, stations, folder):
    [unsure] = told(stations, folder, deleted=0, late=late, lost=LOST, sweep=0)
    assert (unsure["first_id"], unsure["last_id"]) == (1, 300)


@pytest.mark.parametrize("late", [3, 9])
def test_late_rows_are_known_from_a_table_of_readings(late, stations, folder):
    assert told(stations, folder, deleted=0, late=late, lost=LOST, sweep=0, chosen=["aggregated", "raw"]) == []


@pytest.mark.parametrize("apart", [False, True], ids=["at once", "seen one after the other"])
@pytest.mark.parametrize("chosen", ["aggregated", ["aggregated", "raw"]], ids=["alone", "beside readings"])
@pytest.mark.parametrize(("deleted", "late"), [((20,), 1), ((20,), 2), ((10,), 1), ((20, 30), 2), ((20, 30), 3)])
def test_late_rows_do_not_make_up_for_deleted_ones_of_a_written_window(  # noqa: PLR0917
    deleted, late, chosen, apart, stations, folder
):
    modes.insert(stations, *rows_at(20))
    once(stations, folder, 0, chosen)
    stations.run(f"DELETE FROM stations WHERE id IN ({', '.join(map(str, deleted))})")
    if apart:
        once(stations, folder, 0, chosen)
    modes.insert(stations, *[row | {"id": 100 + i} for i, row in enumerate(rows_at(*[3] * late), 1)])
    done = once(stations, folder, 0, chosen)
    assert windows(folder) == [(0, "a", 30, 30.0)]
    assert [event["rows"] for event in done.named("rows came too late")] == [late]
    assert not equal(stations)
    assert not once(stations, folder, 0, chosen).named("rows came too late")


def test_deleted_rows_elsewhere_keep_no_late_row_from_its_window(stations, folder):
    modes.insert(stations, *[row | {"id": 500 + i} for i, row in enumerate(rows_at(*[7] * 10, 20))])
    once(stations, folder, 0)
    stations.run("DELETE FROM stations WHERE id BETWEEN 500 AND 504")
    modes.insert(stations, *[row | {"id": 100 + i} for i, row in enumerate(rows_at(3, 3), 1)])
    done = once(stations, folder, 0)
    assert windows(folder) == [(0, "a", 32, 32.0), (5, "a", 10, 10.0)]
    assert not done.named("rows came too late")
    assert equal(stations)


LEFT = "rows below the cursor not delivered"


@pytest.mark.parametrize("chosen", ["aggregated", ["aggregated", "raw"]], ids=["alone", "beside readings"])
@pytest.mark.parametrize("minutes", [(22,), (22, 23), (22, 5), (5, 22), (22, 5, 1)], ids=str)
@pytest.mark.parametrize("apart", [False, True], ids=["at once", "one after the other"])
def test_rows_under_used_ids_that_lie_in_an_open_window_are_in_it(apart, minutes, chosen, stations, folder):
    modes.insert(stations, *rows_at(20, 21))
    done = [once(stations, folder, 0, chosen)]
    for rowid, row in enumerate(rows_at(*minutes), 1):
        stations.run("DELETE FROM stations WHERE id = ?", 10 * rowid)
        modes.insert(stations, row | {"id": 10 * rowid})
        done += [once(stations, folder, 0, chosen)] if apart else []
    done.append(once(stations, folder, 0, chosen))
    assert not [event for one in done for event in one.named("rows below the cursor not delivered")]
    assert [e["rows"] for one in done for e in one.named("rows came too late")] == [1] * (1 in minutes)
    modes.insert(stations, *rows_at(40))
    once(stations, folder, 0, chosen)
    written = {start: rows for start, _, rows, _ in windows(folder)}
    assert written[20] == 2 + sum(minute > 20 for minute in minutes)
    assert equal(stations) == (1 not in minutes)


@pytest.mark.parametrize("chosen", ["aggregated", ["aggregated", "raw"]], ids=["alone", "beside readings"])
@pytest.mark.parametrize("sweep", [0, 3_600])
@pytest.mark.parametrize("lost", [KEPT, LOST], ids=["state kept", "state lost"])
@pytest.mark.parametrize("emit", ["early", "closed"])
@pytest.mark.parametrize("used", [1, 9])
def test_rows_of_an_open_window_that_gave_their_ids_to_others_of_it_are_told(  # noqa: PLR0917
    used, emit, lost, sweep, chosen, stations, folder
):
    settings = {"aggregations": SUM, "allowed_lateness": 0, "emit": emit}
    modes.deliver(stations.path, folder, chosen, sweep=sweep, aggregate=settings)
    if lost:
        shutil.rmtree(stations.path.parent / "state")
    for rowid in range(300, 300 - 10 * used, -10):
        stations.run("DELETE FROM stations WHERE id = ?", rowid)
        modes.insert(stations, rows_at(3)[0] | {"id": rowid})
    modes.deliver(stations.path, folder, chosen, sweep=sweep, aggregate=settings)
    modes.insert(stations, *rows_at(20, 40))
    modes.deliver(stations.path, folder, chosen, sweep=sweep, aggregate=settings)
    assert sum(rows for start, _, rows, _ in windows(folder) if start == 0) == (30 + used if equal(stations) else 30)


@pytest.mark.parametrize(("before", "now"), [(300, 0), (0, 300)])
@pytest.mark.parametrize("emit", ["early", "closed"])
def test_no_row_of_an_open_window_is_lost_where_the_lateness_is_another_one_by_now(emit, before, now, stations, folder):
    modes.insert(stations, *rows_at(7, 8))
    for lateness in (before, now):
        settings = {"aggregations": SUM, "allowed_lateness": lateness, "emit": emit}
        modes.deliver(stations.path, folder, "aggregated", aggregate=settings)
    modes.insert(stations, *rows_at(40, 60))
    modes.deliver(stations.path, folder, "aggregated", aggregate=settings)
    assert windows(folder)[:2] == [(0, "a", 30, 30.0), (5, "a", 2, 2.0)]
    assert equal(stations)


@pytest.mark.parametrize("late", [0, 1])
def test_it_is_told_that_late_rows_may_make_up_for_deleted_ones_where_the_state_is_lost(late, stations, folder):
    modes.insert(stations, *rows_at(20))
    once(stations, folder, 0)
    shutil.rmtree(stations.path.parent / "state")
    stations.run("DELETE FROM stations WHERE id IN (SELECT id FROM stations ORDER BY id LIMIT ?)", late)
    modes.insert(stations, *[row | {"id": 100 + i} for i, row in enumerate(rows_at(*[3] * late), 1)])
    assert [(one["first_id"], one["last_id"]) for one in once(stations, folder, 0).named(LEFT)] == [(1, 301)] * late


GONE = {"all over": "id % 3000 = 2", "purged": "id < 500"}


@pytest.mark.parametrize(("gone", "late", "apart", "unsure"), [
    ("all over", True, 2, True),
    ("all over", False, 2, True),
    ("all over", False, 1, False),
    ("purged", False, 2, False),
    ("purged", False, 1, False),
])  # fmt: skip
def test_it_is_told_where_rows_of_ranges_that_changed_are_too_many_to_be_known(  # noqa: PLR0917
    gone, late, apart, unsure, sensor, folder
):
    """Where each id had a row, none can have come late."""
    modes.create(sensor)
    insert = "INSERT INTO stations (id, sensor_id, timestamp, pressure)"
    numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 120000)"
    at = "strftime('%Y-%m-%dT%H:%M:%S', 1767225600 + i / 200, 'unixepoch')"
    sensor.run(f"{insert} {numbers} SELECT {apart} * i, 'a', {at}, 1.0 FROM n")
    once(sensor, folder, 0)
    sensor.run(f"DELETE FROM stations WHERE {GONE[gone]}")
    if late:
        sensor.run(f"{insert} SELECT id + 1, 'a', timestamp, 1.0 FROM stations WHERE id % 3000 = 4")
    assert bool(once(sensor, folder, 0).named(LEFT)) == unsure


def test_it_is_told_that_nobody_knows_which_rows_a_window_had_where_the_state_is_lost(stations, folder):
    modes.insert(stations, *rows_at(20))
    once(stations, folder, 0)
    shutil.rmtree(stations.path.parent / "state")
    stations.run("DELETE FROM stations WHERE id = 20")
    modes.insert(stations, *[row | {"id": 100 + i} for i, row in enumerate(rows_at(3, 3), 1)])
    assert once(stations, folder, 0).named("rows below the cursor not delivered")
    assert windows(folder) == [(0, "a", 31, 31.0)]


@pytest.mark.parametrize("chosen", ["aggregated", ["aggregated", "raw"]], ids=["alone", "beside readings"])
@pytest.mark.parametrize("lost", [KEPT, LOST], ids=["state kept", "state lost"])
def test_a_late_row_of_a_window_that_the_same_run_writes_is_not_told_as_too_late(lost, chosen, stations, folder):
    once(stations, folder, 0, chosen)
    if lost:
        shutil.rmtree(stations.path.parent / "state")
    modes.insert(stations, *[row | {"id": 101} for row in rows_at(3)], *rows_at(20))
    done = once(stations, folder, 0, chosen)
    assert windows(folder) == [(0, "a", 31, 31.0)]
    assert not done.named("rows came too late")
    assert equal(stations)


def test_it_stays_known_that_nobody_knows_which_rows_are_gone():
    assert not KnownRows.of(KnownRows(upto=9, gone=ANY).kept()).gone.known
    runs = [(10 * i, 1, 1) for i in range(6_000)]
    assert not KnownRows.of(KnownRows(upto=70_000, gone=Gone(runs)).kept()).gone.known
    assert KnownRows.of(KnownRows(upto=9, gone=Gone(runs[:3])).kept()).gone == Gone(runs[:3])
