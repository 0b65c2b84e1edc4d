"""The views of sql/ over tables with several generations, run by DuckDB; tests/spark runs the same text in Spark."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
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
    "readings_0_raw": "node_id TEXT, source_generation INT, source_rowid BIGINT, "
    "databricks_inserted_at TIMESTAMP DEFAULT localtimestamp",
    "readings_superseded": "node_id TEXT, mode TEXT, source_generation INT, after_id BIGINT, upto_id BIGINT, "
    "by_generation INT, other_ids BOOLEAN",
    "readings_1_schematized": f"{READINGS}, databricks_inserted_at TIMESTAMP, temperature DOUBLE",
    "readings_2_sanitized": f"{READINGS}, databricks_inserted_at TIMESTAMP DEFAULT localtimestamp",
    "readings_3_aggregated": "node_id TEXT, source_generation INT, window_start TIMESTAMP, sensor_id TEXT, "
    "record_count BIGINT, avg_temperature DOUBLE, min_temperature DOUBLE, max_temperature DOUBLE, "
    "first_reading_id BIGINT, last_reading_id BIGINT, databricks_inserted_at TIMESTAMP DEFAULT localtimestamp",
    "readings_4_emergency": f"{READINGS}, alert_type TEXT, severity TEXT, alert_id BIGINT, value DOUBLE, "
    "databricks_inserted_at TIMESTAMP DEFAULT localtimestamp",
    "readings_rejected": "node_id TEXT, source_generation INT, reading_id BIGINT, mode TEXT, rule TEXT, "
    "column_name TEXT, replayed_at TIMESTAMP, databricks_inserted_at TIMESTAMP DEFAULT localtimestamp",
}


def in_duckdb(statement: str) -> str:
    """The words that DuckDB has others for, without what it has not."""
    for theirs, ours in (("current_timestamp()", "localtimestamp"), ("unix_timestamp(", "epoch(")):
        statement = statement.replace(theirs, ours)
    statement = re.sub(r"\n  USING DELTA COMMENT '[^']*'$", "", statement)
    return re.sub(r"\n  COMMENT '[^']*' AS", " AS", statement).replace("* EXCEPT (", "* EXCLUDE (")


@pytest.fixture
def views() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        for name, columns in TABLES.items():
            connection.execute(f"CREATE TABLE {name} ({columns})")
        for file in statements.files()[2:4]:
            for _, statement in statements.split(file.read_text()):
                if statement.startswith(("CREATE", "MERGE")):
                    connection.execute(in_duckdb(statement))
        yield connection


def reading(generation: int, row: int, time: str | None, value: float = 1.0, *, days: float = 0) -> tuple[Any, ...]:
    """One that arrived so many days ago."""
    moment = None if time is None else HOUR + time
    return ("n", generation, row, "a", moment, datetime.now(UTC).replace(tzinfo=None) - timedelta(days), value)


def alert(generation: int, row: int, time: str, severity: str = "high", value: float = 1.0) -> tuple[Any, ...]:
    return ("n", generation, row, "a", HOUR + time, "hot", severity, generation * 1_000 + row, value)


def fill(views: duckdb.DuckDBPyConnection, table: str, *rows: tuple[Any, ...]) -> None:
    """Rows with the table's first columns; the others have their defaults."""
    names = [column for column, *_ in views.execute(f"DESCRIBE {table}").fetchall()][: len(rows[0])]
    views.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", rows)


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
    for view in ("fleet_readings", "recent_readings"):
        assert asked(views, f"SELECT reading_id, source_generation, temperature FROM {view} ORDER BY ALL") == found
    assert asked(views, "SELECT count(*) FROM delivered_readings") == [(11,)]
    assert asked(views, "SELECT reading_id FROM fleet_latest") == [(7,)]


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


def test_a_check_looks_at_what_arrived_within_thirty_days_whatever_its_ids_are(views):
    """A row from far below the others, which a sweep found, is no end of a gap."""
    fill(views, "readings_1_schematized", *(reading(0, i, "10:00", days=40) for i in (1, 5, 90)))
    fill(views, "readings_1_schematized", reading(0, 99, "10:00", days=30.5), reading(0, 100, "10:01"))
    fill(views, "readings_1_schematized", reading(0, 103, "10:02"), reading(0, 7, "10:03"))
    fill(views, "readings_rejected", ("n", 0, 101, "schematized", "type", "temperature", None))
    assert asked(views, "SELECT first_missing, last_missing FROM quality_gaps ORDER BY ALL") == [(102, 102)]
    fill(views, "readings_1_schematized", reading(0, 5, "10:00", days=40))
    assert asked(views, "SELECT count(*) FROM quality_duplicates") == [(0,)]
    assert asked(views, "SELECT reading_id FROM recent_readings ORDER BY ALL") == [(7,), (100,), (103,)]
    assert asked(views, "SELECT reading_id FROM fleet_latest") == [(7,)]


def test_freshness_knows_retired_and_quiet_devices_and_forgets_none(views):
    nodes = {"fresh": 0, "quiet": 2, "gone": 2, "back": 0, "long silent": 40}
    rows = [(node, *reading(0, 1, "10:00", days=days)[1:]) for node, days in nodes.items()]
    fill(views, "readings_1_schematized", *rows)
    long_ago = datetime.now(UTC).replace(tzinfo=None) - timedelta(40)
    views.execute("INSERT INTO fleet_devices (node_id, last_delivery) VALUES ('long silent', ?)", [long_ago])
    views.execute("INSERT INTO fleet_devices (node_id) VALUES ('never came')")
    views.execute("INSERT INTO fleet_devices (node_id, quiet_seconds) VALUES ('quiet', 999999)")
    for node in ("gone", "back"):
        retired = "localtimestamp - INTERVAL 1 DAY"
        views.execute(f"INSERT INTO fleet_devices (node_id, retired_at) VALUES ('{node}', {retired})")
    assert asked(views, "SELECT node_id FROM quality_freshness ORDER BY ALL") == [
        *[("back",), ("fresh",), ("long silent",), ("never came",), ("quiet",)]
    ]
    silent = statements.split(statements.files()[5].read_text())
    [query] = [text for _, text in silent if "quality_freshness" in text]
    assert sorted(row[0] for row in asked(views, query)) == ["long silent", "never came"]


def test_devices_that_came_are_kept_with_their_last_delivery(views):
    fill(views, "readings_1_schematized", reading(0, 1, "10:00", days=3), reading(0, 2, "10:00", days=1))
    views.execute("INSERT INTO fleet_devices (node_id, note) VALUES ('n', 'in hall 7')")
    [merge] = [text for _, text in statements.split(statements.files()[3].read_text()) if text.startswith("MERGE")]
    for _ in range(2):
        views.execute(in_duckdb(merge))
        found = "SELECT node_id, note, last_delivery > localtimestamp - INTERVAL 30 HOURS FROM fleet_devices"
        assert asked(views, found) == [("n", "in hall 7", True)]


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


def rolled_up(views: duckdb.DuckDBPyConnection) -> None:
    """The statements of sql/09, with DuckDB's words for the two that are Spark's alone."""
    for _, statement in statements.split(statements.files()[8].read_text()):
        text = in_duckdb(statement).replace("LEFT SEMI JOIN", "SEMI JOIN")
        text = re.sub(r" USING DELTA\n  COMMENT '[^']*'\nAS", " AS", text)
        made = re.match(r"INSERT INTO (\w+) REPLACE WHERE (.*)\n", text)
        if made is not None:
            views.execute(f"DELETE FROM {made[1]} WHERE {made[2]}")
            text = text.replace(f" REPLACE WHERE {made[2]}", "")
        if text.startswith(("CREATE", "INSERT", "MERGE")):
            views.execute(text)


def window(days: float, first: int, *, arrived: float = 0.0) -> tuple[Any, ...]:
    """Sixty readings so many days ago, which arrived later."""
    now = datetime.now(UTC).replace(tzinfo=None, minute=0, second=0, microsecond=0)
    values = (60, 20.0, 10.0, 30.0, first, first + 59)
    return ("n", 0, now - timedelta(days), "a", *values, now - timedelta(arrived))


def test_kept_roll_ups_are_what_the_views_say_whenever_windows_come_and_go(views):
    fill(views, "readings_3_aggregated", window(90, 1, arrived=89), window(2, 100, arrived=2))
    for change in (
        window(1, 200),
        window(2, 300),
        window(90, 400),  # of a device that was offline for long
        window(70, 500),
        "DELETE FROM readings_3_aggregated WHERE first_reading_id = 100",
        window(70, 600),
        None,
    ):
        rolled_up(views)
        for kept, view in (("rollup_hourly", "fleet_hourly"), ("rollup_daily", "fleet_daily")):
            assert asked(views, f"FROM {kept} ORDER BY ALL") == asked(views, f"FROM {view} ORDER BY ALL")
        if isinstance(change, str):
            views.execute(change)
        elif change is not None:
            fill(views, "readings_3_aggregated", change)
    assert asked(views, "SELECT sum(record_count) FROM rollup_daily") == [(360,)]


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
        "INSERT INTO readings_4_emergency SELECT 'n', 0, i, s, localtimestamp - INTERVAL 1 HOUR, 'hot', v, i, 1, "
        "localtimestamp FROM"
        " (VALUES (1, 'a', 'high'), (2, 'a', 'over'), (3, 'b', 'high')) t (i, s, v)"
    )
    assert asked(views, "SELECT sensor_id, alerts FROM open_alerts") == [("b", 1)]


def documented(language: str) -> str:
    """The block of the documents for one language."""
    text = (Path(__file__).parents[2] / "docs" / "modes.md").read_text(encoding="utf-8")
    [block] = re.findall(rf"```{language} no-run[^\n]*tests/system[^\n]*\n(.*?)```", text, re.DOTALL)
    return str(block)
