"""The next batch of each mode as it would be written; nothing is, neither tables nor the state directory."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge_delta.core.model import Commit, Cursor
from edge_delta.device.state import kept_node_id
from edge_delta.source import Database, SQLiteSource
from edge_delta.topology import build as app

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from edge_delta.delivery.lane import Lane
    from edge_delta.settings.sections import Settings
    from edge_delta.sinks.delta.sink import DeltaSink

UNKNOWN = "unknown"
"""Stands for the id of a device that has none yet."""
_WIDTH = 120


class Silent:
    """A log that says nothing."""

    def __getattr__(self, _level: str) -> Any:
        return lambda *_args, **_keys: None


class Rehearsed:
    """A table that is read as it is; what would be appended to it is kept here instead."""

    def __init__(self, real: DeltaSink) -> None:
        self._real = real
        self._ahead: Cursor | None = None
        self.frames: list[pl.DataFrame] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def committed(self) -> Cursor | None:
        """See `DeltaSink.committed`."""
        return self._ahead or self._real.committed()

    def append(self, frame: pl.DataFrame, cursor: Cursor, *, replacing: str | None = None) -> Commit:
        """Keep the rows.

        Raises:
            SchemaMismatch: if the table could not take them.
        """
        del replacing
        self._real.check(frame)
        self._ahead = cursor
        self.frames.append(frame)
        return Commit(self._real.uri, None, frame.height, cursor, 0.0)

    def update(self, values: object, where: str) -> None:
        """Nothing is updated."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What one mode's next batch would come to.

    Attributes:
        mode: the mode's name.
        table: its table.
        read: rows read.
        kept: what would be written there; None where nothing would be.
        rejected: what would go to the rejected table, if anything.
    """

    mode: str
    table: str
    read: int
    kept: pl.DataFrame | None
    rejected: pl.DataFrame | None


@dataclass(slots=True)
class Stage:
    """The parts of a run, with tables that keep what they are given.

    Args:
        settings: the settings.
    """

    settings: Settings
    node_id: str = field(init=False)
    source: SQLiteSource = field(init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        self.node_id = settings.node_id or kept_node_id(settings.state_dir) or UNKNOWN
        self.source = SQLiteSource(Database(settings.sqlite), settings.sqlite_table_name, settings.timestamp_col)

    def lanes(self) -> list[Lane]:
        """The lanes of all modes; they append nothing."""
        lanes = app.lanes_of(self.settings, app.Parts(self.source, self.node_id, Silent()))  # type: ignore[arg-type]
        for lane in lanes:
            lane.sink, lane.rejects = Rehearsed(lane.sink), Rehearsed(lane.rejects)  # type: ignore[assignment]
        return lanes

    def rehearse(self, lane: Lane, *, limit: int) -> Rehearsal | None:
        """One mode's next batch; None if nothing waits.

        Raises:
            EdgeDeltaError: if it could not be delivered.
        """
        lane.check_source()
        step = lane.step(limit=limit, upto=self.source.waiting(lane.cursor()).last_rowid)
        if step is None:
            return None
        kept, rejected = (next(iter(t.frames), None) for t in (lane.sink, lane.rejects))  # type: ignore[attr-defined]
        return Rehearsal(lane.name, lane.sink.uri, step.read, kept, rejected)


def rehearsals(settings: Settings) -> Iterator[tuple[str, Rehearsal | None]]:
    """Each mode's next batch.

    Raises:
        EdgeDeltaError: if it could not be delivered.
    """
    stage = Stage(settings)
    for lane in stage.lanes():
        yield lane.name, stage.rehearse(lane, limit=settings.max_batch_size)


def show(settings: Settings, *, rows: int = 5) -> None:
    """Print each mode's next batch."""
    import polars as pl  # noqa: PLC0415

    with pl.Config(tbl_hide_dataframe_shape=True, tbl_cols=-1, tbl_width_chars=_WIDTH, fmt_str_lengths=40):
        for mode, found in rehearsals(settings):
            if found is None:
                print(f"{mode}: nothing waits")
                continue
            written = found.kept.height if found.kept is not None else 0
            refused = found.rejected.height if found.rejected is not None else 0
            print(f"{mode}: {found.read:,} rows read, {written:,} would go to {found.table}, {refused:,} be rejected")
            for frame in (found.kept, found.rejected):
                if frame is not None and frame.height:
                    print(frame.head(rows))
    print("Nothing was written.", file=sys.stderr)
