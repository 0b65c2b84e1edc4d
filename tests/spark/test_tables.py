"""Types, values, counts and history: what Spark sees is what delta-rs and Polars see."""

from __future__ import annotations

import pytest
from polars.testing import assert_frame_equal

from tests.spark.conftest import KEYS, SUFFIXES, collected
from tests.support.inprocess import deliver

TYPES = {"long": "bigint", "integer": "int", "short": "smallint", "byte": "tinyint"}

ODD = (
    "id INTEGER PRIMARY KEY, sensor_id TEXT, timestamp TEXT, temperature REAL, image BLOB, fine BOOLEAN, big BIGINT, "
    "free, day DATE, price DECIMAL(10, 2), small TINYINT, 'sea level (m)' REAL"
)
ODD_ROWS = [
    ("s1", "2026-01-01 00:00:00", 1.5, b"\x00\xff", 1, 2**53 + 1, "text", "2026-01-01", 12.25, 1, -0.5),
    ("Zoë 🌡", "2026-06-30T12:00:00.123456+02:00", None, b"", 0, -(2**63), 7, None, 0, -128, 1e-300),
    ("", "1969-12-31T23:59:59.999999+00:00", 1e308, None, None, 2**63 - 1, 0.1, "1969-12-31", -1, 127, None),
]


def assert_same(spark, place, suffix: str) -> None:
    """Columns, types, values and the history, each version's count included."""
    table, ours = place.table(suffix), place.read(suffix)
    frame = spark.read.format("delta").load(place.uri(suffix))
    assert frame.dtypes == [(f.name, TYPES.get(f.type.type, f.type.type)) for f in table.schema().fields]
    assert_frame_equal(collected(frame), ours, check_row_order=False, check_exact=True)
    history = spark.sql(f"DESCRIBE HISTORY delta.`{place.uri(suffix)}`").collect()
    assert [(h["version"], h["operation"]) for h in history] == [
        (h["version"], h["operation"]) for h in table.history()
    ]
    for version in range(table.version() + 1):
        table.load_as_version(version)
        then = spark.read.format("delta").option("versionAsOf", version).load(place.uri(suffix))
        assert then.count() == sum(table.get_add_actions()["num_records"].to_pylist()), version


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_spark_sees_columns_values_and_every_version(spark, tables, suffix):
    assert tables.read(suffix).height > 0
    assert tables.read(suffix).select(KEYS[suffix]).is_unique().all()
    assert_same(spark, tables, suffix)


def test_spark_sees_blobs_extremes_odd_names_and_columns_that_came_later(spark, sensor, folder):
    sensor.run(f"CREATE TABLE odd ({ODD})")
    marks = ", ".join("?" * (len(ODD_ROWS[0]) + 1))
    sensor.many(f"INSERT INTO odd VALUES ({marks})", [(n, *row) for n, row in enumerate(ODD_ROWS, 1)])
    deliver(sensor.path, folder, processing_mode="raw,schematized")
    sensor.run("ALTER TABLE odd ADD COLUMN later TEXT")
    sensor.run("INSERT INTO odd (sensor_id, timestamp, later) VALUES ('s1', '2026-01-02 00:00:00', 'here')")
    deliver(sensor.path, folder, processing_mode="raw,schematized")
    for suffix in ("_0_raw", "_1_schematized"):
        assert folder.read(suffix).height == len(ODD_ROWS) + 1
        assert_same(spark, folder, suffix)
