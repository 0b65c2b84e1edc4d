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
from edge_delta.sinks.superseded import SCHEMA
from tests.ask.test_current import documented, in_duckdb
from tests.support.lives import CASES, MADE_FIRST, QUESTIONS, TABLES, World, steps

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
