"""Metrics for Prometheus, each declared once: served on a port, or written for node_exporter's textfile collector.

Off by default, and imported only when one of them is set. What changes while nothing is delivered (rows waiting, their
age) is looked up when it is asked for, so a process that hangs cannot hide it.
"""

from __future__ import annotations

import contextlib
import copy
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from edge_delta import __version__
from edge_delta.core.errors import ConfigurationError
from edge_delta.core.machine import resident_bytes
from edge_delta.core.model import Mark
from edge_delta.core.ports import SilentObserver
from edge_delta.device.health import Health, examine_all
from edge_delta.device.metrics_server import Server
from edge_delta.device.settled import settled
from edge_delta.sinks.address import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from prometheus_client import Metric

    from edge_delta.core.counting import Swept
    from edge_delta.core.errors import TransientError
    from edge_delta.core.model import Cursor, Inventory, Step, Waiting
    from edge_delta.settings.sections import Settings

_WRITE_EVERY = 10.0
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_KIND = {"counter": Counter, "gauge": Gauge}
_FAMILY = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}


class Declared(NamedTuple):
    """One metric: what it counts, for people."""

    kind: str
    help: str
    labels: tuple[str, ...] = ()


METRICS: Mapping[str, Declared] = {
    "edge_delta_rows_total": Declared(
        "counter",
        "Rows read, by outcome: written, rejected, or not selected by the mode",
        ("mode", "outcome"),
    ),
    "edge_delta_bytes_total": Declared(
        "counter",
        "Bytes of the rows written or rejected, in memory; delta-rs does not tell their size in Parquet",
        ("mode", "outcome"),
    ),
    "edge_delta_rejected_rows_total": Declared("counter", "Rows in the rejected table, by rule", ("mode", "rule")),
    "edge_delta_commits_total": Declared("counter", "Commits that carry rows", ("mode",)),
    "edge_delta_commit_seconds": Declared("histogram", "How long a commit took, upload included", ("mode",)),
    "edge_delta_last_commit_timestamp_seconds": Declared("gauge", "When the last batch was finished", ("mode",)),
    "edge_delta_rows_lost": Declared(
        "gauge", "Rows that were read, by this mode or another, and went before they came to its table", ("mode",)
    ),
    "edge_delta_rows_gone_total": Declared(
        "counter", "Rows that were deleted from the source before they were delivered", ("mode",)
    ),
    "edge_delta_rows_late_total": Declared(
        "counter", "Rows that came below the cursor, and were delivered by a sweep", ("mode",)
    ),
    "edge_delta_rows_not_swept_total": Declared(
        "counter", "Rows that came below the cursor, as far as they are known, and cannot be delivered", ("mode",)
    ),
    "edge_delta_rows_held": Declared(
        "gauge", "Rows that waited at the end of a round because they had not been there for long enough", ("mode",)
    ),
    "edge_delta_rows_updated_total": Declared(
        "counter",
        "Delivered rows that were seen to be updated: new states delivered, or ignored; see on_update",
        ("mode", "outcome"),
    ),
    "edge_delta_sweep_seconds": Declared("gauge", "How long the last look for rows below the cursors took"),
    "edge_delta_cycles_total": Declared("counter", "Cycles that finished"),
    "edge_delta_failures_total": Declared("counter", "Attempts that failed and are retried, by error", ("kind",)),
    "edge_delta_store_operations_total": Declared(
        "counter",
        "Operations on tables, by outcome; each takes several requests to the store, which delta-rs does not count",
        ("operation", "outcome"),
    ),
    "edge_delta_settings_changes_total": Declared("counter", "Settings that were changed while running"),
    "edge_delta_rows_waiting": Declared(
        "gauge", "Rows that are waiting, at most: the width of the id range after the cursor", ("mode",)
    ),
    "edge_delta_settled_id": Declared("gauge", "Rows of the source table up to this id may be deleted", ("table",)),
    "edge_delta_lag_seconds": Declared("gauge", "Age of the oldest waiting row in seconds; 0 if no row waits"),
    "edge_delta_healthy": Declared(
        "gauge", "1 unless rows wait and nothing was delivered for longer than allowed, or every row is rejected"
    ),
    "edge_delta_rejected_in_a_row": Declared("gauge", "Rows that were rejected since the last one was kept", ("mode",)),
    "edge_delta_doubtful_times": Declared("gauge", "1 if times came from before 2000 or ahead of the clock", ("mode",)),
    "edge_delta_table_files": Declared(
        "gauge",
        "Files of a table at its last maintenance: live, kept for the retention, dead, log",
        ("mode", "state"),
    ),
    "edge_delta_table_bytes": Declared(
        "gauge", "Their bytes; in a store only those of live files are known", ("mode", "state")
    ),
    "edge_delta_resident_memory_bytes": Declared("gauge", "Memory of the process that is in RAM"),
    "edge_delta_build_info": Declared("gauge", "1; the version is a label", ("version",)),
}


class Metrics(SilentObserver):
    """What is counted while the process runs.

    Args:
        settings: where metrics go, and the state directory that is looked at.

    Attributes:
        OF_SOURCE: the labels that come first where the process has several sources.
    """

    OF_SOURCE = ("node_id", "source", "table")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry = CollectorRegistry()
        self._of: dict[str, Any] = {name: self._made(name) for name in METRICS if name not in _LOOKED_UP}
        self._registry.register(_LookedUp(settings.state_dir))
        self._build_info().set(1)
        self._written = [0.0]
        self._source: tuple[str, ...] = ()

    def of_source(self, node_id: str, label: str, table: str) -> Metrics:
        """The same, for what is heard of one of several sources."""
        one = copy.copy(self)
        one._source = (node_id, label, table)  # noqa: SLF001 - its own
        return one

    def _made(self, name: str) -> Any:
        declared = METRICS[name]
        labels = _labels(name, several=self._settings.several)
        if declared.kind == "histogram":
            return Histogram(name, declared.help, labels, registry=self._registry, buckets=_SECONDS)
        return _KIND[declared.kind](name, declared.help, labels, registry=self._registry)

    def _build_info(self) -> Any:
        return self._of["edge_delta_build_info"].labels(__version__)

    def _one(self, name: str, *labels: str) -> Any:
        """A metric with its labels, and first those of the source where there are several."""
        every = (*self._source, *labels)
        return self._of[name].labels(*every) if every else self._of[name]

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    # -- what is heard

    def settled(self, step: Step, _waiting: Waiting) -> None:
        """One batch was settled."""
        self._one("edge_delta_rows_total", step.mode, "written").inc(step.written)
        self._one("edge_delta_rows_total", step.mode, "rejected").inc(step.rejected)
        # Windows are written later, and in other numbers, than the rows that they are made of.
        self._one("edge_delta_rows_total", step.mode, "not_selected").inc(
            max(0, step.read - step.written - step.rejected)
        )
        self._one("edge_delta_rows_gone_total", step.mode).inc(step.gone)
        self._one("edge_delta_rows_updated_total", step.mode, "delivered").inc(step.updated)
        self._one("edge_delta_rows_lost", step.mode).set(step.cursor.marks.get(Mark.LOST, 0))
        if step.commit is not None:
            self._one("edge_delta_bytes_total", step.mode, "written").inc(step.commit.bytes)
            self._one("edge_delta_commits_total", step.mode).inc()
            self._one("edge_delta_commit_seconds", step.mode).observe(step.commit.seconds)
        if step.refused.rows:
            self._one("edge_delta_bytes_total", step.mode, "rejected").inc(step.refused.bytes)
            for rule, count in step.refused.by_rule.items():
                self._one("edge_delta_rejected_rows_total", step.mode, rule).inc(count)
        self._one("edge_delta_last_commit_timestamp_seconds", step.mode).set_to_current_time()
        self._write()

    def looked_after(self, mode: str, found: Inventory) -> None:
        """A table was looked after."""
        for state in ("live", "kept", "dead", "log"):
            for name, value in (("files", getattr(found, state)), ("bytes", getattr(found, f"{state}_bytes"))):
                if value is not None:
                    self._one(f"edge_delta_table_{name}", mode, state).set(value)

    def swept(self, swept: Swept) -> None:
        """A look for rows below the cursors is over."""
        self._one("edge_delta_sweep_seconds").set(swept.seconds)
        for mode, rows in swept.rows.items():
            self._one("edge_delta_rows_late_total", mode).inc(rows)
        for mode, rows in swept.left.items():
            self._one("edge_delta_rows_not_swept_total", mode).inc(rows)
        self._write()

    def updated(self, mode: str, _cursor: Cursor) -> None:
        """A delivered row was updated, and the table keeps what was delivered."""
        self._one("edge_delta_rows_updated_total", mode, "ignored").inc()

    def held(self, mode: str, rows: int) -> None:
        """Rows wait until they are settled."""
        self._one("edge_delta_rows_held", mode).set(rows)

    def cycled(self, _pause: float | None) -> None:
        """A cycle is over."""
        self._one("edge_delta_cycles_total").inc()
        self._write(now=not self._source)  # with several sources one of them is always over

    def failed(self, error: TransientError, _failures: int, _pause: float) -> None:
        """Something is unavailable."""
        self._one("edge_delta_failures_total", type(error).__name__).inc()
        self._write()

    def settings_changed(self, keys: Sequence[str]) -> None:
        """Other settings are in force."""
        self._one("edge_delta_settings_changes_total").inc(len(keys))

    # -- where it goes

    @contextlib.contextmanager
    def served(self) -> Iterator[Metrics]:
        """Serve while the process works.

        Raises:
            ConfigurationError: if the port is taken, or the address is not this device's.
        """
        with contextlib.ExitStack() as until:
            if self._settings.metrics_port:
                until.enter_context(self._server())
            try:
                yield self
            finally:
                self._write(now=True)

    @contextlib.contextmanager
    def _server(self) -> Iterator[None]:
        place = (self._settings.metrics_address, self._settings.metrics_port)
        try:
            server = Server(place, self._settings.state_dir, self.text)
        except OSError as error:
            raise ConfigurationError(
                f"metrics cannot be served on {place[0]}:{place[1]}: {error.strerror}", "Check metrics_port"
            ) from error
        thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _write(self, *, now: bool = False) -> None:
        file = self._settings.metrics_file
        if file is None or (not now and time.monotonic() - self._written[0] < _WRITE_EVERY):
            return
        self._written[0] = time.monotonic()
        temporary = file.with_name(f".{file.name}.new")  # the collector reads *.prom only
        with contextlib.suppress(OSError):  # nothing depends on it
            temporary.write_bytes(self.text())
            temporary.chmod(0o644)
            temporary.replace(file)


_LOOKED_UP = (
    "edge_delta_store_operations_total",
    "edge_delta_rows_waiting",
    "edge_delta_settled_id",
    "edge_delta_lag_seconds",
    "edge_delta_healthy",
    "edge_delta_rejected_in_a_row",
    "edge_delta_doubtful_times",
    "edge_delta_resident_memory_bytes",
)


_OF_THE_PROCESS = ("edge_delta_store_operations_total", "edge_delta_resident_memory_bytes", "edge_delta_build_info")


class _LookedUp(Collector):
    """What is looked up when it is asked for."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir

    def describe(self) -> Iterable[Metric]:
        """Nothing yet: registering must not look."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The values now."""
        found = examine_all(self._state_dir)
        several = "" not in found
        families = {n: _family(n, several=several) for n in _LOOKED_UP}
        for labels, times in OPERATIONS.copy().items():
            families["edge_delta_store_operations_total"].add_metric(labels, times)
        for key, health in found.items():
            label, _, table = key.partition("/")
            _add(families, health, [str(health.mirror.get("node_id") or ""), label, table] if several else [])
        families["edge_delta_resident_memory_bytes"].add_metric([], resident_bytes())
        return families.values()


def _family(name: str, *, several: bool) -> Any:
    declared = METRICS[name]
    return _FAMILY[declared.kind](name, declared.help, labels=_labels(name, several=several))


def _add(families: Mapping[str, Any], health: Health, source: list[str]) -> None:
    """What one look at one source found."""
    for mode, behind in health.behind.items():
        families["edge_delta_rows_waiting"].add_metric([*source, mode], behind.rows)
    for table, number in settled(health.mirror).items():
        if number is not None:
            families["edge_delta_settled_id"].add_metric(source or [table], number)
    if health.lag_seconds is not None and not health.unreadable:
        families["edge_delta_lag_seconds"].add_metric(source, health.lag_seconds)
    families["edge_delta_healthy"].add_metric(source, float(health.ok))
    for mode, own in health.mirror.get("tables", {}).items():
        families["edge_delta_rejected_in_a_row"].add_metric([*source, mode], own.get("rejected_in_a_row", 0))
        families["edge_delta_doubtful_times"].add_metric([*source, mode], float(bool(own.get("doubtful_time"))))


def _labels(name: str, *, several: bool) -> tuple[str, ...]:
    """A metric's labels: of several sources each has its own."""
    own = METRICS[name].labels
    if not several or name in _OF_THE_PROCESS:
        return own
    return (*Metrics.OF_SOURCE, *(label for label in own if label not in Metrics.OF_SOURCE))
