"""sql/, executed as far as Spark understands it; what only Databricks has is parsed in its dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlglot
from pyspark.errors import PySparkException

from edge_delta.ask.statements import Target, files, filled, script, split
from tests.spark.conftest import COUNTS, SUFFIXES

if TYPE_CHECKING:
    from tests.support.tables import Place

ONLY_DATABRICKS = (
    "DESCRIBE STORAGE CREDENTIAL",
    "CREATE EXTERNAL LOCATION",
    "USE CATALOG",
    "GRANT",
    "CREATE OR REFRESH",
    "MSCK REPAIR",
    "CREATE OR REPLACE FUNCTION sees_node",
    "CREATE OR REPLACE VIEW shared_readings",
    "ALTER TABLE",
    "CREATE SHARE",
    "ALTER SHARE",
    "CREATE RECIPIENT",
    "SELECT assert_true(count(*) = 0, 'external",
)
"""How statements begin that open-source Spark does not have."""
NEITHER = "REORG"
"""sqlglot does not know it, and Delta Lake's own would change the tables of these tests."""


def target(tables: Place) -> Target:
    there = {
        f"readings{s}": {f.name: f.type.type for f in tables.table(s).schema().fields}
        for s in (*SUFFIXES, "_superseded")
    }
    return Target("spark_catalog", "sensor_data", tables.base, there)


@pytest.fixture(scope="module")
def outcome(spark: Any, tables: Place, request: pytest.FixtureRequest) -> dict[str, list[str]]:
    """Every statement in order, filled in: run, or parsed where Spark does not have it. VACUUM is dry."""
    done: dict[str, list[str]] = {"executed": [], "parsed": []}
    for file in files():
        for _, statement in split(file.read_text()):
            text = filled(statement, target(tables))
            if text.startswith(NEITHER):
                continue
            if text.startswith(ONLY_DATABRICKS) or "row_version" in text:  # these tables have one state of each row
                assert sqlglot.parse_one(text, dialect="databricks") is not None
                done["parsed"].append(text)
            elif not text.startswith("VACUUM"):
                spark.sql(text).collect()
                done["executed"].append(text)
            else:
                spark.sql(text + " DRY RUN").collect()
                done["executed"].append(text)
    request.config.stash[COUNTS] = {kind: len(statements) for kind, statements in done.items()}
    return done


def test_every_statement_is_executed_or_parsed(outcome):
    assert len(outcome["executed"]) > len(outcome["parsed"])


def test_what_is_only_parsed_is_what_open_spark_refuses(outcome, spark):
    for text in outcome["parsed"]:
        with pytest.raises(PySparkException):
            spark.sql(text)


def test_every_statement_of_the_files_parses_in_the_dialect_of_databricks(tables):
    for file in files():
        for _, statement in split(file.read_text()):
            if not statement.startswith(NEITHER):
                sqlglot.parse_one(filled(statement, target(tables)), dialect="databricks")


def test_the_external_tables_hold_what_was_delivered(outcome, spark, tables):
    assert outcome
    for suffix in SUFFIXES:
        assert spark.table(f"sensor_data.readings{suffix}").count() == tables.read(suffix).height


def test_the_views_answer(outcome, spark, tables):
    assert outcome
    readings = tables.read("_1_schematized")
    assert spark.table("sensor_data.fleet_readings").count() == readings.height
    assert spark.table("sensor_data.fleet_latest").count() == readings["sensor_id"].n_unique()
    for view, suffix in (("readings", "_1_schematized"), ("windows", "_3_aggregated"), ("alerts", "_4_emergency")):
        assert spark.table(f"sensor_data.current_{view}").count() == tables.read(suffix).height
    alerts = tables.read("_4_emergency")
    groups = spark.sql("SELECT count(*) AS n, sum(alerts) AS alerts FROM sensor_data.alert_groups").first()
    assert (groups.n, groups.alerts) == (alerts.select("sensor_id", "alert_type").n_unique(), alerts.height)
    windows = tables.read("_3_aggregated")
    for view in ("fleet_hourly", "fleet_daily", "rollup_hourly", "rollup_daily"):
        [row] = spark.sql(f"SELECT sum(record_count) AS n, max(max_temperature) AS t FROM sensor_data.{view}").collect()
        assert (row.n, row.t) == (windows["record_count"].sum(), windows["max_temperature"].max())


def test_what_a_later_generation_delivered_again_is_current_once(outcome, spark, tables):
    assert outcome
    readings = tables.read("_1_schematized")
    spark.sql("USE SCHEMA sensor_data")
    there = spark.table("readings_1_schematized").columns
    later = ", ".join("7" if name == "source_generation" else name for name in there)
    spark.sql(
        "CREATE OR REPLACE VIEW delivered_readings AS SELECT * FROM readings_1_schematized UNION ALL "
        f"SELECT {later} FROM readings_1_schematized WHERE reading_id = {readings['reading_id'].min()}"
    )
    spark.sql(
        "CREATE OR REPLACE VIEW superseded AS SELECT 'n1' AS node_id, 'schematized' AS mode, 0 AS source_generation, "
        f"0L AS after_id, {readings['reading_id'].max()}L AS upto_id, 7 AS by_generation, false AS other_ids"
    )
    try:
        assert spark.table("delivered_readings").count() == readings.height + 1
        assert spark.table("current_readings").count() == readings.height
        assert spark.table("quality_duplicates").count() == 0
    finally:
        spark.sql("CREATE OR REPLACE VIEW delivered_readings AS SELECT * FROM readings_1_schematized")
        [view] = [s for s in outcome["executed"] if s.startswith("CREATE OR REPLACE VIEW superseded")]
        spark.sql(view)


def test_the_checks_find_nothing_and_the_rejected_rows(outcome, spark, tables):
    assert outcome
    assert spark.table("sensor_data.quality_duplicates").count() == 0
    assert spark.table("sensor_data.quality_gaps").count() == 0
    rejected = tables.read("_rejected")
    found = spark.sql("SELECT sum(rejected) AS n, sum(share) AS share FROM sensor_data.quality_rejected").first()
    wanted = rejected.filter(mode="schematized").height
    assert found.n == wanted > 0
    assert found.share == pytest.approx(wanted / (wanted + tables.read("_1_schematized").height))


def test_the_duplicate_check_fails_on_a_duplicate(outcome, spark):
    assert outcome
    spark.sql("USE SCHEMA sensor_data")
    spark.sql(
        "CREATE OR REPLACE VIEW delivered_readings AS SELECT * FROM readings_1_schematized UNION ALL "
        "SELECT * FROM readings_1_schematized WHERE reading_id = 1"
    )
    [check] = [s for s in outcome["executed"] if "assert_true" in s]
    with pytest.raises(Exception, match="more than once"):
        spark.sql(check).collect()
    spark.sql("CREATE OR REPLACE VIEW delivered_readings AS SELECT * FROM readings_1_schematized")


def test_what_the_command_prints_runs_as_it_is(spark, tables):
    """The text of `edge-delta sql`, statement by statement, with comments where they are."""
    for file in files()[1:4]:
        text = "\n\n".join(script(file.read_text(), target(tables), set()))
        for statement in text.split(";\n"):
            if "USE CATALOG" not in statement:
                spark.sql(statement.rstrip().removesuffix(";")).collect()
