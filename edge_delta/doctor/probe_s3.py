"""What `check` tries on an S3 store; imported for S3 alone, because boto3 is."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from edge_delta.core.errors import EdgeDeltaError
from edge_delta.doctor.findings import Finding, ok, warning
from edge_delta.settings.network import endpoint_of
from edge_delta.sinks import address as storage
from edge_delta.sinks import conditional_put
from edge_delta.sinks.credentials import session_of
from edge_delta.sinks.store_options import store_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_delta.settings.sections import Settings

_SKEW_WARNING, _SKEW_REFUSED = 60.0, 900.0


def probed(settings: Settings, base: str, table: str, options: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """What is found in an S3 store. What is tried leaves nothing behind that a run would not leave.

    Args:
        settings: the settings.
        base: what the tables' addresses begin with, ``s3://bucket/path``.
        table: the address of a table of this device, which need not be there.
        options: storage options of the table, where they are not what the settings and the environment say.

    Raises:
        EdgeDeltaError: where nothing more can be found out.
    """
    options = store_options(base, os.environ, settings.storage) if options is None else options
    bucket, _, path = base.removeprefix("s3://").partition("/")
    client = _client(settings, base, options)
    with _refused(base):
        # Putting an object and beginning one of several parts need the same permission, and the latter can be undone
        # without that of deleting.
        answer = client.create_multipart_upload(Bucket=bucket, Key=f"{path}_check")
        client.abort_multipart_upload(Bucket=bucket, Key=f"{path}_check", UploadId=answer["UploadId"])
    yield ok("storage", f"credentials are accepted, and s3://{bucket}/{path}… can be written")
    yield clock(answer)
    with _refused(base):
        yield _conditional(client, table, options)
        client.list_objects_v2(Bucket=bucket, Prefix=path, MaxKeys=1)
    yield ok("storage", "the prefix may be listed")


def _client(settings: Settings, base: str, options: Mapping[str, str]) -> Any:
    place = settings.storage
    how = Config(
        connect_timeout=place.connect_timeout,
        read_timeout=place.request_timeout,
        retries={"total_max_attempts": 2},
        s3={"addressing_style": "virtual" if place.virtual_hosted_style else "auto"},
    )
    session = boto3.session.Session(botocore_session=session_of(base, options))
    with _refused(base):
        return session.client(
            "s3",
            endpoint_url=endpoint_of(place, os.environ),
            region_name=place.region or session.region_name or "us-east-1",
            config=how,
        )


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
    """How far this device's clock is from the store's, by the date of one of its answers.

    A date says GMT (RFC 9110, 5.6.7); one that does not, or says ``-0000``, comes without a zone and means the same.
    """
    said = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
    try:
        theirs = parsedate_to_datetime(said)
    except ValueError:
        return warning("storage", f"the store does not say what time it is, but {said!r}", "Check the clock by hand")
    theirs = theirs if theirs.tzinfo is not None else theirs.replace(tzinfo=UTC)
    skew = (datetime.now(UTC) - theirs).total_seconds()
    fact = f"this device's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the store's"
    if abs(skew) < _SKEW_WARNING:
        return ok("storage", fact)
    return warning(
        "storage", fact, f"Set the clock (NTP): beyond {_SKEW_REFUSED:.0f} s the store refuses every request"
    )


def _conditional(client: Any, table: str, options: Mapping[str, str]) -> Finding:
    """Try what a run tries, with the object that it leaves there (`edge_delta.sinks.conditional_put`)."""
    if "aws_endpoint_url" not in options:
        return ok("storage", "Amazon's S3 honours conditional puts, so no commit can overwrite another")
    bucket, _, path = table.removeprefix("s3://").partition("/")
    key = f"{path}/{conditional_put.NAME}"
    was_there = client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("KeyCount", 0) > 0
    conditional_put.require(table, options)
    if not was_there:
        with contextlib.suppress(Exception):  # a device need not be allowed to delete; a run would leave it, too
            client.delete_object(Bucket=bucket, Key=key)
    return ok("storage", "conditional puts are honoured, so no commit can overwrite another")
