"""Metrics are served and written whatever hangs, and tell a process that is dead from one that hangs."""

from __future__ import annotations

import io
import json
import signal
import threading
import time

import pytest

from edge_delta.core.events import Log
from edge_delta.device.declared_metrics import METRICS, OF_SOURCE
from edge_delta.device.metrics import Metrics
from edge_delta.settings.load import load
from tests.device.test_metrics import get, served, values
from tests.support.command import eventually
from tests.support.proxy import Stall
from tests.system.test_faults_storage import COMMIT

ALIVE = ("edge_delta_heartbeat_timestamp_seconds",)
PROGRESS = ("edge_delta_progress_timestamp_seconds",)
LOOKED = ("edge_delta_looked_timestamp_seconds",)
DONE = ("edge_delta_done",)


@pytest.fixture
def prom(tmp_path):
    return tmp_path / "edge.prom"


@pytest.fixture
def wired(proxy, wired_lake):
    return proxy, wired_lake


def hanging(sensor, wired, command, **environment):
    """A process whose third commit is not answered."""
    proxy, place = wired
    sensor.create()
    sensor.add(100)
    proxy.plan(Stall(60), method="PUT", path=COMMIT, skip=2, times=None)
    running = command(sensor.path, place, node_id="n1", max_batch_size=20).start(env=environment)
    running.wait_until(lambda: len(proxy.requests("PUT", COMMIT)) >= 3, what="the request that hangs")
    return running


def test_a_store_that_hangs_keeps_neither_the_port_nor_the_file_from_saying_that_the_engine_does_nothing(
    sensor, wired, command, port, prom
):
    running = hanging(sensor, wired, command, METRICS_FILE=str(prom), METRICS_PORT=str(port))
    first = values(served(running, port))
    written = values(prom.read_text())
    later = eventually(lambda: (found := values(prom.read_text()))[ALIVE] > written[ALIVE] and found, what="the file")
    now = values(get(port))
    assert now[ALIVE] > first[ALIVE]
    assert now[PROGRESS] == first[PROGRESS] == later[PROGRESS] < now[ALIVE]
    assert now["edge_delta_rows_waiting", "schematized"] >= 60
    wired[0].clear()
    wired[0].cut_all()
    running.wait_for("cycle finished", timeout=60)
    assert values(get(port))[PROGRESS] > first[PROGRESS]


def test_a_locked_source_keeps_neither_from_being_current(sensor, folder, command, port, prom):
    sensor.open(sensor.path.with_name("plain.db"), wal=False)
    sensor.create()
    sensor.add(10)
    edge = command(sensor.path, folder, node_id="n1", metrics_port=port)
    running = edge.start(env={"METRICS_FILE": str(prom), "HEALTH_AFTER": "1"})
    running.wait_for("cycle finished")
    sensor.run("BEGIN EXCLUSIVE")
    running.wait_for("unavailable", timeout=40)
    before = values(served(running, port))
    eventually(lambda: values(get(port))["edge_delta_healthy",] == 0, what="what is not healthy", pause=0.5)
    eventually(lambda: values(prom.read_text())["edge_delta_healthy",] == 0, what="the same in the file", pause=0.5)
    assert values(get(port))[ALIVE] > before[ALIVE]


def test_a_killed_process_leaves_a_file_whose_heartbeat_stands_and_the_next_one_writes_at_its_start(
    sensor, wired, command, prom
):
    running = hanging(sensor, wired, command, METRICS_FILE=str(prom))
    running.wait_until(prom.exists, what="the file")
    running.signal(signal.SIGKILL)
    running.wait()
    left = values(prom.read_text())
    assert left[DONE] == 0
    time.sleep(0.2)
    assert time.time() - left[ALIVE] >= 0.2
    again = command(sensor.path, wired[1], node_id="n1").start(env={"METRICS_FILE": str(prom)})
    again.wait_until(lambda: values(prom.read_text())[ALIVE] > left[ALIVE], what="the heartbeat of the next one")


def test_a_single_run_and_an_ordered_stop_say_that_they_are_done_and_a_failure_does_not(sensor, folder, command, prom):
    sensor.create()
    sensor.add(10)
    env = {"METRICS_FILE": str(prom)}
    command(sensor.path, folder, node_id="n1").once(env=env).succeeded()
    assert values(prom.read_text())[DONE] == 1
    running = command(sensor.path, folder, node_id="n1").start(env=env)
    running.wait_for("cycle finished")
    running.wait_until(lambda: values(prom.read_text())[DONE] == 0, what="a file of the one that runs")
    assert running.terminate() == 0
    assert values(prom.read_text())[DONE] == 1
    done = command(sensor.path.with_name("gone.db"), folder, node_id="n1", retry_for=0.1).once(env=env)
    assert done.code != 0
    assert values(prom.read_text())[DONE] == 0


def test_the_end_is_said_where_a_writing_was_under_way_when_it_came(tmp_path, prom):
    needed = {"sqlite": str(tmp_path / "a.db"), "table_path": str(tmp_path / "lake"), "state_dir": str(tmp_path)}
    metrics = Metrics(load(needed, environment={"METRICS_FILE": str(prom)}))
    under_way, goes_on, text = threading.Event(), threading.Event(), metrics.text

    def slowly():
        said = text()
        under_way.set()
        goes_on.wait(5)
        return said

    metrics.text = slowly
    with metrics.served(Log(io.StringIO(), json.dumps, verbose=False)):
        assert under_way.wait(5)
        metrics.cycled(None)
        threading.Timer(0.2, goes_on.set).start()
    assert values(prom.read_text())[DONE] == 1


def test_whatever_is_of_a_source_names_the_device_the_source_and_the_table(sensor, folder, command, prom):
    sensor.create()
    sensor.add(10)
    command(sensor.path, folder, node_id="n1", max_batch_size=3).once(env={"METRICS_FILE": str(prom)}).succeeded()
    own = {'node_id="n1"', 'source="sensor"', 'table="readings"'}
    for line in prom.read_text().splitlines():
        name = line.partition("{")[0]
        declared = next((METRICS[n] for n in METRICS if name.startswith(n)), None)
        if declared is None or line.startswith("#"):
            continue
        labels = set(line.partition("{")[2].partition("}")[0].split(","))
        assert (own if declared.about == OF_SOURCE else {'node_id="n1"'}) <= labels, line
