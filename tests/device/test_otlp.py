"""Metrics as OTLP, taken by a server that decodes the protobuf; a collector that hangs holds up nothing."""

from __future__ import annotations

import gzip
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.device.test_metrics import get
from tests.support.command import eventually
from tests.system.test_startup import modules_after

service = pytest.importorskip("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2")


class Collector(ThreadingHTTPServer):
    """Takes metrics, or hangs."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, *, hangs=False):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hangs, self.taken, self.paths = hangs, [], []
        self.asked, self.over = threading.Event(), threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def points(self):
        """The last value of each point, by name and labels."""
        found = {}
        for request in list(self.taken):
            for metric in request.resource_metrics[0].scope_metrics[0].metrics:
                data = getattr(metric, metric.WhichOneof("data"))
                for point in data.data_points:
                    labels = frozenset((a.key, a.value.string_value) for a in point.attributes)
                    found[metric.name, labels] = point
        return found

    def resource(self):
        return {a.key: a.value.string_value for a in self.taken[-1].resource_metrics[0].resource.attributes}


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.asked.set()
        if self.server.hangs:
            self.server.over.wait(60)
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.paths.append((self.path, self.headers.get("X-Key")))
        self.server.taken.append(service.ExportMetricsServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Nothing."""


@pytest.fixture
def collector():
    with Collector() as server:
        yield server
        server.shutdown()


def labels(**own):
    return frozenset({"node_id": "n1", "source": "sensor", "table": "readings", **own}.items())


def test_a_single_run_sends_what_it_counted_before_it_ends(sensor, folder, command, collector):
    sensor.create()
    sensor.add(100)
    sensor.run("INSERT INTO readings (sensor_id, timestamp, temperature) VALUES ('s', '2026-01-01T00:00:00Z', 'hot')")
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_HEADERS": "x-key=k1"}
    env["OTEL_RESOURCE_ATTRIBUTES"] = "site=hall-7"
    command(sensor.path, folder, node_id="n1").once(env=env).succeeded()
    points = collector.points()
    written = points["edge_delta_rows_total", labels(mode="schematized", outcome="written")]
    assert written.as_double == 100
    assert 0 < written.start_time_unix_nano < written.time_unix_nano
    assert points["edge_delta_rejected_rows_total", labels(mode="schematized", rule="type")].as_double == 1
    commits = points["edge_delta_commit_seconds", labels(mode="schematized")]
    assert commits.count == sum(commits.bucket_counts) == 1
    assert len(commits.bucket_counts) == len(commits.explicit_bounds) + 1
    assert {"service.name": "edge-delta", "service.instance.id": "n1", "site": "hall-7"}.items() <= (
        collector.resource().items()
    )
    assert set(collector.paths) == {("/v1/metrics", "k1")}


def test_a_running_process_sends_again_and_again_what_prometheus_sees(sensor, folder, command, collector, port):
    sensor.create()
    sensor.add(10)
    config = sensor.path.with_name("settings.toml")
    config.write_text(f'otlp_endpoint = "{collector.url}/"\n')
    running = command(sensor.path, folder, node_id="n1", config=config, metrics_port=port, interval=0.2).start(
        env={"OTEL_METRIC_EXPORT_INTERVAL": "200"}
    )
    running.wait_for("cycle finished")
    name = "edge_delta_rows_total", labels(mode="schematized", outcome="written")
    eventually(lambda: name in collector.points() and collector.points()[name].as_double == 10, what="10 rows")
    sensor.add(5, start=10)
    eventually(lambda: collector.points()[name].as_double == 15, what="15 rows")
    served = {line.split("{")[0] for line in get(port).splitlines() if line.startswith("edge_delta_")}
    plain = {n.removesuffix("_created") for n in served if not n.endswith(("_bucket", "_sum", "_count", "_created"))}
    assert plain <= {name for name, _ in collector.points()}
    assert running.terminate() == 0


def test_a_collector_that_hangs_or_is_not_there_holds_up_nothing(sensor, folder, command):
    sensor.create()
    sensor.add(10)
    with Collector(hangs=True) as hanging:
        started = time.monotonic()
        done = command(sensor.path, folder, node_id="n1").once(env={"OTEL_EXPORTER_OTLP_ENDPOINT": hanging.url})
        assert (done.code, hanging.asked.is_set()) == (0, True)
        assert time.monotonic() - started < 30
        hanging.over.set()
        hanging.shutdown()
    sensor.add(5, start=10)
    command(sensor.path, folder, node_id="n1").once(
        env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    ).succeeded()
    assert folder.read().height == 15


def test_an_address_that_is_none_is_refused(sensor, folder, command):
    sensor.create()
    for wrong in ("collector:4318", "http://me:secret@collector:4318"):
        done = command(sensor.path, folder, node_id="n1").once(env={"OTEL_EXPORTER_OTLP_ENDPOINT": wrong})
        assert done.code == 2
        assert "secret" not in done.error


def without_the_extra(tmp_path):
    """The environment of an installation that has nothing of OpenTelemetry's."""
    (tmp_path / "bare" / "opentelemetry").mkdir(parents=True)
    (tmp_path / "bare" / "opentelemetry" / "__init__.py").write_text("raise ModuleNotFoundError('not installed')\n")
    return {"PYTHONPATH": str(tmp_path / "bare")}


def test_a_platforms_variable_stops_nothing_where_the_extra_is_missing(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(10)
    env = without_the_extra(tmp_path) | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    done = command(sensor.path, folder, node_id="n1").once(env=env).succeeded()
    [told] = done.named("metrics not sent")
    assert told["level"] == "warning"
    assert "pip install 'edge-delta[otlp]'" in told["error"]
    assert folder.read().height == 10


def test_a_collector_that_the_settings_name_needs_the_extra(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(10)
    config = sensor.path.with_name("settings.toml")
    config.write_text('otlp_endpoint = "http://127.0.0.1:4318"\n')
    done = command(sensor.path, folder, node_id="n1", config=config).once(env=without_the_extra(tmp_path))
    assert done.code == 2
    assert "pip install 'edge-delta[otlp]'" in done.error


def test_without_an_address_nothing_of_it_is_imported(sensor, tmp_path):
    sensor.create()
    flags = ("--once", "--sqlite", str(sensor.path), "--table-path", str(tmp_path / "r"), "--metrics-port", "0")
    code, names = modules_after(*flags, "--state-dir", str(tmp_path / "state"))
    assert code == 0
    assert not [name for name in names if name.startswith(("opentelemetry", "google"))]
