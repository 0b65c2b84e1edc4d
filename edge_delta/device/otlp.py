"""Metrics for an OpenTelemetry collector: the same names and labels, sent as OTLP over HTTP (the extra ``otlp``).

Protocol and variables are those of OpenTelemetry's specification: OTEL_EXPORTER_OTLP_HEADERS has what the collector
wants to know who sends, OTEL_METRIC_EXPORT_INTERVAL the milliseconds between two sendings, OTEL_RESOURCE_ATTRIBUTES
what else is said of the process. A thread of its own sends, and a collector that hangs holds up nothing.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from edge_delta import __version__
from edge_delta.core.errors import ConfigurationError

try:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import export as otel
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
except ImportError as error:
    raise ConfigurationError(
        f"metrics cannot be sent to an OpenTelemetry collector: {error}",
        "Run pip install 'edge-delta[otlp]', or unset otlp_endpoint and OTEL_EXPORTER_OTLP_ENDPOINT",
    ) from None

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from prometheus_client import CollectorRegistry, Metric
    from prometheus_client.samples import Sample

_EVERY_MS = 60_000
"""The specification's default."""
_TAKES = 10.0
"""Seconds that one sending may take, tries included; the specification's default."""
_ENOUGH = 5.0
"""Seconds for the last one."""
_NS = 1_000_000_000
_PATH = "/v1/metrics"
_CUMULATIVE = otel.AggregationTemporality.CUMULATIVE


class Sender:
    """Sends what a registry has.

    Args:
        registry: the metrics.
        endpoint: the collector's address, to which the path of metrics is added.
        node_id: this device, as far as it is known.
        once: whether the process comes to its end by itself: then all is sent at its end alone.
    """

    def __init__(self, registry: CollectorRegistry, endpoint: str, node_id: str, *, once: bool) -> None:
        self._registry = registry
        address = endpoint.rstrip("/")
        self._exporter = OTLPMetricExporter(
            endpoint=address if address.endswith(_PATH) else address + _PATH, timeout=_timeout()
        )
        about = {"service.version": __version__}
        if "OTEL_SERVICE_NAME" not in os.environ:
            about["service.name"] = "edge-delta"
        if node_id:
            about["service.instance.id"] = node_id
        self._resource = Resource.create(about)
        self._began = time.time_ns()
        self._every = int(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL") or _EVERY_MS) / 1000
        self._once = once

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Send while the process works, and at its end for as long as that does not hold it up."""
        over = threading.Event()
        thread = threading.Thread(target=self._again_and_again, args=[over], name="metrics to OTLP", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(_ENOUGH)

    def _again_and_again(self, over: threading.Event) -> None:
        if self._once:
            over.wait()
        while not over.is_set():
            self._send()
            over.wait(self._every)
        self._send()

    def _send(self) -> None:
        now = time.time_ns()
        metrics = list(_metrics(self._registry.collect(), self._began, now))
        scope = otel.ScopeMetrics(InstrumentationScope("edge-delta", __version__), metrics, "")
        with contextlib.suppress(Exception):  # nothing depends on it; the exporter says in the log what failed
            self._exporter.export(otel.MetricsData([otel.ResourceMetrics(self._resource, [scope], "")]))


def _timeout() -> float:
    return float(os.environ.get("OTEL_EXPORTER_OTLP_TIMEOUT") or _TAKES)


def _metrics(families: Iterable[Metric], began: int, now: int) -> Iterator[otel.Metric]:
    """Each family by the name that Prometheus knows it by."""
    for family in families:
        if family.type == "histogram":
            if family.samples:
                yield otel.Metric(family.name, family.documentation, "", _histogram(family.samples, began, now))
            continue
        counts = family.type == "counter"
        name = f"{family.name}_total" if counts else family.name
        start: Any = began if counts else None
        points = [otel.NumberDataPoint(s.labels, start, now, s.value) for s in family.samples if s.name == name]
        if points:
            data: Any = otel.Sum(points, _CUMULATIVE, is_monotonic=True) if counts else otel.Gauge(points)
            yield otel.Metric(name, family.documentation, "", data)


def _histogram(samples: Sequence[Sample], began: int, now: int) -> otel.Histogram:
    """A histogram's points; Prometheus counts in each bucket what is in those before it, too."""
    points = []
    for labels, own in _by_labels(samples).items():
        buckets = sorted((float(s.labels["le"]), int(s.value)) for s in own if s.name.endswith("_bucket"))
        total = next((s.value for s in own if s.name.endswith("_sum")), 0.0)
        counts = [after - before for before, after in pairwise([0, *(count for _, count in buckets)])]
        bounds = [bound for bound, _ in buckets[:-1]]
        points.append(
            otel.HistogramDataPoint(
                dict(labels), began, now, buckets[-1][1], total, counts, bounds, float("inf"), float("-inf")
            )
        )
    return otel.Histogram(points, _CUMULATIVE)


def _by_labels(samples: Iterable[Sample]) -> Mapping[tuple[tuple[str, str], ...], list[Sample]]:
    found: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for sample in samples:
        labels = tuple((name, value) for name, value in sample.labels.items() if name != "le")
        found.setdefault(labels, []).append(sample)
    return found
