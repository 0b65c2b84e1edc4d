"""What was made of a batch ahead of its turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.sinks.delta.types import differing

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from edge_delta.core.model import Cursor
    from edge_delta.core.ports import Mode
    from edge_delta.delivery.fitting import Processed


class Prepared(Struct, frozen=True):
    """What was made of a batch ahead of its turn, and for whom.

    Attributes:
        mode: the mode that made it.
        cursor: where the batch ends.
        processed: what it made.
    """

    mode: Mode
    cursor: Cursor
    processed: Processed

    def suits(self, mode: Mode, cursor: Cursor, columns: Mapping[str, pl.DataType | None]) -> bool:
        """Whether the same would be made of the batch now.

        Args:
            mode: the mode whose turn it is.
            cursor: where the batch ends.
            columns: the columns of the mode's table now.
        """
        own = self.cursor
        same = self.mode is mode and (own.generation, own.marks) == (cursor.generation, cursor.marks)
        return same and not differing(self.processed.kept.schema, columns)
