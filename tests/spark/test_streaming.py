"""Structured Streaming reads a table that edge-delta appends to."""

from __future__ import annotations

import time

import pytest

from tests.support.command import eventually
from tests.support.sqlite import LiveWriter
from tests.support.tables import assert_each_once


def copied(spark, copy: str) -> list[int]:
    return [row.reading_id for row in spark.read.schema("reading_id BIGINT").parquet(copy).collect()]


def stream_for(spark, sensor, command, folder, tmp_path, *, seconds: float, **flags: object) -> None:
    sensor.create()
    sensor.add(100)
    uri, copy = folder.uri("_1_schematized"), str(tmp_path / "copy")
    running = command(sensor.path, folder, interval=1, fuzz_factor=0, node_id="n1", **flags).start()
    running.wait_for("batch committed")
    query = (
        spark.readStream.format("delta")
        .load(uri)
        .select("reading_id")
        .writeStream.format("parquet")
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .trigger(processingTime="1 second")
        .start(copy)
    )
    try:
        with LiveWriter(sensor.path, rate=50, seconds=seconds) as writer:
            total = 100 + writer.wait()
        eventually(lambda: folder.read().height == total, timeout=30, pause=0.5)
        eventually(lambda: query.exception() is not None or len(copied(spark, copy)) >= total, timeout=60, pause=1)
        assert query.exception() is None
        assert running.terminate() == 0
        time.sleep(2)
    finally:
        query.stop()
    assert_each_once(copied(spark, copy), range(1, total + 1))


def test_a_stream_sees_each_row_once_while_edge_delta_appends(spark, sensor, command, folder, tmp_path):
    stream_for(spark, sensor, command, folder, tmp_path, seconds=8)


@pytest.mark.slow
def test_a_stream_sees_each_row_once_for_three_minutes(spark, sensor, command, folder, tmp_path):
    stream_for(spark, sensor, command, folder, tmp_path, seconds=180)
