"""The views of sql/ over tables with several generations, run by DuckDB; tests/spark runs the same text in Spark."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pytest

from edge_delta.ask import statements

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR = "2026-01-01 "
READINGS = "node_id TEXT, source_generation INT, reading_id BIGINT, sensor_id TEXT, timestamp TIMESTAMP"
TABLES = {
    "readings_0_raw": "node_id TEXT, source_generation INT, source_rowid BIGINT",
    "readings_1_schematized": f"{READINGS}, databricks_inserted_at TIMESTAMP, temperature DOUBLE",
    "readings_2_sanitized": READINGS,
    "readings_3_aggregated": "node_id TEXT, source_generation INT, window_start TIMESTAMP, sensor_id TEXT, "
    "record_count BIGINT, avg_temperature DOUBLE, min_temperature DOUBLE, max_temperature DOUBLE, "
    "first_reading_id BIGINT",
    "readings_4_emergency": f"{READINGS}, alert_type TEXT, severity TEXT, alert_id BIGINT, value DOUBLE",
    "readings_rejected": "node_id TEXT, source_generation INT, reading_id BIGINT, mode TEXT, rule TEXT, "
    "column_name TEXT, replayed_at TIMESTAMP",
}


def in_duckdb(statement: str) -> str:
    """The words that DuckDB has others for, without what it has not."""
    for theirs, ours in (("current_timestamp()", "localtimestamp"), ("unix_timestamp(", "epoch(")):
        statement = statement.replace(theirs, ours)
    return re.sub(r"\n  COMMENT '[^']*' AS", " AS", statement).replace("* EXCEPT (", "* EXCLUDE (")


@pytest.fixture
def views() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        for name, columns in TABLES.items():
            connection.execute(f"CREATE TABLE {name} ({columns})")
        for file in statements.files()[2:4]:
            for _, statement in statements.split(file.read_text()):
                if statement.startswith("CREATE"):
                    connection.execute(in_duckdb(statement))
        yield connection


def reading(generation: int, row: int, time: str | None, value: float = 1.0) -> tuple[Any, ...]:
    moment = None if time is None else HOUR + time
    return ("n", generation, row, "a", moment, HOUR + "12:00", value)


def alert(generation: int, row: int, time: str, severity: str = "high", value: float = 1.0) -> tuple[Any, ...]:
    return ("n", generation, row, "a", HOUR + time, "hot", severity, generation * 1_000 + row, value)


def fill(views: duckdb.DuckDBPyConnection, table: str, *rows: tuple[Any, ...]) -> None:
    views.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)


def asked(views: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    return views.execute(sql).fetchall()


def test_readings_that_were_delivered_again_are_current_once_as_the_newest_generation_has_them(views):
    fill(views, "readings_1_schematized", *(reading(0, i, f"10:0{i}") for i in range(1, 6)))
    fill(views, "readings_1_schematized", *(reading(1, i, f"10:0{i}", 2.0) for i in range(3, 8)))
    found = asked(views, "SELECT reading_id, source_generation, temperature FROM current_readings ORDER BY ALL")
    assert found == [(1, 0, 1), (2, 0, 1), (3, 1, 2), (4, 1, 2), (5, 1, 2), (6, 1, 2), (7, 1, 2)]


def test_readings_of_a_database_that_was_made_again_are_all_current(views):
    fill(views, "readings_1_schematized", *(reading(0, i, f"10:0{i}") for i in range(1, 4)))
    fill(views, "readings_1_schematized", *(reading(1, i, f"11:0{i}") for i in range(1, 4)))
    assert asked(views, "SELECT count(*) FROM current_readings") == [(6,)]


def test_readings_without_a_time_are_never_taken_for_those_of_another_generation(views):
    fill(views, "readings_1_schematized", reading(0, 1, None), reading(1, 1, None))
    assert asked(views, "SELECT count(*) FROM current_readings") == [(2,)]


def test_windows_that_were_made_again_count_once_in_the_hours(views):
    for generation in (0, 1):
        fill(
            views,
            "readings_3_aggregated",
            *(("n", generation, HOUR + f"10:{5 * i:02}", "a", 60, 20.0, 10.0, 30.0, 60 * i + 1) for i in range(6)),
        )
    assert asked(views, "SELECT sum(record_count) FROM readings_3_aggregated") == [(720,)]
    assert asked(views, "SELECT record_count FROM fleet_hourly") == [(360,)]
    assert asked(views, "SELECT record_count FROM fleet_daily") == [(360,)]
    assert asked(views, "SELECT count(*) FROM quality_duplicates") == [(0,)]


def test_rows_that_are_there_twice_in_one_generation_are_found(views):
    fill(views, "readings_1_schematized", reading(0, 1, "10:00"), reading(1, 1, "10:00"), reading(1, 1, "10:00"))
    fill(views, "readings_3_aggregated", *[("n", 0, HOUR + "10:00", "a", 60, 20.0, 10.0, 30.0, 1)] * 2)
    fill(views, "readings_4_emergency", alert(0, 1, "10:00"), alert(0, 1, "10:00"))
    found = asked(views, "SELECT mode, reading_id, copies FROM quality_duplicates ORDER BY mode")
    assert found == [("aggregated", 1, 2), ("emergency", 1, 2), ("schematized", 1, 2)]


def test_alerts_of_one_rule_are_a_group_until_they_are_over(views):
    fill(views, "readings_4_emergency", alert(0, 1, "10:00"), alert(0, 5, "10:05", value=7.0))
    fill(views, "readings_4_emergency", alert(0, 6, "10:06", "over"), alert(0, 9, "10:09", value=9.0))
    groups = "SELECT alerts, value, strftime(open_since, '%H:%M'), strftime(over_since, '%H:%M') FROM alert_groups"
    assert asked(views, groups + " ORDER BY ALL") == [(1, 9.0, "10:09", None), (2, 7.0, "10:00", "10:06")]


def test_alerts_that_were_delivered_again_are_current_once(views):
    for generation in (0, 1):
        fill(views, "readings_4_emergency", alert(generation, 1, "10:00"), alert(generation, 2, "10:05", "over"))
    assert asked(views, "SELECT count(*), min(source_generation) FROM current_alerts") == [(2, 1)]


def test_an_alert_that_is_over_is_not_open(views):
    views.execute(
        "INSERT INTO readings_4_emergency SELECT 'n', 0, i, s, localtimestamp - INTERVAL 1 HOUR, 'hot', v, i, 1 FROM "
        " (VALUES (1, 'a', 'high'), (2, 'a', 'over'), (3, 'b', 'high')) t (i, s, v)"
    )
    assert asked(views, "SELECT sensor_id, alerts FROM open_alerts") == [("b", 1)]


def documented(language: str) -> str:
    """The block of the documents for one language."""
    text = (Path(__file__).parents[2] / "docs" / "modes.md").read_text(encoding="utf-8")
    [block] = re.findall(rf"```{language} no-run[^\n]*tests/ask[^\n]*\n(.*?)```", text, re.DOTALL)
    return str(block)


def test_the_documents_views_for_duckdb_and_polars_show_the_same_rows(views, monkeypatch):
    fill(views, "readings_1_schematized", *(reading(0, i, f"10:0{i}") for i in range(1, 6)), reading(0, 6, None))
    fill(views, "readings_1_schematized", *(reading(1, i, f"10:0{i}", 2.0) for i in range(3, 5)), reading(1, 6, None))
    fill(views, "readings_1_schematized", reading(1, 5, "11:05"))
    windows = [("n", g, HOUR + "10:00", "a", 60, 20.0, 10.0, 30.0, first) for g, first in ((0, 1), (0, 2), (1, 2))]
    fill(views, "readings_3_aggregated", *windows)
    fill(views, "readings_4_emergency", alert(0, 1, "10:00"), alert(1, 1, "10:00"), alert(1, 1, "11:00"))
    names = ("current_readings", "current_windows", "current_alerts")
    wanted = {name: sorted(asked(views, f"SELECT * FROM {name}"), key=repr) for name in names}
    assert [len(wanted[name]) for name in names] == [8, 2, 2]

    def scanned(path: str) -> pl.LazyFrame:
        return views.execute(f"SELECT * FROM {path.rpartition('/')[2]}").pl().lazy()

    monkeypatch.setattr(pl, "scan_delta", scanned)
    made: dict[str, Any] = {}
    exec(documented("python"), made)
    assert {name: sorted(made[name].collect().rows(), key=repr) for name in names} == wanted
    for statement in documented("sql").split(";\n"):
        if statement:
            text = re.sub(r"delta_scan\('[^']*/(\w+)'\)", r"\1", statement)
            views.execute(text.replace("CREATE VIEW", "CREATE OR REPLACE VIEW"))
    assert {name: sorted(asked(views, f"SELECT * FROM {name}"), key=repr) for name in names} == wanted
