"""What becomes of rows that the application updates after they were delivered."""

from __future__ import annotations

from msgspec import Struct

VERSION = "row_version"
"""The column that counts the states of a row which were delivered, from 1; NULL counts as 1. Only tables that get more
than one state have it."""


class Updates(Struct, frozen=True):
    """How rows are found whose new state is to be delivered.

    Attributes:
        window: rows of so many ids behind the cursor are compared with what was delivered.
        column: the column with the time of a row's last change, if there is one; the rows that it names are compared
            too, whatever their ids are.
        places_move: whether coordinates are displaced: then a place that is another one tells of no update, because it
            may be another draw.
    """

    window: int
    column: str | None = None
    places_move: bool = False
