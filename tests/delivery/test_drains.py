"""Several modes of one table: one reading for all that stand together, and nobody waits for another one's trouble."""

from __future__ import annotations

import io
import threading

import pytest

from edge_delta.core import events as telemetry
from edge_delta.settings import load as config
from edge_delta.source import rows as source_rows
from edge_delta.topology import build as app
from tests.support.command import parse_events
from tests.support.inprocess import deliver
from tests.support.proxy import Answer
from tests.support.tables import assert_each_once

ALL = "raw,schematized,sanitized,aggregated,emergency"
ALERTS = {"EMERGENCY_CONFIG": '{"severity_thresholds": {"temperature": 1000}, "anomaly_flag": false, "min_pause": 0.1}'}
ALERT = "INSERT INTO readings (sensor_id, timestamp, temperature) VALUES ('s', '2026-01-01T00:00:00Z', 5000)"
BACKLOG = 15_000
SMALL = 250  # rows in a batch, so that the backlog takes seconds


@pytest.fixture
def read(monkeypatch):
    """Where the extents end that were read of the source."""
    ends, really = [], source_rows.read
    monkeypatch.setattr(
        source_rows,
        "read",
        lambda database, table, extent, *rest: ends.append(extent.last) or really(database, table, extent, *rest),
    )
    return ends


def ids(place, suffix, key="reading_id"):
    return place.read(suffix)[key].to_list()


# -- one reading


def test_a_batch_is_read_once_for_all_modes_that_stand_at_the_same_row(sensor, folder, read):
    sensor.create()
    sensor.add(250)
    assert deliver(sensor.path, folder, processing_mode=ALL, max_batch_size=100).complete
    assert read == [100, 200, 250]
    for suffix, key in (("_0_raw", "id"), ("_1_schematized", "reading_id"), ("_2_sanitized", "reading_id")):
        assert_each_once(ids(folder, suffix, key), range(1, 251))


def test_modes_that_stand_apart_read_apart_and_stand_together_afterwards(sensor, folder, read):
    sensor.create()
    sensor.add(150)
    deliver(sensor.path, folder, processing_mode="raw", max_batch_size=100)
    sensor.add(100, start=150)
    read.clear()
    deliver(sensor.path, folder, processing_mode="raw,schematized", max_batch_size=100)
    assert read == [250, 100, 200, 250]  # the one that has less to do first
    sensor.add(50, start=250)
    read.clear()
    deliver(sensor.path, folder, processing_mode="raw,schematized", max_batch_size=100)
    assert read == [300]
    assert_each_once(ids(folder, "_0_raw", "id"), range(1, 301))
    assert_each_once(ids(folder, "_1_schematized"), range(1, 301))


def test_modes_of_a_table_that_is_read_in_the_order_of_time_read_it_once_too(sensor, folder, read):
    key = "PRIMARY KEY (station, timestamp)"
    sensor.run(f"CREATE TABLE readings (station TEXT, timestamp TEXT, value REAL, {key}) WITHOUT ROWID")
    rows = [("a", f"2026-01-01T00:{i // 60:02}:{i % 60:02}Z", i) for i in range(250)]
    sensor.many("INSERT INTO readings VALUES (?, ?, ?)", rows)
    assert deliver(sensor.path, folder, processing_mode="raw,schematized", max_batch_size=100).complete
    assert len(read) == 3
    assert sorted(ids(folder, "_0_raw", "value")) == sorted(ids(folder, "_1_schematized", "value")) == list(range(250))
    late = deliver(sensor.path, folder, processing_mode="raw,schematized", max_batch_size=100)
    assert not late.named("batch committed")
    assert not late.named("rows passed by")


# -- trouble of one


def test_a_table_that_does_not_answer_does_not_hold_the_other_modes(sensor, proxy, wired_lake, command):
    sensor.create()
    sensor.add(50)
    modes = "raw,schematized,sanitized"
    running = command(sensor.path, wired_lake, node_id="n1", processing_mode=modes).start()
    running.wait_until(lambda: len(running.named("batch committed")) == 3, what="the first rows")
    proxy.plan(Answer(403, "AccessDenied"), method="PUT", path="_1_schematized", times=None)
    for start in (50, 100):
        sensor.add(50, start=start)
        for suffix in ("_0_raw", "_2_sanitized"):
            running.wait_until(
                lambda s=suffix, n=start + 50: wired_lake.read(s).height == n, what="the others' rows", timeout=40
            )
    assert wired_lake.read().height == 50
    proxy.clear()
    running.wait_until(lambda: wired_lake.read().height == 150, what="the rows that waited", timeout=40)
    running.wait_for("recovered")
    assert running.terminate() == 0
    assert len(running.named("unavailable")) == 1
    for suffix, key in (("_0_raw", "id"), ("_1_schematized", "reading_id"), ("_2_sanitized", "reading_id")):
        assert_each_once(ids(wired_lake, suffix, key), range(1, 151))


def test_a_single_run_with_a_table_that_does_not_answer_delivers_the_others_and_fails(
    sensor, proxy, wired_lake, command
):
    sensor.create()
    edge = command(sensor.path, wired_lake, node_id="n1", processing_mode="raw,schematized,sanitized", retry_for=1)
    sensor.add(50)
    edge.once().succeeded()
    sensor.add(50, start=50)
    proxy.plan(Answer(403, "AccessDenied"), method="PUT", path="_0_raw", times=None)
    failed = edge.once()
    assert failed.code == 1
    assert "_0_raw" in failed.stderr
    assert [wired_lake.read(s).height for s in ("_0_raw", "_1_schematized", "_2_sanitized")] == [50, 100, 100]
    proxy.clear()
    edge.once().succeeded()
    assert_each_once(ids(wired_lake, "_0_raw", "id"), range(1, 101))


# -- a backlog of one


def test_a_backlog_in_one_mode_does_not_hold_the_alerts_of_the_same_table(sensor, folder, command):
    sensor.create()
    sensor.add(BACKLOG)
    edge = command(sensor.path, folder, node_id="n1", max_batch_size=SMALL, interval=60)
    edge.once(env=ALERTS, processing_mode="emergency").succeeded()
    running = edge.start(env=ALERTS, processing_mode="raw,emergency")
    running.wait_for("batch committed", count=3)
    for number in range(1, 4):
        sensor.run(ALERT)
        running.wait_until(lambda n=BACKLOG + number: n in ids(folder, "_4_emergency"), what="the alert", timeout=10)
    assert folder.read("_0_raw").height < BACKLOG
    running.wait_until(lambda: folder.read("_0_raw").height >= BACKLOG, what="the backlog", timeout=60)
    assert running.terminate() == 0
    edge.once(env=ALERTS, processing_mode="raw,emergency").succeeded()
    assert_each_once(ids(folder, "_0_raw", "id"), range(1, BACKLOG + 4))
    assert_each_once(ids(folder, "_4_emergency"), range(BACKLOG + 1, BACKLOG + 4))


def test_a_mode_that_is_far_behind_does_not_hold_the_others(sensor, folder, command):
    sensor.create()
    sensor.add(BACKLOG)
    edge = command(sensor.path, folder, node_id="n1", interval=0.3)
    edge.once(processing_mode="schematized").succeeded()
    running = edge.start(processing_mode="raw,schematized", max_batch_size=SMALL)
    running.wait_for("batch committed", count=3)
    for number in range(1, 3):
        sensor.add(1, start=BACKLOG + number - 1)
        running.wait_until(lambda n=BACKLOG + number: folder.read().height == n, what="the new row", timeout=10)
    assert folder.read("_0_raw").height < BACKLOG
    running.wait_until(lambda: folder.read("_0_raw").height == BACKLOG + 2, what="the backlog", timeout=60)
    assert running.terminate() == 0
    assert_each_once(ids(folder, "_0_raw", "id"), range(1, BACKLOG + 3))
    assert_each_once(ids(folder, "_1_schematized"), range(1, BACKLOG + 3))


def test_rows_that_alerts_read_before_the_other_modes_did_are_no_late_rows(sensor, folder, read, monkeypatch):
    """A sweep counts up to where the last of the modes stands, and remembers what the others have read behind it."""
    sensor.create()
    sensor.add(10)
    stop, really = threading.Event(), source_rows.read

    def one_more_with_each_batch(*asked):
        found = really(*asked)
        if len(read) == 20:
            stop.set()
        sensor.run(ALERT)
        return found

    monkeypatch.setattr(source_rows, "read", one_more_with_each_batch)
    settings = config.load(
        {
            "sqlite": str(sensor.path),
            "table_path": folder.base,
            "state_dir": str(sensor.path.parent / "state"),
            "node_id": "n1",
            "processing_mode": ["aggregated", "emergency"],
            "interval": 0.3,
        },
        environment={**ALERTS, "SWEEP": "0"},
    )
    stream = io.StringIO()
    app.run(settings, telemetry.configure(stream=stream), stop)
    events = parse_events(stream.getvalue())
    assert [e for e in events if e["event"] == "rows below the cursor"] == []
    assert_each_once(ids(folder, "_4_emergency"), range(11, 11 + folder.read("_4_emergency").height))
