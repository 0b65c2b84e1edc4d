"""The way of some sensor processes: the database is deleted and made again at each start, and everything is killed."""

from __future__ import annotations

import random
import time

import polars as pl
import pytest

from edge_delta.core import events as telemetry
from edge_delta.settings import load as config
from edge_delta.topology import commands
from tests.support import modes

SETTINGS = {
    "processing_mode": ["raw", "aggregated"],
    "aggregate": {"window_minutes": 1, "allowed_lateness": 0, "aggregations": {"pressure": ["sum"]}},
}


def recreate(sensor):
    path = sensor.path
    sensor.open(path.with_name("other.db"))
    for file in path.parent.glob(path.name + "*"):
        file.unlink()
    sensor.open(path)
    modes.create(sensor)


@pytest.mark.parametrize("emit", ["closed", "early"])
def test_each_row_that_was_read_is_in_a_window_or_told_as_lost(sensor, folder, tmp_path, command, emit):
    file = tmp_path / "settings.toml"
    settings = {**SETTINGS, "aggregate": {**SETTINGS["aggregate"], "emit": emit}}
    file.write_text(modes.toml(settings), encoding="utf-8")
    edge = command(sensor.path, folder, config=file, node_id="n1", interval=0.1)
    chance, lives, clock = random.Random(emit), [], modes.EPOCH
    modes.create(sensor)
    for _ in range(6):
        running = edge.start()
        lives.append(0)
        running.wait_for("cycle finished", timeout=60)
        for _ in range(chance.randrange(2, 6)):
            rows = chance.randrange(20, 200)
            values = [(time_of(clock + i),) for i in range(rows)]
            sensor.many("INSERT INTO stations (sensor_id, timestamp, pressure) VALUES ('a', ?, 1)", values)
            lives[-1] += rows
            clock += rows
            time.sleep(chance.uniform(0, 0.6))
        if chance.random() < 0.8:
            running.wait_for("batch committed", timeout=60)
        if len(lives) == 1:  # whether a mode without a table is new or was killed too early, nobody can tell
            running.wait_until(lambda: folder.exists("_3_aggregated"), what="the windows", timeout=60)
            running.terminate()
        elif chance.random() < 0.7:
            running.kill()
        else:
            running.terminate()
        recreate(sensor)
    sensor.run("INSERT INTO stations (sensor_id, timestamp, pressure) VALUES ('a', ?, 1)", time_of(clock))
    lives.append(1)
    edge.once(flush=True).succeeded()
    assert_every_row_is_accounted_for(sensor, folder, tmp_path, file, lives)


def time_of(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def assert_every_row_is_accounted_for(sensor, place, tmp_path, file, lives):
    windows, raw = modes.read(place, "_3_aggregated"), modes.read(place, "_0_raw")
    assert windows.select(pl.struct("window_start", "source_generation").is_duplicated().any()).item() is False
    values = {"config": str(file), "sqlite": str(sensor.path), "table_path": place.base, "node_id": "n1"}
    loaded = config.load(values | {"state_dir": str(tmp_path / "state")}, environment={})
    reports = commands.verify(loaded, telemetry.configure())
    lost = next(r for r in reports if r.mode == "aggregated").counts["lost"]
    in_windows = int(windows["record_count"].sum())
    # What came last in a life may have been read by nobody before it was deleted.
    assert raw.height <= in_windows + lost <= sum(lives), f"{lives=} {in_windows=} {lost=}"
