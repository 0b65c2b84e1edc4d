"""Spark's OPTIMIZE and VACUUM by the documented procedure: while the writers are stopped."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from edge_delta.core import events as telemetry
from edge_delta.sinks.delta.upkeep import Keeper, Plan
from tests.spark.conftest import address
from tests.support.tables import assert_each_once


@pytest.fixture
def delivered(place, sensor, command):
    """A table of five commits, from runs that have ended; place is a folder, then S3."""
    sensor.create()
    sensor.add(500)
    command(sensor.path, place, node_id="n1").once(max_batch_size=100).succeeded()
    return place


def seen_by_spark(spark, place) -> list[int]:
    return [row.reading_id for row in spark.read.format("delta").load(address(place)).select("reading_id").collect()]


def looked_after_by_spark(spark, place) -> None:
    """The statements of sql/05, and VACUUM once more without its seven days: nothing writes now."""
    spark.sql(f"OPTIMIZE delta.`{address(place)}` ZORDER BY (sensor_id, `timestamp`)").collect()
    spark.sql(f"VACUUM delta.`{address(place)}` RETAIN 168 HOURS").collect()
    spark.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", "false")
    try:
        spark.sql(f"VACUUM delta.`{address(place)}` RETAIN 0 HOURS").collect()
    finally:
        spark.conf.unset("spark.databricks.delta.retentionDurationCheck.enabled")


def test_optimize_and_vacuum_between_runs_lose_nothing_and_delivery_and_upkeep_go_on(
    delivered, sensor, command, spark_s3
):
    assert len(delivered.table().file_uris()) == 5
    looked_after_by_spark(spark_s3, delivered)
    assert len(delivered.table().file_uris()) == 1
    sensor.add(100, start=500)
    command(sensor.path, delivered, node_id="n1").once(max_batch_size=20).succeeded()
    assert_each_once(delivered.read()["reading_id"], range(1, 601))
    log = telemetry.configure()
    keeper = Keeper(delivered.uri("_1_schematized"), delivered.options, Plan(), now=lambda: datetime.now(UTC), log=log)
    assert keeper.run().files_after == 1
    assert_each_once(seen_by_spark(spark_s3, delivered), range(1, 601))
