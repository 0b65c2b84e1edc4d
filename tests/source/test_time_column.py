"""Which column the readings' times are in: told by its name before its type, and said."""

from __future__ import annotations

import pytest

from tests.support.inprocess import deliver

DECLARED = {
    "created_at DATETIME DEFAULT CURRENT_TIMESTAMP, timestamp TEXT": "timestamp",
    "measured_at TEXT, created_at DATETIME": "measured_at",
    "uploaded_at DATETIME, ts INTEGER": "ts",
    "calibration_date DATE, time TEXT": "time",
    "uploaded_at DATETIME": None,
    "calibration_date DATE, updated_at TIMESTAMP": None,
}


@pytest.mark.parametrize("columns", DECLARED)
def test_a_columns_name_counts_before_its_type_and_the_choice_is_said_with_its_reason(columns, sensor, folder):
    sensor.run(f"CREATE TABLE readings (id INTEGER PRIMARY KEY, {columns}, temperature REAL)")
    sensor.run("INSERT INTO readings (temperature) VALUES (20.5)")
    [said] = deliver(sensor.path, folder, processing_mode="raw").named("time column")
    assert said["column"] == DECLARED[columns]
    assert said["reason"]
