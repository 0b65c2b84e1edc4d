"""Spark as a second writer: by the documented procedure, and with features that delta-rs cannot write."""

from __future__ import annotations

import time

import pytest

from tests.support.inprocess import deliver
from tests.support.tables import assert_each_once


@pytest.fixture
def delivered(folder, sensor):
    sensor.create()
    for start in range(0, 500, 100):
        sensor.add(100, start=start)
        deliver(sensor.path, folder)
    return folder


def ids(place) -> list[int]:
    return place.read()["reading_id"].to_list()


def test_optimize_and_vacuum_between_runs_lose_nothing_and_delivery_goes_on(delivered, sensor, spark):
    files = len(delivered.table().file_uris())
    uri = delivered.uri("_1_schematized")
    spark.sql(f"OPTIMIZE delta.`{uri}` ZORDER BY (sensor_id, `timestamp`)").collect()
    spark.sql(f"VACUUM delta.`{uri}` RETAIN 168 HOURS").collect()
    assert len(delivered.table().file_uris()) < files
    sensor.add(100, start=500)
    done = deliver(sensor.path, delivered)
    assert done.complete
    assert_each_once(ids(delivered), range(1, 601))
    assert spark.read.format("delta").load(uri).count() == 600


FEATURES = {
    "clustering": "ALTER TABLE delta.`{uri}` CLUSTER BY (sensor_id)",
    "rowTracking": "ALTER TABLE delta.`{uri}` SET TBLPROPERTIES ('delta.enableRowTracking' = 'true')",
    "inCommitTimestamp": "ALTER TABLE delta.`{uri}` SET TBLPROPERTIES ('delta.enableInCommitTimestamps' = 'true')",
    "typeWidening": "ALTER TABLE delta.`{uri}` SET TBLPROPERTIES ('delta.enableTypeWidening' = 'true')",
    "allowColumnDefaults": "ALTER TABLE delta.`{uri}` SET TBLPROPERTIES "
    "('delta.feature.allowColumnDefaults' = 'supported')",
}


CURES = {
    "rowTracking": ["DROP FEATURE rowTracking", "DROP FEATURE domainMetadata"],
    "inCommitTimestamp": ["DROP FEATURE inCommitTimestamp"],
    "typeWidening": [
        "DROP FEATURE typeWidening",
        # A day's wait is too long for a test.
        "SET TBLPROPERTIES ('delta.dropFeatureTruncateHistory.retentionDuration' = 'interval 0 hours')",
        "DROP FEATURE checkpointProtection TRUNCATE HISTORY",
    ],
}
"""What each message says, as far as there is a cure."""


@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_that_cannot_be_written_stops_with_its_name_and_cure(delivered, sensor, command, spark, feature):
    uri = delivered.uri("_1_schematized")
    spark.sql(FEATURES[feature].format(uri=uri)).collect()
    sensor.add(10, start=500)
    done = command(sensor.path, delivered, node_id="n1").once()
    assert done.code == 3, done.stderr
    assert feature in done.error
    for statement in CURES.get(feature, []):
        assert statement.startswith("SET") or statement in done.error
        time.sleep(1.1)
        spark.sql(f"ALTER TABLE delta.`{uri}` {statement}").collect()
    if feature in CURES:
        command(sensor.path, delivered, node_id="n1").once().succeeded()
        assert_each_once(ids(delivered), range(1, 511))
    else:
        assert "cannot be dropped" in done.error


def test_what_a_dropped_feature_leaves_behind_is_named_too(delivered, sensor, command, spark):
    uri = delivered.uri("_1_schematized")
    spark.sql(FEATURES["typeWidening"].format(uri=uri)).collect()
    spark.sql(f"ALTER TABLE delta.`{uri}` DROP FEATURE typeWidening").collect()
    sensor.add(10, start=500)
    done = command(sensor.path, delivered, node_id="n1").once()
    assert done.code == 3
    assert "DROP FEATURE checkpointProtection TRUNCATE HISTORY" in done.error
