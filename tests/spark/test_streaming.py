"""Structured Streaming reads a table that edge-delta appends to, compacts and cleans up."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edge_delta.core import events as telemetry
from edge_delta.sinks.delta.upkeep import Keeper, Plan
from tests.support.command import eventually
from tests.support.inprocess import deliver
from tests.support.sqlite import LiveWriter
from tests.support.tables import assert_each_once

DAYS_8 = 8 * 86_400


class Copy:
    """A stream of a table's ids into a folder of Parquet."""

    def __init__(self, spark: Any, uri: str, directory: Path) -> None:
        self._spark = spark
        self._folder = str(directory / "copy")
        read = spark.readStream.format("delta").load(uri).select("reading_id")
        self._writer = read.writeStream.format("parquet").option("checkpointLocation", str(directory / "checkpoint"))

    def start(self, **trigger: Any) -> Any:
        return self._writer.trigger(**trigger).start(self._folder)

    def catch_up(self) -> None:
        """Read what there is, and end."""
        self.start(availableNow=True).awaitTermination()

    def ids(self) -> list[int]:
        if not Path(self._folder, "_spark_metadata").exists():
            return []
        rows = self._spark.read.schema("reading_id BIGINT").parquet(self._folder).collect()
        return [row.reading_id for row in rows]


def actions(folder, kind: str, operation: str) -> list[dict[str, Any]]:
    """The actions of one kind in the commits of one operation, as the log's files have them."""
    found = []
    for file in sorted(Path(folder.uri("_1_schematized"), "_delta_log").glob("*.json")):
        commit = [json.loads(line) for line in file.read_text().splitlines()]
        if any(one.get("commitInfo", {}).get("operation") == operation for one in commit):
            found += [one[kind] for one in commit if kind in one]
    return found


def stream_for(spark, sensor, command, folder, tmp_path, *, seconds: float, compact_every: int) -> None:
    """A commit a second and a compaction every so many, while a stream copies the table."""
    settings = tmp_path / "settings.toml"
    settings.write_text(f"[maintenance]\nkeeper = true\nevery_commits = {compact_every}\n")
    sensor.create()
    sensor.add(100)
    running = command(sensor.path, folder, config=settings, interval=1, fuzz_factor=0, node_id="n1").start()
    running.wait_for("batch committed")
    copy = Copy(spark, folder.uri("_1_schematized"), tmp_path)
    query = copy.start(processingTime="1 second")
    try:
        with LiveWriter(sensor.path, rate=50, seconds=seconds) as writer:
            total = 100 + writer.wait()
        eventually(lambda: folder.read().height == total, timeout=60, pause=0.5)
        eventually(lambda: query.exception() is not None or len(copy.ids()) >= total, timeout=120, pause=1)
        assert query.exception() is None
        assert running.terminate() == 0
        time.sleep(2)  # for what the stream would read twice
    finally:
        query.stop()
    assert_each_once(copy.ids(), range(1, total + 1))
    compactions, commits = len(running.named("table looked after")), len(running.named("batch committed"))
    assert compactions >= 2
    assert commits >= seconds / 2
    changed = [one["dataChange"] for kind in ("add", "remove") for one in actions(folder, kind, "OPTIMIZE")]
    assert len(changed) > 2
    assert not any(changed)  # or the stream would read the rows again, and stop at the files removed
    print(f"{total} rows in {commits} commits and {compactions} compactions: each once in the stream")  # noqa: T201


def test_a_stream_sees_each_row_once_while_edge_delta_appends_and_compacts(spark, sensor, command, folder, tmp_path):
    stream_for(spark, sensor, command, folder, tmp_path, seconds=15, compact_every=5)


@pytest.mark.slow
def test_a_stream_sees_each_row_once_for_three_minutes(spark, sensor, command, folder, tmp_path):
    stream_for(spark, sensor, command, folder, tmp_path, seconds=180, compact_every=60)


def grown(sensor, folder, start: int, batches: int) -> None:
    for k in range(batches):
        sensor.add(100, start=start + 100 * k)
        deliver(sensor.path, folder)


def compacted(folder) -> None:
    uri = folder.uri("_1_schematized")
    Keeper(uri, {}, Plan(), now=lambda: datetime.now(UTC), log=telemetry.configure()).run()


def cleaned_up(folder) -> None:
    """The log and the files as upkeep leaves them eight days later."""
    log = Path(folder.uri("_1_schematized"), "_delta_log")
    then = time.time() - DAYS_8
    for file in log.glob("*.json"):
        os.utime(file, (then, then))
    table = folder.table()
    table.create_checkpoint()
    table.cleanup_metadata()
    table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    assert not (log / f"{0:020}.json").exists()


def test_a_stream_that_kept_up_goes_on_after_log_and_files_were_cleaned_up(spark, sensor, folder, tmp_path):
    sensor.create()
    grown(sensor, folder, 0, 3)
    compacted(folder)
    grown(sensor, folder, 300, 2)
    copy = Copy(spark, folder.uri("_1_schematized"), tmp_path)
    copy.catch_up()
    cleaned_up(folder)
    grown(sensor, folder, 500, 2)
    copy.catch_up()
    assert_each_once(copy.ids(), range(1, 701))


def test_a_stream_that_fell_behind_the_log_stops_instead_of_leaving_rows_out(spark, sensor, folder, tmp_path):
    sensor.create()
    grown(sensor, folder, 0, 2)
    copy = Copy(spark, folder.uri("_1_schematized"), tmp_path)
    copy.catch_up()
    grown(sensor, folder, 200, 3)
    compacted(folder)
    cleaned_up(folder)
    with pytest.raises(Exception, match="DELTA_LOG_FILE_NOT_FOUND_FOR_STREAMING_SOURCE"):
        copy.catch_up()
    assert_each_once(copy.ids(), range(1, 201))


def test_a_stream_of_windows_stops_at_the_first_correction_unless_told_to_skip_it(spark, tables, tmp_path):
    def copy(name: str, **options: str) -> None:
        stream = (
            spark.readStream.format("delta").options(startingVersion="0", **options).load(tables.uri("_3_aggregated"))
        )
        writer = stream.writeStream.format("parquet").option("checkpointLocation", str(tmp_path / f"{name}-checkpoint"))
        writer.trigger(availableNow=True).start(str(tmp_path / name)).awaitTermination()

    with pytest.raises(Exception, match="skipChangeCommits"):
        copy("stops")
    copy("skips", skipChangeCommits="true")
