"""What arrives as it should, but can hardly be meant, is said at once: in the log, in status, health and metrics."""

from __future__ import annotations

import json

import pytest

from edge_delta.device.declared_metrics import METRICS
from edge_delta.device.health import Verdict, examine
from tests.support.inprocess import deliver


def test_a_source_whose_every_row_is_rejected_is_an_error_with_the_cure(sensor, folder, command):
    sensor.run("CREATE TABLE t (id INTEGER PRIMARY KEY, timestamp TEXT, temperature REAL)")
    sensor.run(
        "INSERT INTO t (timestamp, temperature) "
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 50) "
        "SELECT '2026-01-01T00:00:00Z', 'n/a' FROM n"
    )
    edge = command(sensor.path, folder, node_id="n1")
    done = edge.once()
    [said] = done.named("every row of a batch rejected")
    assert (said["level"], said["rows"]) == ("error", 50)
    assert "[columns]" in said["fix"]
    about = json.loads(
        edge.run("status", json=True, sqlite=None, table_path=None, node_id=None, interval=None, retry_for=None).stdout
    )
    assert about["modes"]["schematized"]["rejected_in_a_row"] == 50
    health = examine(edge.flags["state_dir"])
    assert not health.ok
    assert health.rejecting == ["schematized"]
    assert "edge_delta_rejected_in_a_row" in METRICS
    sensor.run("INSERT INTO t (timestamp, temperature) VALUES ('2026-01-01T00:00:01Z', 20.5)")
    edge.once()
    assert examine(edge.flags["state_dir"]).ok


@pytest.mark.parametrize(
    ("time", "word"), [("1970-01-02T00:00:00Z", "before the year 2000"), ("2100-01-01T00:00:00Z", "ahead of the clock")]
)
@pytest.mark.parametrize("mode", ["raw", "schematized"])
def test_a_time_that_can_hardly_be_meant_is_said_at_once(time, word, mode, sensor, folder):
    sensor.run("CREATE TABLE t (id INTEGER PRIMARY KEY, timestamp TEXT)")
    sensor.run("INSERT INTO t (timestamp) VALUES ('2026-01-01T00:00:00Z'), (?), ('2026-01-01T00:00:01Z')", time)
    done = deliver(sensor.path, folder, processing_mode=mode)
    [said] = done.named("doubtful time")
    assert said["reason"] == word
    assert "timestamp_format" in said["fix"]
    table = examine(sensor.path.parent / "state").mirror["tables"][mode]
    assert word in table["doubtful_time"]


def test_what_is_as_it_should_be_says_nothing(sensor, folder):
    sensor.create()
    sensor.add(20)
    done = deliver(sensor.path, folder)
    assert not done.named("doubtful time")
    assert examine(sensor.path.parent / "state").verdict in (Verdict.STOPPED, Verdict.UP_TO_DATE)
    [column] = done.named("time column")
    assert (column["column"], column["reason"], column["first"]) == (
        "timestamp",
        "by its name",
        "2026-01-01T00:00:00+00:00",
    )
