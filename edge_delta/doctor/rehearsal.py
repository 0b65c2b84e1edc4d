"""The next batch of each mode as it would be written; nothing is, neither tables nor the state directory."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import polars as pl
from msgspec import Struct

from edge_delta.core.errors import EdgeDeltaError
from edge_delta.core.events import Log
from edge_delta.core.model import Commit, Cursor
from edge_delta.device.state import kept_node_id
from edge_delta.doctor import tall
from edge_delta.modes.privacy import audit
from edge_delta.topology.auditing import SAMPLED
from edge_delta.topology.lanes import Session, follow_files, lanes_of, open_source
from edge_delta.topology.sources import each
from edge_delta.topology.tables import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from edge_delta.core.model import Inventory
    from edge_delta.core.ports import Sink
    from edge_delta.core.questions import Question, Where
    from edge_delta.delivery.lane import Lane
    from edge_delta.settings.sections import Settings
    from edge_delta.source import SQLiteSource
    from edge_delta.topology.one_table import OneTable

_WIDTH = 120


class Rehearsed:
    """A sink whose table is read as it is; what would be appended to it is kept here instead.

    Args:
        real: the table's own sink.
    """

    def __init__(self, real: Sink) -> None:
        self._real = real
        self._ahead: Cursor | None = None
        self.frames: list[pl.DataFrame] = []

    @property
    def uri(self) -> str:
        """See `Sink.uri`."""
        return self._real.uri

    def exists(self) -> bool:
        """See `Sink.exists`."""
        return self._real.exists()

    def committed(self) -> Cursor | None:
        """See `Sink.committed`."""
        return self._ahead or self._real.committed()

    def witnessed(self, generation: int) -> Cursor | None:
        """See `Sink.witnessed`."""
        return self._real.witnessed(generation)

    def columns(self) -> dict[str, pl.DataType | None]:
        """See `Sink.columns`."""
        return self._real.columns()

    def columns_later(self) -> Callable[[], dict[str, pl.DataType | None]]:
        """See `Sink.columns_later`."""
        return self._real.columns_later()

    def version(self) -> int | None:
        """See `Sink.version`."""
        return self._real.version()

    def noted(self, name: str) -> int | None:
        """See `Sink.noted`."""
        return self._real.noted(name)

    def restored(self, since: int, most: int) -> int | None:
        """See `Sink.restored`."""
        return self._real.restored(since, most)

    def files(self, *, listing: bool = False) -> Inventory:
        """See `Sink.files`."""
        return self._real.files(listing=listing)

    def ask(self, question: Question) -> pl.DataFrame:
        """See `Sink.ask`."""
        return self._real.ask(question)

    def check(self, frame: pl.DataFrame) -> None:
        """See `Sink.check`."""
        self._real.check(frame)

    def refused(self, frame: pl.DataFrame) -> Mapping[int, tuple[str, str]]:
        """See `Sink.refused`."""
        return self._real.refused(frame)

    def append(self, frame: pl.DataFrame, cursor: Cursor, *, replacing: Where | None = None) -> Commit:
        """Keep the rows.

        Raises:
            SchemaMismatch: if the table could not take them.
        """
        del replacing
        self._real.check(frame)
        self._ahead = cursor
        self.frames.append(frame)
        return Commit(self._real.uri, None, frame.height, cursor, 0.0)

    def stamp(self, column: str, time: datetime, where: Where) -> None:
        """Nothing is changed."""

    def forget(self) -> None:
        """See `Sink.forget`."""
        self._real.forget()


class Rehearsal(Struct, frozen=True):
    """What one mode's next batch would come to.

    Attributes:
        mode: the mode's name.
        table: its table.
        read: rows read.
        kept: what would be written there; None where nothing would be.
        rejected: what would go to the rejected table, if anything.
        origin: the source column of each column of the table.
    """

    mode: str
    table: str
    read: int
    kept: pl.DataFrame | None
    rejected: pl.DataFrame | None
    origin: Mapping[str, str] = MappingProxyType({})


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
        self.source = open_source(settings)

    def lanes(self) -> list[Lane]:
        """The lanes of all modes; they append nothing."""
        log = Log(io.StringIO(), lambda _event: "", verbose=False)
        session = Session(self.source, self.node_id, log, opened=Rehearsed, heals=False)
        follow_files(self.settings, session, writes=False)
        return lanes_of(self.settings, session)

    def rehearse(self, lane: Lane, *, limit: int) -> Rehearsal | None:
        """One mode's next batch; None if nothing waits.

        Raises:
            EdgeDeltaError: if it could not be delivered.
        """
        lane.check_source()
        step = lane.step(limit=limit, upto=self.source.waiting(lane.cursor()).last_rowid)
        if step is None:
            return None
        kept, rejected = (
            next(iter(t.frames), None) for t in (lane.sink, lane.route.tables.rejects) if isinstance(t, Rehearsed)
        )
        columns = [*(kept.columns if kept is not None else ()), *(rejected.columns if rejected is not None else ())]
        rename = self.settings.schematize.rename
        origin = tall.origins(self.source.layout, rename, columns, raw=lane.name == "raw")
        return Rehearsal(lane.name, lane.sink.uri, step.read, kept, rejected, origin)


def rehearsals(settings: Settings) -> Iterator[tuple[str, Rehearsal | None]]:
    """Each mode's next batch.

    Raises:
        EdgeDeltaError: if it could not be delivered.
    """
    stage = Stage(settings)
    if settings.gps_fuzzing.enabled:
        for fate in audit.fates(settings, stage.source.layout, stage.source.sample(SAMPLED)):
            print(f"column {fate.column}: {fate.becomes}{', ' if fate.why else ''}{fate.why}")
    for lane in stage.lanes():
        yield lane.name, stage.rehearse(lane, limit=settings.max_batch_size)


def show(settings: Settings, flags: Mapping[str, Any] = MappingProxyType({}), *, rows: int = 5) -> int:
    """Print the next batch of each mode, and of each source that is meant.

    Returns:
        The worst exit code of the sources that cannot be read; 0 if all can.

    Raises:
        EdgeDeltaError: if the only one cannot be read.
    """
    code = 0
    with pl.Config(tbl_hide_dataframe_shape=True, tbl_cols=-1, tbl_width_chars=_WIDTH, fmt_str_lengths=40):
        for one in each(settings, flags):
            try:
                _show_one(one, rows)
            except EdgeDeltaError as error:
                if not one.label:
                    raise
                print(f"edge-delta: {one.key}: {error}", file=sys.stderr)
                code = max(code, error.exit_code)
    print("Nothing was written.", file=sys.stderr)
    return code


def _show_one(one: OneTable, rows: int) -> None:
    one.refuse_trouble()
    for mode, found in rehearsals(one.settings):
        name = f"{one.key}: {mode}" if one.label else mode
        if found is None:
            print(f"{name}: nothing waits")
            continue
        written = found.kept.height if found.kept is not None else 0
        refused = found.rejected.height if found.rejected is not None else 0
        print(f"{name}: {found.read:,} rows read, {written:,} would go to {found.table}, {refused:,} be rejected")
        for frame in (found.kept, found.rejected):
            if frame is not None and frame.height:
                print("\n".join(tall.lines(frame, found.origin)) if tall.is_wide(frame) else frame.head(rows))
