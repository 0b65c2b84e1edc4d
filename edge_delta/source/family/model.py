"""What is known of a family's table, as the file has it that was read last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from edge_delta.source.reader import SQLiteSource

if TYPE_CHECKING:
    from datetime import datetime

    from edge_delta.core.model import Cell, Column, Layout


class OfLastFile(SQLiteSource):
    """Answers for a family with what its last file says."""

    _model: SQLiteSource

    @property
    def table(self) -> str:
        """The table's name."""
        return self._model.table

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns, as the file has them that was read last."""
        return self._model.columns

    @property
    def timestamp(self) -> Column | None:
        """The column with the reading's time."""
        return self._model.timestamp

    @property
    def layout(self) -> Layout:
        """What is known of the columns; the files' own ids are a column like others."""
        return replace(self._model.layout, id_column=None)

    @property
    def keyed_by_rowid(self) -> bool:
        """It is."""
        return True

    @property
    def timestamp_reason(self) -> str:
        """Why that is it."""
        return self._model.timestamp_reason

    @property
    def tells_times(self) -> bool:
        """Whether times may be told."""
        return self._model.tells_times

    def sample(self, count: int) -> dict[str, list[Cell]]:
        """Some cells of each column, of the last file."""
        return self._model.sample(count)

    def span(self) -> tuple[datetime | None, datetime | None]:
        """The times of the last file's first and last row."""
        return self._model.span()
