"""Tries the store that the tables are in: who we are, whether it takes what is written, its clock, its promises.

On S3 it begins an upload and breaks it off, because nothing else shows whether the store takes what is written, and
tries the conditional put as a run does.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from edge_delta.core.errors import ConfigurationError, NoSpace
from edge_delta.device.state import is_full, kept_node_id
from edge_delta.doctor.findings import Finding, ok, warning
from edge_delta.sinks import address as storage
from edge_delta.sinks.delta.disk import require_folders
from edge_delta.topology.tables import UNKNOWN, DeviceTables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_delta.settings.sections import Settings

_LITTLE_SPACE = 200_000_000


def probed(settings: Settings) -> Iterator[Finding]:
    """What is found where the tables are to go.

    Raises:
        EdgeDeltaError: where nothing more can be found out.
    """
    node = settings.node_id or kept_node_id(settings.state_dir) or UNKNOWN
    base = storage.address(settings.table_path, node_id=node)
    if storage.in_catalog(base):
        from edge_delta.doctor import probe_catalog  # noqa: PLC0415 - HTTP and TLS, for uc:// alone

        yield from probe_catalog.probed(settings, node)
        return
    if base.startswith("s3://"):
        from edge_delta.doctor import probe_s3  # noqa: PLC0415 - boto3: 0.9 s of CPU

        table = DeviceTables(settings, node).of_mode(settings.processing_mode[0])
        yield from probe_s3.probed(settings, base, table.uri)
    elif "://" in base and not base.startswith("file://"):
        yield ok("storage", f"{base}: what there is to find out shows with its tables")
    else:
        yield from _folder(Path(base.removeprefix("file://")))


def _folder(base: Path) -> Iterator[Finding]:
    with storage.translated(str(base)):
        require_folders(base.parent)
        there = next(p for p in base.parents if p.exists())
    if not os.access(there, os.W_OK):
        raise ConfigurationError(
            f"folder {there} cannot be written by user {os.getuid()}", "Give that user write permission on it"
        )
    if is_full(there):
        raise NoSpace(f"no space left on the disk that {there} is on", "Free some space; nothing is lost meanwhile")
    free = shutil.disk_usage(there).free
    fact = f"{there} can be written; {free / 1e9:.1f} GB are free"
    yield warning("storage", fact, "Free some space") if free < _LITTLE_SPACE else ok("storage", fact)
