"""Which source column becomes which column of a table, told by names alone and so without Polars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from edge_delta.core.places import LATITUDE_NAMES, LONGITUDE_NAMES, tells_by_name

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from edge_delta.core.model import Column, Layout
    from edge_delta.settings.sections import Settings

STANDARD_NAMES = (
    "reading_id",
    "sensor_id",
    "timestamp",
    "temperature",
    "humidity",
    "pressure",
    "vibration",
    "voltage",
    "status_code",
    "anomaly_flag",
    "anomaly_type",
    "firmware_version",
    "model",
    "manufacturer",
    "location",
    "latitude",
    "longitude",
    "original_timezone",
    "synced",
)
"""The columns of the standard schema in their order; their types are in `edge_delta.modes.schematized`."""
ALWAYS = ("reading_id", "sensor_id", "timestamp", "databricks_inserted_at", "node_id", "source_generation")
"""What an allow-list need not name."""
BY_READING = ("type", "too_large")
"""The rules of rejections whose reasons are about a single cell."""
UNTOLD = "a cell that the column cannot hold"
"""The reason in place of theirs where the cell may not be told."""


def column_of(layout: Layout, name: str) -> Column | None:
    """A column by the name that the source has for it, or by the one in the tables, where a space is none."""
    own = layout.named(name)
    return own or next((c for c in layout.columns if c.alias.lower() == name.lower()), None)


def by_source(layout: Layout, rename: Mapping[str, str]) -> dict[str, str]:
    """The new name by the source's own in lower case, whichever way the settings spell that.

    Args:
        layout: the source's columns.
        rename: standard name by source name, in any case.
    """
    columns = {source: column_of(layout, source) for source in rename}
    return {(c.name if (c := columns[name]) is not None else name).lower(): new for name, new in rename.items()}


def idle_renames(layout: Layout, rename: Mapping[str, str]) -> list[str]:
    """Renames of columns that are not there: a slip, or the application has dropped them, which stops nothing."""
    there = ", ".join(c.name for c in layout.columns)
    return [
        f"schematize.rename names {name!r}, which is no column of the source; its columns are: {there}"
        for name in rename
        if column_of(layout, name) is None
    ]


def same_renames(layout: Layout, rename: Mapping[str, str]) -> list[str]:
    """Where one name is given to two columns that are there."""
    new = by_source(layout, {name: target for name, target in rename.items() if column_of(layout, name) is not None})
    given: dict[str, list[str]] = {}
    for name, target in new.items():
        given.setdefault(target.lower(), []).append(repr(name))
    both = {target: " and ".join(names) for target, names in given.items() if len(names) > 1}
    return [f"schematize.rename gives one name, {target!r}, to {names}" for target, names in both.items()]


def not_there(layout: Layout, name: str, known: Collection[str]) -> str:
    """What is told of a name that no column of a table has: what the table calls it, or what there is.

    Args:
        layout: the source's columns.
        name: the name.
        known: the table's columns that come from the source.
    """
    column = column_of(layout, name)
    if column is not None and column.alias in known:
        return f"in the tables it is called {column.alias!r}"
    return f"there are: {', '.join(known)}"


def pair_of(layout: Layout, rename: Mapping[str, str] | None = None) -> tuple[Column, Column] | None:
    """The source's columns with latitude and longitude.

    Args:
        layout: the source's columns.
        rename: standard name by source name, in any case; it goes before the names that are known.
    """
    renamed = {source: target.lower() for source, target in by_source(layout, rename or {}).items()}
    by_name: dict[str, Column] = {}
    for column in sorted(layout.columns, key=lambda c: c.name.lower() not in renamed):
        by_name.setdefault(renamed.get(column.name.lower(), column.name.lower()), column)
    north = next((by_name[n] for n in LATITUDE_NAMES if n in by_name), None)
    east = next((by_name[n] for n in LONGITUDE_NAMES if n in by_name), None)
    return (north, east) if north is not None and east is not None else None


def matched(layout: Layout, rename: Mapping[str, str]) -> dict[str, Column]:
    """The source column for each standard column that has one.

    Args:
        layout: the source's columns.
        rename: standard name by source name, in any case.
    """
    renamed = by_source(layout, rename)
    found: dict[str, Column] = {}
    if layout.timestamp is not None:
        found["timestamp"] = layout.timestamp
    for column in layout.columns:
        target = renamed.get(column.name.lower(), column.name.lower())
        if target in STANDARD_NAMES and target != "reading_id":
            found.setdefault(target, column)
    pair = pair_of(layout, rename)
    if pair is not None:
        found.setdefault("latitude", pair[0])
        found.setdefault("longitude", pair[1])
    return found


def hidden(settings: Settings, mode: str, layout: Layout) -> frozenset[str]:
    """The source columns, by name, that do not come into a mode's table because they tell a place, or were withheld.

    The columns of coordinates that are displaced are among them: their cells leave the device in no form.
    """
    own = settings.gps_fuzzing
    if not own.enabled or mode not in own.modes:
        return frozenset()
    pair = {c.name for c in pair_of(layout, settings.schematize.rename) or ()}
    return Said.of(settings).hidden(layout) | pair


class Said(Struct, frozen=True):
    """What the owner said of the columns that might tell a place; all names in lower case.

    Attributes:
        withhold: those that do not leave the device.
        harmless: those that tell none, whatever they are called.
        rename: the name that they get in the tables.
    """

    withhold: frozenset[str] = frozenset()
    harmless: frozenset[str] = frozenset()
    rename: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Said:
        """As the settings say."""
        own = settings.gps_fuzzing
        return cls(
            frozenset(name.lower() for name in own.withhold),
            frozenset(name.lower() for name in own.harmless),
            {source.lower(): target for source, target in settings.schematize.rename.items()},
        )

    def hidden(self, layout: Layout) -> frozenset[str]:
        """The source columns, by name, that are kept back; the time and the id only where they are withheld by name.

        Coordinates that are displaced are among them by their names, and are shown displaced nevertheless.
        """
        needed = {c.name for c in (layout.timestamp, layout.id_column) if c is not None}
        renamed = by_source(layout, self.rename)
        return frozenset(
            c.name
            for c in layout.columns
            if (c.name.lower() in self.withhold if c.name in needed else self._hides(c.name, renamed))
        )

    def _hides(self, name: str, renamed: Mapping[str, str]) -> bool:
        """Whether a source column is kept back: it was withheld, or it tells a place by either of its names."""
        lower = name.lower()
        if lower in self.withhold:
            return True
        return lower not in self.harmless and (tells_by_name(name) or tells_by_name(renamed.get(lower, "")))


def leaving(settings: Settings, mode: str, layout: Layout) -> frozenset[str]:
    """The source columns, by name, whose cells stand in a mode's table as they are.

    What is recorded of rows anywhere else may only depend on these: after renames, by the allow-list of ``sanitized``,
    by what the aggregates and alerts are made of, and without what tells a place or is withheld.

    Args:
        settings: the settings.
        mode: the mode.
        layout: the source's columns.
    """
    shown = {c.name for c in layout.columns} - hidden(settings, mode, layout)
    wanted = _wanted(settings, mode)
    if wanted is None:
        return frozenset(shown)
    renamed = by_source(layout, settings.schematize.rename)
    standard = {column.name: name for name, column in matched(layout, settings.schematize.rename).items()}
    found = {c.name for c in layout.columns if standard.get(c.name, renamed.get(c.name.lower(), c.alias)) in wanted}
    stamps = {c.name for c in (layout.timestamp, layout.id_column) if c is not None}
    return frozenset(shown & (found | stamps))


def unread(settings: Settings, layout: Layout) -> frozenset[str]:
    """The source columns, by name, whose cells have no part in any mode's table, and so are not even read.

    Args:
        settings: the settings.
        layout: the source's columns; the time and the key need not be told, and may be among the columns found.
    """
    pair = {c.name for c in pair_of(layout, settings.schematize.rename) or ()}
    return frozenset.intersection(
        *(hidden(settings, m, layout) - pair | _left_out(settings, m, layout) for m in settings.processing_mode)
    )


def left_out(settings: Settings, layout: Layout) -> frozenset[str]:
    """The source columns, by name, that the allow-list leaves out where there is no other table."""
    return frozenset.intersection(*(_left_out(settings, mode, layout) for mode in settings.processing_mode))


def _left_out(settings: Settings, mode: str, layout: Layout) -> frozenset[str]:
    own = settings.sanitize
    if mode != "sanitized" or own.columns is None:
        return frozenset()
    stay = allowed(layout, settings.schematize.rename, (*own.columns, *own.ranges, *own.missing))
    return frozenset(c.name for c in layout.columns) - {c.name for c in stay.columns}


def allowed(layout: Layout, rename: Mapping[str, str], wanted: Collection[str]) -> Layout:
    """The layout without the columns that an allow-list leaves out; of two coordinates both stay, or none.

    Args:
        layout: the source's columns.
        rename: standard name by source name, in any case.
        wanted: columns of the table.
    """
    names = {*ALWAYS, *wanted}
    renamed = by_source(layout, rename)
    standard = {column.name: name for name, column in matched(layout, rename).items()}
    pair = [c for c in pair_of(layout, rename) or () if standard.get(c.name) in names]

    def stays(column: Column) -> bool:
        name = standard.get(column.name, renamed.get(column.name.lower(), column.alias))
        return name in names or f"source_{name}" in names or column in (layout.timestamp, layout.id_column)

    both = (pair_of(layout, rename) or ()) if pair else ()
    return replace(layout, columns=tuple(c for c in layout.columns if stays(c) or c in both))


def _wanted(settings: Settings, mode: str) -> frozenset[str] | None:
    """The table's columns that source columns may stand in, None for all."""
    if mode == "sanitized" and settings.sanitize.columns is not None:
        return frozenset((*ALWAYS, *settings.sanitize.columns))
    if mode == "aggregated":
        return frozenset((*settings.aggregate.group_by, *settings.aggregate.aggregations, "timestamp"))
    if mode == "emergency":
        return frozenset(("sensor_id", "timestamp", *settings.emergency.severity_thresholds))
    return None
