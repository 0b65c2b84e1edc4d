"""What `check` tries on an S3 store; imported for S3 alone, because boto3 is."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from edge_delta.core.errors import EdgeDeltaError
from edge_delta.doctor.findings import Finding, failed, ok, warning
from edge_delta.sinks import address as storage
from edge_delta.sinks import conditional_put
from edge_delta.sinks.store_options import store_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_delta.settings.sections import Settings

_SKEW_WARNING, _SKEW_REFUSED = 60.0, 900.0


def probed(settings: Settings, base: str) -> Iterator[Finding]:
    """What is found in an S3 store.

    Args:
        settings: the settings.
        base: the tables' address, ``s3://bucket/path``.

    Raises:
        EdgeDeltaError: where nothing more can be found out.
    """
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
    try:
        client.put_object(Bucket=bucket, Key=key, Body=b"edge-delta check\n", IfNoneMatch="*")
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 412:  # noqa: PLR2004 - Precondition Failed
            return ok("storage", "conditional puts are honoured, so no commit can overwrite another")
        raise storage.unavailable(base, error) from error
    return failed("storage", conditional_put.unsafe(base))
