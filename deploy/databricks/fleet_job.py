"""The fleet job: what is new in the tables of all devices goes into one table for each mode, exactly once, by Spark.

It reads logs with the same modules as ``edge-delta gather`` (``edge_delta/gather``, nothing but Python) and writes the
same state into the fleet's tables, so that each can go on from the other.
Start it as a job of the bundle, or on any cluster::

    spark-submit deploy/databricks/fleet_job.py --devices 's3a://lake/{node_id}/readings' --into s3a://lake/fleet/readings

``--into`` is a path, or the beginning of tables' names such as ``main.edge_fleet.readings``. Run one at a time.
"""

from __future__ import annotations

import argparse
import functools
import json
import operator
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

try:
    import edge_delta.gather  # noqa: F401 - is it there, on the path that --py-files or a wheel made?
except ImportError:
    sys.path.insert(0, str(Path(globals().get("__file__") or sys.argv[0]).resolve().parents[2]))

from pyspark.sql import DataFrame, DataFrameReader, Row, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - as Spark's users write it
from pyspark.sql.types import StructField, StructType

from edge_delta.gather import state as states
from edge_delta.gather.folder import FolderFiles
from edge_delta.gather.logs import Commit, File, Log, Unreachable
from edge_delta.gather.places import Places
from edge_delta.gather.rounds import Gathered, Job, Overtaken, Round
from edge_delta.gather.state import APP, State
from edge_delta.gather.takings import SHAPES, FilesGone, Limits, Refused, Shape, Taking, Way

_MISSING = ("NOT_FOUND", "DELTA_MISSING", "not a Delta table")
_LATER = ("Concurrent", "DELTA_METADATA_CHANGED", "DELTA_PROTOCOL_CHANGED")
_GONE = ("FILE_NOT_EXIST", "PATH_NOT_FOUND", "FileNotFoundException")
"""A device's file was deleted after it was looked for: the device has to be asked once more."""
_NO_ROWS = (
    *("CREATE", "OPTIMIZE", "VACUUM", "SET ", "UNSET", "ADD COLUMN", "CHANGE", "UPGRADE", "CLUSTER", "REORG", "FSCK"),
)
_PROPERTIES = {"delta.logRetentionDuration": "interval 30 days", "delta.checkpointInterval": "20"}
_LAG = (
    "node_id STRING, mode STRING, state STRING, version BIGINT, last_commit_at TIMESTAMP, behind_seconds DOUBLE, "
    "told STRING, checked_at TIMESTAMP"
)


class HadoopFiles:
    """Files that Hadoop's file systems reach, such as ``s3a://``; see `edge_delta.gather.logs.Files`."""

    def __init__(self, spark: SparkSession, root: str) -> None:
        self._jvm = spark._jvm  # noqa: SLF001 - PySpark has no other way to a file system
        self._conf = spark._jsc.hadoopConfiguration()  # noqa: SLF001 - as above
        self.root = root

    def _of(self, path: str) -> tuple[Any, Any]:
        place = self._jvm.org.apache.hadoop.fs.Path(f"{self.root}/{path}")
        return place.getFileSystem(self._conf), place

    def get(self, path: str) -> bytes | None:
        """What a file holds; None if there is none."""
        system, place = self._of(path)
        stream = self._asked(lambda: system.open(place))
        if stream is None:
            return None
        try:
            found: bytes | None = self._asked(lambda: bytes(stream.readAllBytes()))
            return found
        finally:
            stream.close()

    def names(self, folder: str) -> list[str]:
        """The names in a folder; none where it is not there."""
        system, place = self._of(folder)
        return [each.getPath().getName() for each in self._asked(lambda: system.listStatus(place)) or ()]

    def exists(self, path: str) -> bool:
        """Whether there is a file."""
        system, place = self._of(path)
        return bool(self._asked(lambda: system.exists(place)))

    def _asked(self, call: Any) -> Any:
        try:
            return call()
        except Exception as error:
            if "FileNotFoundException" in str(error):
                return None
            raise Unreachable(str(error).splitlines()[0]) from error


@dataclass(frozen=True)
class Devices:
    """The devices' tables, read by Spark.

    Attributes:
        spark: the session.
        root: the address that they are below.
        files: what lies there.
        schemas: the columns of versions that were asked for, by table: a log may be cleaned before they are needed.
    """

    spark: SparkSession
    root: str
    files: FolderFiles | HadoopFiles
    schemas: dict[tuple[str, int], StructType] = field(default_factory=dict)

    def uri(self, table: str) -> str:
        """A table's address."""
        return f"{self.root}/{table}"

    def live(self, table: str, version: int | None) -> tuple[int, list[File]]:
        """A version of a table and its files; see `edge_delta.gather.takings.Snapshots`."""
        tip = Log(self.files, table).listing().tip if version is None else version
        if tip is None:
            raise Refused("its table is not there")
        try:
            found = self.spark.read.format("delta").option("versionAsOf", tip).load(self.uri(table))
            marker, names = f"/{table}/", found.inputFiles()
            self.schemas[table, tip] = found.schema
        except Exception as error:
            raise Refused(f"its table cannot be read: {str(error).splitlines()[0]}") from error
        paths = [unquote(name).partition(marker)[2] for name in names]
        return tip, [File(path, 0, tuple(_parts(path))) for path in paths]

    def schema(self, taking: Taking) -> StructType | None:
        """The columns of what is taken; None where they are those of what was taken before."""
        if taking.schema is not None:
            return StructType.fromJson(json.loads(taking.schema))
        if taking.way is Way.APPEND:
            return None
        return self.schemas[taking.table, taking.upto.version]

    def frame(self, taking: Taking, paths: list[str], columns: StructType) -> DataFrame:
        """Rows of one device's files, with its partition columns."""
        base = self.uri(taking.table)
        return self._read(columns).option("basePath", base).parquet(*[f"{base}/{path}" for path in paths])

    def _read(self, columns: StructType) -> DataFrameReader:
        """One that fails where a file is gone or torn, also where the cluster's settings pass over those."""
        reader = self.spark.read.schema(columns)
        return reader.option("ignoreMissingFiles", "false").option("ignoreCorruptFiles", "false")

    def rows(self, takings: list[Taking], files: dict[str, list[str]], columns: StructType) -> DataFrame | None:
        """Rows of files of several devices, in one reading where they are not partitioned."""
        plain = [t for t in takings if not any("=" in path for path in files[t.device])]
        paths = [f"{self.uri(t.table)}/{path}" for t in plain for path in files[t.device]]
        found = [self.frame(t, files[t.device], columns) for t in takings if t not in plain and files[t.device]]
        if paths:
            found.append(self._read(columns).parquet(*paths))
        return functools.reduce(DataFrame.unionByName, found) if found else None


def _parts(path: str) -> list[tuple[str, str]]:
    return [(name, value) for part in path.split("/")[:-1] for name, _, value in [part.partition("=")]]


class History:
    """The fleet's table's log, as DESCRIBE HISTORY tells it; also of a table whose files Unity Catalog keeps."""

    def __init__(self, spark: SparkSession, table: str) -> None:
        rows = spark.sql(f"DESCRIBE HISTORY {table}").collect()
        self._commits = {row["version"]: _commit(row) for row in rows}
        self.version: int = max(self._commits)

    def commit(self, version: int) -> Commit | None:
        """A commit; None if there is none."""
        return self._commits.get(version)


def _commit(row: Row) -> Commit:
    added = () if row["operation"].startswith(_NO_ROWS) else (File("", 0),)
    time_ = int(row["timestamp"].timestamp() * 1000)
    parameters = dict(row["operationParameters"] or {})
    return Commit(row["version"], "", time_, row["operation"], parameters, row["userMetadata"], added)


class SparkFleet:
    """One table for all devices; see `edge_delta.gather.rounds.FleetTable`."""

    def __init__(self, devices: Devices, into: str, shape: Shape) -> None:
        self._devices = devices
        self._spark = devices.spark
        self._name = into + shape.suffix
        self._table = f"delta.`{self._name}`" if "/" in into else self._name
        self._shape = shape
        self._columns = StructType()
        self._there = False

    def state(self) -> State:
        """What the table holds, from its own history."""
        self._there = self._exists()
        self._columns = self._spark.table(self._table).schema if self._there else StructType()
        if not self._there:
            return State()
        history = History(self._spark, self._table)
        return states.newest(history, history.version)  # type: ignore[arg-type]

    def _exists(self) -> bool:
        try:
            self._spark.sql(f"DESCRIBE DETAIL {self._table}").collect()
        except Exception as error:
            if any(
                said in str(error) for said in ("NOT_FOUND", "DELTA_MISSING", "not a Delta table", "PATH_NOT_FOUND")
            ):
                return False
            raise
        return True

    def prepared(self, taking: Taking) -> Taking:
        """See that the files are there, and are the device's."""
        gone = [file.path for file in taking.files if not self._devices.files.exists(f"{taking.table}/{file.path}")]
        if gone:
            raise FilesGone(gone[0])
        nodes = sorted({node for file in taking.files for node in file.nodes if node != taking.device})
        if nodes:
            raise Refused(f"its table has rows of node {nodes[0]!r}")
        return taking

    def fit(self, prepared: Taking) -> None:
        """Find room for a device's columns in the table."""
        known = {one.name.lower(): one for one in self._columns}
        columns = self._devices.schema(prepared) or StructType()
        pairs = [(one, known[one.name.lower()]) for one in columns if one.name.lower() in known]
        wrong = [
            f"{ours.name} is {ours.dataType.simpleString()}, expected {theirs.dataType.simpleString()}"
            for ours, theirs in pairs
            if ours.dataType != theirs.dataType
        ]
        if wrong:
            raise Refused(f"its columns do not fit {self._name}: {'; '.join(wrong)}")
        new = [StructField(one.name, one.dataType) for one in columns if one.name.lower() not in known]
        self._columns = StructType([*self._columns.fields, *new])

    def commit(self, prepared: list[Taking], state: State) -> int:
        """Write rows and state in one commit; returns how many rows were written."""
        try:
            return self._committed(prepared, state)
        except Exception as error:
            if any(said in str(error) for said in (*_LATER, *_GONE)):
                raise Overtaken(str(error).splitlines()[0]) from error
            raise

    def _committed(self, prepared: list[Taking], state: State) -> int:
        if not self._there:
            self._create()
        replacing = [taking for taking in prepared if taking.way is Way.REPLACE]
        rows, where = self._replacing(replacing) if replacing else (self._appending(prepared), None)
        if rows is None:
            rows = self._spark.createDataFrame([], self._columns)
        writer = rows.write.format("delta").option("txnAppId", APP).option("txnVersion", state.round)
        writer = writer.option("userMetadata", noted := state.noted("spark")).option("mergeSchema", "true")
        writer = writer.mode("overwrite").option("replaceWhere", where) if where else writer.mode("append")
        writer.save(self._name) if "/" in self._name else writer.saveAsTable(self._name)
        return self._written(noted)

    def _written(self, noted: str) -> int:
        """The rows of our commit; of two rounds of one number Spark passes over the second one without a word."""
        newest = self._spark.sql(f"DESCRIBE HISTORY {self._table} LIMIT 20").collect()
        ours = next((row for row in newest if row["userMetadata"] == noted), None)
        if ours is None:
            raise Overtaken(f"{self._name} was written by another round")
        return int((ours["operationMetrics"] or {}).get("numOutputRows", 0))

    def _create(self) -> None:
        columns = ", ".join(f"`{one.name}` {one.dataType.simpleString()}" for one in self._columns)
        properties = ", ".join(f"'{key}' = '{value}'" for key, value in _PROPERTIES.items())
        self._spark.sql(
            f"CREATE TABLE IF NOT EXISTS {self._table} ({columns}) USING DELTA TBLPROPERTIES ({properties})"
        )
        wanted, found = self._columns, self.state()
        if not self._there:  # a round that was killed left its folder, and CREATE TABLE takes that for a table
            empty = self._spark.createDataFrame([], wanted).write.format("delta").options(**_PROPERTIES).mode("append")
            empty.save(self._name) if "/" in self._name else empty.saveAsTable(self._name)
            found = self.state()
        if found != State():  # it has to be asked how it stands
            raise Overtaken(f"{self._name} was made by another round")

    def _appending(self, takings: list[Taking]) -> DataFrame | None:
        whole = self._read([t for t in takings if t.way is Way.APPEND])
        missing = [t for t in takings if t.way is Way.MISSING]
        found = self._read(missing)
        if found is not None:
            known = self._spark.table(self._table).where(F.col("node_id").isin([t.device for t in missing]))
            key = [name for name in self._shape.key if name in self._columns.names]
            there = known.select(*((F.col(n) if n in known.columns else F.lit(None)).alias(f"_{n}") for n in key))
            alike = functools.reduce(operator.and_, (F.col(n).eqNullSafe(F.col(f"_{n}")) for n in key))
            found = found.join(there, alike, "left_anti")
        both = [frame for frame in (whole, found) if frame is not None]
        return functools.reduce(DataFrame.unionByName, both) if both else None

    def _read(self, takings: list[Taking]) -> DataFrame | None:
        return self._devices.rows(takings, {t.device: [f.path for f in t.files] for t in takings}, self._columns)

    def _replacing(self, takings: list[Taking]) -> tuple[DataFrame | None, str | None]:
        """The rows, and the condition on those whose place they take."""
        spans = self._spans(takings)
        rows, conditions = self._read(takings), []
        for taking in takings:
            span = spans.get(taking.device)
            own = f"node_id = '{taking.device.replace(chr(39), chr(39) * 2)}'"
            if taking.device in spans and span is None:
                continue  # nothing changed after all
            between = (
                f" AND {self._shape.window} BETWEEN TIMESTAMP '{span[0]}' AND TIMESTAMP '{span[1]}'" if span else ""
            )
            conditions.append(f"({own}{between})")
        where = " OR ".join(conditions)
        return (rows.where(where) if rows is not None and where else None), where or None

    def _spans(self, takings: list[Taking]) -> dict[str, tuple[str, str] | None]:
        """The first and last window that changed, by device; those of which all rows go are not in it."""
        window = self._shape.window
        partly = [t for t in takings if window is not None and (t.anew or (not t.whole and self._all_there(t)))]
        if not partly or window is None:
            return {}
        after = {t.device: [f.path for f in (t.files if t.anew else t.after)] for t in partly}
        before = {t.device: [] if t.anew else list(t.before) for t in partly}
        came = self._devices.rows(partly, after, self._columns)
        went = self._devices.rows(partly, before, self._columns)
        sides = [frame.withColumn("_side", F.lit(n)) for frame, n in ((came, 1), (went, -1)) if frame is not None]
        spans: dict[str, tuple[str, str] | None] = dict.fromkeys(t.device for t in partly)
        if sides:
            both = functools.reduce(DataFrame.unionByName, sides)
            changed = both.groupBy(*self._columns.names).agg(F.sum("_side").alias("_side")).where("_side != 0")
            limits = changed.groupBy("node_id").agg(
                F.min(window).cast("string").alias("first"), F.max(window).cast("string").alias("last")
            )
            spans |= {row["node_id"]: (row["first"], row["last"]) for row in limits.collect()}
        return spans

    def _all_there(self, taking: Taking) -> bool:
        return all(self._devices.files.exists(f"{taking.table}/{path}") for path in taking.before)


def lag(spark: SparkSession, into: str, outcomes: list[Gathered]) -> None:
    """Write how far each device is, as ``edge-delta gather`` does."""
    now = datetime.now(UTC)
    rows = [
        (
            *(about.device, outcome.mode, about.state, about.version),
            datetime.fromtimestamp(about.last_commit / 1000, UTC) if about.last_commit else None,
            *(float(about.behind), "; ".join(about.told) or None, now),
        )
        for outcome in outcomes
        for about in outcome.devices.values()
        if about.state != "no table"
    ]
    if any(row[2] != "nothing new" for row in rows):
        writer = spark.createDataFrame(rows, _LAG).write.format("delta").mode("overwrite")
        writer.save(into + "_gather") if "/" in into else writer.saveAsTable(into + "_gather")


def gather(spark: SparkSession, devices: str, into: str, modes: list[str], retention_days: float = 7) -> list[Gathered]:
    """One round.

    Args:
        spark: the session.
        devices: ``table_path`` of the devices, with ``{node_id}``.
        into: the base of the fleet's tables, a path or the beginning of their names.
        modes: the tables, see `edge_delta.gather.takings.SHAPES`.
        retention_days: how long the devices' logs are kept.
    """
    spark.conf.set("spark.sql.sources.partitionColumnTypeInference.enabled", "false")
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    places = Places.of(devices)
    files = HadoopFiles(spark, places.root) if "://" in places.root else FolderFiles(places.root)
    found = Devices(spark, places.root, files)
    folders = places.folders(files.names(""), into)
    outcomes = []
    for mode in modes:
        shape = SHAPES[mode]
        tables = {device: places.table(device, shape.suffix) for device in places.devices(folders, shape.suffix)}
        fleet = SparkFleet(found, into, shape)
        job = Job(mode, shape, tables, files, found, fleet, retention_days * 86_400)
        outcomes.append(Round(job, Limits(bytes=2_000_000_000, devices=2_000)).run())
    lag(spark, into, outcomes)
    return outcomes


def main(words: list[str] | None = None) -> int:
    """One round; the exit code is 3 if a device is quarantined, 1 if one cannot be reached."""
    parser = argparse.ArgumentParser(description="Bring the tables of all devices into one for each mode.")
    parser.add_argument("--devices", required=True, help="table_path of the devices, with {node_id}")
    parser.add_argument("--into", required=True, help="base of the fleet's tables: a path, or catalog.schema.name")
    parser.add_argument("--modes", default="schematized,rejected,superseded", help="which tables, with commas")
    parser.add_argument("--retention-days", type=float, default=7, help="how long the devices' logs are kept")
    options = parser.parse_args(words)
    spark, started = SparkSession.builder.getOrCreate(), time.perf_counter()
    outcomes = gather(spark, options.devices, options.into, options.modes.split(","), options.retention_days)
    states_ = [about.state for outcome in outcomes for about in outcome.devices.values()]
    for outcome in outcomes:
        said = [about for about in outcome.devices.values() if about.told]
        print(json.dumps({"mode": outcome.mode, "rows": outcome.rows, "told": [asdict(about) for about in said]}))
    print(f"{time.perf_counter() - started:.1f} s")
    return 3 if "quarantined" in states_ else 1 if "unreachable" in states_ else 0


if __name__ == "__main__":
    code = main()
    if code:  # a job that ends well must not say SystemExit: Databricks takes that for a failure
        sys.exit(code)
