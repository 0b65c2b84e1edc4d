"""What can be set, what each setting may be, and its default. `edge_delta.settings.load` reads them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import Meta

from edge_delta.core.errors import ConfigurationError

_MASK = "**********"
_SHORTEST_SECRET = 16

ModeName = Literal["raw", "schematized", "sanitized", "aggregated", "emergency"]
Aggregation = Literal[
    "mean", "min", "max", "sum", "count", "first", "last", "median", "std", "p50", "p90", "p95", "p99"
]


class Secret:
    """A text that shows itself to nobody by accident."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if len(text) < _SHORTEST_SECRET:
            msg = f"is too short: expected at least {_SHORTEST_SECRET} characters"
            raise ValueError(msg)
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return _MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the settings.

    A field's ``Meta`` has its bounds and its description. In ``extra`` it may have ``prepare``, a function that brings
    other ways of writing the value into its form, and ``private``, whether the log masks it.
    """


def _in_order(low: float | None, high: float | None) -> None:
    if low is not None and high is not None and low > high:
        msg = f"min {low:g} is above max {high:g}"
        raise ValueError(msg)


class Limits(Section, frozen=True, kw_only=True):
    """Lower and upper limit of a column, in the source's unit."""

    min: Annotated[float | None, Meta(description="values below it are outside")] = None
    max: Annotated[float | None, Meta(description="values above it are outside")] = None

    def __post_init__(self) -> None:
        _in_order(self.min, self.max)


class Fill(Section, frozen=True, kw_only=True):
    """A value in place of a missing one."""

    fill: Annotated[float | str, Meta(description="the value")]


Missing = Literal["keep", "reject", "forward_fill"] | Fill


class SchematizeSettings(Section, frozen=True, kw_only=True):
    """How the standard columns are found and filled."""

    rename: Annotated[dict[str, str], Meta(description="standard column by source column")] = {}
    defaults: Annotated[dict[str, str], Meta(description="text for standard columns the source lacks")] = {}
    thresholds: Annotated[
        dict[str, Limits], Meta(description="limits that set anomaly_flag where the source has none")
    ] = {}


class GpsSettings(Section, frozen=True, kw_only=True):
    """How coordinates are displaced, and those of devices that report none. The secret is GPS_FUZZING_SECRET."""

    enabled: Annotated[bool, Meta(description="displace coordinates")] = False
    strategy: Annotated[
        Literal["per_sensor", "per_reading", "planar_laplace"],
        Meta(description="how: one displacement per sensor, noise per reading, or planar Laplace"),
    ] = "per_sensor"
    radius_meters: Annotated[float, Meta(gt=0, le=1_000_000, description="radius of the disk")] = 500.0
    epsilon: Annotated[float, Meta(gt=0, description="planar_laplace: privacy per metre; mean is 2/epsilon")] | None = (
        None
    )
    cell_meters: (
        Annotated[float, Meta(ge=1, description="another displacement in each grid cell, for movers")] | None
    ) = None
    modes: Annotated[tuple[ModeName, ...], Meta(description="modes whose tables are fuzzed")] = (
        "schematized",
        "sanitized",
        "aggregated",
        "emergency",
    )
    withhold: Annotated[
        tuple[str, ...], Meta(description="more source columns that tell a place; NULL in fuzzed tables")
    ] = ()
    base_lat: (
        Annotated[
            float,
            Meta(ge=-90, le=90, description="degrees north, where the source has no latitude", extra={"private": True}),
        ]
        | None
    ) = None
    base_lon: (
        Annotated[
            float,
            Meta(
                ge=-180, le=180, description="degrees east, where the source has no longitude", extra={"private": True}
            ),
        ]
        | None
    ) = None

    def __post_init__(self) -> None:
        if (self.base_lat is None) != (self.base_lon is None):
            msg = "base_lat and base_lon go together: set both or none"
            raise ValueError(msg)


class SanitizeSettings(Section, frozen=True, kw_only=True):
    """What a clean reading is."""

    ranges: Annotated[dict[str, Limits], Meta(description="possible values by column")] = {}
    missing: Annotated[dict[str, Missing], Meta(description="what to do with NULL, by column")] = {}
    columns: Annotated[tuple[str, ...] | None, Meta(description="allow-list: no other column leaves the device")] = None
    future_tolerance: Annotated[float, Meta(ge=0, description="seconds that a time may lie in the future")] = 86_400.0


_USUAL: dict[str, tuple[Aggregation, ...]] = {
    "temperature": ("mean", "min", "max"),
    "humidity": ("mean", "min", "max"),
    "pressure": ("mean", "min", "max"),
}


class AggregateSettings(Section, frozen=True, kw_only=True):
    """Event-time windows."""

    window_minutes: Annotated[int, Meta(ge=1, description="length of a window")] = 5
    group_by: Annotated[tuple[str, ...], Meta(description="columns that make the groups")] = ("sensor_id",)
    aggregations: Annotated[dict[str, tuple[Aggregation, ...]], Meta(description="what to compute, by column")] = (
        msgspec.field(default_factory=lambda: dict(_USUAL))
    )
    allowed_lateness: Annotated[float, Meta(ge=0, description="seconds a window stays open after its end")] = 60.0
    future_tolerance: Annotated[
        float, Meta(ge=0, description="seconds ahead of the clock that times still count as time")
    ] = 3_600.0
    time_zone: Annotated[str, Meta(description="where windows begin, for windows longer than an hour")] = "UTC"

    def __post_init__(self) -> None:
        if self.time_zone == "UTC":
            return
        import zoneinfo  # noqa: PLC0415 - few settings name a zone

        try:
            zoneinfo.ZoneInfo(self.time_zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            msg = f"time_zone {self.time_zone!r} is no time zone: expected a name like Europe/Berlin"
            raise ValueError(msg) from None
        if self.window_minutes > 60 and self.window_minutes % 60:  # noqa: PLR2004
            msg = f"window_minutes = {self.window_minutes} with a time zone: expected at most 60, or full hours"
            raise ValueError(msg)


class Threshold(Section, frozen=True, kw_only=True):
    """Limits of a column and how bad it is to be outside."""

    min: Annotated[float | None, Meta(description="alert strictly below it")] = None
    max: Annotated[float | None, Meta(description="alert strictly above it")] = None
    severity: Annotated[str, Meta(description="the alert's severity")] = "high"

    def __post_init__(self) -> None:
        if self.min is None and self.max is None:
            msg = "has neither min nor max"
            raise ValueError(msg)
        _in_order(self.min, self.max)


def _thresholds(values: object) -> object:
    if not isinstance(values, dict):
        return values
    plain = (int, float)
    return {k: {"max": v} if isinstance(v, plain) and not isinstance(v, bool) else v for k, v in values.items()}


class EmergencySettings(Section, frozen=True, kw_only=True):
    """What makes an alert."""

    trigger_keywords: Annotated[tuple[str, ...], Meta(description="whole words in text columns, any case")] = (
        "EMERGENCY",
    )
    keyword_columns: Annotated[tuple[str, ...] | None, Meta(description="where to look; default: all text columns")] = (
        None
    )
    keyword_severity: Annotated[str, Meta(description="severity of keyword alerts")] = "critical"
    severity_thresholds: Annotated[
        dict[str, Threshold],
        Meta(
            description="a number: alert strictly above it; or { min, max, severity }", extra={"prepare": _thresholds}
        ),
    ] = {}
    anomaly_flag: Annotated[bool, Meta(description="alert on anomaly_flag")] = True
    anomaly_severity: Annotated[str, Meta(description="severity of anomaly alerts")] = "medium"
    cooldown: Annotated[float, Meta(ge=0, description="seconds without a second alert of one sensor and rule")] = 0.0
    min_pause: Annotated[float, Meta(ge=0.05, description="seconds between commits at the least")] = 0.5


class MaintenanceSettings(Section, frozen=True, kw_only=True):
    """Upkeep of the tables. Two compactors of one table would repeat its rows, so each table has one keeper."""

    keeper: Annotated[
        bool | None,
        Meta(description="whether this device looks after the tables; default: if {node_id} makes them its own"),
    ] = None
    every_commits: Annotated[int, Meta(ge=2, description="commits between two compactions")] = 100
    hours: Annotated[
        tuple[Annotated[int, Meta(ge=0, le=23)], ...],
        Meta(description="hours of the day, UTC, for it instead"),
    ] = ()
    target_file_mb: Annotated[int, Meta(ge=1, le=1024, description="size that compacted files grow to")] = 64
    retention_days: Annotated[
        Annotated[float, Meta(ge=1)] | None,
        Meta(description="days that older versions can be read; default: 7, in a folder 3"),
    ] = None


class StorageSettings(Section, frozen=True, kw_only=True):
    """Where the object store is. Credentials come from the environment or the SDK's own chain, never from here."""

    endpoint_url: Annotated[
        str | None, Meta(description="an S3-compatible server, for example http://127.0.0.1:8333")
    ] = None
    region: Annotated[str | None, Meta(description="the bucket's region")] = None
    virtual_hosted_style: Annotated[bool, Meta(description="bucket in the host name instead of the path")] = False
    request_timeout: Annotated[float, Meta(gt=0, description="seconds that one request may take")] = 30.0
    connect_timeout: Annotated[float, Meta(gt=0, description="seconds to connect")] = 5.0


def _host(value: object) -> object:
    return value.removeprefix("https://").rstrip("/") if isinstance(value, str) else value


class DatabricksSettings(Section, frozen=True, kw_only=True):
    """A SQL warehouse that answers queries, and the names in Unity Catalog. The token is DATABRICKS_TOKEN."""

    server_hostname: (
        Annotated[
            str,
            Meta(
                pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$",
                description="host of the workspace whose SQL warehouse answers queries; default: none",
                extra={"prepare": _host},
            ),
        ]
        | None
    ) = None
    http_path: (
        Annotated[str, Meta(min_length=1, description="the warehouse's path, from its connection details")] | None
    ) = None
    catalog: Annotated[str, Meta(min_length=1, description="Unity Catalog's catalog")] = "main"
    schema: Annotated[str, Meta(min_length=1, description="the schema in it")] = "sensor_data"

    def __post_init__(self) -> None:
        if (self.server_hostname is None) != (self.http_path is None):
            msg = "server_hostname and http_path go together: set both or none"
            raise ValueError(msg)


def _path(value: object) -> object:
    return Path(value).expanduser() if isinstance(value, str) else value


def _listed(value: object) -> object:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    return list(dict.fromkeys(value)) if isinstance(value, list | tuple) else value


def _yes_or_no(value: object) -> object:
    words = {"yes": True, "on": True, "no": False, "off": False}
    return words.get(value.lower(), value) if isinstance(value, str) else value


class Settings(Section, frozen=True, kw_only=True):
    """All settings of one process."""

    sqlite: Annotated[Path, Meta(description="the SQLite database file", extra={"prepare": _path})]
    sqlite_table_name: Annotated[str | None, Meta(description="the table to read; default: the only one")] = None
    timestamp_col: Annotated[str | None, Meta(description="the column with the reading's time; default: detected")] = (
        None
    )
    table_path: Annotated[
        str, Meta(min_length=1, description="base of the tables: a folder, s3://, abfss://; {node_id} allowed")
    ]
    processing_mode: Annotated[
        tuple[ModeName, ...],
        Meta(min_length=1, description="which table is written; several in a list", extra={"prepare": _listed}),
    ] = ("schematized",)
    on_mode_change: Annotated[
        Literal["continue", "backfill"],
        Meta(description="a mode set while running goes on where the old one stands, or from its own cursor"),
    ] = "continue"
    state_dir: Annotated[Path, Meta(description="node id, lock and last_upload.json", extra={"prepare": _path})] = Path(
        "state"
    )
    interval: Annotated[float, Meta(gt=0, description="seconds between cycles")] = 300.0
    fuzz_factor: Annotated[float, Meta(ge=0, le=1, description="share of the interval by which it varies")] = 0.1
    max_batch_size: Annotated[int, Meta(ge=1, description="rows a commit")] = 131_072
    node_id: (
        Annotated[str, Meta(min_length=1, description="this device's name; default: kept in the state directory")]
        | None
    ) = None
    once: Annotated[bool, Meta(description="deliver what is there, then exit", extra={"prepare": _yes_or_no})] = False
    retry_for: Annotated[
        float, Meta(ge=0, description="seconds that --once keeps trying when something is unavailable")
    ] = 60.0
    health_after: (
        Annotated[float, Meta(gt=0, description="seconds rows may wait before health fails; default: 3 intervals + 60")]
        | None
    ) = None
    metrics_port: Annotated[int, Meta(ge=0, le=65535, description="serves /metrics and /health; 0: off")] = 0
    metrics_address: Annotated[str, Meta(min_length=1, description="where metrics_port listens")] = "127.0.0.1"
    metrics_file: (
        Annotated[
            Path, Meta(description="a .prom file for node_exporter's textfile collector", extra={"prepare": _path})
        ]
        | None
    ) = None
    on_source_reset: Annotated[
        Literal["new_generation", "stop"], Meta(description="what to do when the source was replaced")
    ] = "new_generation"
    schematize: SchematizeSettings = SchematizeSettings()
    sanitize: SanitizeSettings = SanitizeSettings()
    aggregate: AggregateSettings = AggregateSettings()
    emergency: EmergencySettings = EmergencySettings()
    gps_fuzzing: GpsSettings = GpsSettings()
    gps_fuzzing_secret: Annotated[Secret | None, Meta(description="key of the displacements")] = None
    maintenance: MaintenanceSettings = MaintenanceSettings()
    storage: StorageSettings = StorageSettings()
    databricks: DatabricksSettings = DatabricksSettings()

    def __post_init__(self) -> None:
        gps = self.gps_fuzzing
        if not gps.enabled:
            return
        if gps.strategy != "per_reading" and self.gps_fuzzing_secret is None:
            msg = f"gps_fuzzing with strategy {gps.strategy!r} needs a secret: set GPS_FUZZING_SECRET"
            raise ValueError(msg)
        if gps.strategy == "planar_laplace" and gps.epsilon is None:
            msg = "gps_fuzzing with strategy 'planar_laplace' needs gps_fuzzing.epsilon"
            raise ValueError(msg)


# -- what a section says of itself

S = TypeVar("S", bound=Section)


def extra(form: Any) -> dict[str, Any]:
    """What a field's type says besides msgspec's own constraints."""
    found: dict[str, Any] = {}
    for part in get_args(form):
        if isinstance(part, Meta):
            found |= part.extra or {}
        else:
            found |= extra(part)
    return found


@cache
def _private(section: type[Section]) -> frozenset[str]:
    hints = get_type_hints(section, include_extras=True)
    return frozenset(name for name, form in hints.items() if extra(form).get("private"))


def shown(section: Section, *, all_of_it: bool = False) -> dict[str, Any]:
    """A section as plain values for the log: secrets and the device's place masked, defaults left out.

    Args:
        section: the section.
        all_of_it: whether defaults are shown too.
    """
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(section):
        value = getattr(section, field.name)
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        if value == default and not all_of_it:
            continue
        found[field.name] = _MASK if field.name in _private(type(section)) and value is not None else _plain(value)
    return found


def _plain(value: object) -> object:
    if isinstance(value, Section):
        return shown(value)
    if isinstance(value, Secret | Path):
        return repr(value) if isinstance(value, Secret) else str(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return value


def names(section: type[Section] | Section) -> list[str]:
    """The names of a section's settings."""
    return [field.name for field in msgspec.structs.fields(section)]


def differing(before: Section, after: Section) -> list[str]:
    """The names of the settings that are not the same."""
    return [name for name in names(after) if getattr(after, name) != getattr(before, name)]


def changed(section: S, **values: Any) -> S:
    """The same section with some other values.

    Raises:
        ConfigurationError: if they do not go together.
    """
    try:
        return msgspec.structs.replace(section, **values)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
