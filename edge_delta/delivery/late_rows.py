"""The rows of a source that came below a lane's cursor, as far as its table or another one tells which those are."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from edge_delta.delivery.identity import still_there

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edge_delta.core.model import Batch
    from edge_delta.delivery.delivered import Delivered
    from edge_delta.delivery.lane import Lane
    from edge_delta.delivery.survey import Suspect

_ROWS = 50_000
"""Rows that are compared with the table at a time."""


def delivered_by(lane: Lane) -> Delivered:
    """What a lane's table holds."""
    from edge_delta.delivery.delivered import Delivered  # noqa: PLC0415 - Polars, which an idle run does not need

    return Delivered(lane.route, lane.cursor())


def missing(lane: Lane, suspects: Sequence[Suspect], limit: int) -> Iterator[Batch]:
    """The rows of some ranges that a lane's table does not have."""
    if not suspects:
        return
    if not lane.route.source.keyed_by_rowid:
        from edge_delta.delivery.delivered_times import DeliveredTimes  # noqa: PLC0415 - Polars

        by_time = DeliveredTimes(lane.route, lane.cursor())
        for suspect in suspects:
            yield from by_time.missing_rows(suspect.after, suspect.upto, rows=limit)
        return
    delivered = delivered_by(lane)
    found = (delivered.missing(s.after, s.upto, rows=_ROWS, by_time=s.by_time) for s in suspects)
    yield from read(lane, chain.from_iterable(found), limit)


def read(lane: Lane, found: Iterable[Sequence[int]], limit: int) -> Iterator[Batch]:
    """Rows by their ids, as far as they are still there, some at a time."""
    waiting: list[int] = []
    for ids in found:
        waiting += ids
        while len(waiting) >= limit:
            yield from _read(lane, waiting[:limit])
            waiting = waiting[limit:]
    if waiting:
        yield from _read(lane, waiting)


def _read(lane: Lane, ids: Sequence[int]) -> Iterator[Batch]:
    batch = lane.route.source.read_ids(ids)
    if batch is not None:
        still_there(lane.route.source, lane.cursor())
        yield batch
