"""What the settings say about reading one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct, field

from edge_delta.core.memory import PLAIN as PLAIN_BUDGET
from edge_delta.core.time_formats import TimeForm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_delta.core.model import Layout

T = TypeVar("T")

ROWID = "_rowid"
"""The name of the key in the frames; `edge_delta.core.plan` has it too, but imports Polars."""
_ROOM = 65_536


class Options(Struct, frozen=True):
    """How a table is read, besides which one.

    Attributes:
        form: how times are written.
        forms: how those of single columns are, by the column's name.
        kinds: what single columns hold (`edge_delta.source.kinds.READ_AS`), by the column's name.
        max_row_bytes: the most bytes of a row that is delivered; a larger one is rejected unread.
        batch_bytes: the bytes of a batch, as far as one row does not exceed them.
        unread: gives the names of columns that leave the device in no table, of all columns; None if there are none.
    """

    form: TimeForm = field(default_factory=TimeForm)
    forms: Mapping[str, TimeForm] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    max_row_bytes: int = PLAIN_BUDGET.row_bytes
    unread: Callable[[Layout], frozenset[str]] | None = None
    batch_bytes: int = PLAIN_BUDGET.batch_bytes

    @property
    def longest_cell(self) -> int:
        """What SQLite may load: rejected rows travel as hexadecimal digits, two for a byte."""
        return 2 * self.max_row_bytes + _ROOM

    def form_of(self, column: str) -> TimeForm:
        """How a column's times are written; names count in any case."""
        return _of(self.forms, column) or self.form

    def kind_of(self, column: str) -> str | None:
        """What a column holds by the settings, None if they do not say."""
        return _of(self.kinds, column)


PLAIN = Options()
"""Nothing was said about how to read."""


def _of(named: Mapping[str, T], column: str) -> T | None:
    return next((value for name, value in named.items() if name.lower() == column.lower()), None)
