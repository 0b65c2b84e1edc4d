"""schematized: the standard schema, then whatever else the source has."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from tests.support.inprocess import deliver
from tests.support.tables import assert_both_readers_agree, assert_plain_protocol

STANDARD = {
    "reading_id": pl.Int64,
    "sensor_id": pl.String,
    "timestamp": pl.Datetime("us", "UTC"),
    "temperature": pl.Float64,
    "humidity": pl.Float64,
    "pressure": pl.Float64,
    "vibration": pl.Float64,
    "voltage": pl.Float64,
    "status_code": pl.Int32,
    "anomaly_flag": pl.Int32,
    "anomaly_type": pl.String,
    "firmware_version": pl.String,
    "model": pl.String,
    "manufacturer": pl.String,
    "location": pl.String,
    "latitude": pl.Float64,
    "longitude": pl.Float64,
    "original_timezone": pl.String,
    "synced": pl.Int32,
    "databricks_inserted_at": pl.Datetime("us", "UTC"),
    "node_id": pl.String,
}


def run(sensor, folder, create, rows, *, config="", **flags):
    """Rows into a table, the job over it, the table in the order of its ids."""
    sensor.run(f"CREATE TABLE t ({create})")
    places = ", ".join("?" * len(rows[0]))
    sensor.many(f"INSERT INTO t VALUES ({places})", rows)
    file = sensor.path.with_name("config.toml")
    file.write_text(config)
    deliver(sensor.path, folder, config=str(file), **flags)
    return assert_both_readers_agree(folder, "_1_schematized", "reading_id")


def test_the_standard_columns_come_first_in_order_and_type_and_the_rest_follows(sensor, folder):
    table = run(sensor, folder, "id INTEGER PRIMARY KEY, rain REAL, timestamp TEXT", [(7, 0.5, "2026-01-01T00:00:00Z")])
    assert dict(list(table.schema.items())[: len(STANDARD)]) == STANDARD
    assert list(table.schema)[: len(STANDARD)] == list(STANDARD)
    assert table["rain"].to_list() == [0.5]
    assert table["reading_id"].to_list() == [7]
    assert "id" not in table.columns
    assert_plain_protocol(folder, "_1_schematized")


def test_every_standard_column_that_the_source_has_is_taken_from_it(sensor, folder):
    create = (
        "id INTEGER PRIMARY KEY, sensor_id TEXT, timestamp TEXT, temperature REAL, humidity REAL, pressure REAL, "
        "vibration REAL, voltage REAL, status_code INTEGER, anomaly_flag INTEGER, anomaly_type TEXT, "
        "firmware_version TEXT, model TEXT, manufacturer TEXT, location TEXT, latitude REAL, longitude REAL, "
        "original_timezone TEXT, synced INTEGER"
    )
    row = (
        *(1, "s", "2026-01-01T01:00:00+01:00", 80.5, 40.0, 101325.0, 0.2, 3.3, 0, 1, "spike", "1.2", "m", "x", "Hall"),
        *(52.5, 13.4, "Europe/Berlin", 0),
    )
    table = run(sensor, folder, create, [row])
    expected = (row[0], row[1], datetime(2026, 1, 1, tzinfo=UTC), *row[3:])
    assert table.row(0)[: len(expected)] == expected


def test_absent_columns_are_null(sensor, folder):
    table = run(sensor, folder, "id INTEGER PRIMARY KEY, x REAL", [(1, 1.0)])
    filled = {"reading_id", "x", "databricks_inserted_at", "node_id", "source_generation"}
    assert {name for name in table.columns if table[name][0] is not None} <= filled


def test_the_original_time_zone_is_the_offset_it_was_written_with(sensor, folder):
    rows = [(1, "2026-01-01T02:00:00+02:00"), (2, "2026-01-01T00:00:00Z"), (3, "2026-01-01 00:00:00"), (4, None)]
    table = run(sensor, folder, "id INTEGER PRIMARY KEY, timestamp TEXT", rows)
    assert table["original_timezone"].to_list() == ["+02:00", "+00:00", None, None]
    assert table["timestamp"].to_list() == [datetime(2026, 1, 1, tzinfo=UTC)] * 3 + [None]


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ("INTEGER", 1767225600),
        ("INTEGER", 1767225600000),
        ("REAL", 1767225600.0),
        ("REAL", 2461041.5),
        ("DATETIME", "2026-01-01 00:00:00"),
        ("TEXT", "2026-01-01"),
        ("DATETIME", 1767225600),
        ("", 1767225600),
    ],
)
def test_the_time_in_every_form_is_utc(declared, value, sensor, folder):
    table = run(sensor, folder, f"id INTEGER PRIMARY KEY, timestamp {declared}", [(1, value)])
    assert table["timestamp"].to_list() == [datetime(2026, 1, 1, tzinfo=UTC)]


def test_a_time_that_cannot_be_read_rejects_its_row(sensor, folder):
    rows = [(1, "2026-01-01T00:00:00Z"), (2, "soon"), (3, None)]
    table = run(sensor, folder, "id INTEGER PRIMARY KEY, timestamp TEXT", rows)
    assert table["reading_id"].to_list() == [1, 3]
    [bad] = folder.read("_rejected").rows(named=True)
    assert (bad["reading_id"], bad["column_name"], bad["value"]) == (2, "timestamp", "soon")


def test_a_column_called_time_is_read_as_it_is_whether_it_is_the_timestamp_or_not(sensor, folder):
    rows = [(1, "2026-01-01T01:00:00+01:00"), (2, "soon"), (3, None)]
    table = run(sensor, folder, "id INTEGER PRIMARY KEY, _time TEXT", rows, timestamp_col="_time")
    assert table["timestamp"].to_list() == [datetime(2026, 1, 1, tzinfo=UTC), None]
    assert table["original_timezone"].to_list() == ["+01:00", None]
    assert folder.read("_rejected")["reading_id"].to_list() == [2]


def test_a_column_called_time_beside_the_timestamp_is_kept(sensor, folder):
    create, row = "id INTEGER PRIMARY KEY, timestamp TEXT, _time TEXT", (1, "2026-01-01T00:00:00Z", "noon")
    assert run(sensor, folder, create, [row])["_time"].to_list() == ["noon"]


CODES = [(1, 0), (2, 3), (3, None), (4, 200), (5, 204), (6, 299), (7, 300), (8, 404), (9, -1)]


def flagged(sensor, folder, config="", codes=CODES):
    table = run(sensor, folder, "id INTEGER PRIMARY KEY, status_code INTEGER", codes, config=config)
    return [code for (_, code), flag in zip(codes, table["anomaly_flag"], strict=True) if flag]


def test_status_codes_but_0_and_those_of_success_are_anomalies(sensor, folder):
    assert flagged(sensor, folder) == [3, 300, 404, -1]


STATUS = {
    "ok_status = [0]": [3, 200, 204, 299, 300, 404, -1],
    "ok_status = [0, 200]": [3, 204, 299, 300, 404, -1],
    'ok_status = ["-1-3", "200-399"]': [404],
    'ok_status = "any"': [],
}


@pytest.mark.parametrize("setting", STATUS)
def test_which_status_codes_are_no_anomaly_is_a_setting(setting, sensor, folder):
    assert flagged(sensor, folder, f"[schematize.anomaly]\n{setting}\n") == STATUS[setting]


def test_switched_off_the_anomaly_flag_is_empty(sensor, folder):
    config = '[schematize]\nanomaly = "off"\nthresholds = { temperature = { max = 35 } }\n'
    create = "id INTEGER PRIMARY KEY, status_code INTEGER, temperature REAL"
    assert run(sensor, folder, create, [(1, 500, 99.0)], config=config)["anomaly_flag"].to_list() == [None]


def test_the_anomaly_flag_comes_from_thresholds(sensor, folder):
    config = "[schematize.thresholds]\ntemperature = { min = -10, max = 35 }\n"
    rows = [(1, 20.0), (2, 35.5), (3, -11.0), (4, 35.0), (5, None)]
    table = run(sensor, folder, "id INTEGER PRIMARY KEY, temperature REAL", rows, config=config)
    assert table["anomaly_flag"].to_list() == [0, 1, 1, 0, 0]


def test_a_status_code_that_tells_of_a_failure_counts_beside_thresholds(sensor, folder):
    config = "[schematize.thresholds]\ntemperature = { max = 35 }\n"
    rows = [(1, 20.0, 200), (2, 20.0, 500), (3, 36.0, 200)]
    create = "id INTEGER PRIMARY KEY, temperature REAL, status_code INTEGER"
    assert run(sensor, folder, create, rows, config=config)["anomaly_flag"].to_list() == [0, 1, 1]


def test_the_sources_own_anomaly_flag_wins(sensor, folder):
    rows = [(1, 3, 0), (2, 0, 1), (3, 0, None)]
    table = run(sensor, folder, "id INTEGER PRIMARY KEY, status_code INTEGER, anomaly_flag INTEGER", rows)
    assert table["anomaly_flag"].to_list() == [0, 1, None]


def test_renames_defaults_and_base_coordinates_fill_the_standard_columns(sensor, folder):
    config = (
        '[schematize.rename]\nTemp = "temperature"\ndevice = "sensor_id"\n'
        '[schematize.defaults]\nmodel = "M1"\nmanufacturer = "ACME"\nfirmware_version = "2.0"\n'
        "[gps_fuzzing]\nbase_lat = 52.5\nbase_lon = 13.4\n"
    )
    table = run(sensor, folder, "id INTEGER PRIMARY KEY, temp REAL, device TEXT", [(1, 20.5, "s9")], config=config)
    [row] = table.rows(named=True)
    assert (row["temperature"], row["sensor_id"]) == (20.5, "s9")
    assert (row["model"], row["manufacturer"], row["firmware_version"]) == ("M1", "ACME", "2.0")
    assert (row["latitude"], row["longitude"]) == (52.5, 13.4)
    assert "temp" not in table.columns


def test_values_that_the_standard_type_cannot_hold_exactly_reject_their_rows(sensor, folder):
    rows = [(1, "20.5", 1), (2, "warm", 1), (3, " 7 ", 2**31), (4, None, -(2**31)), (5, "1e3", 0)]
    table = run(sensor, folder, "id INTEGER PRIMARY KEY, temperature TEXT, status_code INTEGER", rows)
    assert table["reading_id"].to_list() == [1, 4, 5]
    assert table["temperature"].to_list() == [20.5, None, 1000.0]
    rejected = folder.read("_rejected").sort("reading_id")
    assert rejected.select("reading_id", "column_name").rows() == [(2, "temperature"), (3, "status_code")]


def test_names_in_any_case_match_and_extra_columns_with_our_names_are_kept(sensor, folder):
    create = "ID INTEGER PRIMARY KEY, Temperature REAL, NODE_ID TEXT, reading_id INTEGER"
    table = run(sensor, folder, create, [(5, 1.5, "theirs", 99)])
    [row] = table.rows(named=True)
    assert (row["reading_id"], row["temperature"], row["node_id"]) == (5, 1.5, "n1")
    assert {"theirs", 99} <= set(row.values())


def test_a_source_that_gains_and_loses_columns_is_followed(sensor, folder):
    run(
        sensor,
        folder,
        "id INTEGER PRIMARY KEY, timestamp TEXT, a REAL, b TEXT",
        [(1, "2026-01-01T00:00:01Z", 1.0, "x")],
    )
    sensor.run("ALTER TABLE t ADD COLUMN c INTEGER")
    sensor.run("INSERT INTO t VALUES (2, '2026-01-01T00:00:02Z', 2.0, 'y', 2)")
    deliver(sensor.path, folder, env={"ON_SOURCE_RESET": "stop"})
    sensor.run("ALTER TABLE t DROP COLUMN b")
    sensor.run("INSERT INTO t VALUES (3, '2026-01-01T00:00:03Z', 3.0, 3)")
    deliver(sensor.path, folder, env={"ON_SOURCE_RESET": "stop"})
    table = assert_both_readers_agree(folder, "_1_schematized", "reading_id")
    assert table.select("a", "b", "c").rows() == [(1.0, "x", None), (2.0, "y", 2), (3.0, None, 3)]


def test_a_source_without_times_that_gains_a_column_is_followed(sensor, folder):
    run(sensor, folder, "id INTEGER PRIMARY KEY, a REAL", [(1, 1.0)])
    sensor.run("ALTER TABLE t ADD COLUMN c INTEGER")
    sensor.run("INSERT INTO t VALUES (2, 2.0, 2)")
    deliver(sensor.path, folder, env={"ON_SOURCE_RESET": "stop"})
    assert folder.read().sort("reading_id").select("a", "c").rows() == [(1.0, None), (2.0, 2)]
