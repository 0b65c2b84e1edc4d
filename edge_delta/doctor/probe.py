"""Tries the store that the tables are in: who we are, whether it takes what is written, its clock, its promises.

It writes one small object, ``<table_path>_check``, because nothing else shows whether the store takes what is written
and honours conditional puts.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_delta.core.errors import ConfigurationError, EdgeDeltaError, NoSpace
from edge_delta.device.state import is_full, kept_node_id
from edge_delta.doctor.findings import Finding, failed, ok, warning
from edge_delta.sinks import address as storage
from edge_delta.sinks import conditional_put
from edge_delta.sinks.store_options import store_options
from edge_delta.topology.tables import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_delta.settings.sections import Settings

_SKEW_WARNING, _SKEW_REFUSED = 60.0, 900.0
_LITTLE_SPACE = 200_000_000


def probed(settings: Settings) -> Iterator[Finding]:
    """What is found where the tables are to go.

    Raises:
        EdgeDeltaError: where nothing more can be found out.
    """
    base = storage.address(settings.table_path, node_id=settings.node_id or kept_node_id(settings.state_dir) or UNKNOWN)
    if base.startswith("s3://"):
        yield from _s3(settings, base)
    elif "://" in base and not base.startswith("file://"):
        yield ok("storage", f"{base}: what there is to find out shows with its tables")
    else:
        yield from _folder(Path(base.removeprefix("file://")))


def _folder(base: Path) -> Iterator[Finding]:
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


def _s3(settings: Settings, base: str) -> Iterator[Finding]:
    store_options(base, os.environ, settings.storage)  # refuses the unsafe rename
    bucket, _, path = base.removeprefix("s3://").partition("/")
    client = _client(settings, base)
    key = f"{path}_check"
    with _refused(base):
        answer = client.put_object(Bucket=bucket, Key=key, Body=b"edge-delta check\n")
    yield ok("storage", f"credentials are accepted, and s3://{bucket}/{key} was written")
    yield clock(answer)
    yield _conditional(client, bucket, key, base)
    with contextlib.suppress(Exception):  # a device need not be allowed to delete; the object is always the same
        client.delete_object(Bucket=bucket, Key=key)
    with _refused(base):
        client.list_objects_v2(Bucket=bucket, Prefix=path, MaxKeys=1)
    yield ok("storage", "the prefix may be listed")


def _client(settings: Settings, base: str) -> Any:
    import boto3  # noqa: PLC0415 - 0.9 s of CPU
    from botocore.config import Config  # noqa: PLC0415 - with boto3, for S3 alone

    place = settings.storage
    how = Config(
        connect_timeout=place.connect_timeout,
        read_timeout=place.request_timeout,
        retries={"total_max_attempts": 2},
        s3={"addressing_style": "virtual" if place.virtual_hosted_style else "auto"},
    )
    session = boto3.session.Session()
    if session.get_credentials() is None:
        raise storage.no_credentials(base)
    region = place.region or session.region_name or "us-east-1"
    return session.client("s3", endpoint_url=place.endpoint_url, region_name=region, config=how)


@contextlib.contextmanager
def _refused(base: str) -> Iterator[None]:
    """Foreign errors as ours, with the same cures as in a run."""
    try:
        yield
    except EdgeDeltaError:
        raise
    except Exception as error:
        raise storage.unavailable(base, error) from error


def clock(answer: Any) -> Finding:
    """How far this device's clock is from the store's, by the date of one of its answers."""
    theirs = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    skew = (datetime.now(UTC) - theirs).total_seconds()
    fact = f"this device's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the store's"
    if abs(skew) < _SKEW_WARNING:
        return ok("storage", fact)
    return warning(
        "storage", fact, f"Set the clock (NTP): beyond {_SKEW_REFUSED:.0f} s the store refuses every request"
    )


def _conditional(client: Any, bucket: str, key: str, base: str) -> Finding:
    from botocore.exceptions import ClientError  # noqa: PLC0415 - the same

    try:
        client.put_object(Bucket=bucket, Key=key, Body=b"edge-delta check\n", IfNoneMatch="*")
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 412:  # noqa: PLR2004 - Precondition Failed
            return ok("storage", "conditional puts are honoured, so no commit can overwrite another")
        raise storage.unavailable(base, error) from error
    return failed("storage", conditional_put.unsafe(base))
