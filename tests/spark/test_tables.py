"""Types, values, counts and history: what Spark sees is what Polars and DuckDB see."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import duckdb
import polars as pl
import pytest
from deltalake import QueryBuilder

from tests.spark.conftest import KEYS, SUFFIXES
from tests.support.tables import extension

TYPES = {"long": "bigint", "integer": "int", "short": "smallint", "byte": "tinyint"}

QUERIES = {
    "rows": "SELECT count(*) FROM {1_schematized}",
    "by sensor": "SELECT sensor_id, count(*), min(temperature), max(temperature) FROM {1_schematized} "
    "GROUP BY sensor_id",
    "rejected by rule": "SELECT mode, rule, column_name, count(*) FROM {rejected} GROUP BY mode, rule, column_name",
    "alerts by severity": "SELECT severity, alert_type, count(*) FROM {4_emergency} GROUP BY severity, alert_type",
    "latest ids": "SELECT sensor_id, max(reading_id) FROM {2_sanitized} GROUP BY sensor_id",
    "missing values": "SELECT sum(CASE WHEN humidity IS NULL THEN 1 ELSE 0 END), count(location) FROM {2_sanitized}",
    "sums": "SELECT sensor_id, sum(humidity), avg(humidity) FROM {0_raw} GROUP BY sensor_id",
    "windows": "SELECT window_start, sensor_id, sum(record_count) FROM {3_aggregated} GROUP BY window_start, sensor_id",
    "a join": "SELECT s.sensor_id, count(*) FROM {4_emergency} e JOIN {1_schematized} s ON s.reading_id = e.reading_id "
    "AND s.node_id = e.node_id AND s.source_generation = e.source_generation GROUP BY s.sensor_id",
    "duplicates": "SELECT node_id, source_generation, source_rowid FROM {0_raw} GROUP BY 1, 2, 3 HAVING count(*) > 1",
}


def values(rows: list[Any]) -> list[tuple[Any, ...]]:
    """Rows in an order of their own; times in UTC, sums as numbers."""
    found = [tuple(_value(cell) for cell in row) for row in rows]
    return sorted(found, key=repr)


def _value(cell: Any) -> Any:
    if hasattr(cell, "tzinfo"):
        return (cell if cell.tzinfo else cell.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    if isinstance(cell, bytearray):
        return bytes(cell)
    return cell if isinstance(cell, str | bytes | type(None)) else float(cell)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_spark_sees_the_columns_and_types_of_the_log(spark, tables, suffix):
    wanted = [(f.name, TYPES.get(f.type.type, f.type.type)) for f in tables.table(suffix).schema().fields]
    assert spark.read.format("delta").load(tables.uri(suffix)).dtypes == wanted


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_spark_sees_every_value(spark, tables, suffix):
    ours = tables.read(suffix).sort(KEYS[suffix])
    frame = spark.read.format("delta").load(tables.uri(suffix)).orderBy(*KEYS[suffix])
    assert frame.count() == ours.height > 0
    assert values(frame.collect()) == values(ours.rows())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_spark_sees_every_version(spark, tables, suffix):
    history = spark.sql(f"DESCRIBE HISTORY delta.`{tables.uri(suffix)}`").collect()
    ours = tables.table(suffix).history()
    assert [(h["version"], h["operation"]) for h in history] == [(h["version"], h["operation"]) for h in ours]
    first = spark.read.format("delta").option("versionAsOf", 1).load(tables.uri(suffix)).count()
    assert 0 < first <= spark.read.format("delta").load(tables.uri(suffix)).count()


@pytest.mark.parametrize("name", QUERIES)
def test_spark_duckdb_polars_and_query_give_the_same_answer(spark, tables, name):
    answers = answers_to(QUERIES[name], spark, tables)
    assert len(answers["spark"]) > 0 or name == "duplicates"
    for engine, answer in answers.items():
        for ours, theirs in zip(answers["spark"], answer, strict=True):
            assert theirs == pytest.approx(ours, nan_ok=True), engine


def answers_to(query: str, spark: Any, tables: Any) -> dict[str, list[Any]]:
    suffixes = [s for s in SUFFIXES if "{" + s[1:] + "}" in query]
    bare = query.replace("{", "t_").replace("}", "")
    for suffix in suffixes:
        spark.read.format("delta").load(tables.uri(suffix)).createOrReplaceTempView(f"t{suffix}")
    found = {"spark": values(spark.sql(bare).collect())}
    frames = {f"t{s}": pl.scan_delta(tables.table(s)) for s in suffixes}
    found["polars"] = values(pl.SQLContext(frames).execute(bare).collect().rows())
    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        connection.execute(f"LOAD '{extension('delta')}'")
        connection.execute("SET TimeZone = 'UTC'")
        for suffix in suffixes:
            connection.execute(f"CREATE VIEW t{suffix} AS SELECT * FROM delta_scan('{tables.uri(suffix)}')")
        found["duckdb"] = values(connection.execute(bare).pl().rows())
    builder = QueryBuilder()
    for suffix in suffixes:
        builder = builder.register(f"t{suffix}", tables.table(suffix))
    found["query"] = values(pl.DataFrame(builder.execute(bare).read_all()).rows())
    return found
