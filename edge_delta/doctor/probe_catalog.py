"""What `check` tries where tables have names in Unity Catalog; imported there alone, because HTTP and botocore are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.core.errors import NotRegistered
from edge_delta.doctor import probe_s3
from edge_delta.doctor.findings import Finding, ok, warning
from edge_delta.topology.tables import DeviceTables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_delta.settings.sections import Settings
    from edge_delta.sinks.delta.sink import DeltaSink

_PROBED = "_edge_delta"
"""What is tried begins so, in the table's own folder: what is vended is good for nothing else."""


def probed(settings: Settings, node: str) -> Iterator[Finding]:
    """Whether this device may sign in, whether its tables are registered, and what is vended for them.

    Raises:
        EdgeDeltaError: where nothing more can be found out.
    """
    tables = DeviceTables(settings, node)
    for mode in settings.processing_mode:
        yield from _of(settings, tables.of_mode(mode))
    rejected = tables.rejected(settings.processing_mode[0])
    try:
        yield _registered(rejected)
    except NotRegistered as error:
        yield warning("storage", f"{error.fact}; it is needed once a row is rejected", error.hint)


def _registered(sink: DeltaSink) -> Finding:
    return ok("storage", f"{sink.uri} is registered, and credentials are vended to write it at {sink.location}")


def _of(settings: Settings, sink: DeltaSink) -> Iterator[Finding]:
    yield _registered(sink)
    reached = sink.access.now()
    if reached.location.startswith("s3://"):
        base = f"{reached.location}/{_PROBED}"
        yield from probe_s3.probed(settings, base, reached.location, reached.options)
