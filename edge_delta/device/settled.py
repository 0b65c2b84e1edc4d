"""Up to where the sensor's rows may be purged: delivered in every mode, and in no open window."""

from __future__ import annotations

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


def settled(mirror: Mapping[str, Any]) -> dict[str, int | None]:
    """`settled_id` by source table."""
    table = mirror.get("source_table")
    return {} if table is None else {str(table): settled_id(mirror)}
