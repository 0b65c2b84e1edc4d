"""`edge-delta check`: before the first start, and when something is wrong. Each finding says what to do.

It writes one small object, ``<table_path>_check``, because nothing else shows whether the store takes what is written
and honours conditional puts. Tables and the state directory are only read.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_delta import storage
from edge_delta.errors import ConfigurationError, EdgeDeltaError, SourceReset
from edge_delta.rehearsal import UNKNOWN, Stage
from edge_delta.state import is_held, kept_node_id, read_mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_delta.lane import Lane
    from edge_delta.settings import Settings

_SAMPLE = 5
_SKEW_WARNING, _SKEW_REFUSED = 60.0, 900.0
_SMALL_FILES, _SMALL_BYTES = 200, 8_000_000
_PLACE = re.compile(r"lat|lon|lng|gps|geo|coord|position|altitude", re.IGNORECASE)
_LITTLE_SPACE = 200_000_000


class Level(StrEnum):
    """How a finding is meant."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the answer.

    Attributes:
        area: settings, state, database, storage or table.
        level: how it is meant.
        fact: what was found.
        cure: what to do, empty where nothing has to be done.
        exit_code: what `run` would end with because of it.
    """

    area: str
    level: Level
    fact: str
    cure: str = ""
    exit_code: int = 0

    def __str__(self) -> str:
        return f"{self.level:<8} {self.area:<9} {self.fact}" + (f". {self.cure}." if self.cure else "")

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def ok(area: str, fact: str) -> Finding:
    """All is well."""
    return Finding(area, Level.OK, fact)


def warning(area: str, fact: str, cure: str) -> Finding:
    """Delivery works, but somebody should know."""
    return Finding(area, Level.WARNING, fact, cure)


def failed(area: str, error: EdgeDeltaError) -> Finding:
    """It cannot work like this."""
    return Finding(area, Level.FAILED, error.fact, error.hint, error.exit_code)


def check(load: Callable[[], Settings]) -> Iterator[Finding]:
    """Everything that can be found out, in the order in which a start would need it."""
    try:
        settings = load()
    except EdgeDeltaError as error:
        yield failed("settings", error)
        return
    yield ok("settings", f"complete; mode {', '.join(settings.processing_mode)}, a cycle every {settings.interval:g} s")
    yield from _guarded("state", _state, settings)
    yield from _guarded("storage", _storage, settings)
    stage = None
    try:
        stage = Stage(settings)
        lanes = stage.lanes()
    except EdgeDeltaError as error:
        yield failed("database", error)
        return
    yield from _guarded("database", _database, stage)
    for lane in lanes:
        yield from _guarded("table", _table, stage, lane)


def _guarded(area: str, part: Callable[..., Iterator[Finding]], *arguments: object) -> Iterator[Finding]:
    try:
        yield from part(*arguments)
    except EdgeDeltaError as error:
        yield failed(area, error)


# -- state and database


def _state(settings: Settings) -> Iterator[Finding]:
    place = settings.state_dir
    there = next((p for p in (place, *place.absolute().parents) if p.exists()), Path("/"))
    if not os.access(there, os.W_OK):
        raise ConfigurationError(
            f"the state directory {place} cannot be written", f"Give user {os.getuid()} write permission on {there}"
        )
    node = settings.node_id or kept_node_id(place)
    if node is None and read_mirror(place).get("source"):
        yield warning("state", f"{place} has lost this device's id", "Set NODE_ID to the id in the table's rows")
    busy = ", in use by a running process" if is_held(place) else ""
    yield ok("state", f"{place}{busy}; this device is {node or 'new and gets an id at the first start'}")


def _database(stage: Stage) -> Iterator[Finding]:
    settings, source = stage.settings, stage.source
    wal = settings.sqlite.with_name(settings.sqlite.name + "-wal")
    log = "its -wal file is visible" if wal.exists() else "no -wal file: no writer has it open in WAL mode now"
    yield ok("database", f"{settings.sqlite} is readable; {log}")
    stamp = source.timestamp
    names = ", ".join(c.name for c in source.columns)
    yield ok("database", f"table {source.table}, time in {stamp.name if stamp else '(none)'}, columns {names}")
    if not source.keyed_by_rowid:
        yield warning(
            "database",
            f"table {source.table} has no rowid, so rows that arrive late cannot be seen",
            "Make it without WITHOUT ROWID, or name a table instead of a view with --table",
        )


# -- tables


def _table(stage: Stage, lane: Lane) -> Iterator[Finding]:
    uri = lane.sink.uri
    if not lane.sink.exists():
        yield ok("table", f"{uri} is not there yet; the first commit makes it")
    else:
        yield ok("table", f"{uri} version {lane.sink.version()} is plain: every Delta reader can use it")
        yield from _cursor(stage, lane)
        yield from _files(lane)
    found = stage.rehearse(lane, limit=_SAMPLE)
    if found is None:
        yield ok("table", f"{lane.name}: nothing waits")
        return
    if found.rejected is not None:
        reasons = ", ".join(sorted(set(found.rejected["reason"].to_list())))
        yield warning(
            "table",
            f"{lane.name}: {found.rejected.height} of the next {found.read} rows would be rejected: {reasons}",
            "Mend the rule or the sensor; they are kept in the rejected table",
        )
    if found.kept is not None and found.kept.height:
        sample = found.kept.row(0, named=True)
        shown = ", ".join(f"{k}={_shown(k, v)}" for k, v in sample.items() if v is not None)
        yield ok("table", f"{lane.name}: rows fit; the next one would be {shown}")


def _shown(name: str, value: object) -> object:
    """A value of a sample row, but no place: what is printed here is sent around."""
    return "…" if _PLACE.search(name) else value


def _cursor(stage: Stage, lane: Lane) -> Iterator[Finding]:
    cursor = lane.sink.committed()
    if cursor is None:
        if stage.node_id == UNKNOWN:
            yield warning(
                "table",
                f"{lane.sink.uri} exists, but not which device this is",
                "Set NODE_ID, or start with --new-node if it never delivered before",
            )
        return
    try:
        stage.source.verify(cursor)
    except SourceReset as reset:
        if stage.settings.on_source_reset == "stop":
            yield failed("table", reset)
        else:
            yield warning("table", reset.fact, "Nothing to do: all of it is read as a new generation")
        return
    waiting = stage.source.waiting(cursor).rows
    yield ok(
        "table", f"{lane.name}: delivered up to id {cursor.rowid:,}, which the source agrees with; {waiting:,} wait"
    )


def _files(lane: Lane) -> Iterator[Finding]:
    count, size = lane.sink.files()
    if count > _SMALL_FILES and size / count < _SMALL_BYTES:
        yield warning(
            "table",
            f"{lane.sink.uri} has {count:,} files of {size / count / 1e6:.1f} MB on average",
            "Run edge-delta maintain, which compacts them, or set a longer interval",
        )


# -- storage


def _storage(settings: Settings) -> Iterator[Finding]:
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
    free = shutil.disk_usage(there).free
    fact = f"{there} can be written; {free / 1e9:.1f} GB are free"
    yield warning("storage", fact, "Free some space") if free < _LITTLE_SPACE else ok("storage", fact)


def _s3(settings: Settings, base: str) -> Iterator[Finding]:
    storage.options(base, os.environ, endpoint_url=settings.storage.endpoint_url)  # refuses the unsafe rename
    bucket, _, path = base.removeprefix("s3://").partition("/")
    client = _client(settings, base)
    key = f"{path}_check"
    with _refused(base):
        answer = client.put_object(Bucket=bucket, Key=key, Body=b"edge-delta check\n")
    yield ok("storage", f"credentials are accepted, and s3://{bucket}/{key} was written")
    yield _clock(answer)
    yield _conditional(client, bucket, key, base)
    with contextlib.suppress(Exception):  # a device need not be allowed to delete; the object is always the same
        client.delete_object(Bucket=bucket, Key=key)
    with _refused(base):
        client.list_objects_v2(Bucket=bucket, Prefix=path, MaxKeys=1)
    yield ok("storage", "the prefix may be listed")


def _client(settings: Settings, base: str) -> Any:
    import boto3  # noqa: PLC0415 - 0.9 s of CPU
    from botocore.config import Config  # noqa: PLC0415

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


def _clock(answer: Any) -> Finding:
    theirs = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    skew = (datetime.now(UTC) - theirs).total_seconds()
    fact = f"this device's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the store's"
    if abs(skew) < _SKEW_WARNING:
        return ok("storage", fact)
    return warning(
        "storage", fact, f"Set the clock (NTP): beyond {_SKEW_REFUSED:.0f} s the store refuses every request"
    )


def _conditional(client: Any, bucket: str, key: str, base: str) -> Finding:
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        client.put_object(Bucket=bucket, Key=key, Body=b"edge-delta check\n", IfNoneMatch="*")
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 412:  # noqa: PLR2004 - Precondition Failed
            return ok("storage", "conditional puts are honoured, so no commit can overwrite another")
        raise storage.unavailable(base, error) from error
    return failed(
        "storage",
        ConfigurationError(
            f"the store of {base} ignores If-None-Match, so two writers can overwrite each other's commits",
            "Use a store that honours conditional puts (AWS, SeaweedFS, MinIO, Ceph of a recent version)",
        ),
    )
