"""Files that rotate: what is known of them stands in a table at the target, beside the modes' tables.

The rows of a family are numbered through all its files, and only the table ``<table_path>_files`` says which file's
rows have which numbers. So a place is committed there before the first row is read from it; a process that is killed in
between finds it again, and who loses the state directory loses nothing. The state directory has a copy, which is taken
where the table's log says that it is whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_delta.core.model import Cursor
from edge_delta.core.questions import Condition, Question, mine
from edge_delta.modes import FILES_SUFFIX
from edge_delta.modes.traits import TRAITS
from edge_delta.source.family import FamilySource
from edge_delta.source.family.copy import COPY, keep, records
from edge_delta.source.family.stretches import Stat, Stretch, Stretches
from edge_delta.topology.tables import Contents, DeviceTables, now

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_delta.settings.sections import Settings
    from edge_delta.sinks.delta.sink import DeltaSink
    from edge_delta.sinks.delta.upkeep import Keeper
    from edge_delta.topology.lanes import Session


class FilesTable:
    """The stretches of one family in the table at the target.

    Args:
        tables: the device's tables.
        session: who asks.
        writes: whether new files are written down; else they are only looked at.
    """

    def __init__(self, tables: DeviceTables, session: Session, *, writes: bool) -> None:
        self._tables = tables
        self._sink: DeltaSink = tables.sink(FILES_SUFFIX, Contents(part="files", marks=()))
        self._keeper = _keeper(tables, self._sink, session) if writes else None
        self._writes = writes
        self._copy = tables.settings.state_dir / COPY
        self._last: Stretch | None = None
        self._records = 0

    def read(self) -> Sequence[Stretch]:
        """See `edge_delta.source.family.numbering.Record.read`."""
        self._sink.forget()
        stands = self._sink.committed()
        self._records = 0 if stands is None else stands.rowid
        found = [] if stands is None else records(self._copy)
        if len(found) != self._records:
            found = self._asked()
            if self._writes:
                keep(self._copy, found)
        every = list(Stretches(found))
        self._last = every[-1] if every else None
        return every

    def _asked(self) -> list[Stretch]:
        settings = self._tables.settings
        own = (
            *mine(self._tables.node_id),
            Condition("source_table", "=", self._tables.source_table),
            Condition("source", "=", settings.name or ""),
        )
        rows = self._sink.ask(Question(own)).sort("record")
        return [_stretch(row) for row in rows.iter_rows(named=True)]

    def write(self, stretches: Sequence[Stretch]) -> None:
        """See `edge_delta.source.family.numbering.Record.write`."""
        if not self._writes:
            return
        from edge_delta.sinks.files import as_frame  # noqa: PLC0415 - Polars, only where files come

        settings, tables = self._tables.settings, self._tables
        own = {
            "node_id": tables.node_id,
            "source": settings.name or "",
            "source_table": tables.source_table,
            "databricks_inserted_at": now(),
        }
        rows = [own | _row(one, self._records + i) for i, one in enumerate(stretches, 1)]
        if settings.gps_fuzzing.enabled or settings.sanitize.columns is not None:
            # A file's size has the cells in it that stay on the device. Who loses the state directory looks into files.
            rows = [row | {"bytes": 0} for row in rows]
        count = self._records + len(stretches)
        try:
            self._sink.append(as_frame(rows), Cursor(rowid=count))
        except BaseException:
            self._sink.forget()
            raise
        self._records = count
        keep(self._copy, stretches, more=True)
        if self._keeper is not None and self._keeper.committed(self._sink) is not None:
            self._sink.forget()

    def reached(self) -> int:
        """See `edge_delta.source.family.numbering.Record.reached`: in the tables of all modes, set or not."""
        stands = [self._tables.of_mode(mode).committed() for mode in TRAITS]
        stands += [self._tables.rejected(mode).committed() for mode in TRAITS]
        return max((cursor.rowid for cursor in stands if cursor is not None), default=0)


def _keeper(tables: DeviceTables, sink: DeltaSink, session: Session) -> Keeper | None:
    keepers = tables.keepers(sink, sink, session.log)
    return None if keepers is None else keepers[0]


def follow(settings: Settings, session: Session, *, writes: bool) -> None:
    """Let a family's source go on with what the target knows of its files; nothing for a single file.

    Args:
        settings: the settings of one table.
        session: with the opened source, and who this device is.
        writes: whether new files are written down.
    """
    source = session.source
    if isinstance(source, FamilySource):
        tables = DeviceTables(settings, session.node_id, source.table, session.wait, session.log if writes else None)
        source.follow(FilesTable(tables, session, writes=writes), session.log if writes else None)


# -- as rows of the table


def _row(one: Stretch, record: int) -> dict[str, Any]:
    return {
        "file": one.name,
        "record": record,
        "stretch": one.number,
        "reading_id_after": one.base,
        "file_number": one.file,
        "id_after": one.after,
        "id_upto": one.upto,
        "first_id": one.first,
        "last_id": one.told,
        "inode": one.stat.inode,
        "bytes": one.stat.size,
        "modified_ns": one.stat.mtime,
        "first_word": one.first_word,
        **{f"w{n}": word for n, word in enumerate(one.witnesses)},
        "first_time": one.first_time,
        "last_time": one.last_time,
    }


def _stretch(row: Mapping[str, Any]) -> Stretch:
    times = [None if t is None else round(t.timestamp() * 1_000_000) for t in (row["first_time"], row["last_time"])]
    return Stretch(
        number=row["stretch"],
        base=row["reading_id_after"],
        file=row["file_number"],
        name=row["file"],
        after=row["id_after"],
        upto=row["id_upto"],
        stat=Stat(row["inode"], row["bytes"], row["modified_ns"]),
        first=row["first_id"],
        first_word=row["first_word"],
        told=row["last_id"],
        witnesses=tuple(row[f"w{i}"] for i in range(5)),
        first_time=times[0],
        last_time=times[1],
    )
