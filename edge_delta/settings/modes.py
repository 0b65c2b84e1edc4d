"""What can be set for each mode."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

from edge_delta.core.errors import ConfigurationError
from edge_delta.core.time_formats import zone_of
from edge_delta.settings.declaration import Section, about

ModeName = Literal["raw", "schematized", "sanitized", "aggregated", "emergency"]
Aggregation = Literal[
    "mean", "min", "max", "sum", "count", "first", "last", "median", "std", "p50", "p90", "p95", "p99"
]


OK_STATUS: tuple[int | str, ...] = (0, "200-299")
"""Status codes that are no anomaly: nothing to report, and HTTP's successes."""
_RANGE = r"\s*(-?\d+)\s*-\s*(-?\d+)\s*|\s*(-?\d+)\s*"


def status_ranges(codes: tuple[int | str, ...] | Literal["any"]) -> tuple[tuple[int, int], ...] | None:
    """Status codes as ranges, both ends in them; None for any code.

    Raises:
        ValueError: if one is neither a number nor a range, or there is none.
    """
    if codes == "any":
        return None
    if not codes:
        msg = 'ok_status is empty: expected the codes that are no anomaly, or "any"'
        raise ValueError(msg)
    return tuple(_status_range(code) for code in codes)


def _status_range(code: int | str) -> tuple[int, int]:
    found = re.fullmatch(_RANGE, str(code))
    if found is None:
        msg = f'ok_status: {code!r} is no status code: expected a number such as 0, or a range such as "200-299"'
        raise ValueError(msg)
    first, last, only = found.groups()
    low, high = int(only or first), int(only or last)
    if low > high:
        msg = f"ok_status: {code!r} is the wrong way round"
        raise ValueError(msg)
    return low, high


def _in_order(low: float | None, high: float | None) -> None:
    if low is not None and high is not None and low > high:
        msg = f"min {low:g} is above max {high:g}"
        raise ValueError(msg)


class Limits(Section, frozen=True, kw_only=True):
    """Lower and upper limit of a column, in the source's unit."""

    min: Annotated[float | None, about("values below it are outside")] = None
    max: Annotated[float | None, about("values above it are outside")] = None

    def __post_init__(self) -> None:
        _in_order(self.min, self.max)


class Fill(Section, frozen=True, kw_only=True):
    """A value in place of a missing one."""

    fill: Annotated[float | str, about("the value")]


Missing = Literal["keep", "reject", "forward_fill"] | Fill


class AnomalySettings(Section, frozen=True, kw_only=True):
    """What makes an anomaly_flag where the source has none, besides ``schematize.thresholds``."""

    ok_status: Annotated[
        tuple[int | str, ...] | Literal["any"],
        about('status codes that are no anomaly: numbers and "from-to"; "any": no code is one'),
    ] = OK_STATUS

    def __post_init__(self) -> None:
        status_ranges(self.ok_status)


class SchematizeSettings(Section, frozen=True, kw_only=True):
    """How the standard columns are found and filled."""

    rename: Annotated[
        dict[str, str],
        about("standard column by source column", example='{ temp_c = "temperature", hum = "humidity" }'),
    ] = msgspec.field(default_factory=dict)
    defaults: Annotated[
        dict[str, str],
        about(
            "text for standard columns the source lacks",
            example='{ firmware_version = "2.4.1", model = "ENV-200", manufacturer = "Acme Sensors" }',
        ),
    ] = msgspec.field(default_factory=dict)
    thresholds: Annotated[
        dict[str, Limits],
        about(
            "limits that set anomaly_flag where the source has none",
            example="{ temperature = { min = -40, max = 60 }, voltage = { min = 3.0 } }",
        ),
    ] = msgspec.field(default_factory=dict)
    anomaly: Annotated[
        Literal["auto", "off"] | AnomalySettings,
        about(
            'what sets anomaly_flag where the source has none; "auto": thresholds, and status codes but 0 and 200-299; '
            '"off": nothing',
            example='{ ok_status = [0, "200-299"] }',
        ),
    ] = "auto"

    def __post_init__(self) -> None:
        taken = [source for source, target in self.rename.items() if target.lower() == "reading_id"]
        if taken:
            msg = (
                f"rename.{taken[0]} = 'reading_id': reading_id is the row's id in SQLite, by which rows are delivered "
                f"once; {taken[0]!r} keeps its name beside it, or takes another"
            )
            raise ValueError(msg)


def _strategy(value: object) -> object:
    if value == "per_reading":
        msg = (
            "gps_fuzzing.strategy: 'per_reading' is gone, because noise per reading averages out (to 1 m in a year); "
            "use 'per_place', which also serves devices that move, or 'planar_laplace'; see docs/privacy.md"
        )
        raise ConfigurationError(msg, "Change strategy in [gps_fuzzing]")
    return value


class GpsSettings(Section, frozen=True, kw_only=True):
    """How coordinates are displaced, and those of devices that report none. The secret is GPS_FUZZING_SECRET."""

    enabled: Annotated[bool, about("displace coordinates")] = False
    strategy: Annotated[
        Literal["per_place", "planar_laplace", "per_sensor"],
        about(
            "how: one vector per device, or planar Laplace; per_sensor is an old name of per_place",
            prepare=_strategy,
        ),
    ] = "per_place"
    radius_meters: Annotated[
        float, about("metres that no published point is farther away than", ge=20, le=1_000_000)
    ] = 500.0
    epsilon: (
        Annotated[float, about("planar_laplace: privacy per metre; mean is 2/epsilon", example="0.004", gt=0)] | None
    ) = None
    cell_meters: (
        Annotated[
            float, about("planar_laplace: side of its cells in metres; default 1/(4 epsilon)", example="60", ge=1)
        ]
        | None
    ) = None
    modes: Annotated[tuple[ModeName, ...], about("modes whose tables are fuzzed")] = (
        "schematized",
        "sanitized",
        "aggregated",
        "emergency",
    )
    withhold: Annotated[tuple[str, ...], about("more source columns that tell a place; NULL in fuzzed tables")] = ()
    harmless: Annotated[
        tuple[str, ...], about("source columns that tell no place, whatever they are called or look like")
    ] = ()
    base_lat: (
        Annotated[
            float,
            about("degrees north, where the source has no latitude", example="52.52", ge=-90, le=90, private=True),
        ]
        | None
    ) = None
    base_lon: (
        Annotated[
            float,
            about("degrees east, where the source has no longitude", example="13.405", ge=-180, le=180, private=True),
        ]
        | None
    ) = None

    def __post_init__(self) -> None:
        if (self.base_lat is None) != (self.base_lon is None):
            msg = "base_lat and base_lon go together: set both or none"
            raise ValueError(msg)


class SanitizeSettings(Section, frozen=True, kw_only=True):
    """What a clean reading is."""

    ranges: Annotated[
        dict[str, Limits],
        about(
            "possible values by column",
            example="{ temperature = { min = -40, max = 85 }, humidity = { min = 0, max = 100 } }",
        ),
    ] = msgspec.field(default_factory=dict)
    missing: Annotated[
        dict[str, Missing],
        about(
            "what to do with NULL, by column",
            example='{ temperature = "reject", humidity = "forward_fill", location = { fill = "unknown" } }',
        ),
    ] = msgspec.field(default_factory=dict)
    columns: Annotated[
        tuple[str, ...] | None,
        about(
            "allow-list: no other column leaves the device but the id, the time and sensor_id",
            example='["timestamp", "sensor_id", "temperature", "humidity"]',
        ),
    ] = None
    future_tolerance: Annotated[float, about("seconds that a time may lie in the future", ge=0)] = 86_400.0


_USUAL: dict[str, tuple[Aggregation, ...]] = {
    "temperature": ("mean", "min", "max"),
    "humidity": ("mean", "min", "max"),
    "pressure": ("mean", "min", "max"),
}


class AggregateSettings(Section, frozen=True, kw_only=True):
    """Event-time windows."""

    window_minutes: Annotated[int, about("length of a window", ge=1)] = 5
    group_by: Annotated[tuple[str, ...], about("columns that make the groups")] = ("sensor_id",)
    aggregations: Annotated[dict[str, tuple[Aggregation, ...]], about("what to compute, by column")] = msgspec.field(
        default_factory=lambda: dict(_USUAL)
    )
    allowed_lateness: Annotated[float, about("seconds a window stays open after its end", ge=0)] = 60.0
    future_tolerance: Annotated[float, about("seconds ahead of the clock that times still count as time", ge=0)] = (
        3_600.0
    )
    emit: Annotated[
        Literal["closed", "early"],
        about("when windows are written: once they are closed, or at every cycle, to be replaced as they fill"),
    ] = "closed"
    time_zone: Annotated[str, about("where windows begin, for windows of an hour and longer")] = "UTC"

    def __post_init__(self) -> None:
        if self.time_zone == "UTC":
            return
        try:
            zone_of(self.time_zone)
        except ValueError:
            msg = f"time_zone {self.time_zone!r} is no time zone: expected a name like Europe/Berlin"
            raise ValueError(msg) from None
        if self.window_minutes > 60 and self.window_minutes % 60:  # noqa: PLR2004
            msg = f"window_minutes = {self.window_minutes} with a time zone: expected at most 60, or full hours"
            raise ValueError(msg)


class Threshold(Section, frozen=True, kw_only=True):
    """Limits of a column and how bad it is to be outside."""

    min: Annotated[float | None, about("alert strictly below it")] = None
    max: Annotated[float | None, about("alert strictly above it")] = None
    severity: Annotated[str, about("the alert's severity")] = "high"

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

    trigger_keywords: Annotated[tuple[str, ...], about("whole words in text columns, any case")] = ("EMERGENCY",)
    keyword_columns: Annotated[
        tuple[str, ...] | None,
        about("where to look; default: all text columns", example='["anomaly_type", "location"]'),
    ] = None
    keyword_severity: Annotated[str, about("severity of keyword alerts")] = "critical"
    severity_thresholds: Annotated[
        dict[str, Threshold],
        about(
            "a number: alert strictly above it; or { min, max, severity }",
            example='{ temperature = 35, pressure = { max = 1030, severity = "critical" } }',
            prepare=_thresholds,
        ),
    ] = msgspec.field(default_factory=dict)
    anomaly_flag: Annotated[bool, about("alert on anomaly_flag")] = True
    anomaly_severity: Annotated[str, about("severity of anomaly alerts")] = "medium"
    cooldown: Annotated[
        float,
        about("seconds without a second alert of one sensor and rule, whose end is then told; 0: each alert", ge=0),
    ] = 0.0
    min_pause: Annotated[float, about("seconds between commits at the least", ge=0.05)] = 0.5
