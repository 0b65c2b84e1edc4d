"""The metrics that are looked up when they are asked for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from edge_delta import __version__
from edge_delta.core.machine import resident_bytes
from edge_delta.device.declared_metrics import METRICS
from edge_delta.device.settled import settled
from edge_delta.sinks.address import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from prometheus_client import Metric

    from edge_delta.device.health import Health
    from edge_delta.device.looks import Looks

_FAMILY = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
LOOKED_UP = (
    "edge_delta_store_operations_total",
    "edge_delta_rows_waiting",
    "edge_delta_settled_id",
    "edge_delta_lag_seconds",
    "edge_delta_healthy",
    "edge_delta_rejected_in_a_row",
    "edge_delta_doubtful_times",
    "edge_delta_heartbeat_timestamp_seconds",
    "edge_delta_progress_timestamp_seconds",
    "edge_delta_looked_timestamp_seconds",
    "edge_delta_done",
    "edge_delta_resident_memory_bytes",
    "edge_delta_build_info",
)


class Life:
    """Whether the process goes on, as its threads tell.

    Attributes:
        began: when it began, in seconds since the epoch.
        progressed: when its engine last did something.
        done: whether it came to its end as it should.
    """

    def __init__(self) -> None:
        self.began = self.progressed = time.time()
        self.done = False

    def progress(self) -> None:
        """The engine did something."""
        self.progressed = time.time()


class LookedUp(Collector):
    """What is looked up.

    Args:
        looks: at the state directory and the databases.
        life: of the process.
        label: what a single source is called.
        table: its table as far as the settings name it.
    """

    def __init__(self, looks: Looks, life: Life, label: str, table: str) -> None:
        self._looks = looks
        self._life = life
        self._label, self._table = label, table

    def describe(self) -> Iterable[Metric]:
        """Nothing yet: registering must not look."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The values now, or those of the last look if this one takes long."""
        families = {name: _family(name) for name in LOOKED_UP}
        seen = self._looks.latest()
        node_id = seen.node_id if seen is not None else ""
        for labels, times in OPERATIONS.copy().items():
            families["edge_delta_store_operations_total"].add_metric([node_id, *labels], times)
        for key, health in seen.sources.items() if seen is not None else ():
            label, _, table = key.partition("/")
            table = table or str(health.mirror.get("source_table") or self._table)
            _add(families, health, [str(health.mirror.get("node_id") or node_id), label or self._label, table])
        of_process = {
            "edge_delta_heartbeat_timestamp_seconds": time.time(),
            "edge_delta_progress_timestamp_seconds": self._life.progressed,
            "edge_delta_looked_timestamp_seconds": seen.at if seen is not None else self._life.began,
            "edge_delta_done": float(self._life.done),
            "edge_delta_resident_memory_bytes": resident_bytes(),
        }
        for name, value in of_process.items():
            families[name].add_metric([node_id], value)
        families["edge_delta_build_info"].add_metric([node_id, __version__], 1)
        return families.values()


def _family(name: str) -> Any:
    declared = METRICS[name]
    return _FAMILY[declared.kind](name, declared.help, labels=declared.labels)


def _add(families: Mapping[str, Any], health: Health, source: Sequence[str]) -> None:
    """What one look at one source found."""
    for mode, behind in health.behind.items():
        families["edge_delta_rows_waiting"].add_metric([*source, mode], behind.rows)
    for number in settled(health.mirror).values():
        if number is not None:
            families["edge_delta_settled_id"].add_metric(source, number)
    if health.lag_seconds is not None and not health.unreadable:
        families["edge_delta_lag_seconds"].add_metric(source, health.lag_seconds)
    families["edge_delta_healthy"].add_metric(source, float(health.ok))
    for mode, own in health.mirror.get("tables", {}).items():
        families["edge_delta_rejected_in_a_row"].add_metric([*source, mode], own.get("rejected_in_a_row", 0))
        families["edge_delta_doubtful_times"].add_metric([*source, mode], float(bool(own.get("doubtful_time"))))
