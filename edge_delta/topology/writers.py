"""What writes the batches of a lane, by the traits of its mode; imported when there are batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.delivery.late_windows import SweptWindows
from edge_delta.delivery.open_windows import Emission
from edge_delta.delivery.rows import Rows

if TYPE_CHECKING:
    from edge_delta.delivery.route import Route
    from edge_delta.delivery.writing import Writing
    from edge_delta.settings.sections import Settings


def of(settings: Settings, route: Route) -> Writing:
    """The strategy of a route: windows or rows."""
    if not route.traits.windowed:
        return Rows(route)
    early = settings.aggregate.emit == "early"
    emission = Emission(early, settings.max_batch_size, settings.state_dir, settings.budget.held_values)
    return SweptWindows(route, emission)
