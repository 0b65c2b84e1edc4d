"""What each mode is, for those that deal with modes without knowing any: told without importing Polars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping


class Traits(Struct, frozen=True):
    """What a mode is, whatever its settings are.

    Attributes:
        suffix: its table stands beside the others under ``table_path`` plus this.
        key: the column with the source row's id; empty where a row of the table comes from many source rows.
        key_parts: what tells apart the rows that come from one source row, besides ``key``.
        time: the column with the reading's time; None where that has the name which the source gives it.
        replayable: a row of the table stands for one source row alone, so rows can be delivered in any order.
        selective: it passes over most rows, so that its position says nothing of what other tables hold.
        windowed: it writes event-time windows.
        urgent: a new row counts at once and does not wait for the next cycle.
        append_only: a row is never changed once it is in the table.
        fits_always: no setting of its own can be at odds with a source.
    """

    suffix: str
    key: str = "reading_id"
    key_parts: tuple[str, ...] = ()
    time: str | None = "timestamp"
    replayable: bool = False
    selective: bool = False
    windowed: bool = False
    urgent: bool = False
    append_only: bool = True
    fits_always: bool = False


TRAITS: Mapping[str, Traits] = {
    "raw": Traits("_0_raw", key="source_rowid", time=None, replayable=True, fits_always=True),
    "schematized": Traits("_1_schematized", replayable=True, fits_always=True),
    "sanitized": Traits("_2_sanitized", replayable=True),
    "aggregated": Traits("_3_aggregated", key="", windowed=True, append_only=False),
    "emergency": Traits("_4_emergency", key_parts=("alert_type",), selective=True, urgent=True),
}
"""All modes, by name."""
