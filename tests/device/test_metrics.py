"""Metrics: on a port or in a file, off by default, each declared once and accepted by Prometheus' own tool."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge_delta.device.declared_metrics import METRICS, OF_SOURCE
from tests.support.command import eventually
from tests.system.test_startup import modules_after
from tests.system.test_startup import sensor as make_sensor


def get(port, path="/metrics"):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return answer.read().decode()


def values(text):
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            own = {key: value for key, value in sample.labels.items() if key not in OF_SOURCE}
            found[sample.name, *own.values()] = sample.value
    return found


def served(running, port):
    def probe():
        try:
            return get(port)
        except OSError:
            return None

    return running.wait_until(probe, what="metrics")


def test_off_by_default(tmp_path):
    make_sensor(tmp_path / "s.db", 10)
    flags = ("--once", "--sqlite", str(tmp_path / "s.db"), "--table-path", str(tmp_path / "r"))
    code, names = modules_after(*flags, "--state-dir", str(tmp_path / "state"))
    assert code == 0
    assert "prometheus_client" not in names


def test_what_is_served_agrees_with_what_was_delivered(sensor, folder, command, port):
    sensor.create()
    sensor.add(100)
    sensor.run("INSERT INTO readings (sensor_id, timestamp, temperature) VALUES ('s', '2026-01-01T00:00:00Z', 'hot')")
    running = command(sensor.path, folder, node_id="n1", metrics_port=port).start()
    running.wait_for("cycle finished", count=3)
    found = values(served(running, port))
    assert found["edge_delta_rows_total", "schematized", "written"] == 100
    assert found["edge_delta_rows_total", "schematized", "rejected"] == 1
    assert found["edge_delta_rejected_rows_total", "schematized", "type"] == 1
    assert found["edge_delta_commits_total", "schematized"] == 1
    one_column = 100 * 8
    assert 3 * one_column < found["edge_delta_bytes_total", "schematized", "written"] < 50 * one_column
    assert 0 < found["edge_delta_bytes_total", "schematized", "rejected"] < 1000
    assert found["edge_delta_store_operations_total", "append", "done"] == 2
    assert found["edge_delta_store_operations_total", "create", "done"] == 2
    assert found["edge_delta_rows_waiting", "schematized"] == 0
    assert found[("edge_delta_lag_seconds",)] == 0
    assert found[("edge_delta_healthy",)] == 1
    assert found[("edge_delta_resident_memory_bytes",)] > 10_000_000
    assert found[("edge_delta_cycles_total",)] >= 2


def test_every_declared_metric_is_served_and_no_other(sensor, folder, command, port):
    sensor.create()
    sensor.add(10)
    running = command(sensor.path, folder, node_id="n1", metrics_port=port).start()
    running.wait_for("cycle finished")
    text = served(running, port)
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert {n.removesuffix("_created") for n in names if not n.endswith("_created")} == set(METRICS)


def test_promtool_finds_nothing_to_complain_about(sensor, folder, command, port):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian's package prometheus)")
    sensor.create()
    sensor.add(10)
    running = command(sensor.path, folder, node_id="n1", metrics_port=port).start()
    running.wait_for("cycle finished")
    text = served(running, port)
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_health_answers_503_where_rows_wait_for_too_long(sensor, lake, command, port, nowhere):
    sensor.create()
    sensor.add(10)
    running = command(sensor.path, lake, node_id="n1", metrics_port=port).start(
        env={"AWS_ENDPOINT_URL": nowhere, "HEALTH_AFTER": "0.01"}
    )
    running.wait_for("unavailable")
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(port, "/health")
    with refused.value as answer:
        assert answer.code == 503
        assert json.load(answer) == {"ok": False, "verdict": "storage unavailable", "rows_waiting": 10}
    found = values(served(running, port))
    assert found["edge_delta_failures_total", "StorageUnavailable"] >= 1
    assert found["edge_delta_store_operations_total", "open", "failed"] >= 1
    assert found["edge_delta_rows_waiting", "schematized"] == 10
    assert found[("edge_delta_healthy",)] == 0


def test_it_listens_on_loopback_only(sensor, folder, command, port):
    sensor.create()
    running = command(sensor.path, folder, node_id="n1", metrics_port=port).start()
    served(running, port)
    local = {line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]}
    assert [a for a in local if int(a.split(":")[1], 16) == port and not a.startswith("0100007F")] == []


def test_a_port_that_is_taken_is_a_wrong_setting(sensor, folder, command):
    sensor.create()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = command(sensor.path, folder, node_id="n1", metrics_port=taken.getsockname()[1]).once()
    assert done.code == 2
    assert "metrics cannot be served" in done.error


def test_a_file_for_node_exporter_is_written_by_once_too(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(10)
    file = tmp_path / "edge-delta.prom"
    command(sensor.path, folder, node_id="n1").once(env={"METRICS_FILE": str(file)}).succeeded()
    assert values(file.read_text())["edge_delta_rows_total", "schematized", "written"] == 10
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".edge-delta.prom")] == []


def test_whoever_reads_the_file_finds_all_of_it(sensor, folder, command, tmp_path):
    """The collector may look at any moment, also while it is replaced."""
    sensor.create()
    sensor.add(10)
    file = tmp_path / "edge-delta.prom"
    running = command(sensor.path, folder, node_id="n1", interval=0.05).start(env={"METRICS_FILE": str(file)})
    running.wait_until(file.exists, what="the file")
    seen = set()
    while len(seen) < 20:
        running.wait_until(lambda: file.stat().st_mtime_ns not in seen, what="the next one")
        text = file.read_text()
        seen.add(file.stat().st_mtime_ns)
        assert text.endswith("\n")
        assert [name for name in METRICS if f"# TYPE {name} " not in text] == []
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_changed_setting_is_counted(sensor, folder, command, port, tmp_path):
    sensor.create()
    config = tmp_path / "edge.toml"
    config.write_text("max_batch_size = 5\n")
    running = command(sensor.path, folder, node_id="n1", metrics_port=port, config=config).start()
    served(running, port)
    config.write_text("max_batch_size = 6\n")
    eventually(lambda: values(get(port)).get(("edge_delta_settings_changes_total",)) == 1, what="the change", pause=0.2)
