"""Keys in an order that only the application knows: read where that is possible, refused with the cure where not."""

from __future__ import annotations

import subprocess
import sys

import pytest

APPLICATION = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.create_collation("nocase2", lambda a, b: (a.lower() > b.lower()) - (a.lower() < b.lower()))
database.execute("PRAGMA journal_mode=WAL")
for sql in sys.argv[2:]:
    database.execute(sql)
database.commit()
"""
ALL = "raw,schematized,sanitized,aggregated,emergency"
ENV = {"SWEEP": "0", "EMERGENCY_CONFIG": '{"severity_thresholds": {"v": 2}, "anomaly_flag": false}'}


def written(path, *statements):
    subprocess.run([sys.executable, "-I", "-c", APPLICATION, str(path), *statements], check=True)


def row(number):
    return f"INSERT INTO r VALUES ({number}, 'k{number}', '2026-01-01T00:00:0{number}Z', {number})"


@pytest.mark.parametrize(
    "columns",
    [
        "id INTEGER PRIMARY KEY, sensor TEXT COLLATE nocase2 UNIQUE, timestamp TEXT, v REAL",
        "id INTEGER PRIMARY KEY, sensor TEXT, timestamp TEXT COLLATE nocase2, v REAL",
    ],
)
def test_a_column_with_a_collation_of_the_applications_is_delivered_in_every_mode(columns, tmp_path, folder, command):
    path = tmp_path / "source.db"
    written(path, f"CREATE TABLE r ({columns})", *(row(n) for n in (1, 2, 5)))
    device = command(path, folder, processing_mode=ALL, interval=None)
    device.once(env=ENV).succeeded()
    written(path, row(3), row(6))
    done = device.once(env=ENV).succeeded()
    assert "Traceback" not in done.stderr
    assert sorted(folder.read()["reading_id"]) == [1, 2, 3, 5, 6]
    assert sorted(folder.read("_4_emergency")["reading_id"]) == [3, 5, 6]


def test_a_table_that_is_kept_in_such_an_order_is_refused_with_the_cure(tmp_path, folder, command):
    path = tmp_path / "source.db"
    columns = "id INTEGER, sensor TEXT COLLATE nocase2 PRIMARY KEY, timestamp TEXT, v REAL"
    written(path, f"CREATE TABLE r ({columns}) WITHOUT ROWID", row(1))
    done = command(path, folder, interval=None).once()
    assert done.code == 2
    assert "an order that only the application knows" in done.error
    assert "rowid" in done.error
