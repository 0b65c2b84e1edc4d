"""What each mode's table has to hold, computed by SQLite or DuckDB from the rows of `tests.support.modes`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl

from tests.support import modes
from tests.support.tables import micros

if TYPE_CHECKING:
    from tests.support.sqlite import Sensor
    from tests.support.tables import Place

MICROS = "CAST(round((julianday(timestamp) - 2440587.5) * 86400000.0) AS INTEGER) * 1000"
"""SQLite's own reading of a time, in microseconds."""
TIMED = "julianday(timestamp) IS NOT NULL"

ALL_FUNCTIONS = ("mean", "min", "max", "sum", "count", "first", "last", "median", "std", "p50", "p90", "p95", "p99")

SETTINGS: dict[str, Any] = {
    "sanitize": {
        "ranges": {"temperature": {"min": -40, "max": 50}},
        "missing": {"temperature": "reject", "humidity": "forward_fill", "location": {"fill": "nowhere"}},
    },
    "aggregate": {
        "window_minutes": 5,
        "group_by": ["sensor_id", "location"],
        "aggregations": {"pressure": list(ALL_FUNCTIONS), "humidity": ["mean", "max", "count"]},
    },
    "emergency": {
        "severity_thresholds": {"temperature": 35, "co2": {"min": 10, "max": 490, "severity": "critical"}},
    },
}
"""The settings that what follows is computed for."""

_SLICE = 100_000
_MEASURES = ("sensor_id", "temperature", "humidity", "pressure", "location", "latitude", "longitude", "status_code")


RAW = f"SELECT {', '.join(modes.NAMES)} FROM stations ORDER BY id"

SCHEMATIZED = (
    f"SELECT id, {MICROS}, {', '.join(_MEASURES)}, anomaly_flag, note, co2 FROM stations WHERE {TIMED} ORDER BY id"
)
SCHEMATIZED_COLUMNS = ["reading_id", "timestamp", *_MEASURES, "anomaly_flag", "note", "co2"]


# The humidity that a sensor last had: SQLite has no IGNORE NULLS, so the row is found first and joined then.
_FILLED = """
  WITH last AS (
    SELECT *, max(CASE WHEN humidity BETWEEN 0 AND 100 THEN id END) OVER (PARTITION BY sensor_id ORDER BY id) AS source
    FROM stations
  ), filled AS (
    SELECT last.*, coalesce(last.humidity, s.humidity) AS wet, coalesce(last.location, 'nowhere') AS place
    FROM last LEFT JOIN stations s ON s.id = last.source
  ), judged AS (
    SELECT *, CASE
      WHEN julianday(timestamp) IS NULL THEN 'type/timestamp'
      WHEN abs(temperature) > 1e308 THEN 'not_finite/temperature'
      WHEN temperature < -273.15 THEN 'impossible/temperature'
      WHEN temperature < -40 OR temperature > 50 THEN 'range/temperature'
      WHEN temperature IS NULL THEN 'missing/temperature'
      WHEN wet < 0 OR wet > 100 THEN 'impossible/humidity'
      WHEN julianday(timestamp) > julianday('now') + 1 THEN 'future/timestamp'
    END AS broken FROM filled
  )
"""


SANITIZED = _FILLED + f"SELECT id, {MICROS}, temperature, wet, place, co2 FROM judged WHERE broken IS NULL ORDER BY id"
SANITIZED_COLUMNS = ["reading_id", "timestamp", "temperature", "humidity", "location", "co2"]


def assert_rows_equal(sensor: Sensor, found: pl.DataFrame, sql: str) -> None:
    """The frame has exactly the rows that SQLite finds, in that order; compared a slice at a time."""
    sensor.run(f"CREATE TEMP TABLE wanted AS {sql}")
    for start in range(0, found.height + 1, _SLICE):
        rows = sensor.run(f"SELECT * FROM wanted WHERE rowid > {start} AND rowid <= {start + _SLICE} ORDER BY rowid")
        assert found.slice(start, _SLICE).rows() == rows
    assert sensor.run("SELECT count(*) FROM wanted") == [(found.height,)]
    sensor.run("DROP TABLE wanted")


def sanitized_rejects(sensor: Sensor) -> list[tuple[int, str, str]]:
    """(row, rule, column) of the others."""
    found = sensor.run(_FILLED + "SELECT id, broken FROM judged WHERE broken IS NOT NULL ORDER BY id")
    return [(rowid, *broken.split("/")) for rowid, broken in found]


def emergency(sensor: Sensor) -> list[tuple[Any, ...]]:
    """reading_id, alert_type, severity, message, timestamp and sensor_id, one row an alert."""
    alerts = {
        "note IN ('an EMERGENCY, now', 'Emergency')": (
            "keyword_emergency",
            "critical",
            "'keyword EMERGENCY in note'",
        ),
        "temperature > 35": ("temperature_high", "high", None),
        "co2 > 490": ("co2_high", "critical", None),
        "co2 < 10": ("co2_low", "critical", None),
        "anomaly_flag <> 0": ("anomaly", "medium", "'anomaly_flag is ' || anomaly_flag"),
    }
    parts = [
        f"SELECT id, '{kind}', '{severity}', {message or 'NULL'}, {MICROS}, sensor_id FROM stations "
        f"WHERE {TIMED} AND {condition}"
        for condition, (kind, severity, message) in alerts.items()
    ]
    return sorted(sensor.run(" UNION ALL ".join(parts)), key=lambda row: (row[0], row[1]))


# -- aggregated, by DuckDB

_SQL = {
    "mean": ("avg", "avg({c})"),
    "min": ("min", "min({c})"),
    "max": ("max", "max({c})"),
    "sum": ("sum", "sum({c})"),
    "count": ("count", "count({c})"),
    "first": ("first", "first({c} ORDER BY t, id) FILTER ({c} IS NOT NULL)"),
    "last": ("last", "last({c} ORDER BY t, id) FILTER ({c} IS NOT NULL)"),
    "median": ("median", "median({c})"),
    "std": ("std", "stddev_samp({c})"),
    "p50": ("p50", "quantile_cont({c}, 0.5)"),
    "p90": ("p90", "quantile_cont({c}, 0.9)"),
    "p95": ("p95", "quantile_cont({c}, 0.95)"),
    "p99": ("p99", "quantile_cont({c}, 0.99)"),
}
EXACT = ("record_count", "min", "max", "sum", "count", "first", "last", "avg")
"""Prefixes of what is equal to the last bit; the others interpolate or take roots."""


def aggregated(
    rows: pl.DataFrame,
    *,
    aggregations: dict[str, Any],
    group_by: tuple[str, ...] = ("sensor_id",),
    window: str | None = None,
    minutes: int = 5,
) -> pl.DataFrame:
    """One row a window and group.

    Args:
        rows: ``id``, ``t`` (microseconds) and the columns.
        aggregations: functions by column.
        group_by: the groups' columns.
        window: SQL for a row's window in microseconds; default: ``minutes`` from the epoch.
        minutes: the windows' length.
    """
    window = window or f"t - t % {minutes * 60_000_000}"
    values = [
        f'{sql.format(c=name)} AS "{prefix}_{name}"'
        for name, functions in aggregations.items()
        for prefix, sql in (_SQL[f] for f in functions)
    ]
    groups = ", ".join(group_by)
    with duckdb.connect() as connection:
        connection.register("readings", rows.to_arrow())
        return connection.execute(
            f"SELECT {window} AS window_start, {groups}, count(*) AS record_count, {', '.join(values)} "
            f"FROM readings GROUP BY ALL ORDER BY ALL"
        ).pl()


def station_rows(sensor: Sensor, where: str = TIMED) -> pl.DataFrame:
    names = ["id", "t", "sensor_id", "location", "temperature", "humidity", "pressure"]
    columns = ", ".join(names[2:])
    found = modes.rows_by_name(sensor, f"SELECT id, {MICROS}, {columns} FROM stations WHERE {where}", names)
    return found.with_columns(pl.col("temperature", "humidity", "pressure").cast(pl.Float64))


def assert_windows_equal(
    found: pl.DataFrame, wanted: pl.DataFrame, *, group_by: tuple[str, ...], exact: tuple[str, ...] = EXACT
) -> None:
    """One row a window and group, and every value as in the other computation."""
    key = ["window_start", *group_by]
    assert found.select(key).is_duplicated().sum() == 0, found.filter(found.select(key).is_duplicated()).sort(key)
    ours = found.select(wanted.columns).sort(key, nulls_last=True)
    theirs = wanted.sort(key, nulls_last=True)
    assert ours.select(key).rows() == theirs.select(key).rows()
    for name in wanted.columns:
        if name in key:
            continue
        to_the_bit = name == "record_count" or name.partition("_")[0] in exact
        for row, (one, other) in enumerate(zip(ours[name], theirs[name], strict=True)):
            same = one == other or (
                not to_the_bit and one is not None and other is not None and math.isclose(one, other, rel_tol=1e-9)
            )
            assert same, (name, theirs.row(row, named=True), one, other)


# -- all of them

ALL = ["raw", "schematized", "sanitized", "aggregated", "emergency"]
GROUPS = ("sensor_id", "location")
"""The groups of the windows in `SETTINGS`."""


def assert_every_table_is_right(sensor: Sensor, place: Place, *, generation: int | None = None) -> None:
    """Each mode's table holds what SQLite and DuckDB make of the source, with `SETTINGS`.

    Args:
        sensor: the source, with the rows of `tests.support.modes`.
        place: the tables.
        generation: the generation of the source in the tables; None if they hold no other.
    """

    def table(suffix: str, *key: str) -> pl.DataFrame:
        frame = micros(place.read(suffix)).sort(*key)
        return frame if generation is None else frame.filter(pl.col("source_generation") == generation)

    assert_rows_equal(sensor, table("_0_raw", "source_rowid").select(modes.NAMES), RAW)
    assert_rows_equal(sensor, table("_1_schematized", "reading_id").select(SCHEMATIZED_COLUMNS), SCHEMATIZED)
    assert_rows_equal(sensor, table("_2_sanitized", "reading_id").select(SANITIZED_COLUMNS), SANITIZED)
    wanted = aggregated(station_rows(sensor), aggregations=SETTINGS["aggregate"]["aggregations"], group_by=GROUPS)
    assert_windows_equal(table("_3_aggregated", "window_start"), wanted, group_by=GROUPS)
    _assert_alerts(sensor, table("_4_emergency", "reading_id", "alert_type"))
    rejects = table("_rejected", "reading_id", "rule", "column_name")
    untimed = sensor.run(f"SELECT id, 'type', 'timestamp' FROM stations WHERE NOT ({TIMED}) ORDER BY id")
    for mode in ALL:
        found = rejects.filter(pl.col("mode") == mode).select("reading_id", "rule", "column_name").rows()
        assert found == {"raw": [], "sanitized": sanitized_rejects(sensor)}.get(mode, untimed), mode


def _assert_alerts(sensor: Sensor, alerts: pl.DataFrame) -> None:
    wanted = emergency(sensor)
    columns = ["reading_id", "alert_type", "severity", "timestamp", "sensor_id"]
    assert alerts.select(columns).rows() == [(r[0], r[1], r[2], r[4], r[5]) for r in wanted]
    told = {(r[0], r[1]): r[3] for r in wanted if r[3] is not None}
    messages = {(row, kind): text for row, kind, text in alerts.select("reading_id", "alert_type", "message").rows()}
    assert {key: messages[key] for key in told} == told
    assert alerts["alert_id"].n_unique() == alerts.height
