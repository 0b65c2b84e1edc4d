"""Coordinates in frames and in rejected rows: found, displaced, and withheld where that cannot be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct
from msgspec.structs import replace

from edge_delta.core.plan import Plan, Rule
from edge_delta.modes.names import BY_READING, UNTOLD, Said
from edge_delta.modes.privacy.displacement import Displacement
from edge_delta.modes.privacy.places import must_be_there
from edge_delta.modes.privacy.policy import MARK, draw_of, policy_of

if TYPE_CHECKING:
    from edge_delta.core.model import Cell, Column, Layout, Rejection
    from edge_delta.settings.sections import Settings


class Gps(Struct, frozen=True):
    """What is done with the places of one table.

    Args:
        displacement: how coordinates are displaced; None where they are displaced already.
        said: what the owner said of the columns that might tell a place in another form.
    """

    displacement: Displacement | None
    said: Said

    def fuzzed(self, plan: Plan, *, latitude: str | None, longitude: str | None) -> Plan:
        """The plan with displaced coordinates.

        A row whose coordinates cannot be displaced (one without the other, or off the globe) breaks a rule.

        Args:
            plan: columns of the frame by the names that follow.
            latitude: degrees north; None if there are no coordinates.
            longitude: degrees east.
        """
        if latitude is None or longitude is None or self.displacement is None:
            return plan
        north, east = pl.col(latitude), pl.col(longitude)
        on_globe = north.is_between(-90, 90) & east.is_between(-180, 180)
        incomplete = north.is_null() != east.is_null()
        reason = "coordinates that are not on the globe, or one without the other, cannot be displaced"
        checked = plan.with_rules(Rule("coordinates", latitude, reason, incomplete | ~on_globe))
        return checked.with_frame(self.displacement.displaced(checked.frame, latitude=latitude, longitude=longitude))

    def hidden(self, layout: Layout) -> frozenset[str]:
        """The source columns, by name, that are kept back."""
        return self.said.hidden(layout)

    def redacted(
        self, rejections: list[Rejection], layout: Layout, pair: tuple[Column, Column] | None
    ) -> list[Rejection]:
        """Rejected rows with displaced coordinates where they have any, and nothing else that tells a place.

        A reason that is about a column which is kept back does not quote its cell.
        """
        hidden = self.hidden(layout)
        places = {c.alias for c in layout.columns if c.name in hidden} | {c.alias for c in pair or ()}
        clean = [
            replace(
                r,
                cells={n: None if n in places else v for n, v in r.cells.items()},
                reason=UNTOLD if r.column in places and r.rule in BY_READING else r.reason,
            )
            for r in rejections
        ]
        if pair is None or self.displacement is None:
            return clean
        displaced = self._displaced_cells(rejections, pair, self.displacement)
        mark = draw_of(self.displacement.policy)
        return [replace(r, cells={**r.cells, **found, MARK: mark}) for r, found in zip(clean, displaced, strict=True)]

    def _displaced_cells(
        self, rejections: list[Rejection], pair: tuple[Column, Column], displacement: Displacement
    ) -> list[dict[str, Cell]]:
        latitude, longitude = (c.alias for c in pair)
        rows = pl.DataFrame(
            {
                "y": [_number(r.cells.get(latitude)) for r in rejections],
                "x": [_number(r.cells.get(longitude)) for r in rejections],
            },
            schema={"y": pl.Float64, "x": pl.Float64},
        )
        found = displacement.displaced(rows.lazy(), latitude="y", longitude="x").collect()
        return [{latitude: y, longitude: x} for y, x in found.iter_rows()]


def _number(cell: Cell) -> float | None:
    """A coordinate as the modes read it: a number, or a text that is one."""
    try:
        return float(cell) if isinstance(cell, int | float | str) else None
    except ValueError:
        return None


def of(settings: Settings, mode: str) -> Gps | None:
    """What is done with the places of a mode's table, None if they stay as they are."""
    return of_rejected(settings) if mode in settings.gps_fuzzing.modes else None


def of_rejected(settings: Settings) -> Gps | None:
    """What is done with the places of rejected rows; in all modes, as they share a table."""
    if not settings.gps_fuzzing.enabled:
        return None
    must_be_there()
    return Gps(Displacement(policy_of(settings)), Said.of(settings))
