"""SQL over the tables, in a folder and on S3, through the command."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from edge_delta.ask.query import QueryFailed, parsed
from tests.support.command import Finished, clean_environment, finished

if TYPE_CHECKING:
    from tests.support.tables import Place

KNOWN = dict.fromkeys(["readings_0_raw", "readings_1_schematized"])
MODES = "raw,schematized,aggregated"


def ask(place: Place, *words: str) -> Finished:
    """`edge-delta query` from another directory than the device's, without the database."""
    return run(place, "query", *words)


def run(place: Place, *words: str) -> Finished:
    everything = [*words, "--table-path", place.base, "--node-id", "device-1"]
    return finished(everything, cwd=Path(os.path.sep), env=clean_environment() | dict(place.environment), timeout=60)


def objects(place: Place, sql: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ask(place, sql, "--format", "json").succeeded().stdout.splitlines()]


@pytest.fixture
def delivered(place, sensor, command):
    """300 readings in three tables."""
    sensor.create()
    sensor.add(300)
    command(sensor.path, place, processing_mode=MODES, node_id="device-1").once(flush=True).succeeded()
    return place


def test_the_walkthroughs_union_counts_each_mode(delivered):
    sql = (
        "SELECT 'raw' AS processing_mode, COUNT(*) AS n FROM sensor_data.readings_0_raw UNION ALL "
        "SELECT 'schematized', COUNT(*) FROM sensor_data.readings_1_schematized ORDER BY processing_mode"
    )
    done = run(delivered, "--run-query", sql, "--format", "csv").succeeded()
    assert done.stdout == "processing_mode,n\nraw,300\nschematized,300\n"


def test_the_union_may_stand_inside(delivered):
    sql = (
        "SELECT processing_mode, COUNT(*) FROM (SELECT 'raw' AS processing_mode FROM sensor_data.readings_0_raw "
        "UNION ALL SELECT 'schematized' FROM sensor_data.readings_1_schematized) GROUP BY processing_mode ORDER BY 1"
    )
    lines = run(delivered, "--run-query", sql).succeeded().stdout.splitlines()
    assert lines[0].split() == ["processing_mode", "count(*)"]
    assert [line.split() for line in lines[2:4]] == [["raw", "300"], ["schematized", "300"]]


def test_answers_are_those_that_sqlite_gives(delivered, sensor):
    found = objects(
        delivered,
        "SELECT sensor_id, count(*) AS n, max(temperature) AS t FROM readings_1_schematized GROUP BY 1 ORDER BY 1",
    )
    wanted = sensor.run("SELECT sensor_id, count(*), max(temperature) FROM readings GROUP BY 1 ORDER BY 1")
    assert [tuple(row.values()) for row in found] == wanted


def test_the_latest_ten_come_as_a_table(delivered):
    sql = "SELECT reading_id, node_id FROM readings_1_schematized ORDER BY databricks_inserted_at DESC, 1 DESC LIMIT 10"
    lines = ask(delivered, sql).succeeded().stdout.splitlines()
    assert lines[0].split() == ["reading_id", "node_id"]
    assert [line.split() for line in lines[2:12]] == [[str(i), "device-1"] for i in range(300, 290, -1)]
    assert lines[12] == "(10 rows)"


def test_a_table_shows_a_hundred_rows_and_says_how_many_more_there_are(folder, sensor, command):
    sensor.create()
    sensor.add(300)
    command(sensor.path, folder, node_id="device-1").once().succeeded()
    done = ask(folder, "SELECT reading_id FROM readings_1_schematized")
    assert len(done.stdout.splitlines()) == 102
    assert "200 more rows" in done.stderr
    whole = ask(folder, "SELECT reading_id FROM readings_1_schematized", "--limit", "0")
    assert "(300 rows)" in whole.stdout
    assert not whole.stderr
    assert len(ask(folder, "SELECT reading_id FROM readings_1_schematized", "--format", "csv").stdout.split()) == 301


def test_a_result_becomes_a_parquet_file_also_without_rows(delivered, tmp_path):
    for condition, rows in (("true", 300), ("false", 0)):
        file = tmp_path / f"{condition}.parquet"
        sql = f"SELECT reading_id, timestamp FROM readings_1_schematized WHERE {condition}"
        ask(delivered, sql, "--format", "parquet", "--output", str(file)).succeeded()
        frame = pl.read_parquet(file)
        assert frame.height == rows
        assert dict(frame.schema) == {"reading_id": pl.Int64(), "timestamp": pl.Datetime("us", "UTC")}


def test_info_tells_what_each_table_is(delivered):
    text = run(delivered, "--run-query", "INFO", "--table", "readings").succeeded().stdout
    assert "row 300 of generation 0 (device-1, table readings)" in text
    tables = json.loads(run(delivered, "query", "info", "--format", "json", "--table", "readings").succeeded().stdout)
    assert [t["table"] for t in tables] == ["readings_0_raw", "readings_1_schematized", "readings_3_aggregated"]
    for table, suffix in zip(tables, ["_0_raw", "_1_schematized", "_3_aggregated"], strict=True):
        handle = delivered.table(suffix)
        assert table["location"] == delivered.uri(suffix)
        assert table["version"] == handle.version()
        assert table["rows"] == delivered.read(suffix).height
        assert table["files"] == len(handle.file_uris())
        assert table["bytes"] > 0
        assert list(table["columns"]) == [f.name for f in handle.schema().fields]
        assert table["cursor"]["last_id"] == 300
        assert table["last_commit"].endswith("Z")


def test_a_table_without_rows_answers_with_none(place, sensor, command):
    sensor.create()
    sensor.add(10)
    command(sensor.path, place, node_id="device-1").once().succeeded()
    handle = place.table()
    handle.alter.set_table_properties({"delta.appendOnly": "false"})
    place.table().delete()
    latest = "SELECT * FROM readings_1_schematized ORDER BY databricks_inserted_at DESC LIMIT 10"
    done = run(place, "--run-query", latest).succeeded()
    assert done.stdout.startswith("reading_id")
    assert done.stdout.endswith("(0 rows)\n")
    assert not done.stderr
    union = "SELECT 'schematized' AS mode, COUNT(*) AS n FROM sensor_data.readings_1_schematized UNION ALL " * 2
    answer = run(place, "--run-query", union.removesuffix("UNION ALL "), "--format", "csv").succeeded()
    assert answer.stdout == "mode,n\nschematized,0\nschematized,0\n"
    assert "rows         0" in run(place, "--run-query", "INFO").succeeded().stdout


def test_a_table_that_is_not_there_is_answered_with_those_that_are(delivered):
    for name in ("readings_4_emergency", "nonsense", "a.b.nonsense"):
        done = ask(delivered, f"SELECT * FROM {name}")
        assert done.code == 1
        assert f"there is no table {name}" in done.error
        assert "there are: readings_0_raw, readings_1_schematized, readings_3_aggregated" in done.error


def test_a_union_with_a_table_that_is_not_there_names_it(delivered):
    sql = "SELECT COUNT(*) FROM s.readings_0_raw UNION ALL SELECT COUNT(*) FROM s.readings_2_sanitized"
    done = run(delivered, "--run-query", sql)
    assert done.code == 1
    assert "there is no table readings_2_sanitized under" in done.error


def test_info_is_for_people_and_programs_and_nothing_else(folder):
    for words in (["--format", "csv"], ["--format", "parquet"], ["--output", "x"]):
        done = ask(folder, "INFO", *words)
        assert done.code == 2
        assert "as a table or as JSON" in done.error


def test_a_query_for_few_rows_reads_only_the_files_that_may_hold_them(wired_lake, proxy, sensor, command):
    sensor.create()
    device = command(sensor.path, wired_lake, node_id="device-1")
    for start in range(0, 4000, 1000):
        sensor.add(1000, start=start)
        device.once().succeeded()
    assert len(wired_lake.table().file_uris()) == 4

    def files_read(sql: str) -> set[str]:
        proxy.exchanges.clear()
        ask(wired_lake, sql).succeeded()
        return {e.path.partition("?")[0] for e in proxy.requests("GET", r"\.parquet") if "_delta_log" not in e.path}

    table = "readings_1_schematized"
    assert len(files_read(f"SELECT * FROM {table} WHERE reading_id BETWEEN 1500 AND 1600")) == 1
    assert len(files_read(f"SELECT avg(temperature) FROM {table} WHERE timestamp < '2026-01-01T00:10:00Z'")) == 1
    assert files_read(f"SELECT count(*) FROM {table}") == set()
    assert len(files_read(f"SELECT avg(temperature) FROM {table}")) == 4


def test_an_address_without_tables_is_said_to_be_so(place):
    for sql in ("SELECT * FROM readings_0_raw", "INFO"):
        done = ask(place, sql)
        assert done.code == 1
        assert "nor any other" in done.error


def test_wrong_sql_is_told_in_one_line(delivered):
    wrong = {
        "SELECT nope FROM readings_0_raw": "No field named nope",
        "SELECT sum( FROM readings_0_raw": 'Expected: ), found: "readings_0_raw" at Line: 1',
        "SELECT CAST(sensor_id AS INT) FROM readings_0_raw": "Cannot cast string 'sensor-0'",
    }
    for sql, message in wrong.items():
        done = ask(delivered, sql, "--format", "csv")
        assert done.code == 1
        assert message in done.error


def test_statements_that_do_not_read_are_refused(folder, tmp_path):
    target = tmp_path / "x"
    for sql in (
        f"COPY (SELECT 1) TO '{target}'",
        f"EXPLAIN ANALYZE COPY (SELECT 1) TO '{target}'",
        "DROP TABLE x",
        "1",
    ):
        done = ask(folder, sql)
        assert done.code == 1
        assert "only statements that read" in done.error
    assert not target.exists()


def test_wrong_usage_is_told(folder, tmp_path):
    for words in (["query"], ["query", "SELECT 1", "--run-query", "SELECT 2"]):
        assert run(folder, *words).code == 2
    assert ask(folder, "SELECT 1", "--output", str(tmp_path / "no" / "x"), "--format", "csv").code == 2


def test_a_query_opens_only_the_tables_that_it_names(folder, sensor, command):
    sensor.create()
    sensor.add(3)
    command(sensor.path, folder, processing_mode="raw,schematized", node_id="device-1").once().succeeded()
    (Path(folder.uri("_0_raw")) / "_delta_log" / f"{0:020}.json").write_text("no log", encoding="utf-8")
    assert objects(folder, "SELECT count(*) AS n FROM readings_1_schematized") == [{"n": 3}]
    assert ask(folder, "SELECT count(*) FROM readings_0_raw").code == 3


@pytest.mark.parametrize(
    ("sql", "expected", "tables"),
    [
        ("SELECT * FROM a.readings_0_raw", 'SELECT * FROM "readings_0_raw"', ["readings_0_raw"]),
        ("SELECT * FROM c.a.READINGS_0_RAW;", 'SELECT * FROM "readings_0_raw"', ["readings_0_raw"]),
        ("SELECT `x` FROM `a`.`readings_0_raw`", 'SELECT "x" FROM "readings_0_raw"', ["readings_0_raw"]),
        ("SELECT 'a.readings_0_raw'", "SELECT 'a.readings_0_raw'", []),
        ("SELECT 1 -- readings_0_raw", "SELECT 1", []),
        ("SELECT a.readings_0_raw.id FROM a.readings_0_raw", 'SELECT "readings_0_raw".id FROM "readings_0_raw"', None),
        ("SELECT t.id FROM x.y AS t", "SELECT t.id FROM x.y AS t", []),
        ("WITH t AS (SELECT 1) SELECT 1.5e3 FROM t", "WITH t AS (SELECT 1) SELECT 1.5e3 FROM t", []),
    ],
)
def test_names_are_brought_into_the_engines_form(sql, expected, tables):
    statement = parsed(sql, KNOWN)
    assert statement.sql == expected
    assert list(statement.tables) == (["readings_0_raw"] if tables is None else tables)


def test_nothing_but_reading_is_parsed():
    for sql in ("INSERT INTO readings_0_raw VALUES (1)", "EXPLAIN COPY x TO 'y'", "", "CREATE TABLE x AS SELECT 1"):
        with pytest.raises(QueryFailed):
            parsed(sql, KNOWN)
