"""How far a mode has come that passes over all rows is in its table's log, also while a process runs for months."""

from __future__ import annotations

import io
import threading

from edge_delta.core import events as telemetry
from edge_delta.settings import load as config
from edge_delta.topology import build
from tests.support.command import eventually


def test_a_running_process_commits_the_position_of_alerts_that_nothing_raised(sensor, folder, monkeypatch):
    monkeypatch.setattr("edge_delta.delivery.engine._POSITION_EVERY", 0.0)
    sensor.create()
    sensor.add(100)
    sensor.run("UPDATE readings SET status_code = NULL, humidity = NULL, temperature = 20")
    values = {"sqlite": str(sensor.path), "table_path": folder.base, "node_id": "n1", "interval": 0.2}
    settings = config.load(
        values | {"state_dir": str(sensor.path.parent / "state"), "processing_mode": ["emergency"]}, environment={}
    )
    stop = threading.Event()
    run = threading.Thread(target=build.run, args=(settings, telemetry.configure(stream=io.StringIO()), stop))
    run.start()
    try:
        eventually(lambda: folder.exists("_4_emergency"), what="the alerts' table")
    finally:
        stop.set()
        run.join()
    assert not folder.read("_4_emergency").height
