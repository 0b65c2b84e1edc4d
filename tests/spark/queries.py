"""Ten questions to a table of each mode, in SQL that Spark, DuckDB, Polars and DataFusion all read.

``{t}`` is the table. Sums of the tests' measurements are exact in any order, because they are multiples of 1/64.
"""

from __future__ import annotations


def _of_readings(key: str, hour: str, since: str) -> dict[str, str]:
    """The questions to a table with a row a reading.

    Args:
        key: the column that names a reading.
        hour: the hour of its time, as text or number.
        since: a condition on its time.
    """
    return {
        "how many": f"SELECT count(*), count(DISTINCT sensor_id), min({key}), max({key}) FROM {{t}}",
        "by sensor": "SELECT sensor_id, count(*), min(humidity), max(humidity), sum(humidity), avg(pressure) FROM {t} "
        "GROUP BY sensor_id",
        "by hour": f"SELECT {hour} AS hour, count(*), sum(co2) FROM {{t}} GROUP BY {hour}",
        "since": f"SELECT count(*), min({key}), sum(pressure) FROM {{t}} WHERE {since}",
        "latest": f"SELECT r.sensor_id, r.{key}, r.temperature FROM {{t}} r JOIN (SELECT sensor_id, max({key}) AS last "
        f"FROM {{t}} GROUP BY sensor_id) m ON r.{key} = m.last AND r.sensor_id = m.sensor_id",
        "hottest": f"SELECT {key}, temperature FROM {{t}} WHERE temperature < 1000 ORDER BY temperature DESC, {key} "
        "LIMIT 10",
        "missing": "SELECT sensor_id, sum(CASE WHEN humidity IS NULL THEN 1 ELSE 0 END), count(location), count(note) "
        "FROM {t} GROUP BY sensor_id",
        "words": "SELECT note, count(*) FROM {t} WHERE note LIKE '%mergency%' AND status_code IN (0, 2) GROUP BY note",
        "busy places": "SELECT location, status_code, count(*) FROM {t} WHERE location IS NOT NULL "
        "GROUP BY location, status_code HAVING count(*) > 100",
        "duplicates": f"SELECT node_id, source_generation, {key} FROM {{t}} GROUP BY node_id, source_generation, {key} "
        "HAVING count(*) > 1",
    }


_BY_TIME = ("EXTRACT(hour FROM {t}.timestamp)", "EXTRACT(hour FROM {t}.timestamp) >= 3")

QUERIES: dict[str, dict[str, str]] = {
    "_0_raw": _of_readings("source_rowid", "substr(timestamp, 1, 13)", "timestamp >= '2026-01-01T03'"),
    "_1_schematized": _of_readings("reading_id", *_BY_TIME),
    "_2_sanitized": _of_readings("reading_id", *_BY_TIME),
    "_3_aggregated": {
        "how many": "SELECT count(*), min(window_start), max(window_end), sum(record_count) FROM {t}",
        "by sensor": "SELECT sensor_id, count(*), sum(record_count), max(max_temperature) FROM {t} GROUP BY sensor_id",
        "by hour": "SELECT EXTRACT(hour FROM window_start) AS hour, sum(record_count), min(min_humidity) FROM {t} "
        "GROUP BY EXTRACT(hour FROM window_start)",
        "by place": "SELECT location, avg(avg_pressure), count(*) FROM {t} GROUP BY location",
        "weighted": "SELECT sensor_id, sum(avg_humidity * record_count) / sum(record_count) FROM {t} "
        "WHERE avg_humidity IS NOT NULL GROUP BY sensor_id",
        "spread": "SELECT sensor_id, max(max_temperature - min_temperature) FROM {t} GROUP BY sensor_id",
        "hottest": "SELECT window_start, sensor_id, location, max_temperature FROM {t} WHERE location IS NOT NULL "
        "ORDER BY max_temperature DESC, window_start, sensor_id, location LIMIT 10",
        "thin": "SELECT sensor_id, location, count(*) FROM {t} WHERE record_count < 20 GROUP BY sensor_id, location",
        "latest": "SELECT w.sensor_id, sum(w.record_count) FROM {t} w JOIN (SELECT sensor_id, max(window_start) AS "
        "last FROM {t} GROUP BY sensor_id) m ON w.window_start = m.last AND w.sensor_id = m.sensor_id "
        "GROUP BY w.sensor_id",
        "duplicates": "SELECT window_start, sensor_id, location, node_id FROM {t} "
        "GROUP BY window_start, sensor_id, location, node_id HAVING count(*) > 1",
    },
    "_4_emergency": {
        "how many": "SELECT count(*), count(DISTINCT reading_id), min(timestamp), max(timestamp) FROM {t}",
        "by severity": "SELECT severity, alert_type, count(*) FROM {t} GROUP BY severity, alert_type",
        "by sensor": "SELECT sensor_id, count(*), max(reading_id) FROM {t} GROUP BY sensor_id",
        "by hour": "SELECT EXTRACT(hour FROM {t}.timestamp) AS hour, count(*) FROM {t} "
        "GROUP BY EXTRACT(hour FROM {t}.timestamp)",
        "newest": "SELECT alert_id, reading_id, message FROM {t} ORDER BY reading_id DESC, alert_id LIMIT 10",
        "since": "SELECT count(*), min(alert_id) FROM {t} WHERE EXTRACT(hour FROM {t}.timestamp) >= 3",
        "words": "SELECT sensor_id, count(*) FROM {t} WHERE message LIKE '%temperature%' GROUP BY sensor_id",
        "several at once": "SELECT reading_id, count(*) FROM {t} GROUP BY reading_id HAVING count(*) > 1",
        "loudest": "SELECT sensor_id, alert_type, count(*) AS n FROM {t} GROUP BY sensor_id, alert_type "
        "ORDER BY n DESC, sensor_id, alert_type LIMIT 3",
        "duplicates": "SELECT alert_id FROM {t} GROUP BY alert_id HAVING count(*) > 1",
    },
}
"""By table and name of the question."""

EMPTY = {"duplicates"}
"""Questions whose right answer is no row."""
