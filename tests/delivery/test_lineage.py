"""How far a source that took another one's place begins with rows that were delivered."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from edge_delta.delivery.alike import Alike, pairs
from edge_delta.delivery.other_ids import stretches

SWEEP = {"SWEEP": "0"}


def recreated(sensor):
    sensor.run("DROP TABLE readings")
    sensor.create()


def test_a_source_whose_clock_began_anew_is_another_one_though_some_rows_are_alike(sensor, folder, command):
    sensor.create()
    sensor.add(100)
    edge = command(sensor.path, folder, node_id="n1")
    edge.once(env=SWEEP).succeeded()
    recreated(sensor)
    for count, start, seed in ((10, 0, 1), (5, 10, 0), (84, 15, 1)):
        sensor.add(count, start=start, seed=seed)
    edge.once(env=SWEEP).succeeded()
    rows = folder.read()
    assert rows.filter(source_generation=1)["reading_id"].sort().to_list() == list(range(1, 100))


def test_a_source_with_few_old_rows_left_under_other_ids_goes_on_behind_them(sensor, folder, command):
    """Nine of ten were purged, three came from elsewhere with old times, and all ids are new."""
    sensor.run("CREATE TABLE r (sensor_id TEXT, timestamp TEXT, temperature REAL)")
    insert = "INSERT INTO r VALUES (?, strftime('%Y-%m-%dT%H:%M:%SZ', ?, 'unixepoch'), ?)"
    sensor.many(insert, [(f"s{i}", 1_767_225_600 + i, i / 7) for i in range(200)])
    edge = command(sensor.path, folder, node_id="n1")
    edge.once(env=SWEEP).succeeded()
    sensor.run("DELETE FROM r WHERE rowid <= 180")
    for rowid, name in ((7, "late 0"), (9, "late 1"), (11, "late 2")):
        sensor.run(
            "INSERT INTO r (rowid, sensor_id, timestamp, temperature) VALUES (?, ?, '2026-01-01T00:00:30Z', 1)",
            rowid,
            name,
        )
    sensor.run("VACUUM")
    edge.once(env=SWEEP).succeeded()
    wanted = [*(f"s{i}" for i in range(200)), *(f"late {i}" for i in range(3))]
    assert sorted(folder.read()["sensor_id"]) == sorted(wanted)


def timed(sensor, ids, value, *, name="hall"):
    """Rows that have the same unit and state, and a time by their id; values are those of a function of it."""
    rows = [(i, name, 1_767_225_600 + i, value(i)) for i in ids]
    insert = "INSERT INTO r VALUES (?, ?, strftime('%Y-%m-%dT%H:%M:%SZ', ?, 'unixepoch'), 'C', 'ok', ?)"
    sensor.many(insert, rows)


@pytest.fixture
def hall(sensor):
    sensor.run("CREATE TABLE r (id INTEGER PRIMARY KEY, sensor_id TEXT, timestamp TEXT, unit TEXT, state TEXT, t REAL)")
    timed(sensor, range(1, 61), lambda i: i / 7)
    return sensor


def since(folder):
    """Ids of the rows that came behind the first generation."""
    return folder.read().filter(pl.col("source_generation") > 0)["reading_id"].sort().to_list()


def test_rows_of_a_source_made_again_come_though_time_unit_and_state_are_those_of_before(hall, folder, command):
    edge = command(hall.path, folder, node_id="n1")
    edge.once(env=SWEEP).succeeded()
    hall.run("DELETE FROM r")
    timed(hall, range(1, 41), lambda i: i / 3 + 50)
    edge.once(env=SWEEP).succeeded()
    assert since(folder) == [*range(1, 41)]


def test_rows_behind_a_backup_come_though_they_have_the_ids_and_times_of_those_it_took_back(hall, folder, command):
    edge = command(hall.path, folder, node_id="n1")
    edge.once(env=SWEEP).succeeded()
    hall.run("DELETE FROM r WHERE id > 40")
    timed(hall, range(41, 56), lambda i: i / 3 + 50)
    edge.once(env=SWEEP).succeeded()
    assert since(folder) == [*range(41, 56)]


def test_rows_that_were_changed_altogether_are_known_before_others_of_a_backup(hall, folder, command):
    edge = command(hall.path, folder, node_id="n1")
    edge.once(env=SWEEP).succeeded()
    hall.run("DELETE FROM r WHERE id > 40")
    hall.run("UPDATE r SET sensor_id = 'roof', unit = 'F', state = 'old', t = t + 100 WHERE id IN (30, 31, 32)")
    edge.once(env=SWEEP).succeeded()
    timed(hall, range(100, 105), float)
    edge.once(env=SWEEP).succeeded()
    assert since(folder) == [*range(100, 105)]


def test_equal_rows_are_as_many_as_were_delivered():
    alike = Alike(0, [0.0, 1.0])
    found = pairs([(1, (5, "a")), (2, (5, "a")), (3, (5, "a"))], [(11, (5, "a")), (12, (5, "a"))], alike)
    assert found == ({1: 11, 2: 12}, {})


def test_a_row_that_was_updated_is_the_one_at_its_time_and_an_equal_one_comes_first():
    alike = Alike(0, [0.0, 1.0, 1.0, 1.0])
    delivered = [(11, (5, "a", 1, 1)), (12, (5, "a", 1, 2))]
    assert pairs([(1, (5, "a", 1, 3)), (2, (5, "a", 1, 1))], delivered, alike) == ({2: 11}, {1: 12})


def test_rows_without_a_time_are_told_only_if_they_are_equal():
    alike = Alike(0, [0.0, 1.0])
    assert pairs([(1, (None, "a")), (2, (None, "b"))], [(11, (None, "b"))], alike) == ({2: 11}, {})


@pytest.mark.parametrize("kind", [pl.Int64, pl.Float64, pl.Datetime("us", "UTC")])
def test_one_old_row_is_a_stretch_of_its_own(kind):
    """Else the table would be asked for all that lies between."""
    times = pl.Series([5, *range(1_000_000, 1_000_100)]).cast(pl.Int64).cast(kind)
    found = list(stretches(times))
    assert found[0] == (times[0], times[0])
    assert found[1][0] == times[1]
    assert found[-1][1] == times[-1]


def test_times_as_text_are_one_stretch():
    assert list(stretches(pl.Series(["2026", "2027", "3"]))) == [("2026", "3")]
    assert list(stretches(pl.Series([], dtype=pl.String))) == []
    assert list(stretches(pl.Series([datetime(2026, 1, 1, tzinfo=UTC)]))) == [(datetime(2026, 1, 1, tzinfo=UTC),) * 2]
