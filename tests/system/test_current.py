"""Restored, reset, renumbered, recreated, two in a row, in every mode: the current views equal the truth.

The views are those of sql/, run by DuckDB, and those of docs/modes.md for DuckDB and Polars; tests/spark has the same
cases for Spark.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pytest

from edge_delta.ask import statements
from edge_delta.core.errors import SourceReset, TwoSources
from edge_delta.sinks.superseded import SCHEMA
from tests.ask.test_current import documented, in_duckdb
from tests.support.lives import CASES, MADE_FIRST, QUESTIONS, SETTINGS, TABLES, World, steps

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.tables import Place

Answers = dict[str, list[tuple[Any, ...]]]
SECONDS = {name: f"CAST(epoch({name}) AS BIGINT)" for name in ("window_start", "timestamp")}


def frames(place: Place) -> dict[str, pl.DataFrame]:
    """The tables by their names."""
    there = {suffix: place.read(suffix) for suffix in (*TABLES.values(), "_superseded") if place.exists(suffix)}
    return {f"readings{suffix}": frame for suffix, frame in there.items()}


def asked(connection: duckdb.DuckDBPyConnection, names: Iterable[str]) -> Answers:
    return {name: sorted(connection.execute(QUESTIONS[name].format(**SECONDS)).fetchall()) for name in names}


def by_the_files(place: Place, names: Iterable[str]) -> Answers:
    """What the views of sql/ answer."""
    tables = frames(place)
    missing = {f"readings{suffix}" for suffix in (*TABLES.values(), "_superseded")} - tables.keys()
    if "readings_1_schematized" in missing:
        missing.add("delivered_readings")
    with duckdb.connect() as connection:
        for name, frame in tables.items():
            connection.register(name, frame)
        for _, whole in statements.split(statements.files()[2].read_text(encoding="utf-8")):
            statement = statements.without(whole, missing)
            if MADE_FIRST.match(statement) and not any(name in statement for name in missing):
                connection.execute(in_duckdb(statement))
        return asked(connection, names)


def by_the_documents(place: Place, names: Iterable[str], monkeypatch: pytest.MonkeyPatch) -> list[Answers]:
    """What the views of docs/modes.md answer, in DuckDB and in Polars."""
    tables = {"readings_superseded": pl.DataFrame(schema=SCHEMA)} | frames(place)
    monkeypatch.setattr(pl, "scan_delta", lambda path: tables[path.rpartition("/")[2]].lazy())
    made: dict[str, Any] = {}
    exec(documented("python"), made)
    with duckdb.connect() as duck, duckdb.connect() as beside:
        for name, frame in tables.items():
            duck.register(name, frame)
        duck.execute(re.sub(r"delta_scan\('[^']*/(\w+)'\)", r"\1", documented("sql")))
        for name in names:
            beside.register(f"current_{name}", made[f"current_{name}"].collect())
        return [asked(duck, names), asked(beside, names)]


def assert_equal(found: Answers, wanted: Answers) -> None:
    for name, rows in found.items():
        few, many = [r for r in wanted[name] if r not in rows], [r for r in rows if r not in wanted[name]]
        assert rows == wanted[name], f"{name}: missing {few[:5]}, not wanted {many[:5]}"


@pytest.mark.parametrize("case", CASES, ids=["-".join(case) for case in CASES])
def test_the_current_views_equal_the_truth(case, sensor, folder, monkeypatch):
    world = World(sensor, folder, seed=len(str(case)), key="renumber" not in case)
    steps(world, *case)
    wanted = world.wanted()
    assert_equal(by_the_files(folder, wanted), wanted)
    for found in by_the_documents(folder, ("readings", "windows", "alerts"), monkeypatch):
        assert_equal(found, wanted)


def test_readings_that_were_purged_before_a_reset_stay_current_with_their_windows(sensor, folder):
    world = World(sensor, folder, seed=3)
    world.add(130)
    world.deliver()
    sensor.run("DELETE FROM stations WHERE id <= 60")
    world.reset()
    world.add(40)
    world.deliver()
    assert_equal(by_the_files(folder, TABLES), world.wanted())


@pytest.mark.parametrize("emit", ["closed", "early"])
def test_a_reset_into_what_was_written_while_it_was_open_loses_no_row_of_a_window(emit, sensor, folder):
    world = World(sensor, folder, seed=5, chosen=["schematized", "aggregated"])
    aggregate = {**SETTINGS["aggregate"], "emit": emit}
    world.add(130)
    world.deliver(aggregate=aggregate)
    world.reset(0.9)  # the last window lies behind it with all of its rows
    for flush in (False, True):
        world.deliver(flush=flush, aggregate=aggregate)
        wanted = world.wanted()
        assert_equal(by_the_files(folder, wanted), wanted)
    assert world.verified() == []


def test_a_source_that_is_back_after_another_one_is_current_once_when_a_reset_says_that_it_is_meant(sensor, folder):
    world = World(sensor, folder, seed=6)
    world.add(130)
    world.deliver()
    world.backup()
    world.recreate()
    world.add(90)
    world.deliver()
    world.restore()
    world.add(40)
    with pytest.raises(TwoSources, match="reset --to-beginning"):
        world.deliver()
    with pytest.raises(SourceReset, match="pass --to-beginning"):
        world.reset(0.5)
    world.reset()
    world.deliver()
    world.add(60)
    world.deliver()
    assert_equal(by_the_files(folder, TABLES), world.wanted())
    assert world.verified() == []


def test_a_source_that_was_made_again_is_delivered_before_it_is_reset(sensor, folder):
    world = World(sensor, folder, seed=8)
    world.add(110)
    world.deliver()
    world.recreate()
    world.add(20)
    with pytest.raises(SourceReset, match="no run has seen this one"):
        world.reset()
    world.deliver()
    world.reset()
    world.deliver()
    assert_equal(by_the_files(folder, TABLES), world.wanted())
    assert world.verified() == []


@pytest.mark.parametrize("between", [0, 5])
def test_a_window_whose_first_rows_were_purged_keeps_them_when_more_than_those_come_after_a_reset(
    between, sensor, folder
):
    world = World(sensor, folder, seed=7, chosen=["schematized", "aggregated"])
    world.add(110)
    world.deliver()
    sensor.run("DELETE FROM stations WHERE id <= 95")
    world.reset()
    if between:
        world.add(between)
        world.deliver()
    world.add(60)
    world.deliver()
    wanted = world.wanted()
    assert_equal(by_the_files(folder, wanted), wanted)


def test_windows_of_another_length_count_each_reading_once_after_a_reset(sensor, folder):
    world = World(sensor, folder, seed=4)
    world.add(200)
    world.deliver()
    world.reset()
    aggregate = {**SETTINGS["aggregate"], "window_minutes": 7}
    world.deliver(aggregate=aggregate)
    world.add(50)
    world.deliver(aggregate=aggregate)
    windows = by_the_files(folder, ["windows"])["windows"]
    assert sum(rows for _, _, rows, *_ in windows) == len(world.readings)
    assert sum(total for _, _, _, total, *_ in windows) == sum(number for *_, number in world.readings)
    assert {start % 420 for start, *_ in windows} == {0}


def test_a_group_of_alerts_that_was_open_goes_on_where_a_backup_was_restored(sensor, folder):
    world = World(sensor, folder, chosen=["raw", "emergency"])
    cooled = {"emergency": SETTINGS["emergency"] | {"cooldown": 3600}}

    def hot(*values: float) -> None:
        now = 1_767_225_600 + 60 * len(world.readings)
        rows = [("a", now + 60 * i, value, float(len(world.readings) + i)) for i, value in enumerate(values)]
        world.insert(rows)

    hot(20.0, 40.0, 41.0)
    world.deliver(**cooled)
    world.backup()
    hot(42.0)
    world.deliver(**cooled)
    world.restore()
    hot(43.0, 20.0)
    world.deliver(**cooled)
    alerts = folder.read("_4_emergency").sort("source_generation", "reading_id")
    assert alerts.select("value", "severity").rows() == [(40.0, "high"), (20.0, "over")]


def test_a_group_of_alerts_that_was_open_when_its_source_went_ends_where_the_value_comes_back(sensor, folder):
    world = World(sensor, folder, chosen=["schematized", "emergency"])
    cooled = {"emergency": SETTINGS["emergency"] | {"cooldown": 3600}}
    now = 1_767_225_600
    world.insert([("a", now, 40.0, 1.0), ("b", now, 41.0, 2.0), ("c", now, 42.0, 3.0), ("c", now + 9, 20.0, 4.0)])
    world.deliver(**cooled)
    world.recreate()
    world.insert([(name, now + 60, 43.0 if name == "b" else 20.0, 5.0) for name in "abc"])
    world.insert([(name, now + 90, 20.0, 5.0) for name in "abc"])
    world.deliver(**cooled)
    alerts = folder.read("_4_emergency").sort("source_generation", "sensor_id", "reading_id")
    told = alerts.select("source_generation", "sensor_id", "reading_id", "severity").rows()
    assert told[:4] == [(0, "a", 1, "high"), (0, "b", 2, "high"), (0, "c", 3, "high"), (0, "c", 4, "over")]
    assert told[4:] == [(1, "a", 1, "over"), (1, "b", 2, "high"), (1, "b", 5, "over")]
    assert world.verified() == []
