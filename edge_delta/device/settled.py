"""Up to where the sensor's rows may be purged: delivered in every mode, and in no open window."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_delta.core.model import BEFORE_FIRST

if TYPE_CHECKING:
    from collections.abc import Mapping


def settled_id(mirror: Mapping[str, Any]) -> int | None:
    """The last id that nothing depends on any more; None where it is not known, and nothing may be purged.

    Args:
        mirror: what `last_upload.json` says.
    """
    delivered = [mirror.get("tables", {}).get(mode, {}) for mode in mirror.get("modes", ())]
    ids = [table.get("settled_id") for table in delivered]
    known = [number for number in ids if isinstance(number, int) and number != BEFORE_FIRST]
    if not known or len(known) < len(ids) or len({table.get("generation") for table in delivered}) > 1:
        return None
    return min(known)


def settled_now(mirror: Mapping[str, Any]) -> dict[str, int | None]:
    """`settled_id` by source table, None also where the source is another one by now, which no cycle has noticed yet.

    Raises:
        EdgeDeltaError: if the database cannot be read.
    """
    known = mirror.get("known_rows")
    if known:
        from edge_delta.source.glance import has_still  # noqa: PLC0415 - only where there is something to look at

        place = (Path(mirror["source"]), mirror.get("source_table"), mirror.get("timestamp_col"))
        if not has_still(*place, [(rowid, time) for rowid, time in known]):
            return dict.fromkeys(settled(mirror))
    return settled(mirror)


def settled(mirror: Mapping[str, Any]) -> dict[str, int | None]:
    """`settled_id` by source table."""
    table = mirror.get("source_table")
    return {} if table is None else {str(table): settled_id(mirror)}
