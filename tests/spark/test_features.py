"""A table on which Spark enabled a feature that delta-rs cannot write: named, with its cure, and exit code 3."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from edge_delta.core.errors import ProtocolUnsupported
from tests.support.inprocess import deliver
from tests.support.tables import assert_each_once

ROWS = 200


def properties(**values: str) -> str:
    """The statement that sets table properties; dots are two underscores here."""
    listed = ", ".join(f"'delta.{name.replace('__', '.')}' = '{value}'" for name, value in values.items())
    return f"ALTER TABLE delta.`{{uri}}` SET TBLPROPERTIES ({listed})"


FOR_EVER = {
    "clustering": "ALTER TABLE delta.`{uri}` CLUSTER BY (sensor_id)",
    "allowColumnDefaults": properties(feature__allowColumnDefaults="supported"),
    "identityColumns": properties(feature__identityColumns="supported"),
}
CURABLE = {
    "rowTracking": properties(enableRowTracking="true"),
    "inCommitTimestamp": properties(enableInCommitTimestamps="true"),
    "typeWidening": properties(enableTypeWidening="true"),
    "columnMapping": properties(columnMapping__mode="name"),
}
HARMLESS = {
    "deletionVectors": properties(enableDeletionVectors="true"),
    "changeDataFeed": properties(enableChangeDataFeed="true"),
    "v2Checkpoint": properties(checkpointPolicy="v2"),
}
AFTERWARDS = "DROP FEATURE checkpointProtection TRUNCATE HISTORY"
"""A day after the feature: Spark keeps the history of the last 24 hours, in whole minutes."""
CURES = {
    "rowTracking": ["DROP FEATURE rowTracking", "DROP FEATURE domainMetadata"],
    "inCommitTimestamp": ["DROP FEATURE inCommitTimestamp"],
    "typeWidening": ["DROP FEATURE typeWidening", AFTERWARDS],
    "columnMapping": ["DROP FEATURE columnMapping", AFTERWARDS],
}
"""What the message says."""


@pytest.fixture
def uri(folder, sensor) -> str:
    """A table with a first delivery, and rows that wait for the next."""
    sensor.create()
    sensor.add(ROWS // 2)
    deliver(sensor.path, folder)
    sensor.add(ROWS // 2, start=ROWS // 2)
    return folder.uri("_1_schematized")


def a_day_passes(uri: str) -> None:
    """What was written so far is two days old."""
    then = time.time() - 2 * 86_400
    for file in Path(uri, "_delta_log").iterdir():
        os.utime(file, (then, then))


def assert_all_delivered(folder) -> None:
    assert_each_once(folder.read()["reading_id"], range(1, ROWS + 1))


def test_the_command_ends_with_3_and_names_feature_and_cure(spark, uri, folder, sensor, command):
    spark.sql(FOR_EVER["clustering"].format(uri=uri)).collect()
    done = command(sensor.path, folder, node_id="n1").once()
    assert done.code == 3, done.stderr
    assert "clustering" in done.error
    assert "cannot be dropped" in done.error


@pytest.mark.parametrize("feature", FOR_EVER)
def test_a_feature_for_ever_is_named_and_another_path_advised(spark, uri, folder, sensor, feature):
    spark.sql(FOR_EVER[feature].format(uri=uri)).collect()
    with pytest.raises(ProtocolUnsupported, match=rf"feature {feature}\b.*cannot be dropped.*another table_path"):
        deliver(sensor.path, folder)


@pytest.mark.parametrize("feature", CURABLE)
def test_a_feature_with_a_cure_is_named_and_the_cure_lets_delivery_go_on(spark, uri, folder, sensor, feature):
    spark.sql(CURABLE[feature].format(uri=uri)).collect()
    with pytest.raises(ProtocolUnsupported, match=feature) as stopped:
        deliver(sensor.path, folder)
    for statement in CURES[feature]:
        assert statement in str(stopped.value)
        if statement == AFTERWARDS:
            a_day_passes(uri)
        spark.sql(f"ALTER TABLE delta.`{uri}` {statement}").collect()
    assert deliver(sensor.path, folder).complete
    assert_all_delivered(folder)


def test_what_a_dropped_feature_leaves_behind_is_named_too(spark, uri, folder, sensor):
    spark.sql(CURABLE["typeWidening"].format(uri=uri)).collect()
    spark.sql(f"ALTER TABLE delta.`{uri}` DROP FEATURE typeWidening").collect()
    with pytest.raises(ProtocolUnsupported, match="DROP FEATURE checkpointProtection TRUNCATE HISTORY"):
        deliver(sensor.path, folder)


@pytest.mark.parametrize("feature", HARMLESS)
def test_a_feature_that_can_be_written_stops_nothing(spark, uri, folder, sensor, feature):
    spark.sql(HARMLESS[feature].format(uri=uri)).collect()
    assert feature in (folder.table().protocol().writer_features or [])
    assert deliver(sensor.path, folder).complete
    seen = spark.read.format("delta").load(uri).select("reading_id").collect()
    assert_each_once([row.reading_id for row in seen], range(1, ROWS + 1))


def test_rows_that_spark_deleted_with_a_deletion_vector_stay_deleted(spark, uri, folder, sensor):
    spark.sql(HARMLESS["deletionVectors"].format(uri=uri)).collect()
    spark.sql(properties(appendOnly="false").format(uri=uri)).collect()
    spark.sql(f"DELETE FROM delta.`{uri}` WHERE reading_id <= 10").collect()
    assert deliver(sensor.path, folder).complete
    seen = spark.read.format("delta").load(uri).select("reading_id").collect()
    assert_each_once([row.reading_id for row in seen], range(11, ROWS + 1))
    assert_each_once(folder.read()["reading_id"], range(11, ROWS + 1))
