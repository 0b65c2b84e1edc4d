"""The end of a table's log: who committed last, how far, and what the commits say of the devices that made them.

Nothing but the newest commits is read, and where they do not tell of every device the newest checkpoint's ``txn``
actions, which say up to where each device came and when (Delta protocol, "Transaction Identifiers"). The table is not
opened: that would materialise its live files.
"""

from __future__ import annotations

import contextlib
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import unquote

import msgspec
from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from edge_delta.sinks.objects import Objects

_LOG = "_delta_log"
_COMMIT = re.compile(r"(\d{20})\.json")
_CURSOR = re.compile(r"edge-delta/([^/]+)/([^/]+)(?:/([a-z]+))?/(\d+)")
"""Node, table, part of a shared table, generation: the last rowid; see `edge_delta.sinks.delta.cursors`."""
_MILLISECONDS = 1_000
_AT_ONCE = 24
"""Commits of a shared table that are asked for at once: there it takes hundreds to meet every device."""


class Lane(Struct):
    """One source table of one device in one table.

    Attributes:
        node: the device.
        source: the source's table, with the source's name before it where it has one.
        part: which part of a table that several modes write.
        generation: of the source.
        rowid: the last row delivered.
        at: when that was committed, seconds since 1970.
        note: what the commit says of the device; None if it says nothing, or could not be read.
    """

    node: str
    source: str
    part: str
    generation: int
    rowid: int
    at: float
    note: str | None = None


class Tail(Struct):
    """The end of a log.

    Attributes:
        version: the newest commit, -1 where there is none.
        lanes: the newest of each lane that was found, by node, source and part.
    """

    version: int = -1
    lanes: dict[tuple[str, str, str], Lane] = field(default_factory=dict)


class _Info(Struct, frozen=True):
    timestamp: float = 0
    edge_delta: str | None = None


class _Txn(Struct, frozen=True, rename="camel"):
    app_id: str
    version: int
    last_updated: float | None = None


class _Line(Struct, frozen=True, rename="camel"):
    commit_info: _Info | None = None
    txn: _Txn | None = None


_DECODER = msgspec.json.Decoder(_Line)


def _key(lane: Lane) -> tuple[str, str, str]:
    return lane.node, lane.source, lane.part


def lanes_in(commit: bytes) -> list[Lane]:
    """The lanes that a commit moved.

    Args:
        commit: the file ``<version>.json``, a JSON object a line.
    """
    info, found = _Info(), []
    for line in commit.splitlines():
        if b'"txn"' not in line and b'"commitInfo"' not in line:
            continue
        try:
            action = _DECODER.decode(line)
        except msgspec.DecodeError:  # torn by a power cut
            continue
        info = action.commit_info or info
        if action.txn is not None and (lane := _lane(action.txn)) is not None:
            found.append(lane)
    # Cursors of earlier generations are written again so that a rival who still writes them is refused.
    newest = {_key(one): one for one in sorted(found, key=lambda one: one.generation)}
    for one in newest.values():
        one.note = info.edge_delta
        one.at = info.timestamp / _MILLISECONDS or one.at
    return list(newest.values())


def _lane(txn: _Txn) -> Lane | None:
    match = _CURSOR.fullmatch(txn.app_id)
    if match is None:
        return None
    node, source, part, generation = match.groups()
    at = (txn.last_updated or 0) / _MILLISECONDS
    return Lane(unquote(node), unquote(source), part or "", int(generation), txn.version, at)


def tail_of(objects: Objects, table: str, *, most: int, every: bool = False, known: Tail | None = None) -> Tail:
    """Read the end of a table's log.

    Args:
        objects: where the table is.
        table: its place there.
        most: how many commits are read at most, the newest first.
        every: whether every lane that the log knows is asked for, as in a table that devices share; else it ends with
            the first commit that carries rows of a device.
        known: what an earlier look found: only what came since is read then.

    Raises:
        EdgeDeltaError: if the log cannot be read now.
    """
    log = f"{table}/{_LOG}"
    if known is not None:
        return _gone_on(objects, log, known, most)
    checkpoint = _checkpoint(objects, log)
    since = f"{checkpoint[0]:020}.json" if checkpoint is not None else ""
    versions = [int(m[1]) for name in objects.after(log, since) if (m := _COMMIT.fullmatch(name))]
    newest = max(versions, default=checkpoint[0] if checkpoint is not None else -1)
    found = Tail(newest)
    if every and checkpoint is not None:
        found.lanes = {_key(lane): lane for lane in _of_checkpoint(objects, log, *checkpoint)}
    left = set(found.lanes)
    for version, commit in _newest_first(objects, log, newest, most, at_once=_AT_ONCE if every else 1):
        if commit is None and version < newest:  # cleaned away
            break
        for lane in lanes_in(commit or b""):
            key = _key(lane)
            if key in left or key not in found.lanes:  # the first that is met is the newest
                found.lanes[key] = lane
                left.discard(key)
        if found.lanes and not left and not (every and version > (checkpoint or (0,))[0]):
            break
    return found


def _newest_first(
    objects: Objects, log: str, newest: int, most: int, *, at_once: int
) -> Iterator[tuple[int, bytes | None]]:
    """Commits from the newest on, so many of them asked for at once; None for one that is not there."""
    versions = range(newest, max(newest - most, -1), -1)
    with contextlib.ExitStack() as until:
        read: Callable[..., Iterable[bytes | None]] = map
        if at_once > 1:
            read = until.enter_context(ThreadPoolExecutor(at_once)).map
        for first in range(0, len(versions), at_once):
            some = versions[first : first + at_once]
            yield from zip(some, read(lambda version: objects.read(_file(log, version)), some), strict=True)


def _gone_on(objects: Objects, log: str, known: Tail, most: int) -> Tail:
    """One request for each commit that came since, and one for the first that is not there yet."""
    for version in range(known.version + 1, known.version + 1 + most):
        commit = objects.read(_file(log, version))
        if commit is None:
            break
        for lane in lanes_in(commit):
            known.lanes[_key(lane)] = lane
        known.version = version
    return known


def _file(log: str, version: int) -> str:
    return f"{log}/{version:020}.json"


def _checkpoint(objects: Objects, log: str) -> tuple[int, int] | None:
    """The newest checkpoint's version, and in how many parts it is (0: in one file without a number)."""
    content = objects.read(f"{log}/_last_checkpoint")
    try:
        said = msgspec.json.decode(content or b"")
        return int(said["version"]), int(said.get("parts") or 0)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return None


def _of_checkpoint(objects: Objects, log: str, version: int, parts: int) -> Iterator[Lane]:
    """The lanes that a checkpoint knows: the newest generation of each."""
    names = [f"{version:020}.checkpoint.{part:010}.{parts:010}.parquet" for part in range(1, parts + 1)]
    newest: dict[tuple[str, str, str], Lane] = {}
    for name in names or [f"{version:020}.checkpoint.parquet"]:
        content = objects.read(f"{log}/{name}")
        for txn in _transactions(content) if content is not None else ():
            lane = _lane(txn)
            if lane is not None:
                there = newest.get(_key(lane))
                newest[_key(lane)] = there if there is not None and there.generation > lane.generation else lane
    yield from newest.values()


def _transactions(checkpoint: bytes) -> Iterator[_Txn]:
    import polars as pl  # noqa: PLC0415 - only for tables that devices share

    frame = pl.read_parquet(checkpoint, columns=["txn"], use_statistics=False)
    found = frame.select(pl.col("txn").struct.unnest()).drop_nulls("appId") if frame.height else frame
    for app_id, version, updated in found.select("appId", "version", "lastUpdated").iter_rows():
        yield _Txn(app_id, version, updated)
