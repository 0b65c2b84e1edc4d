"""Alerts with a cooldown are compared with the readings that are left, and with the alerts of those that went."""

from __future__ import annotations

import random

import pytest
from deltalake import DeltaTable, write_deltalake

from tests.support import modes
from tests.support.ask import verified
from tests.support.inprocess import deliver

COOLED = {"emergency": {"severity_thresholds": {"temperature": 50}, "anomaly_flag": False, "cooldown": 120}}
ALERTS = "_4_emergency"


@pytest.fixture
def file(tmp_path):
    found = tmp_path / "settings.toml"
    found.write_text("sweep = 0\n" + modes.toml(COOLED), encoding="utf-8")
    return found


def put(sensor, seconds, temperature, rowid=None, of="a"):
    sensor.run(
        "INSERT INTO readings (id, timestamp, sensor_id, temperature) VALUES "
        "(?, strftime('%Y-%m-%dT%H:%M:%fZ', 1767225600 + ?, 'unixepoch'), ?, ?)",
        rowid,
        seconds,
        of,
        temperature,
    )


@pytest.fixture
def minutes(sensor, folder, file):
    """A reading each minute: the second, third, fourth and fifth are too hot, and the second and fourth are told."""
    sensor.create()
    for minute, temperature in enumerate([10, 60, 60, 60, 60, 10, 10]):
        put(sensor, 60 * minute, temperature)
    assert deliver(sensor.path, folder, config=file, processing_mode="emergency")
    assert told(folder) == [(2, "high"), (4, "high"), (6, "over")]
    return folder


def told(folder):
    return folder.read(ALERTS).sort("reading_id").select("reading_id", "severity").rows()


def tampered(folder, sql):
    table = DeltaTable(folder.uri(ALERTS))
    table.alter.set_table_properties({"delta.appendOnly": "false"})
    write_deltalake(table, folder.read(ALERTS).sql(sql), mode="overwrite")


def verdict(sensor, folder, file):
    [found] = verified(sensor.path, folder, file.parent, node_id="n1", config=file, mode="emergency")["tables"]
    return found


@pytest.mark.parametrize("deleted", ["2", "3", "4", "5", "6", "2, 3", "2, 4", "3, 5, 6", "2, 4, 6"])
def test_readings_that_were_deleted_in_the_middle_are_no_difference(deleted, minutes, sensor, file):
    sensor.run(f"DELETE FROM readings WHERE id IN ({deleted})")
    found = verdict(sensor, minutes, file)
    assert found["equal"], found["differences"]
    if deleted not in {"3", "5"}:
        assert any("deleted after delivery" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("sql", "kinds"),
    [
        pytest.param("SELECT * FROM self WHERE reading_id <> 4", {"missing": 1}, id="an alert is missing"),
        pytest.param("SELECT * FROM self WHERE reading_id <> 6", {"missing": 1}, id="an end is missing"),
        pytest.param(
            "SELECT * FROM self UNION ALL SELECT * REPLACE (3::BIGINT AS reading_id, timestamp - INTERVAL '1 minute' "
            "AS timestamp) FROM self WHERE reading_id = 4",
            {"extra": 1},
            id="an alert that was held back",
        ),
        pytest.param(
            "SELECT * FROM self UNION ALL SELECT * FROM self WHERE reading_id = 4", {"twice": 1}, id="an alert twice"
        ),
    ],
)
def test_real_differences_are_found_beside_deleted_readings(sql, kinds, minutes, sensor, file):
    sensor.run("DELETE FROM readings WHERE id = 2")
    tampered(minutes, sql)
    assert verdict(sensor, minutes, file)["counts"] == kinds


@pytest.mark.parametrize("seed", range(6))
def test_whatever_was_deleted_only_alerts_that_are_wrong_differ(seed, sensor, folder, file):
    chance = random.Random(seed)
    sensor.create()
    for row in range(1, 61):
        put(sensor, 20 * row, chance.choice([10, 60]), of=chance.choice("ab"))
    assert deliver(sensor.path, folder, config=file, processing_mode="emergency")
    gone = set(chance.sample(range(2, 60), 25))
    sensor.run(f"DELETE FROM readings WHERE id IN ({', '.join(map(str, gone))})")
    found = verdict(sensor, folder, file)
    assert found["equal"], found["differences"]
    taken = chance.choice([row for row, _ in told(folder) if row not in gone])
    tampered(folder, f"SELECT * FROM self WHERE reading_id <> {taken}")
    found = verdict(sensor, folder, file)
    assert [one["id"] for one in found["differences"] if one["kind"] == "missing"][:1] == [taken]


@pytest.mark.parametrize("seed", range(6))
def test_readings_under_ids_that_were_used_again_are_judged_as_the_sweep_judged_them(seed, sensor, folder, file):
    """Of new times, as in a ring, and of times between those of others."""
    chance = random.Random(seed)
    sensor.create()
    for row in range(1, 41):
        put(sensor, 20 * row, chance.choice([10, 60]), of=chance.choice("ab"))
    assert deliver(sensor.path, folder, config=file, processing_mode="emergency")
    for turn in range(2):
        gone = sorted(chance.sample(range(2, 40), 15))
        sensor.run(f"DELETE FROM readings WHERE id IN ({', '.join(map(str, gone))})")
        for place, row in enumerate(gone[:10]):
            at = 900 + turn * 600 + 20 * place if seed % 2 else chance.randint(0, 900)
            put(sensor, at, chance.choice([10, 60]), of=chance.choice("ab"), rowid=row)
        put(sensor, 3000 + 600 * turn, 60)
        assert deliver(sensor.path, folder, config=file, processing_mode="emergency")
        found = verdict(sensor, folder, file)
        assert found["equal"], found["differences"]
    tampered(folder, "SELECT * FROM self WHERE reading_id <> 41")
    assert [(one["kind"], one["id"]) for one in verdict(sensor, folder, file)["differences"]] == [("missing", 41)]
