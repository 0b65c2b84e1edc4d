"""edge-delta verify: what was read equals what was delivered, and what does not is found."""

from __future__ import annotations

import hypothesis.strategies as st
import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings

from edge_delta.core import events as telemetry
from edge_delta.settings import load as config
from edge_delta.topology import commands
from tests.source.test_reader import numbers, quick, tables, write
from tests.support import expected, modes
from tests.support.ask import verified
from tests.support.inprocess import deliver
from tests.support.sqlite import LiveWriter
from tests.support.tables import Place

ALL = ["raw", "schematized", "sanitized", "aggregated", "emergency"]


def counts(found):
    return found["tables"][0]["counts"]


@pytest.fixture
def delivered(sensor, folder, command):
    """300 readings in a table, some of them rejected."""
    sensor.create()
    sensor.add(300)
    sensor.run("UPDATE readings SET temperature = 'broken' WHERE id % 50 = 0")
    command(sensor.path, folder, node_id="n1", max_batch_size=70).once().succeeded()
    return folder


def tampered(place, sql, suffix="_1_schematized"):
    """Change the table behind everyone's back."""
    table = DeltaTable(place.uri(suffix))
    rows = place.read(suffix).sql(sql)
    write_deltalake(table, rows, mode="overwrite")


def test_what_was_delivered_is_equal_and_every_row_is_accounted_for(delivered, sensor, tmp_path):
    found = verified(sensor.path, delivered, tmp_path, node_id="n1")
    assert found["equal"]
    [table] = found["tables"]
    totals = {k: sum(r[k] for r in table["ranges"]) for k in ("read", "delivered", "rejected", "not_selected")}
    assert totals == {"read": 300, "delivered": 294, "rejected": 6, "not_selected": 0}
    assert all(r["source_checksum"] == r["table_checksum"] for r in table["ranges"])


@pytest.mark.parametrize(
    ("sql", "kinds"),
    [
        pytest.param("SELECT * FROM self WHERE reading_id <> 17", {"missing": 1}, id="a row is missing"),
        pytest.param(
            "SELECT * FROM self UNION ALL SELECT * FROM self WHERE reading_id IN (5, 6)", {"twice": 2}, id="rows twice"
        ),
        pytest.param(
            "SELECT * REPLACE (CASE reading_id WHEN 9 THEN 99.5 ELSE temperature END AS temperature) FROM self",
            {"cell": 1},
            id="another value",
        ),
        pytest.param(
            "SELECT * REPLACE (CASE reading_id WHEN 9 THEN 9000 ELSE reading_id END AS reading_id) FROM self",
            {"missing": 1, "extra": 1},
            id="a row that the source does not have",
        ),
    ],
)
def test_every_kind_of_difference_is_found_and_named(sql, kinds, delivered, sensor, tmp_path):
    tampered_rows = sql
    DeltaTable(delivered.uri("_1_schematized")).alter.set_table_properties({"delta.appendOnly": "false"})
    tampered(delivered, tampered_rows)
    found = verified(sensor.path, delivered, tmp_path, node_id="n1")
    assert counts(found) == kinds
    assert len(found["tables"][0]["differences"]) == sum(kinds.values())


def test_a_cell_changed_in_the_source_is_a_difference_unless_its_column_is_ignored(delivered, sensor, tmp_path):
    sensor.run("UPDATE readings SET status_code = 77 WHERE id = 3")
    assert counts(verified(sensor.path, delivered, tmp_path, node_id="n1")) == {"cell": 1}
    assert verified(sensor.path, delivered, tmp_path, "--ignore=status_code,anomaly_flag", node_id="n1")["equal"]


def test_purged_rows_are_checked_for_duplicates_and_continuity_alone(delivered, sensor, tmp_path):
    sensor.run("DELETE FROM readings WHERE id <= 120")
    found = verified(sensor.path, delivered, tmp_path, node_id="n1")
    assert found["equal"]
    [note] = found["tables"][0]["notes"]
    assert "ids 1 to 120" in note
    assert "no gap" in note
    DeltaTable(delivered.uri("_1_schematized")).alter.set_table_properties({"delta.appendOnly": "false"})
    tampered(delivered, "SELECT * FROM self UNION ALL SELECT * FROM self WHERE reading_id = 5")
    assert counts(verified(sensor.path, delivered, tmp_path, node_id="n1")) == {"twice": 1}


def test_it_verifies_while_the_job_runs_and_takes_no_lock(sensor, folder, command, tmp_path):
    sensor.create()
    running = command(sensor.path, folder, node_id="n1", interval=0.1).start()
    with LiveWriter(sensor.path, rate=500):
        running.wait_for("batch committed", count=3)
        for _ in range(2):
            assert verified(sensor.path, folder, tmp_path, node_id="n1")["equal"]
    assert running.terminate() == 0


def test_all_modes_are_equal_with_windows_and_alerts_computed_again(sensor, folder, command, tmp_path):
    modes.create(sensor)
    file = tmp_path / "settings.toml"
    file.write_text(modes.toml({"processing_mode": ALL} | expected.SETTINGS), encoding="utf-8")
    edge = command(sensor.path, folder, node_id="n1", config=file, max_batch_size=700)
    for start in (0, 2000):
        modes.add(sensor, 2000, start=start)
        edge.once().succeeded()
    found = verified(sensor.path, folder, tmp_path, node_id="n1", config=file, mode=",".join(ALL))
    assert found["equal"], [t["differences"] for t in found["tables"]]
    assert all(t["ranges"] for t in found["tables"])


def test_alerts_with_a_cooldown_and_their_ends_are_equal_also_after_a_purge(sensor, folder, command, tmp_path):
    modes.create(sensor)
    file = tmp_path / "settings.toml"
    limits = {"severity_thresholds": {"temperature": 35}, "cooldown": 60}
    file.write_text(modes.toml({"emergency": limits}), encoding="utf-8")
    edge = command(sensor.path, folder, node_id="n1", config=file, max_batch_size=70, processing_mode="emergency")
    modes.add(sensor, 600)
    edge.once().succeeded()
    assert "over" in set(folder.read("_4_emergency")["severity"])
    for _ in range(2):
        found = verified(sensor.path, folder, tmp_path, node_id="n1", config=file, mode="emergency")
        assert found["equal"], [t["differences"] for t in found["tables"]]
        sensor.run("DELETE FROM stations WHERE id < 200")


def test_another_source_is_a_difference_and_the_table_checked_by_itself(delivered, sensor, tmp_path):
    sensor.run("DELETE FROM readings")
    sensor.add(20, start=9000)
    found = verified(sensor.path, delivered, tmp_path, node_id="n1")
    assert counts(found) == {"another source": 20}
    assert any("its source is gone" in note for note in found["tables"][0]["notes"])


def test_a_column_added_later_is_no_difference(delivered, sensor, command, tmp_path):
    sensor.run("ALTER TABLE readings ADD COLUMN rain REAL DEFAULT 0.5")
    sensor.add(50, start=300)
    command(sensor.path, delivered, node_id="n1").once().succeeded()
    found = verified(sensor.path, delivered, tmp_path, node_id="n1")
    assert found["equal"], found["tables"][0]["differences"]
    assert any("rain was added later" in note for note in found["tables"][0]["notes"])


def test_it_compares_on_s3(sensor, lake, command, tmp_path):
    sensor.create()
    sensor.add(100)
    command(sensor.path, lake, node_id="n1").once().succeeded()
    assert verified(sensor.path, lake, tmp_path, node_id="n1")["equal"]


@settings(quick, max_examples=10)
@given(table=tables(), mode=st.sampled_from(["raw", "schematized"]))
def test_whatever_sqlite_holds_is_equal_once_it_is_delivered(sensor, tmp_path, table, mode):
    path, _ = write(sensor, *table)
    place = Place(str(tmp_path / f"lake{next(numbers)}" / "t"))
    flags = {"sqlite_table_name": "t", "timestamp_col": table[0][0][0], "processing_mode": mode}
    deliver(path, place, max_batch_size=3, **flags)
    values = {"sqlite": str(path), "table_path": place.base, "state_dir": str(path.parent / "state"), "node_id": "n1"}
    [report] = commands.verify(config.load(values | flags, environment={}), telemetry.configure())
    assert report.equal or set(report.counts) == {"all rejected"}, report.lines()
    path.unlink()


def test_a_table_without_rowids_is_compared_too(sensor, folder, command, tmp_path):
    sensor.run(
        "CREATE TABLE readings (sensor TEXT, timestamp TEXT, v REAL, PRIMARY KEY (sensor, timestamp)) WITHOUT ROWID"
    )
    for number in range(60):
        sensor.run(
            "INSERT INTO readings VALUES (?, ?, ?)", f"s{number % 3}", f"2026-01-01T00:00:{number // 3:02}Z", number
        )
    command(sensor.path, folder, node_id="n1", max_batch_size=10).once().succeeded()
    assert verified(sensor.path, folder, tmp_path, node_id="n1")["equal"]
    sensor.run("UPDATE readings SET v = -1 WHERE v = 30")
    assert not verified(sensor.path, folder, tmp_path, node_id="n1")["equal"]


@pytest.mark.parametrize("strategy", ["per_place", "planar_laplace"])
def test_displaced_coordinates_are_compared_where_they_can_be_computed_again(strategy, sensor, folder):
    modes.create(sensor)
    modes.add(sensor, 500)
    fuzzing = {"gps_fuzzing": {"enabled": True, "strategy": strategy, "epsilon": 0.004, "harmless": ["location"]}}
    modes.deliver(sensor.path, folder, "schematized", **fuzzing)
    file = sensor.path.parent / "settings.toml"
    loaded = config.load({"config": str(file)}, environment={"GPS_FUZZING_SECRET": modes.SECRET})
    [report] = commands.verify(loaded, telemetry.configure())
    assert report.equal, report.lines()
    other = config.load({"config": str(file)}, environment={"GPS_FUZZING_SECRET": "another secret than before"})
    [report] = commands.verify(other, telemetry.configure())
    assert not report.equal
    assert "expected" not in str([d.detail for d in report.differences])


def test_a_late_row_that_came_into_no_window_is_a_difference(sensor, folder, command, tmp_path):
    def add(ids, second=None, verb="INSERT"):
        for one in ids:
            time = f"strftime('%Y-%m-%dT%H:%M:%SZ', {1_793_534_400 + (second or one * 5)}, 'unixepoch')"
            sensor.run(f"{verb} INTO readings (id, sensor_id, timestamp, temperature) VALUES ({one}, 's', {time}, 1)")

    file = tmp_path / "settings.toml"
    aggregate = {"window_minutes": 1, "aggregations": {"temperature": ["sum"]}, "allowed_lateness": 0}
    file.write_text("sweep = 0\n" + modes.toml({"aggregate": aggregate}), encoding="utf-8")
    edge = command(sensor.path, folder, node_id="n1", config=file, processing_mode="aggregated")
    sensor.create()
    add(range(1, 11))
    edge.once(flush=True).succeeded()
    add([3], 44, "INSERT OR REPLACE")
    add(range(11, 31))
    for flush in (False, True):
        edge.once(flush=flush).succeeded()
    found = verified(sensor.path, folder, tmp_path, node_id="n1", config=file, mode="aggregated")
    assert counts(found) == {"lost": 1}


@pytest.mark.parametrize("mode", ["raw", "schematized", "emergency"])
def test_rows_under_an_id_that_was_used_again_are_no_repeats_after_all_rows_from_it_on_were_deleted(
    mode, sensor, folder, command
):
    sensor.run("CREATE TABLE r (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT, temperature REAL, v REAL)")
    for n in range(1, 21):
        sensor.run("INSERT INTO r VALUES (?, ?, ?, ?)", n, f"2026-09-21T00:00:{n:02}Z", float(n), float(n))
    conditions = '{"severity_thresholds": {"v": 5, "temperature": 5}, "anomaly_flag": false}'
    raised = {"EMERGENCY_CONFIG": conditions, "SWEEP": "0"}
    edge = command(sensor.path, folder, node_id="n1", processing_mode=mode)
    edge.once(env=raised).succeeded()
    sensor.run("REPLACE INTO r VALUES (19, '2026-10-01T00:00:00Z', 77, 77)")
    edge.once(env=raised).succeeded()
    sensor.run("DELETE FROM r WHERE id >= 19")
    told = edge.run("verify", interval=None, retry_for=None, env=raised)
    assert told.code == 0, told.stdout
    assert "rows were deleted after delivery, ids 19 to 20" in told.stdout
    suffix = {"raw": "_0_raw", "schematized": "_1_schematized", "emergency": "_4_emergency"}[mode]
    under = folder.read(suffix).filter(pl.col("id" if mode == "raw" else "reading_id") == 19)
    assert under.height == (4 if mode == "emergency" else 2)
    write_deltalake(folder.uri(suffix), under.head(1), mode="append")
    told = edge.run("verify", interval=None, retry_for=None, env=raised)
    assert told.code == 1, told.stdout
    assert "row 19: 2 times in the table" in told.stdout
