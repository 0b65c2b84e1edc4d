"""The settings: one frozen value, read once from flags, environment and TOML, in that order of precedence.

Every problem is reported at once, with the place it came from. A key that nothing reads is an error.
"""

from __future__ import annotations

import difflib
import json
import os
import zoneinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from edge_delta.errors import ConfigurationError, Problem
from edge_delta.modes import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_FILE = Path("config.toml")
_SECRET_WORDS = ("secret", "password", "token", "account_key", "access_key", "sas")


ModeName = Literal["raw", "schematized", "sanitized", "aggregated", "emergency"]
Aggregation = Literal[
    "mean", "min", "max", "sum", "count", "first", "last", "median", "std", "p50", "p90", "p95", "p99"
]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Limits(_Section):
    """Lower and upper limit of a column, in the source's unit."""

    min: float | None = Field(default=None, description="values below it are outside")
    max: float | None = Field(default=None, description="values above it are outside")


class Fill(_Section):
    """A value in place of a missing one."""

    fill: float | str = Field(description="the value")


Missing = Literal["keep", "reject", "forward_fill"] | Fill


class SchematizeSettings(_Section):
    """How the standard columns are found and filled."""

    rename: dict[str, str] = Field(default_factory=dict, description="standard column by source column")
    defaults: dict[str, str] = Field(default_factory=dict, description="text for standard columns the source lacks")
    thresholds: dict[str, Limits] = Field(
        default_factory=dict, description="limits that set anomaly_flag where the source has none"
    )


class GpsSettings(_Section):
    """How coordinates are displaced, and those of devices that report none. The secret is GPS_FUZZING_SECRET."""

    enabled: bool = Field(default=False, description="displace coordinates")
    strategy: Literal["per_sensor", "per_reading", "planar_laplace"] = Field(
        "per_sensor", description="how: one displacement per sensor, noise per reading, or planar Laplace"
    )
    radius_meters: float = Field(500.0, gt=0, le=1_000_000, description="radius of the disk")
    epsilon: float | None = Field(
        default=None, gt=0, description="planar_laplace: privacy per metre; mean is 2/epsilon"
    )
    cell_meters: float | None = Field(
        default=None, ge=1, description="another displacement in each grid cell, for movers"
    )
    modes: tuple[ModeName, ...] = Field(
        ("schematized", "sanitized", "aggregated", "emergency"), description="modes whose tables are fuzzed"
    )
    withhold: tuple[str, ...] = Field((), description="more source columns that tell a place; NULL in fuzzed tables")
    base_lat: float | None = Field(
        default=None, ge=-90, le=90, description="degrees north, where the source has no latitude"
    )
    base_lon: float | None = Field(
        default=None, ge=-180, le=180, description="degrees east, where the source has no longitude"
    )


class SanitizeSettings(_Section):
    """What a clean reading is."""

    ranges: dict[str, Limits] = Field(default_factory=dict, description="possible values by column")
    missing: dict[str, Missing] = Field(default_factory=dict, description="what to do with NULL, by column")
    columns: tuple[str, ...] | None = Field(default=None, description="allow-list: no other column leaves the device")
    future_tolerance: float = Field(86_400.0, ge=0, description="seconds that a time may lie in the future")


class AggregateSettings(_Section):
    """Event-time windows."""

    window_minutes: int = Field(5, ge=1, description="length of a window")
    group_by: tuple[str, ...] = Field(("sensor_id",), description="columns that make the groups")
    aggregations: dict[str, tuple[Aggregation, ...]] = Field(
        dict.fromkeys(("temperature", "humidity", "pressure"), ("mean", "min", "max")),
        description="what to compute, by column",
    )
    allowed_lateness: float = Field(60.0, ge=0, description="seconds a window stays open after its end")
    future_tolerance: float = Field(
        3_600.0, ge=0, description="seconds ahead of the clock that times still count as time"
    )
    time_zone: str = Field("UTC", description="where windows begin, for windows longer than an hour")

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            msg = f"{value!r} is no time zone: expected a name like Europe/Berlin"
            raise ValueError(msg) from None
        return value


class Threshold(_Section):
    """Limits of a column and how bad it is to be outside."""

    min: float | None = Field(default=None, description="alert strictly below it")
    max: float | None = Field(default=None, description="alert strictly above it")
    severity: str = Field("high", description="the alert's severity")


def _threshold(value: object) -> object:
    return {"max": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


class EmergencySettings(_Section):
    """What makes an alert."""

    trigger_keywords: tuple[str, ...] = Field(("EMERGENCY",), description="whole words in text columns, any case")
    keyword_columns: tuple[str, ...] | None = Field(
        default=None, description="where to look; default: all text columns"
    )
    keyword_severity: str = Field("critical", description="severity of keyword alerts")
    severity_thresholds: dict[str, Annotated[Threshold, BeforeValidator(_threshold)]] = Field(
        default_factory=dict, description="a number: alert strictly above it; or { min, max, severity }"
    )
    anomaly_flag: bool = Field(default=True, description="alert on anomaly_flag")
    anomaly_severity: str = Field("medium", description="severity of anomaly alerts")
    cooldown: float = Field(0.0, ge=0, description="seconds without a second alert of one sensor and rule")
    min_pause: float = Field(0.5, ge=0.05, description="seconds between commits at the least")


class StorageSettings(_Section):
    """Where the object store is. Credentials come from the environment or the SDK's own chain, never from here."""

    endpoint_url: str | None = Field(
        default=None, description="an S3-compatible server, for example http://127.0.0.1:8333"
    )
    region: str | None = Field(default=None, description="the bucket's region")
    virtual_hosted_style: bool = Field(default=False, description="bucket in the host name instead of the path")
    request_timeout: float = Field(30.0, gt=0, description="seconds that one request may take")
    connect_timeout: float = Field(5.0, gt=0, description="seconds to connect")

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, values: Any) -> Any:
        for key in values if isinstance(values, dict) else ():
            if _is_secret(str(key)):
                msg = f"{key} is a secret: set it in the environment, never in the file"
                raise ValueError(msg)
        return values


def _path(value: object) -> object:
    return Path(value).expanduser() if isinstance(value, str) else value


LocalPath = Annotated[Path, BeforeValidator(_path)]


def _listed(value: object) -> object:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    return list(dict.fromkeys(value)) if isinstance(value, list | tuple) else value


class Settings(_Section):
    """All settings of one process."""

    sqlite: LocalPath = Field(description="the SQLite database file")
    sqlite_table_name: str | None = Field(default=None, description="the table to read; default: the only one")
    timestamp_col: str | None = Field(default=None, description="the column with the reading's time; default: detected")
    table_path: str = Field(
        min_length=1, description="base of the tables: a folder, s3://, abfss://; {node_id} allowed"
    )
    processing_mode: Annotated[tuple[ModeName, ...], BeforeValidator(_listed), Field(min_length=1)] = Field(
        ("schematized",), description="which table is written; several in a list"
    )
    on_mode_change: Literal["continue", "backfill"] = Field(
        "continue", description="a mode set while running goes on where the old one stands, or from its own cursor"
    )
    state_dir: LocalPath = Field(Path("state"), description="node id, lock and last_upload.json")
    interval: float = Field(300.0, gt=0, description="seconds between cycles")
    fuzz_factor: float = Field(0.1, ge=0, le=1, description="share of the interval by which it varies")
    max_batch_size: int = Field(131_072, ge=1, description="rows a commit")
    node_id: str | None = Field(
        None, min_length=1, description="this device's name; default: kept in the state directory"
    )
    once: bool = Field(default=False, description="deliver what is there, then exit")
    retry_for: float = Field(60.0, ge=0, description="seconds that --once keeps trying when something is unavailable")
    on_source_reset: Literal["new_generation", "stop"] = Field(
        "new_generation", description="what to do when the source was replaced"
    )
    schematize: SchematizeSettings = SchematizeSettings()
    sanitize: SanitizeSettings = SanitizeSettings()
    aggregate: AggregateSettings = AggregateSettings()
    emergency: EmergencySettings = EmergencySettings()
    gps_fuzzing: GpsSettings = GpsSettings()
    gps_fuzzing_secret: SecretStr | None = Field(default=None, min_length=16, description="key of the displacements")
    storage: StorageSettings = StorageSettings()

    @model_validator(mode="after")
    def _fuzzing_is_complete(self) -> Settings:
        gps = self.gps_fuzzing
        if not gps.enabled:
            return self
        if gps.strategy != "per_reading" and self.gps_fuzzing_secret is None:
            msg = f"gps_fuzzing with strategy {gps.strategy!r} needs a secret: set GPS_FUZZING_SECRET"
            raise ValueError(msg)
        if gps.strategy == "planar_laplace" and gps.epsilon is None:
            msg = "gps_fuzzing with strategy 'planar_laplace' needs gps_fuzzing.epsilon"
            raise ValueError(msg)
        return self


ENVIRONMENT = {
    "SQLITE_PATH": "sqlite",
    "SQLITE_TABLE_NAME": "sqlite_table_name",
    "TIMESTAMP_COL": "timestamp_col",
    "TABLE_PATH": "table_path",
    "PROCESSING_MODE": "processing_mode",
    "STATE_DIR": "state_dir",
    "UPLOAD_INTERVAL": "interval",
    "FUZZ_FACTOR": "fuzz_factor",
    "MAX_BATCH_SIZE": "max_batch_size",
    "NODE_ID": "node_id",
    "ONCE": "once",
    "RETRY_FOR": "retry_for",
    "ON_SOURCE_RESET": "on_source_reset",
    "ON_MODE_CHANGE": "on_mode_change",
    "GPS_FUZZING_SECRET": "gps_fuzzing_secret",
}
"""The setting that each environment variable stands for."""

ENVIRONMENT_JSON = {
    "GPS_FUZZING_CONFIG": "gps_fuzzing",
    "EMERGENCY_CONFIG": "emergency",
    "AGGREGATE_CONFIG": "aggregate",
    "SANITIZE_CONFIG": "sanitize",
}
"""Variables that hold a whole section as JSON."""

FLAGS = {
    "sqlite": "--sqlite",
    "sqlite_table_name": "--table",
    "timestamp_col": "--timestamp-field",
    "table_path": "--table-path",
    "processing_mode": "--processing-mode",
    "state_dir": "--state-dir",
    "interval": "--interval",
    "fuzz_factor": "--fuzz-factor",
    "max_batch_size": "--max-batch-size",
    "node_id": "--node-id",
    "once": "--once",
    "retry_for": "--retry-for",
    "on_mode_change": "--on-mode-change",
}
"""The flag of each setting that has one."""


def load(flags: Mapping[str, Any], *, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process.

    Args:
        flags: settings given on the command line, by name; ``config`` is the file's path. None means not given.
        environment: the environment variables, by default the process's own.

    Raises:
        ConfigurationError: with every problem found.
    """
    environment = os.environ if environment is None else environment
    problems: list[Problem] = []
    file = file_of(flags, environment)
    values: dict[str, Any] = _toml(file) if file is not None else {}
    places = dict.fromkeys(values, str(file))
    if values.pop("gps_fuzzing_secret", None) is not None:
        problems.append(Problem(str(file), "gps_fuzzing_secret", "", "is a secret: set GPS_FUZZING_SECRET instead"))
    problems += _from_environment(environment, values, places)
    for key, flag in FLAGS.items():
        if flags.get(key) is not None:
            values[key] = flags[key]
            places[key] = f"flag {flag}"
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        problems += [_problem(details, values, places, file) for details in error.errors()]
        raise ConfigurationError.of(problems) from None
    if problems:
        raise ConfigurationError.of(problems)
    return settings


def _from_environment(environment: Mapping[str, str], values: dict[str, Any], places: dict[str, str]) -> list[Problem]:
    """Put what the environment sets into the values; returns what cannot be read."""
    problems = []
    for variable, key in (ENVIRONMENT | ENVIRONMENT_JSON).items():
        text = environment.get(variable)
        if not text:
            continue
        values[key], places[key] = text, f"environment variable {variable}"
        if variable in ENVIRONMENT_JSON:
            try:
                values[key] = json.loads(text)
            except json.JSONDecodeError as error:
                del values[key]
                problems.append(Problem(places[key], key, "", f"is not JSON: {error}"))
    return problems


def file_of(flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Path | None:
    """The settings file that is read, None if there is none."""
    path = flags.get("config") or environment.get("EDGE_DELTA_CONFIG")
    if path is None:
        return DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    return Path(path)


def _toml(path: Path) -> dict[str, Any]:
    import tomli  # noqa: PLC0415 - only where there is a file

    try:
        return tomli.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"there is no settings file at {path}", "Check --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the settings file {path} cannot be read: {error}", "Check --config") from None
    except tomli.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}", "Mend that line") from None


def _problem(details: Any, values: Mapping[str, Any], places: Mapping[str, str], file: Path | None) -> Problem:
    path = [str(part) for part in details["loc"]]
    key = ".".join(path)
    place = places.get(path[0], "settings") if path else str(file or "settings")
    if details["type"] == "missing" and len(path) == 1:
        variable = next((v for v, k in ENVIRONMENT.items() if k == path[0]), None)
        ways = [FLAGS.get(path[0]), variable, f"{path[0]} in {file or DEFAULT_FILE}"]
        return Problem("settings", key, "", "is required: set " + ", ".join(w for w in ways if w))
    if details["type"] == "extra_forbidden":
        return Problem(place, key, "", "no such setting" + _nearest(path))
    if details["type"] == "value_error":
        return Problem(place, key or "gps_fuzzing", "", str(details["ctx"]["error"]))
    value: Any = values
    for part in path:
        value = value.get(part) if isinstance(value, dict) else value
    shown = "" if _is_secret(key) else repr(value)
    return Problem(place, key, shown, details["msg"][0].lower() + details["msg"][1:])


def _is_secret(key: str) -> bool:
    return any(word in key.lower() for word in _SECRET_WORDS)


def _nearest(path: list[str]) -> str:
    section: Any = Settings
    for part in path[:-1]:
        field = section.model_fields.get(part) if hasattr(section, "model_fields") else None
        section = field.annotation if field is not None else None
    names = list(section.model_fields) if hasattr(section, "model_fields") else []
    close = difflib.get_close_matches(path[-1], names, n=1)
    return f", did you mean {close[0]}?" if close else f"; there are: {', '.join(names)}"


__all__ = ["ENVIRONMENT", "FLAGS", "SUFFIXES", "SecretStr", "Settings", "load"]
