"""Proof that what was read equals what was delivered: the source put through its modes again, beside the tables.

Nothing is held but one range of rows at a time. The table's version and its cursor are taken first, so a process that
goes on delivering does not disturb, and no lock is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.recovery.verify.base import Compared
from edge_delta.recovery.verify.report import Checked, Verification
from edge_delta.recovery.verify.rows import RowsCheck
from edge_delta.recovery.verify.windows import WindowsCheck

if TYPE_CHECKING:
    from edge_delta.delivery.route import Route


def check(route: Route, ignore: frozenset[str] = frozenset()) -> Verification:
    """Compare what was delivered along a route with its source; see `Compared`."""
    compared = Compared(route, route.mode(), ignore)
    return (WindowsCheck if route.traits.windowed else RowsCheck)(compared).run()


__all__ = ["Checked", "Verification", "check"]
