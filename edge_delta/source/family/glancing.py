"""One look at what waits in a family's files, for those who have the state directory and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.core.model import Cursor
from edge_delta.source.database import Database
from edge_delta.source.family.copy import COPY, Copied, records
from edge_delta.source.family.folder import Folder
from edge_delta.source.family.source import FamilySource
from edge_delta.source.family.stretches import Stretches
from edge_delta.source.glance import Behind
from edge_delta.source.read_options import Options
from edge_delta.source.reader import SQLiteSource

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edge_delta.core.time_formats import TimeForm

_BUSY_MS = 1_000


def opened(pattern: Path, table: str | None, timestamp: str | None, state_dir: Path, form: TimeForm) -> FamilySource:
    """The family as the state directory knows it; what cannot be told for sure is taken for what it seems to be."""

    def one_file(path: Path, _options: Options | None) -> SQLiteSource:
        return SQLiteSource(Database(path, busy_timeout_ms=_BUSY_MS), table, timestamp, Options(form))

    family = FamilySource(pattern, one_file)
    family.follow(Copied(state_dir / COPY), None, lenient=True)
    return family


def glance(  # noqa: PLR0913 - as of a single file, and where the copy is
    pattern: Path, table: str | None, timestamp: str | None, cursors: Iterable[int], form: TimeForm, *, state_dir: Path
) -> dict[int, Behind]:
    """See `edge_delta.source.glance.glance`.

    Raises:
        EdgeDeltaError: if a file cannot be read.
    """
    family = opened(pattern, table, timestamp, state_dir, form)
    try:
        found = {cursor: _behind(family, cursor) for cursor in cursors}
        if (error := family.unreadable()) is not None:
            raise error
        return found
    finally:
        family.reopen()


def _behind(family: FamilySource, cursor: int) -> Behind:
    found = family.waiting(Cursor(rowid=cursor))
    if found.first_rowid is None:
        return Behind(0, None)
    return Behind(found.rows, family.time_of(found.first_rowid))


def settled_files(pattern: Path, state_dir: Path, settled: int | None) -> list[Path]:
    """The files that nothing needs any more: delivered to their end in every mode, and not written since.

    Args:
        pattern: the files.
        state_dir: has the copy of what is known of them.
        settled: the last id of the family that nothing depends on, such as open windows; None if it is not known.
    """
    if settled is None:
        return []
    stretches = list(Stretches(records(state_dir / COPY)))
    waiting = {one.file for one in stretches if one.end is None or one.end > settled}
    folder, last = Folder(pattern), {one.file: one for one in stretches}
    done = [one for one in last.values() if one.file not in waiting and folder.stat(one.name) == one.stat]
    return [folder.path / one.name for one in done]
