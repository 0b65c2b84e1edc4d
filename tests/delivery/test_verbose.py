from __future__ import annotations

import io
import threading

from edge_delta.core import events
from edge_delta.settings import load as config
from edge_delta.topology import build
from tests.support.command import parse_events


def logged(sensor, folder, tmp_path, *, verbose):
    flags = {
        "sqlite": str(sensor.path),
        "table_path": folder.base,
        "state_dir": str(tmp_path / "state"),
        "node_id": "n1",
        "once": True,
    }
    stream = io.StringIO()
    log = events.configure(verbose=verbose, stream=stream)
    build.run(config.load(flags, environment={}), log, threading.Event())
    return parse_events(stream.getvalue())


def test_verbose_shows_statements_batches_and_commits_and_the_usual_log_does_not(sensor, folder, tmp_path):
    sensor.run("CREATE TABLE r (id INTEGER PRIMARY KEY, ts TEXT, temperature REAL)")
    sensor.run("INSERT INTO r VALUES (1, '2026-01-01T00:00:00Z', 21.5)")
    found = [e for e in logged(sensor, folder, tmp_path, verbose=True) if e["level"] == "debug"]
    assert {e["event"] for e in found} == {"statement", "batch read", "commit tried"}
    [batch] = [e for e in found if e["event"] == "batch read"]
    assert (batch["first_id"], batch["last_id"], batch["rows"]) == (1, 1, 1)
    [commit] = [e for e in found if e["event"] == "commit tried"]
    assert (commit["tries"], commit["rows"]) == (1, 1)
    assert any("SELECT" in e["sql"] for e in found if e["event"] == "statement")
    sensor.run("INSERT INTO r VALUES (2, '2026-01-01T00:00:01Z', 21.5)")
    assert {e["level"] for e in logged(sensor, folder, tmp_path, verbose=False)} == {"info"}
