"""Where tables live: options for S3, ADLS and folders, and what the stores' errors mean."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from deltalake.exceptions import CommitFailedError, DeltaError, DeltaProtocolError
from deltalake.exceptions import SchemaMismatchError as DeltaSchemaMismatch

from edge_delta.core.errors import (
    AccessRefused,
    CommitConflict,
    ConfigurationError,
    EdgeDeltaError,
    NoSpace,
    ProtocolUnsupported,
    SchemaMismatch,
    StorageUnavailable,
    TableCrowded,
)
from edge_delta.sinks.permanent_errors import permanent

if TYPE_CHECKING:
    from collections.abc import Iterator


_SCHEMES = ("s3://", "s3a://", "abfss://", "abfs://", "az://", "file://")
_ANSI = r"\x1b\[[0-9;]*m"
_REFUSED = (
    r"(?i)\b(403|401)\b|AccessDenied|Forbidden|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|"
    r"PermissionDenied|permission denied|necessary privileges|Unauthenticated|AuthenticationFailed"
)
_READING = r"Object Store error|Generic \w+ error|Failed to fetch metadata for file|Parquet argument error"
_FULL = r"(?i)No space left|StorageFull|Disk quota|os error 28\b"
_FEATURES = r"Unsupported table features required"
_TRIES_LOST = r"Failed to commit transaction: \d+$"
_NOT_READ_BACK = r"%[0-9A-Fa-f]{2}|[\[\]\\^|#?]"  # delta-rs decodes, replaces, cuts off, or panics
_UNKNOWN_AUTHORITY = r"UnknownIssuer|invalid peer certificate|CERTIFICATE_VERIFY_FAILED"
_NOT_THERE = r"Object at location (?!\S*_delta_log)\S+\.parquet not found"
_NO_BUCKET = r"NoSuchBucket|ContainerNotFound"
_NO_CREDENTIALS = r"(?i)credential|instance metadata|169\.254\.169\.254|IMDS"
_FOLDER_REFUSED = r"(?i)permission ?denied|operation not permitted|os error (?:1|13)\b"
_SECRETS = r"(?i)(X-Amz-(?:Credential|Signature|Security-Token)=|sig=|AccountKey=)[^&\s\"]+"
_MAY_BE_MISSING = "_last_checkpoint"
"""An object that is asked for in each log and that the first commits of a table do not have."""
_LONGEST = 300


def address(table_path: str, *, node_id: str) -> str:
    """The base of this device's tables, without a slash at its end.

    Raises:
        ConfigurationError: if the address has a scheme that is not supported, a brace that is not ``{node_id}``, or a
            character that delta-rs does not find again; or if the node id is no name of a folder.
    """
    if "{node_id}" in table_path and (node_id in (".", "..") or re.search(r"[/\\]", node_id)):
        raise ConfigurationError(
            f"node_id {node_id!r} would lead out of its folder in table_path {table_path!r}",
            "Set a node_id without slashes",
        )
    filled = table_path.replace("{node_id}", node_id)
    if in_catalog(table_path) and not re.search(r"[{}]", filled):
        from edge_delta.sinks.unity.names import checked  # noqa: PLC0415 - not where no catalog is named

        return checked(table_path, filled, node_id)
    if "{" in filled or "}" in filled:
        raise ConfigurationError(
            f"table_path {table_path!r} has a placeholder that is not known here",
            "Name the table with --table, or leave it out",
        )
    odd = re.search(_NOT_READ_BACK, filled)
    if odd:
        raise ConfigurationError(
            f"table_path {filled!r} has {odd[0]!r}, which delta-rs would not find again",
            "Use another name" if odd[0] in table_path else "Set another node_id",
        )
    if "://" in filled:
        if not filled.startswith(_SCHEMES):
            raise ConfigurationError(
                f"table_path {table_path!r} has an address that is not supported",
                "Use a folder, s3://bucket/path, abfss://container@account.dfs.core.windows.net/path or "
                "uc://catalog.schema.table",
            )
        return filled.removesuffix("/").replace("s3a://", "s3://")
    return os.path.realpath(Path(filled).expanduser())  # Path.resolve raises on a link to itself, until Python 3.13


def in_catalog(uri: str) -> bool:
    """Whether an address is a name in Unity Catalog."""
    return uri.startswith("uc:")


def refuse_catalog(table_path: str, what: str, hint: str) -> None:
    """Refuse what only works where tables have an address in a store.

    Raises:
        ConfigurationError: if they have names in Unity Catalog.
    """
    if in_catalog(table_path):
        raise ConfigurationError(
            f"{what}, and table_path {table_path!r} is a name in Unity Catalog, which vends credentials for that table "
            "alone",
            hint,
        )


def name_of(base: str) -> str:
    """What the tables at an address are called."""
    return base.rpartition("." if in_catalog(base) else "/")[2]


def is_folder(uri: str) -> bool:
    """Whether an address is a folder of this machine's, or of one that it has mounted."""
    return "://" not in uri or uri.startswith("file://")


def plain(error: BaseException) -> str:
    """A foreign error as one short line, without colours and without what signs a request."""
    text = _whole(error)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _whole(error: BaseException) -> str:
    lines = [line.strip() for line in re.sub(_ANSI, "", str(error)).splitlines() if line.strip()]
    return re.sub(_SECRETS, r"\1…", " ".join(lines)) or type(error).__name__


OPERATIONS: Counter[tuple[str, str]] = Counter()
"""What this process asked of its tables, by operation and outcome: whatever goes through `errors`."""


@contextlib.contextmanager
def errors(uri: str, operation: str) -> Iterator[None]:
    """Do something with a table: counted, and every error turned into one of ours.

    Args:
        uri: the table's address.
        operation: what is done, for the metrics.
    """
    outcome = "failed"
    try:
        with translated(uri):
            yield
        outcome = "done"
    finally:
        OPERATIONS[operation, outcome] += 1


@contextlib.contextmanager
def translated(uri: str) -> Iterator[None]:
    """Turn whatever delta-rs or a folder raises into the tree of `edge_delta.core.errors`: that is done here alone."""
    try:
        yield
    except EdgeDeltaError:
        raise
    except CommitFailedError as error:
        if re.search(_FEATURES, str(error)):
            raise _unwritable(uri, error) from error
        if re.search(_TRIES_LOST, _whole(error)):
            raise TableCrowded(
                f"other writers of {uri} came first at every try", "Give each device its own table, see docs/fleets.md"
            ) from error
        raise CommitConflict(f"a commit to {uri} was refused: {plain(error)}") from error
    except DeltaProtocolError as error:
        raise _unwritable(uri, error) from error
    except DeltaSchemaMismatch as error:
        raise SchemaMismatch(f"rows do not fit table {uri}: {plain(error)}", "Run edge-delta check") from error
    except (OSError, DeltaError) as error:
        raise met(uri, error) from error
    except Exception as error:
        if type(error) is not Exception:  # a mistake of ours
            raise
        raise _unnamed(uri, error) from error


def _unnamed(uri: str, error: Exception) -> EdgeDeltaError:
    """What a bare Exception means: a failed cast inside delta-rs, or what DataFusion met in a table's files."""
    if in_reading(error):
        return met(uri, error)
    return SchemaMismatch(f"rows do not fit table {uri}: {plain(error)}", "Run edge-delta check")


def in_reading(error: Exception) -> bool:
    """Whether what DataFusion says, as a bare Exception, is of the files that it read and not of what it was asked."""
    return re.search(_READING, _whole(error)) is not None


def _unwritable(uri: str, error: Exception) -> ProtocolUnsupported:
    return ProtocolUnsupported(
        f"table {uri} cannot be written: {plain(error)}",
        "Drop that table feature in Databricks, or set another table_path",
    )


def no_credentials(uri: str, message: str = "") -> StorageUnavailable:
    """The error where nothing says who we are."""
    return StorageUnavailable(
        f"no credentials for {uri}" + (f": {message}" if message else ""),
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or give the device a role",
    )


def _granting(uri: str, message: str) -> str:
    """What to do about a refusal.

    A store tells whether a name is there only to who may list it, and answers 403 for one that is not to others.
    """
    if in_catalog(uri):
        return "Check that the storage credential of its external location may write, then wait or start again"
    hint = "Check the credentials in the environment and the bucket's policy"
    if uri.startswith("s3://") and _MAY_BE_MISSING in message:
        bucket, _, path = uri.removeprefix("s3://").partition("/")
        hint += (
            f"; if that object is not there, s3:ListBucket on {bucket} with s3:prefix {path.partition('/')[0]}* is "
            "missing, see docs/security.md"
        )
    return hint


def met(uri: str, error: BaseException) -> EdgeDeltaError:
    """What was met at a table: what a person has to decide, or what may pass by itself."""
    return permanent(uri, _whole(error)) or unavailable(uri, error)


def unavailable(uri: str, error: BaseException) -> StorageUnavailable:
    """What a store's error means, and what to do about it."""
    message, whole = plain(error), _whole(error)  # what tells the cause often stands at the end of a long message
    if re.search(_FULL, whole):
        return NoSpace(f"no space left to write table {uri}", "Free some space; nothing is lost meanwhile")
    # The path of a folder may have any word, so that what tells a store's errors tells nothing there.
    return (_in_folder if is_folder(uri) else _in_store)(uri, message, whole)


def _in_store(uri: str, message: str, whole: str) -> StorageUnavailable:
    if re.search(_NO_BUCKET, whole):
        return StorageUnavailable(f"the bucket of {uri} does not exist", "Create it, or check --table-path")
    if re.search(_REFUSED, whole):
        return AccessRefused(f"access to {uri} is refused: {message}", _granting(uri, whole))
    if re.search(_UNKNOWN_AUTHORITY, whole):
        return StorageUnavailable(
            f"the certificate of the store of {uri} is not trusted",
            "Name the authority that issued it with ca_bundle in [storage]",
        )
    if re.search(_NO_CREDENTIALS, whole):
        return no_credentials(uri, message)
    return _unreached(uri, message, whole)


def _in_folder(uri: str, message: str, whole: str) -> StorageUnavailable:
    if re.search(_FOLDER_REFUSED, whole):
        return AccessRefused(
            f"access to folder {uri} is refused: {message}",
            f"Give user {os.getuid()} permission to read and write the folder and all in it, or make it that user's",
        )
    return _unreached(uri, message, whole)


def _unreached(uri: str, message: str, whole: str) -> StorageUnavailable:
    if re.search(_NOT_THERE, whole):
        return StorageUnavailable(
            f"a data file of {uri} is not there: {message}",
            "This passes where another writer has removed it; if it stays, restore the file or an earlier version",
        )
    if is_folder(uri):
        return StorageUnavailable(
            f"folder {uri} cannot be reached: {message}",
            "Check that each part of the path is a folder, and that its disk is mounted and answers",
        )
    return StorageUnavailable(f"{uri} cannot be reached: {message}", "Check the address and the network")
