"""What SQLite refuses, as errors of this project: fact, place, next step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.core.errors import ConfigurationError, EdgeDeltaError, SourceDamaged, SourceUnavailable
from edge_delta.source.files import cannot_be_read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class UnknownOrder(ConfigurationError):
    """A statement needs a collation that the application has registered in its own process."""


class TooLong(SourceUnavailable):
    """A statement would load a longer text or blob than `Database.limit` allows."""


class Locked(SourceUnavailable):
    """Another process writes just now."""


def refused(path: Path, beside: Callable[[str], Path], message: str, busy_timeout_ms: int) -> EdgeDeltaError:
    """Why SQLite did not do what it was asked for.

    Args:
        path: the database.
        beside: the file beside it with a suffix.
        message: SQLite's own words.
        busy_timeout_ms: how long it waited for a lock.
    """
    if "not a database" in message:
        return ConfigurationError(f"{path} is not a SQLite database", "Check --sqlite")
    if "no such collation" in message or "no query solution" in message:
        name = (
            message.removeprefix("no such collation sequence: ") if "collation" in message else "a collation of its own"
        )
        return UnknownOrder(
            f"{path}: a key is in an order that only the application knows ({name})",
            "Give the table a key in one of SQLite's own orders (BINARY, NOCASE, RTRIM), or a rowid",
        )
    if "too big" in message:
        return TooLong(f"{path} has a text or blob that is longer than allowed")
    if "locked" in message or "busy" in message:
        return Locked(f"{path} is locked by another process for more than {busy_timeout_ms / 1000:g} s")
    if "malformed" in message:
        return SourceDamaged(
            f"{path} is damaged: {message}",
            "Run PRAGMA integrity_check on it; a copy made with sqlite3 .recover can be put in its place",
        )
    return cannot_be_read(path, beside, message)
