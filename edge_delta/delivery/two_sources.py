"""Two databases under one node id: a source that another one took the place of is there again.

Told by the witnesses of earlier generations (`edge_delta.source.witness`), which their tables keep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.core.errors import TwoSources
from edge_delta.core.model import BEFORE_FIRST, Mark

if TYPE_CHECKING:
    from edge_delta.core.model import Cursor
    from edge_delta.delivery.route import Route

LOOKED_BACK = 8
"""Earlier generations whose witnesses are looked for again."""


def refuse_an_earlier_one(route: Route, cursor: Cursor, behind: int | None = None) -> None:
    """See that the source is none that another one took the place of: it would have that one's last row.

    Args:
        route: the way to the table.
        cursor: where its lane stands.
        behind: if another row of it, behind this one, says as much.

    Raises:
        TwoSources: if it is.
    """
    first = max(0, cursor.generation - LOOKED_BACK, cursor.marks.get(Mark.AGAIN, -1) + 1)  # a reset asked for those
    for generation in range(cursor.generation - 1, first - 1, -1):
        before = route.sink.witnessed(generation)
        if before is None or (behind is not None and before.rowid <= behind):
            continue
        found = route.source.known(before)
        if found == (before.rowid, before.rowid) or (found is not None and behind is not None and found[0] > behind):
            raise TwoSources(
                f"table {route.source.table!r} is the source of generation {generation} again, which another "
                f"one took the place of: two databases are delivered as node {route.device.node_id}",
                "Give each database a NODE_ID of its own; if an old backup is meant, say so with "
                "edge-delta reset --to-beginning",
            )


def refuse_what_came_back(route: Route, cursor: Cursor) -> None:
    """See that rows behind a cursor, whose own row and witnesses tell nothing, are not those of an earlier generation.

    As where all rows of a new database were purged, and the old one is put back: its rows look like new ones.

    Raises:
        TwoSources: if they are.
    """
    source = route.source
    read_nothing = cursor.rowid == cursor.marks.get(Mark.BEGINS, BEFORE_FIRST)
    if not cursor.generation or read_nothing or not source.keyed_by_rowid or source.timestamp is None:
        return  # where rows have no times, others may look like them
    if source.census.ends(cursor.rowid - 1, cursor.rowid)[0] is None:
        refuse_an_earlier_one(route, cursor, behind=cursor.rowid)
