"""Metrics: served for Prometheus on a port, written for node_exporter's textfile collector, or sent as OTLP.

Off by default, and imported only when one of them is set. What changes while nothing is delivered (rows waiting, their
age) is looked up when it is asked for, and all of it is served and written by threads of their own: a store, a database
or an engine that hangs cannot hide it. What tells that the process lives is when it said so (the heartbeat), because a
file stays as it is after the process is dead.
"""

from __future__ import annotations

import contextlib
import copy
import os
import threading
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from edge_delta.core.errors import ConfigurationError
from edge_delta.core.events import Event
from edge_delta.core.model import Mark
from edge_delta.core.observing import SilentObserver
from edge_delta.device.declared_metrics import METRICS
from edge_delta.device.looked_up import LOOKED_UP, Life, LookedUp
from edge_delta.device.looks import Looks
from edge_delta.device.metrics_server import Server
from edge_delta.device.state import kept_node_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_delta.core.errors import TransientError
    from edge_delta.core.events import Log
    from edge_delta.core.model import Cursor, Inventory, Step, Waiting
    from edge_delta.core.ports import Source
    from edge_delta.core.swept import Swept
    from edge_delta.settings.sections import Settings

_WRITE_EVERY = 15.0
_ENOUGH = 5.0
"""Seconds for the last writing."""
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_OF_PLATFORMS = "OTEL_EXPORTER_OTLP_ENDPOINT"
_KIND = {"counter": Counter, "gauge": Gauge}


class Metrics(SilentObserver):
    """What is counted while the process runs.

    Args:
        settings: where metrics go, and the state directory that is looked at.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry = CollectorRegistry()
        self._of: dict[str, Any] = {name: self._made(name) for name in METRICS if name not in LOOKED_UP}
        self._looks = Looks(settings.state_dir, settings.node_id)
        self._life = Life()
        self._registry.register(LookedUp(self._looks, self._life, settings.label, settings.sqlite_table_name or ""))
        self._due = threading.Event()
        node_id = settings.node_id or kept_node_id(settings.state_dir) or ""
        self._source: tuple[str, ...] = (node_id, settings.label, settings.sqlite_table_name or "")

    def of_source(self, node_id: str, label: str, table: str) -> Metrics:
        """The same, for what is heard of one of several sources."""
        one = copy.copy(self)
        one._source = (node_id, label, table)  # noqa: SLF001 - its own
        return one

    def _made(self, name: str) -> Any:
        declared = METRICS[name]
        if declared.kind == "histogram":
            return Histogram(name, declared.help, declared.labels, registry=self._registry, buckets=_SECONDS)
        return _KIND[declared.kind](name, declared.help, declared.labels, registry=self._registry)

    def _one(self, name: str, *labels: str) -> Any:
        """A metric of this source with its labels."""
        return self._of[name].labels(*self._source, *labels)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    # -- what is heard

    def opened(self, source: Source, node_id: str) -> None:
        """What it is called is known; what counts from 0 is there from then on, so that its first increase is seen."""
        self._source = (node_id, self._source[1], source.table)
        self._one("edge_delta_cycles_total").inc(0)
        self._one("edge_delta_settings_changes_total").inc(0)
        self._life.progress()

    def alive(self) -> None:
        """The engine waits for the next cycle."""
        self._life.progress()

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
        self._life.progress()

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
        for mode in swept.overrun:
            self._one("edge_delta_sweeps_overrun_total", mode).inc()
        self._life.progress()

    def updated(self, mode: str, _cursor: Cursor) -> None:
        """A delivered row was updated, and the table keeps what was delivered."""
        self._one("edge_delta_rows_updated_total", mode, "ignored").inc()

    def held(self, mode: str, rows: int) -> None:
        """Rows wait until they are settled."""
        self._one("edge_delta_rows_held", mode).set(rows)

    def cycled(self, _pause: float | None) -> None:
        """A cycle is over."""
        self._one("edge_delta_cycles_total").inc()
        self._life.progress()
        if not self._settings.several:  # of several sources one is always over
            self._due.set()

    def failed(self, error: TransientError, _failures: int, _pause: float) -> None:
        """Something is unavailable."""
        self._one("edge_delta_failures_total", type(error).__name__).inc()
        self._life.progress()

    def settings_changed(self, keys: Sequence[str]) -> None:
        """Other settings are in force."""
        self._one("edge_delta_settings_changes_total").inc(len(keys))

    # -- where it goes

    @contextlib.contextmanager
    def served(self, log: Log) -> Iterator[Metrics]:
        """Serve while the process works.

        Args:
            log: where it is said that they cannot be sent.

        Raises:
            ConfigurationError: if the port is taken, the address is not this device's, or the extra of a collector that
                the settings name is not installed.
        """
        with contextlib.ExitStack() as until:
            if self._settings.metrics_port:
                until.enter_context(self._server())
            if self._settings.metrics_file is not None:
                until.enter_context(self._writer())
            if self._settings.otlp_endpoint is not None:
                until.enter_context(self._sender(self._settings.otlp_endpoint, log))
            yield self
            self._life.done = True

    def _sender(self, endpoint: str, log: Log) -> contextlib.AbstractContextManager[None]:
        """What sends to a collector.

        Platforms set OpenTelemetry's variable for all that they run. It alone asks for nothing that is not installed.
        """
        try:
            from edge_delta.device.otlp import Sender  # noqa: PLC0415 - an extra that is seldom installed
        except ConfigurationError as error:
            if os.environ.get(_OF_PLATFORMS) != endpoint:
                raise
            log.warning(Event.NOT_SENT, variable=_OF_PLATFORMS, error=str(error))
            return contextlib.nullcontext()
        return Sender(self._registry, endpoint, self._source[0], once=self._settings.once).sending()

    @contextlib.contextmanager
    def _server(self) -> Iterator[None]:
        place = (self._settings.metrics_address, self._settings.metrics_port)
        try:
            server = Server(place, self._looks, self.text)
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

    @contextlib.contextmanager
    def _writer(self) -> Iterator[None]:
        over = threading.Event()
        thread = threading.Thread(target=self._write_again_and_again, args=[over], name="metrics file", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            self._due.set()
            thread.join(_ENOUGH)  # a disk that hangs does not hold up the end

    def _write_again_and_again(self, over: threading.Event) -> None:
        if not self._settings.once:
            self._write()  # what a process that was killed left says nothing any more
        while not over.is_set():
            self._due.wait(_WRITE_EVERY)
            self._due.clear()
            if not over.is_set():
                self._write()
        self._write()  # what the writing that was under way at the end could not say: that it is done

    def _write(self) -> None:
        file = self._settings.metrics_file
        if file is None:
            return
        temporary = file.with_name(f".{file.name}.new")  # the collector reads *.prom only
        with contextlib.suppress(OSError):  # nothing depends on it
            temporary.write_bytes(self.text())
            temporary.chmod(0o644)
            temporary.replace(file)
