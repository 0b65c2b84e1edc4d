"""Coordinates in frames and in rejected rows: found, displaced, and withheld where that cannot be done."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import polars as pl

from edge_delta.core.plan import Plan, Rule
from edge_delta.modes.names import Said
from edge_delta.modes.privacy.displacement import Fuzzing

if TYPE_CHECKING:
    from edge_delta.core.model import Cell, Column, Layout, Rejection
    from edge_delta.settings.sections import Settings


@dataclass(frozen=True, slots=True)
class Gps:
    """Fuzzing of one mode's table.

    Args:
        fuzzing: how coordinates are displaced.
        said: what the owner said of the columns that might tell a place in another form.
    """

    fuzzing: Fuzzing
    said: Said = field(default_factory=Said)

    def fuzzed(self, plan: Plan, *, sensor: str | None, latitude: str | None, longitude: str | None) -> Plan:
        """The plan with displaced coordinates.

        A row whose coordinates cannot be displaced (one without the other, or off the globe) breaks a rule.

        Args:
            plan: columns of the frame by the names that follow.
            sensor: the sensor's name.
            latitude: degrees north; None if there are no coordinates.
            longitude: degrees east.
        """
        if latitude is None or longitude is None:
            return plan
        north, east = pl.col(latitude), pl.col(longitude)
        on_globe = north.is_between(-90, 90) & east.is_between(-180, 180)
        incomplete = north.is_null() != east.is_null()
        reason = "coordinates that are not on the globe, or one without the other, cannot be displaced"
        checked = plan.with_rules(Rule("coordinates", latitude, reason, incomplete | ~on_globe))
        return checked.with_frame(
            self.fuzzing.displaced(checked.frame, sensor=sensor, latitude=latitude, longitude=longitude)
        )

    def tells_a_place(self, name: str) -> bool:
        """Whether a column may hold a place, going by its name."""
        return self.said.hides(name)

    def redacted(
        self, rejections: list[Rejection], layout: Layout, pair: tuple[Column, Column] | None, sensor: Column | None
    ) -> list[Rejection]:
        """Rejected rows with displaced coordinates where they have any, and nothing else that tells a place."""
        places = [c.alias for c in layout.columns if self.tells_a_place(c.name)] + [c.alias for c in pair or ()]
        clean = [replace(r, cells={n: None if n in places else v for n, v in r.cells.items()}) for r in rejections]
        if pair is None:
            return clean
        displaced = self._displaced_cells(rejections, pair, sensor)
        return [replace(r, cells={**r.cells, **found}) for r, found in zip(clean, displaced, strict=True)]

    def _displaced_cells(
        self, rejections: list[Rejection], pair: tuple[Column, Column], sensor: Column | None
    ) -> list[dict[str, Cell]]:
        latitude, longitude = (c.alias for c in pair)
        name = sensor.alias if sensor is not None else None
        rows = pl.DataFrame(
            {
                "sensor": [str(r.cells[name]) if name and r.cells.get(name) is not None else None for r in rejections],
                "latitude": [_number(r.cells.get(latitude)) for r in rejections],
                "longitude": [_number(r.cells.get(longitude)) for r in rejections],
            },
            schema={"sensor": pl.String, "latitude": pl.Float64, "longitude": pl.Float64},
        )
        found = self.fuzzing.displaced(rows.lazy(), sensor="sensor", latitude="latitude", longitude="longitude")
        return [{latitude: y, longitude: x} for _, y, x in found.collect().iter_rows()]


def _number(cell: Cell) -> float | None:
    return float(cell) if isinstance(cell, int | float) else None


def of(settings: Settings, mode: str) -> Gps | None:
    """The fuzzing of a mode's table, None if its table is not fuzzed."""
    own = settings.gps_fuzzing
    if not own.enabled or mode not in own.modes:
        return None
    secret = settings.gps_fuzzing_secret
    return Gps(
        Fuzzing(
            strategy=own.strategy,
            radius_meters=own.radius_meters,
            epsilon=own.epsilon,
            cell_meters=own.cell_meters,
            secret=secret.reveal().encode() if secret is not None else b"",
        ),
        Said.of(settings),
    )
