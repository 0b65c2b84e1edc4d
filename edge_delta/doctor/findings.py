"""What `edge-delta check` says: a fact, how it is meant, and what to do."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import asdict

if TYPE_CHECKING:
    from edge_delta.core.errors import EdgeDeltaError


class Level(StrEnum):
    """How a finding is meant."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Finding(Struct, frozen=True):
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
