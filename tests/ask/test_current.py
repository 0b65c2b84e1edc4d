"""The views of sql/ over tables with several generations, run by DuckDB; tests/spark runs the same text in Spark."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from edge_delta.ask import statements

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR = "2026-01-01 "
READINGS = "node_id TEXT, source_generation INT, reading_id BIGINT, sensor_id TEXT, timestamp TIMESTAMP"
TABLES = {
    "readings_0_raw": "node_id TEXT, source_generation INT, source_rowid BIGINT",
    "readings_superseded": "node_id TEXT, mode TEXT, source_generation INT, after_id BIGINT, upto_id BIGINT, "
    "by_generation INT, other_ids BOOLEAN",
    "readings_1_schematized": f"{READINGS}, databricks_inserted_at TIMESTAMP, temperature DOUBLE",
    "readings_2_sanitized": READINGS,
    "readings_3_aggregated": "node_id TEXT, source_generation INT, window_start TIMESTAMP, sensor_id TEXT, "
    "record_count BIGINT, avg_temperature DOUBLE, min_temperature DOUBLE, max_temperature DOUBLE, "
    "first_reading_id BIGINT, last_reading_id BIGINT",
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


def reset(views: duckdb.DuckDBPyConnection, mode: str, after: int = 0, upto: int = 99, *, ids: bool = False) -> None:
    """Generation 1 delivers generation 0 again."""
    fill(views, "readings_superseded", ("n", mode, 0, after, upto, 1, ids))


def test_readings_that_were_delivered_again_are_current_once_whatever_they_look_like_now(views):
    fill(views, "readings_1_schematized", *(reading(0, i, f"10:0{i}") for i in range(1, 6)), reading(0, 6, None))
    fill(views, "readings_1_schematized", *(reading(1, i, f"12:0{i}", 2.0) for i in range(3, 8)))
    reset(views, "schematized", after=2)
    found = asked(views, "SELECT reading_id, source_generation, temperature FROM current_readings ORDER BY ALL")
    assert found == [(1, 0, 1), (2, 0, 1), (3, 1, 2), (4, 1, 2), (5, 1, 2), (6, 1, 2), (7, 1, 2)]


def test_a_reading_that_did_not_come_again_stays_current(views):
    fill(views, "readings_1_schematized", *(reading(0, i, f"10:0{i}") for i in range(1, 6)), reading(1, 2, "10:02"))
    reset(views, "schematized")
    found = asked(views, "SELECT reading_id, source_generation FROM current_readings ORDER BY ALL")
    assert found == [(1, 0), (2, 1), (3, 0), (4, 0), (5, 0)]


def test_readings_that_came_again_under_other_ids_are_current_once(views):
    fill(views, "readings_1_schematized", *(reading(0, i, f"10:0{i}") for i in range(5, 9)))
    fill(views, "readings_1_schematized", *(reading(1, i, f"10:0{i + 4}") for i in range(1, 5)))
    reset(views, "schematized", ids=True)
    assert asked(views, "SELECT reading_id FROM current_readings ORDER BY ALL") == [(1,), (2,), (3,), (4,)]


def test_readings_of_a_database_that_was_made_again_are_all_current(views):
    fill(views, "readings_1_schematized", *(reading(0, i, f"10:0{i}") for i in range(1, 4)))
    fill(views, "readings_1_schematized", *(reading(1, i, f"10:0{i}") for i in range(1, 4)))
    assert asked(views, "SELECT count(*) FROM current_readings") == [(6,)]


def test_windows_that_were_made_again_count_once_in_the_hours(views):
    for generation in (0, 1):
        fill(
            views,
            "readings_3_aggregated",
            *(
                ("n", generation, HOUR + f"10:{5 * i:02}", "a", 60, 20.0, 10.0, 30.0, 60 * i + 1, 60 * i + 60)
                for i in range(6)
            ),
        )
    reset(views, "aggregated", upto=999)
    assert asked(views, "SELECT sum(record_count) FROM readings_3_aggregated") == [(720,)]
    assert asked(views, "SELECT record_count FROM fleet_hourly") == [(360,)]
    assert asked(views, "SELECT record_count FROM fleet_daily") == [(360,)]
    assert asked(views, "SELECT count(*) FROM quality_duplicates") == [(0,)]


def test_rows_that_are_there_twice_in_one_generation_are_found(views):
    fill(views, "readings_1_schematized", reading(0, 1, "10:00"), reading(1, 1, "10:00"), reading(1, 1, "10:00"))
    fill(views, "readings_3_aggregated", *[("n", 0, HOUR + "10:00", "a", 60, 20.0, 10.0, 30.0, 1, 60)] * 2)
    fill(views, "readings_4_emergency", alert(0, 1, "10:00"), alert(0, 1, "10:00"))
    found = asked(views, "SELECT mode, reading_id, copies FROM quality_duplicates ORDER BY mode")
    assert found == [("aggregated", 1, 2), ("emergency", 1, 2), ("schematized", 1, 2)]


def test_alerts_of_one_rule_are_a_group_until_they_are_over(views):
    fill(views, "readings_4_emergency", alert(0, 1, "10:00"), alert(0, 5, "10:05", value=7.0))
    fill(views, "readings_4_emergency", alert(0, 6, "10:06", "over"), alert(0, 9, "10:09", value=9.0))
    groups = "SELECT alerts, value, strftime(open_since, '%H:%M'), strftime(over_since, '%H:%M') FROM alert_groups"
    assert asked(views, groups + " ORDER BY ALL") == [(1, 9.0, "10:09", None), (2, 7.0, "10:00", "10:06")]


def test_a_group_of_alerts_goes_on_in_a_later_generation(views):
    fill(views, "readings_4_emergency", alert(0, 90, "10:00"), alert(1, 5, "10:05"), alert(1, 6, "10:06", "over"))
    groups = "SELECT alerts, strftime(open_since, '%H:%M'), strftime(over_since, '%H:%M') FROM alert_groups"
    assert asked(views, groups) == [(2, "10:00", "10:06")]


def test_alerts_that_were_delivered_again_are_current_once(views):
    for generation in (0, 1):
        fill(views, "readings_4_emergency", alert(generation, 1, "10:00"), alert(generation, 2, "10:05", "over"))
    reset(views, "emergency")
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
    [block] = re.findall(rf"```{language} no-run[^\n]*tests/system[^\n]*\n(.*?)```", text, re.DOTALL)
    return str(block)
