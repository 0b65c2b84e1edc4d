"""From what is new in a device's log to what has to be done in the fleet's table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from edge_delta.gather.logs import mark_of, time_of
from edge_delta.gather.state import Taken

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_delta.gather.logs import Commit, File, Log

_READER = 1
"""The protocol's reader version that a file of rows can be read by without more."""


@dataclass(frozen=True)
class Shape:
    """What a mode's table is, for those that bring it together.

    Attributes:
        suffix: where it stands beside ``table_path``.
        key: what names a row.
        grows: whether rows are only ever appended; else some are replaced by later ones.
        window: the time by which rows are replaced; None if a device's rows are few and replaced together.
    """

    suffix: str
    key: tuple[str, ...]
    grows: bool = True
    window: str | None = None


_ROW = ("node_id", "source_generation")
SHAPES = {
    "raw": Shape("_0_raw", (*_ROW, "source_rowid", "row_version")),
    "schematized": Shape("_1_schematized", (*_ROW, "reading_id", "row_version")),
    "sanitized": Shape("_2_sanitized", (*_ROW, "reading_id", "row_version")),
    "aggregated": Shape("_3_aggregated", (*_ROW, "window_start"), grows=False, window="window_start"),
    "emergency": Shape("_4_emergency", (*_ROW, "reading_id", "alert_type", "alert_id", "row_version")),
    "rejected": Shape("_rejected", (*_ROW, "source_table", "reading_id", "mode", "rule", "column_name"), grows=False),
    "superseded": Shape(
        "_superseded", (*_ROW, "source_table", "mode", "after_id", "upto_id", "by_generation"), grows=False
    ),
}
"""Every table of a device, by mode. Of a key those columns count that a table has."""


class Way(Enum):
    """How rows come into the fleet's table."""

    APPEND = "append"
    """All of them."""
    MISSING = "missing"
    """Those whose key is not there."""
    REPLACE = "replace"
    """In place of the device's rows: all of them, or those of the windows that changed."""


@dataclass(frozen=True)
class Taking:
    """What is to be done for one device, in one commit.

    Attributes:
        device: its name, which is its folder's.
        table: its table's folder.
        way: how.
        upto: what is taken after it.
        files: where the rows stand.
        before: of ``REPLACE``, files whose rows went away; with ``after`` they tell which windows changed.
        after: of ``REPLACE``, files whose rows came.
        whole: of ``REPLACE``, whether all rows of the device go, not only those of windows that changed.
        anew: whether the device's rows that are in the fleet's table came from another table.
        told: what a person should know.
        time: when the oldest of it was written, milliseconds; 0 if that is not known.
        last: when the newest of it was written.
        commits: how many commits of the device it is.
        more: whether there is more to take after it.
        schema: the table's columns as JSON, where they were set by what is taken.
    """

    device: str
    table: str
    way: Way
    upto: Taken
    files: tuple[File, ...] = ()
    before: tuple[str, ...] = ()
    after: tuple[File, ...] = ()
    whole: bool = False
    anew: bool = False
    told: tuple[str, ...] = ()
    time: int = 0
    last: int = 0
    commits: int = 0
    more: bool = False
    schema: str | None = None

    @property
    def bytes(self) -> int:
        """How large the files are."""
        return sum(file.size for file in self.files)


class Refused(Exception):
    """A device cannot be taken as it is, and a person has to see to it; the others go on."""


class FilesGone(Exception):
    """A file was deleted before its rows were taken."""


class Nothing(Exception):
    """There is nothing to take of a device.

    Args:
        told: the reason, where a person should know it.
        last: when its last commit was written, milliseconds; 0 if that is not known.
    """

    def __init__(self, told: str = "", *, last: int = 0) -> None:
        super().__init__(told)
        self.told = told
        self.last = last


class Snapshots(Protocol):
    """Who reads a table's checkpoints."""

    def live(self, table: str, version: int | None) -> tuple[int, list[File]]:
        """A version of a device's table, the newest for None, and the files that it consists of.

        Raises:
            Refused: if it cannot be read.
        """


@dataclass(frozen=True)
class Limits:
    """How much is taken at once.

    Attributes:
        bytes: of data files, in one commit to the fleet's table.
        devices: in one commit to the fleet's table.
        commits: of one device.
    """

    bytes: int = 128_000_000
    devices: int = 500
    commits: int = 2_000


class Reader:
    """Finds out what is new of a device.

    Args:
        shape: of its table.
        snapshots: reads checkpoints, where the log alone does not tell.
        limits: how much is taken at once.
    """

    def __init__(self, shape: Shape, snapshots: Snapshots, limits: Limits) -> None:
        self._shape = shape
        self._snapshots = snapshots
        self._limits = limits

    def news(self, device: str, log: Log, taken: Taken | None, *, strangers: bool) -> Taking:
        """What is new.

        Args:
            device: its name.
            log: its table's log.
            taken: up to where it was taken; None if nothing was.
            strangers: see `State.strangers`.

        Raises:
            Nothing: if nothing is.
            Refused: if the table cannot be read.
        """
        try:
            return self._new(device, log, strangers=strangers) if taken is None else self._later(device, log, taken)
        except ValueError as error:
            raise Refused(f"its log cannot be read: {error}") from error

    def again(self, taking: Taking, log: Log) -> Taking:
        """The same out of the table as it is now, because files are gone that its log named.

        Raises:
            Refused: if the table cannot be read.
        """
        told = "files were deleted before they were taken, so the table itself was asked"
        return self.whole(taking.device, log, told=(*taking.told, told))

    def whole(self, device: str, log: Log, *, told: tuple[str, ...] = (), anew: bool = False) -> Taking:
        """All that a device's table holds now, beside what the fleet's table has of it.

        Raises:
            Refused: if the table cannot be read.
        """
        version, files = self._snapshots.live(log.table, None)
        commit = log.text(version)
        mark = "" if commit is None else mark_of(commit)
        way = Way.MISSING if self._shape.grows or (anew and self._shape.window is None) else Way.REPLACE
        upto = Taken(version, mark)
        last = 0 if commit is None else time_of(commit)
        return Taking(device, log.table, way, upto, tuple(files), whole=not anew, anew=anew, told=told, last=last)

    def _new(self, device: str, log: Log, *, strangers: bool) -> Taking:
        if log.text(0) is None:
            if not log.has_checkpoint():
                raise Nothing
            return self.whole(device, log)
        if strangers:
            return self.whole(device, log)
        live: dict[str, File] = {}
        last, time, newest, schema = Taken(-1, ""), 0, 0, None
        for commit in log.after(-1):
            _readable(commit)
            for path in (*commit.removed, *commit.moved_out):
                live.pop(path, None)
            live |= {file.path: file for file in (*commit.added, *commit.moved_in)}
            last, time, newest = Taken(commit.version, commit.mark), time or commit.time, commit.time
            schema = commit.schema or schema
        new = Taking(device, log.table, Way.APPEND, last, tuple(live.values()), time=time, last=newest)
        return replace(new, commits=last.version + 1, schema=schema)

    def _later(self, device: str, log: Log, taken: Taken) -> Taking:
        here = log.text(taken.version)
        if here is None:
            return self._without_its_last(device, log, taken)
        if taken.mark not in ("", mark_of(here)):
            return self.whole(device, log, told=("its table was created again",), anew=True)
        new: list[Commit] = []
        for commit in log.after(taken.version):
            _readable(commit)
            new.append(commit)
            if len(new) >= self._limits.commits or _bytes(new) >= self._limits.bytes:
                break
        if not new:
            raise Nothing(last=time_of(here))
        return self._of(device, log, new)

    def _without_its_last(self, device: str, log: Log, taken: Taken) -> Taking:
        listed = log.listing()
        if listed.tip is None:
            raise Nothing("its table was deleted; what was taken of it stays")
        if listed.tip == taken.version:  # quiet for so long that only the checkpoint is left
            raise Nothing
        gap = listed.oldest is None or listed.oldest > taken.version + 1
        told = f"its log was cleaned up to version {listed.oldest or listed.tip} before it was taken" if gap else ""
        if listed.tip < taken.version:
            return self.whole(device, log, told=("its table was created again",), anew=True)
        return self.whole(device, log, told=(f"{told}, so the table itself was asked",) if told else ())

    def _of(self, device: str, log: Log, new: Sequence[Commit]) -> Taking:
        """Commits without a gap as one taking."""
        last = new[-1]
        upto = Taken(last.version, last.mark)
        if any(commit.operation == "RESTORE" for commit in new):
            told = (f"its table was restored by version {max(c.version for c in new if c.operation == 'RESTORE')}",)
            return self.whole(device, log, told=told)
        schema = next((commit.schema for commit in reversed(new) if commit.schema), None)
        whole = Taking(device, log.table, Way.APPEND, upto, time=new[0].time, last=last.time, schema=schema)
        whole = replace(whole, commits=len(new))
        removed = tuple(path for commit in new for path in commit.removed)
        added = tuple(file for commit in new for file in commit.added)
        if not removed:
            return replace(whole, files=added, more=_limited(new, self._limits))
        if self._shape.grows:
            told = ("rows were deleted from its table; what was taken of it stays",)
            return self.whole(device, log, told=told)
        _, live = self._snapshots.live(log.table, last.version)
        return replace(
            whole,
            way=Way.REPLACE,
            files=tuple(live),
            before=removed,
            after=added,
            whole=self._shape.window is None,
            more=_limited(new, self._limits),
        )


def _limited(new: Sequence[Commit], limits: Limits) -> bool:
    return len(new) >= limits.commits or _bytes(new) >= limits.bytes


def _bytes(new: Iterable[Commit]) -> int:
    return sum(file.size for commit in new for file in commit.added)


def _readable(commit: Commit) -> None:
    if commit.reader_version is not None and commit.reader_version > _READER:
        raise Refused(f"its table asks for readers of version {commit.reader_version} since version {commit.version}")
