"""Spark with Delta Lake reads what edge-delta wrote. Needs Java; run by `make test-spark`."""

from __future__ import annotations

import contextlib
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from deltalake import write_deltalake

from edge_delta.sinks import superseded
from tests.support.modes import add, create, deliver
from tests.support.sqlite import Sensor
from tests.support.tables import Place
from tests.support.weed import ACCESS_KEY, BUCKET, SECRET_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.weed import Weed

JARS = Path(os.environ.get("SPARK_JARS", Path(__file__).parents[2] / ".cache" / "spark-jars"))
MODES = ["raw", "schematized", "sanitized", "aggregated", "emergency"]
SUFFIXES = ("_0_raw", "_1_schematized", "_2_sanitized", "_3_aggregated", "_4_emergency", "_rejected")
ROWS = 20_000
COUNTS = pytest.StashKey[dict[str, int]]()
"""How many statements of sql/ were executed and how many only parsed, for the run's last lines."""

collect_ignore_glob = [] if find_spec("pyspark") else ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # pyspark leaves sockets to the garbage collector.
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for category in ("ResourceWarning", "pytest.PytestUnraisableExceptionWarning", "DeprecationWarning"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore::{category}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    counts = config.stash.get(COUNTS, None)
    if counts is not None:
        terminalreporter.write_line(f"sql/: {counts['executed']} executed by Spark, {counts['parsed']} only parsed")


KEYS = {
    "_0_raw": ["source_rowid"],
    "_1_schematized": ["reading_id"],
    "_2_sanitized": ["reading_id"],
    "_3_aggregated": ["window_start", "sensor_id", "location"],
    "_4_emergency": ["reading_id", "alert_id"],
    "_rejected": ["mode", "reading_id"],
}
"""What names a row of each table."""


_ONE_COMPILER = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC"
"""Most of a short run is compilation, and the second compiler never earns its time back; with one compiler Java keeps
48 MB of code unless told, and throws out what it needs again."""


def settings(home: Path) -> dict[str, str]:
    """A small Spark: two cores, tables of few files, nothing listening but on loopback."""
    return {
        "spark.driver.extraClassPath": f"{JARS}/*",
        "spark.driver.memory": "1500m",
        "spark.driver.extraJavaOptions": f"-Dderby.system.home={home} {_ONE_COMPILER}",
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        # VACUUM lists the table in so many tasks: 10,000 unless told, which is minutes on two cores.
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
        # Tables of a few rows: what compiling and improving a query costs never comes back, and nobody reads its plan.
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.ui.explainMode": "simple",
        "spark.sql.maxPlanStringLength": "100",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.shuffle.partitions": "2",
        "spark.databricks.delta.snapshotPartitions": "2",
        "spark.sql.warehouse.dir": str(home / "warehouse"),
    }


@contextlib.contextmanager
def session(home: Path) -> Iterator[Any]:
    """One Spark in this process, with Delta Lake's jars from the cache."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - not in the environment of the other tests

    assert list(JARS.glob("delta-spark*.jar")), f"no jars in {JARS}: run make test-spark"
    builder = SparkSession.builder.master("local[2]")
    for key, value in settings(home).items():
        builder = builder.config(key, value)
    made = builder.getOrCreate()
    made.sparkContext.setLogLevel("OFF")
    yield made
    made.stop()


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with session(tmp_path_factory.mktemp("spark")) as made:
        yield made


def reach_s3(spark: Any, url: str, bucket: str) -> None:
    """Let Spark's S3A find a bucket at this address."""
    conf = spark.sparkContext._jsc.hadoopConfiguration()
    options = {
        "access.key": ACCESS_KEY,
        "secret.key": SECRET_KEY,
        "endpoint": url,
        "endpoint.region": "us-east-1",
        "path.style.access": "true",
        "connection.ssl.enabled": "false",
        "change.detection.mode": "none",
    }
    for key, value in options.items():
        conf.set(f"fs.s3a.bucket.{bucket}.{key}", value)


@pytest.fixture
def spark_s3(spark: Any, weed: Weed) -> Any:
    """Spark, with the tests' bucket in reach."""
    reach_s3(spark, weed.url, BUCKET)
    return spark


def address(place: Place, suffix: str = "_1_schematized") -> str:
    """A table's address as Spark takes it."""
    return place.uri(suffix).replace("s3://", "s3a://")


def collected(frame: Any) -> pl.DataFrame:
    """What a Spark DataFrame holds, in the types it has there."""
    return pl.DataFrame(frame.toArrow())


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The tables of all modes, written by edge-delta in two runs."""
    return delivered(tmp_path_factory.mktemp("device"), ROWS)


def delivered(directory: Path, rows: int) -> Place:
    """The tables of all modes for so many rows, written in two runs."""
    place = Place(str(directory / "lake" / "readings"))
    with Sensor(directory / "sensor.db") as sensor:
        create(sensor)
        for start in (0, rows // 2):
            add(sensor, rows // 2, start=start)
            deliver(sensor.path, place, MODES, **_SETTINGS)
    write_deltalake(place.uri("_superseded"), pl.DataFrame(schema=superseded.SCHEMA).to_arrow())  # as after a reset
    return place


_SETTINGS: dict[str, Any] = {
    "sanitize": {"missing": {"temperature": "reject"}},
    "aggregate": {"group_by": ["sensor_id", "location"]},
    "emergency": {"severity_thresholds": {"temperature": 35}},
}
