"""The errors of edge-delta, named by what the engine has to do about them.

::

    EdgeDeltaError
    ├── ConfigurationError        exit 2   fix a setting, then start again
    ├── TransientError            exit 1   back off, forget what was cached, try again
    │   ├── SourceUnavailable              the SQLite file is locked, gone for a moment, or unreadable
    │   │   ├── SourceReplaced             another source came while rows were read again
    │   │   ├── SourceDamaged              a page of it is torn
    │   │   └── FilesUnreadable            of files that rotate some cannot be read; the others are
    │   ├── StorageUnavailable             the object store or disk does not answer or refuses
    │   │   ├── NoSpace                    it is full
    │   │   ├── AccessRefused              it does not let us do that, or no longer
    │   │   └── NotRegistered              the catalog has no such table
    │   └── CommitConflict                 another commit came first, or ours was stored unheard
    │       ├── TableCrowded               other writers came first at every try
    │       └── CompactorAtWork            another process looks after the table
    ├── SourcesFailed             exit …   of several sources some were not delivered: the worst of their codes
    └── DecisionNeeded            exit 3   a person has to decide
        ├── SourceReset                    the source is not the one that the cursor belongs to
        ├── TwoSources                     two databases are delivered under one node id
        ├── FileUnsure                     which rows of one of several files are new cannot be told
        ├── SchemaMismatch                 rows cannot be made to fit the table
        ├── ProtocolUnsupported            the table uses a feature that cannot be written here
        ├── UnsafeStore                    the store lets one commit overwrite another
        ├── TableDamaged                   the table's files are not whole, and more than that went on after it
        │   └── DiskFailed                 the disk did not store what it was given
        ├── TableReplaced                  the table is not the one that rows were delivered to
        ├── NodeUnknown                    the table exists, but not which device this is
        ├── AlreadyRunning                 another process holds the state directory
        └── PurgeRefused                   rows may be needed yet, so none is deleted

Every message is one line: the fact, the place, the next step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The word that was probably meant; None if none is like it."""
    import difflib  # noqa: PLC0415 - only for a mistake

    return next(iter(difflib.get_close_matches(word, list(words), n=1)), None)


REPORT = "This is a mistake of edge-delta's: report it, with what edge-delta --version prints"


def failure(error: BaseException) -> str:
    """An error that nobody expected, by its kind and place: its own words may quote a cell."""
    return " in ".join([type(error).__name__, *frames(error)[-1:]])


def frames(error: BaseException) -> list[str]:
    """The calls that led to an error, the outermost first, as ``file:line``."""
    found, trace = [], error.__traceback__
    while trace is not None:
        found.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
        trace = trace.tb_next
    return found


class EdgeDeltaError(Exception):
    """Base of all errors that a user may see.

    Args:
        fact: what is wrong, and where.
        hint: what to do next, as an imperative sentence without its full stop.
    """

    exit_code = 1

    def __init__(self, fact: str, hint: str = "") -> None:
        self.fact = " ".join(fact.split()).rstrip(".")
        self.hint = hint
        super().__init__(f"{self.fact}. {hint}." if hint else f"{self.fact}.")


class Problem(Struct, frozen=True):
    """One thing wrong with the settings: where it was found, what was found, what would be right."""

    place: str
    key: str
    value: str
    expected: str

    def __str__(self) -> str:
        shown = f" = {self.value}" if self.value else ""
        return f"{self.place}: {self.key}{shown}: {self.expected}"


class ConfigurationError(EdgeDeltaError):
    """The settings, or what they point to, cannot work."""

    exit_code = 2

    @classmethod
    def of(cls, problems: list[Problem]) -> ConfigurationError:
        """Gather all problems into one error, so that one start shows them all."""
        noun = "problem" if len(problems) == 1 else "problems"
        return cls(f"{len(problems)} {noun} in the settings: " + "; ".join(map(str, problems)))


class TransientError(EdgeDeltaError):
    """What may pass by itself: the engine backs off, reopens and tries again."""


class SourcesFailed(EdgeDeltaError):
    """Of several sources some were not delivered; each said why, and the others went on.

    Args:
        fact: which.
        hint: what to do next.
        exit_code: the worst of theirs.
    """

    def __init__(self, fact: str, hint: str = "", *, exit_code: int = 1) -> None:
        super().__init__(fact, hint)
        self.exit_code = exit_code


class SourceUnavailable(TransientError):
    """The database is locked, gone for the moment, or cannot be read just now."""


class SourceReplaced(SourceUnavailable):
    """Another source came while rows were read again; the next cycle finds out what it is."""


class SourceDamaged(SourceUnavailable):
    """The database is not whole."""


class FilesUnreadable(SourceUnavailable):
    """Of files that rotate, some are locked or damaged; what the others have is delivered."""


class StorageUnavailable(TransientError):
    """The store does not answer, refuses, or has no room."""


class NoSpace(StorageUnavailable):
    """The disk that the table is on, or the store behind it, is full."""


class AccessRefused(StorageUnavailable):
    """The store or the catalog refuses who we are, or what we may; an administrator may change that meanwhile.

    Attributes:
        renewable: whether it was about credentials that a catalog vends, and that may be had anew.
    """

    renewable = False


class NotRegistered(StorageUnavailable):
    """The catalog has no table of that name."""


class CommitConflict(TransientError):
    """The commit was refused because of another one; the log tells whether ours was stored."""


class TableCrowded(CommitConflict):
    """Other writers of the table committed first at every attempt."""


class CompactorAtWork(CommitConflict):
    """Another process holds the lease of the table's upkeep."""


class DecisionNeeded(EdgeDeltaError):
    """Going on could lose or repeat rows, so a person has to say how."""

    exit_code = 3


class SourceReset(DecisionNeeded):
    """The rows that the cursor points to no longer exist: another file, or ids that began again.

    Args:
        fact: what speaks for it.
        hint: what to do next.
        unsure: whether the rows that were delivered have to be asked before it is believed.
        likely_same: what to believe where they cannot be asked.
    """

    def __init__(self, fact: str, hint: str = "", *, unsure: bool = False, likely_same: bool = False) -> None:
        super().__init__(fact, hint)
        self.unsure = unsure
        self.likely_same = likely_same


class TwoSources(DecisionNeeded):
    """Two databases are delivered under one node id: a source that was taken for gone is there again."""


class FileUnsure(DecisionNeeded):
    """Of files that rotate, one has rows that were delivered and others, and which are new cannot be told."""


class SchemaMismatch(DecisionNeeded):
    """The table's columns cannot hold what the source has."""


class ProtocolUnsupported(DecisionNeeded):
    """The table needs a feature that edge-delta cannot write."""


class UnsafeStore(DecisionNeeded):
    """The store does not keep one writer from overwriting another's commit."""


class TableDamaged(DecisionNeeded):
    """The table's log or files are not whole, and going on by itself could lose what others wrote."""


class DiskFailed(TableDamaged):
    """The disk reported that it did not store what it had taken."""


class TableReplaced(DecisionNeeded):
    """The table is another one, or has rows of this device and nothing that says up to which."""


class NodeUnknown(DecisionNeeded):
    """No node id is set or kept, and the target table already exists."""


class AlreadyRunning(DecisionNeeded):
    """Another process works with the same state directory."""


class PurgeRefused(DecisionNeeded):
    """Rows of the source may still be needed, so that none of them is deleted."""
