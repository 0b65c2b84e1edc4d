from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.modes import add, create, deliver
from tests.support.sqlite import Sensor
from tests.support.tables import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

JARS = Path(os.environ.get("SPARK_JARS", Path(__file__).parents[2] / ".cache" / "spark-jars"))
SUFFIXES = ("_0_raw", "_1_schematized", "_2_sanitized", "_3_aggregated", "_4_emergency", "_rejected")
ROWS = 4_000

collect_ignore_glob = [] if find_spec("pyspark") else ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # pyspark leaves sockets to the garbage collector.
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for category in ("ResourceWarning", "pytest.PytestUnraisableExceptionWarning", "DeprecationWarning"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore::{category}"))


KEYS = {
    "_0_raw": ["source_rowid"],
    "_1_schematized": ["reading_id"],
    "_2_sanitized": ["reading_id"],
    "_3_aggregated": ["window_start", "sensor_id", "location"],
    "_4_emergency": ["reading_id", "alert_id"],
    "_rejected": ["mode", "reading_id"],
}
"""What names a row of each table."""


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One Spark in this process, on loopback, with Delta Lake's jars from the cache."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - not in the environment of the other tests

    jars = sorted(map(str, JARS.glob("*.jar")))
    assert jars, f"no jars in {JARS}: run make test-spark"
    home = tmp_path_factory.mktemp("spark")
    settings = {
        "spark.jars": ",".join(jars),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",  # VACUUM would list in 10,000 tasks
        "spark.sql.shuffle.partitions": "2",
        "spark.databricks.delta.snapshotPartitions": "2",
        "spark.sql.warehouse.dir": str(home / "warehouse"),
        "spark.driver.extraJavaOptions": f"-Dderby.system.home={home}",
    }
    builder = SparkSession.builder.master("local[2]")
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The tables of all modes, written by edge-delta in two runs."""
    directory = tmp_path_factory.mktemp("device")
    place = Place(str(directory / "lake" / "readings"))
    with Sensor(directory / "sensor.db") as sensor:
        create(sensor)
        for start in (0, ROWS // 2):
            add(sensor, ROWS // 2, start=start)
            deliver(sensor.path, place, ["raw", "schematized", "sanitized", "aggregated", "emergency"], **_SETTINGS)
    return place


_SETTINGS: dict[str, Any] = {
    "sanitize": {"missing": {"temperature": "reject"}},
    "aggregate": {"group_by": ["sensor_id", "location"]},
    "emergency": {"severity_thresholds": {"temperature": 35}},
}
