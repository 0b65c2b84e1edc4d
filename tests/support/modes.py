"""Readings for all modes, runs inside the test's process with settings of every section, and reading tables back."""

from __future__ import annotations

import io
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from deltalake import DeltaTable

from edge_delta.core import events as telemetry
from edge_delta.settings import load as config
from edge_delta.topology import build as app
from tests.support.command import parse_events

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.sqlite import Sensor
    from tests.support.tables import Place

SECRET = "a secret that only the tests know"
EPOCH = 1_767_225_600
"""2026-01-01T00:00:00Z, when the first reading was."""

COLUMNS = (
    "id INTEGER PRIMARY KEY, sensor_id TEXT, timestamp TEXT, temperature REAL, humidity REAL, pressure REAL, "
    "location TEXT, latitude REAL, longitude REAL, status_code INTEGER, anomaly_flag INTEGER, note TEXT, co2 REAL"
)
NAMES = [part.split()[0] for part in COLUMNS.split(", ")]

# One reading a second. Values are multiples of 1/64, so that sums are exact in any order. Of every 20 readings one
# comes up to 15 minutes late; others are missing, impossible, in the future, or have a time that is none.
_VALUES = """
  SELECT 'sensor-' || (i % 5),
    CASE WHEN i % 307 = 11 THEN 'soon' WHEN i % 401 = 13 THEN '2099-01-01T00:00:00+00:00'
         ELSE strftime('%Y-%m-%dT%H:%M:%f+00:00', {epoch} + i - CASE WHEN i % 20 = 7 THEN (i * 7919) % 900 ELSE 0 END,
                       'unixepoch') END,
    CASE WHEN i % 97 = 5 THEN -300.0 WHEN i % 101 = 6 THEN NULL WHEN i % 211 = 8 THEN 9e999
         ELSE ((i * 7919) % 4096) / 64.0 - 10 END,
    CASE WHEN i % 9 = 4 THEN NULL ELSE ((i * 31) % 6500) / 64.0 END,
    CASE WHEN i % 13 = 2 THEN NULL ELSE 60000 + ((i * 104729) % 65536) / 64.0 END,
    CASE i % 3 WHEN 0 THEN 'hall' WHEN 1 THEN 'roof' END,
    CASE WHEN i % 53 = 1 THEN NULL ELSE 52.5 + (i % 5) * 0.01 END,
    CASE WHEN i % 53 = 1 THEN NULL ELSE 13.4 + (i % 5) * 0.01 END,
    i % 3,
    CASE WHEN i % 31 = 3 THEN 1 WHEN i % 7 = 0 THEN NULL ELSE 0 END,
    CASE i % 41 WHEN 0 THEN 'an EMERGENCY, now' WHEN 1 THEN 'Emergency' WHEN 2 THEN 'emergency_stop'
                WHEN 3 THEN 'EMERGENCYS' WHEN 4 THEN 'all is well' END,
    ((i * 13) % 2000) / 4.0
  FROM n
"""


def create(sensor: Sensor, table: str = "stations") -> None:
    sensor.run(f"CREATE TABLE {table} ({COLUMNS})")


def add(sensor: Sensor, count: int, *, start: int = 0, table: str = "stations") -> None:
    """Insert the readings with the numbers from ``start``."""
    names = ", ".join(NAMES[1:])
    sensor.run(
        f"INSERT INTO {table} ({names}) WITH RECURSIVE n(i) AS (SELECT {start} UNION ALL SELECT i + 1 FROM n "
        f"LIMIT {count})" + _VALUES.format(epoch=EPOCH)
    )


def insert(sensor: Sensor, *rows: Mapping[str, Any], table: str = "stations") -> None:
    """Insert readings that have these columns, in one transaction."""
    for row in rows:
        marks = ", ".join("?" * len(row))
        sensor.run(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", *row.values())


def toml(settings: Mapping[str, Any]) -> str:
    """Settings as a TOML file has them; sections last."""
    plain = {k: v for k, v in settings.items() if not isinstance(v, dict)}
    sections = {k: v for k, v in settings.items() if isinstance(v, dict)}
    lines = [f"{key} = {_toml_value(value)}" for key, value in plain.items() if value is not None]
    for name, section in sections.items():
        lines += [f"[{name}]", *(f"{key} = {_toml_value(value)}" for key, value in section.items())]
    return "\n".join(lines) + "\n"


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {_toml_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)


@dataclass
class Delivered:
    complete: bool
    events: list[dict[str, Any]]
    log: str

    def named(self, event: str) -> list[dict[str, Any]]:
        return [e for e in self.events if e["event"] == event]


def deliver(
    sqlite: Path,
    place: Place,
    mode: str | list[str],
    *,
    flush: bool = False,
    secret: str | None = SECRET,
    **settings: Any,
) -> Delivered:
    """One run with ``--once`` into a folder, inside this process; settings are keys and sections of the file."""
    values = {
        "sqlite": sqlite,
        "table_path": place.base,
        "state_dir": sqlite.parent / "state",
        "node_id": "n1",
        "retry_for": 0.5,
        "processing_mode": mode,
    }
    file = sqlite.parent / "settings.toml"
    file.write_text(toml(values | settings), encoding="utf-8")
    flags = {"config": str(file), "once": True, "flush": flush}
    loaded = config.load(flags, environment={"GPS_FUZZING_SECRET": secret} if secret else {})
    stream = io.StringIO()
    complete = app.run(loaded, telemetry.configure(stream=stream), threading.Event(), flags={"flush": flush})
    return Delivered(complete, parse_events(stream.getvalue()), stream.getvalue())


def read(place: Place, suffix: str) -> pl.DataFrame:
    """A table, its times as microseconds; empty if it is not there."""
    if not place.exists(suffix):
        return pl.DataFrame(schema={"reading_id": pl.Int64, "rule": pl.String})
    frame = place.read(suffix)
    stamps = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime)]
    return frame.with_columns(pl.col(name).cast(pl.Int64) for name in stamps)


def rejected(place: Place, mode: str | None = None) -> list[tuple[int, str, str]]:
    """(row, rule, column) of the rejected table, in the rows' order."""
    frame = read(place, "_rejected")
    if mode is not None and frame.height:
        frame = frame.filter(pl.col("mode") == mode)
    return sorted(frame.select("reading_id", "rule", "column_name").rows()) if frame.height else []


def history(place: Place, suffix: str) -> list[dict[str, Any]]:
    """The commits' metadata, the newest first."""
    return DeltaTable(place.uri(suffix)).history()


def rows_by_name(sensor: Sensor, sql: str, names: list[str]) -> pl.DataFrame:
    """The result of SQL that SQLite computes in the sensor's process."""
    return pl.DataFrame(sensor.run(sql), schema=names, orient="row", infer_schema_length=None)
