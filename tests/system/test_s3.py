"""The main job against a real S3 server, with another process writing meanwhile."""

from __future__ import annotations

import pytest

from tests.support.proxy import DropAnswer
from tests.support.sqlite import LiveWriter
from tests.support.tables import assert_both_readers_agree, assert_plain_protocol, assert_raw_equals

COLUMNS = ["id", "sensor_id", "timestamp", "temperature", "humidity", "status_code"]
COMMIT = r"_delta_log/\d{20}\.json$"


@pytest.mark.parametrize("mode", ["schematized", "raw"])
def test_what_a_live_writer_inserts_arrives_on_s3_exactly_once(mode, sensor, lake, command):
    sensor.create()
    edge = command(sensor.path, lake, processing_mode=mode, interval=0.7, timestamp_field="timestamp")
    with LiveWriter(sensor.path, rate=200, seconds=6) as writer:
        running = edge.start()
        written = writer.wait()
    rows = sensor.rows()
    assert len(rows) == written > 1000
    running.wait_until(
        lambda: any(e["cursor"] == rows[-1][0] for e in running.named("batch committed")), what="the last row"
    )
    assert len(running.named("batch committed")) > 2
    assert running.terminate() == 0
    suffix = "_0_raw" if mode == "raw" else "_1_schematized"
    assert_plain_protocol(lake, suffix)
    if mode == "raw":
        assert_raw_equals(lake, rows, COLUMNS)
    else:
        table = assert_both_readers_agree(lake, suffix, "reading_id")
        assert table["reading_id"].to_list() == [row[0] for row in rows]
        assert table["temperature"].to_list() == [row[3] for row in rows]
        assert [t.isoformat() for t in table["timestamp"]] == [row[2] for row in rows]


def test_a_commit_whose_answer_was_dropped_is_neither_lost_nor_repeated(sensor, proxy, wired_lake, command):
    sensor.create()
    sensor.add(400)
    lost = proxy.plan(DropAnswer(), method="PUT", path=COMMIT, skip=2, times=2)
    edge = command(sensor.path, wired_lake, max_batch_size=50, node_id="n1")
    running = edge.start()
    running.wait_for("cycle finished")
    sensor.add(100, start=400)
    running.wait_until(lambda: wired_lake.read().height >= 500, what="row 500")
    assert running.terminate() == 0
    assert lost.hits == 2
    table = assert_both_readers_agree(wired_lake, "_1_schematized", "reading_id")
    assert table["reading_id"].to_list() == [row[0] for row in sensor.rows()]
