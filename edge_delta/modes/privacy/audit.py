"""What becomes of each source column where places are displaced: what might tell one stays, unless the owner says so.

Told by names and by a sample of the cells, without Polars. With fuzzing on, a start fails over a column that looks like
a place and is neither displaced, nor withheld, nor called harmless by the owner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.core.place_values import numbers_like_coordinates, told_by_values
from edge_delta.core.places import tells_by_name
from edge_delta.modes.names import Said, by_source, left_out, pair_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_delta.core.model import Cell, Layout
    from edge_delta.settings.sections import Settings


class Fate(Struct, frozen=True):
    """What becomes of a source column in the tables whose places are displaced.

    Attributes:
        column: its name in the source.
        becomes: displaced, withheld, harmless (by the owner's word), delivered, or undecided.
        why: what it looks like, for those that look like a place.
    """

    column: str
    becomes: str
    why: str = ""


def fates(settings: Settings, layout: Layout, sample: Mapping[str, Sequence[Cell]]) -> list[Fate]:
    """What becomes of each column.

    Args:
        settings: the settings.
        layout: the source's columns.
        sample: some cells of each column, by the source's names.
    """
    said, renamed = Said.of(settings), by_source(layout, settings.schematize.rename)
    pair = {c.name for c in pair_of(layout, settings.schematize.rename) or ()}
    out = left_out(settings, layout)
    needed = {c.name for c in (layout.timestamp, layout.id_column) if c is not None}
    open_ = [c.name for c in layout.columns if c.name not in pair | needed | out | said.hidden(layout)]
    # A half of a pair may be withheld. Which, its cells must not tell: what is published depends on none of them.
    pairs = {*numbers_like_coordinates({name: sample.get(name, ()) for name in open_}, halves=bool(said.withhold))}
    found = []
    for column in layout.columns:
        name, lower = column.name, column.name.lower()
        if lower in said.withhold:
            found.append(Fate(name, "withheld", "named in withhold"))
        elif name in pair:
            found.append(Fate(name, "displaced", "a coordinate by its name"))
        elif lower in said.harmless:
            found.append(Fate(name, "harmless", "named in harmless"))
        elif name in out:
            found.append(Fate(name, "withheld", "not in sanitize.columns"))
        elif name in needed:
            found.append(Fate(name, "delivered"))
        else:
            why = _looks(name, renamed.get(lower, ""), sample.get(name, ()), in_a_pair=name in pairs)
            found.append(Fate(name, "undecided", why) if why else Fate(name, "delivered"))
    return found


def _looks(name: str, target: str, cells: Sequence[Cell], *, in_a_pair: bool) -> str:
    if tells_by_name(name) or tells_by_name(target):
        return "its name tells a place"
    form = told_by_values(cells)
    if form is not None:
        return f"its cells look like {form}"
    return "its numbers look like coordinates" if in_a_pair else ""


def problems(settings: Settings, layout: Layout, sample: Mapping[str, Sequence[Cell]]) -> list[str]:
    """Why places could leave as they are, or what the settings name in vain; one text a kind."""
    own = settings.gps_fuzzing
    there = {c.name.lower() for c in layout.columns}
    wrong = [
        f"gps_fuzzing.withhold names {name!r}, which is no column of the source"
        for name in own.withhold
        if name.lower() not in there
    ]
    wrong += _cannot_be_withheld(own.withhold, layout)
    wrong += _silenced(settings, layout)
    found = fates(settings, layout, sample)
    open_ = [fate for fate in found if fate.becomes == "undecided"]
    if open_:
        listed = ", ".join(f"{fate.column} ({fate.why})" for fate in open_)
        wrong.append(
            f"gps_fuzzing is on, and these columns may tell a place: {listed}; name each in gps_fuzzing.withhold or "
            "gps_fuzzing.harmless, or rename coordinates to latitude and longitude in schematize.rename"
        )
    placed = own.base_lat is not None or any(f.becomes == "displaced" for f in found) or bool(own.withhold)
    if not placed and not open_:
        wrong.append(
            "gps_fuzzing is on, and the source has no coordinates that it could displace; name them in "
            "schematize.rename as latitude and longitude, set base_lat and base_lon, or name what is to be withheld"
        )
    return wrong


def _cannot_be_withheld(withhold: Sequence[str], layout: Layout) -> list[str]:
    """Columns without which no row is told from another: their values are in ids, cursors, the log and metrics."""
    needed = ((layout.timestamp, "the readings' time"), (layout.id_column, "the rows' id"))
    lower = {name.lower() for name in withhold}
    return [
        f"gps_fuzzing.withhold names {column.name!r}, {what}, which leaves the device with every row, also in the log"
        for column, what in needed
        if column is not None and column.name.lower() in lower
    ]


def _silenced(settings: Settings, layout: Layout) -> list[str]:
    """Limits of alerts that would never come, as no alert may depend on the column."""
    own = settings.gps_fuzzing
    if "emergency" not in settings.processing_mode or "emergency" not in own.modes:
        return []
    kept_back = {c.name.lower() for c in layout.columns if c.name in Said.of(settings).hidden(layout)}
    kept_back -= {c.name.lower() for c in pair_of(layout, settings.schematize.rename) or ()}
    return [
        f"emergency.severity_thresholds names {name!r}, which gps_fuzzing keeps back, so that no alert could come"
        for name in settings.emergency.severity_thresholds
        if name.lower() in kept_back
    ]
