"""edge-delta verify as the judge: "equal" only where every row is accounted for in a table that our cursor is in."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from msgspec.structs import replace

from edge_delta.core import events as telemetry
from edge_delta.recovery import verify as verifying
from edge_delta.settings import load as config
from edge_delta.sinks.delta.cursors import application_id
from edge_delta.sinks.delta.sink import DeltaSink
from edge_delta.topology.lanes import Session, lanes_of, open_source
from tests.support import modes
from tests.support.ask import ask, verified

MODES = {"raw": "_0_raw", "schematized": "_1_schematized", "aggregated": "_3_aggregated", "emergency": "_4_emergency"}


@pytest.fixture
def edge(sensor, folder, command):
    """100 readings in a table."""
    sensor.create()
    sensor.add(100)
    device = command(sensor.path, folder, node_id="n1", max_batch_size=20)
    device.once().succeeded()
    return device


def judged(sensor, folder, tmp_path, **flags):
    """The differences by kind, and what is said of them."""
    found = verified(sensor.path, folder, tmp_path, **({"node_id": "n1"} | flags))
    assert not found["equal"]
    [table] = found["tables"]
    return table["counts"], " ".join(one["detail"] for one in table["differences"])


def written_once_more(folder, suffix="_1_schematized", *, table="readings", node="n1", generation=1):
    """All rows of a table, again: as the next generation, or as another device."""
    own, other = (DeltaSink(folder.uri(suffix), {}, application_id(name, table)) for name in ("n1", node))
    stands = own.committed()
    rows = folder.read(suffix).with_columns(
        pl.lit(node).alias("node_id"), pl.lit(generation, pl.Int32).alias("source_generation")
    )
    other.append(rows, replace(stands, generation=generation, marks=stands.next_generation().marks))


def test_a_source_of_which_nothing_was_delivered_is_not_equal(sensor, folder, tmp_path):
    sensor.create()
    assert verified(sensor.path, folder, tmp_path, node_id="n1")["equal"]  # nothing there, nothing missing
    sensor.add(30)
    assert judged(sensor, folder, tmp_path)[0] == {"missing": 30}


@pytest.mark.usefixtures("edge")
def test_rows_of_this_device_without_its_cursor_are_not_equal(sensor, folder, tmp_path):
    """Such as after the table was written by hand, or from another table of the device."""
    sensor.run("CREATE TABLE others AS SELECT * FROM readings LIMIT 10")
    counts, detail = judged(sensor, folder, tmp_path, table="others")
    assert counts == {"no cursor": 100, "missing": 10}
    assert "no cursor of table others" in detail


@pytest.mark.parametrize("mode", MODES)
def test_rows_that_a_generation_repeats_are_found_in_every_mode(mode, sensor, folder, tmp_path):
    modes.create(sensor)
    modes.add(sensor, 300)
    modes.deliver(sensor.path, folder, mode, flush=True)
    file = sensor.path.parent / "settings.toml"
    assert verified(sensor.path, folder, tmp_path, node_id="n1", mode=mode, config=file)["equal"]
    rows = folder.read(MODES[mode]).height
    assert rows
    written_once_more(folder, MODES[mode], table="stations")
    counts, detail = judged(sensor, folder, tmp_path, mode=mode, config=file)
    assert counts["repeated"] == rows
    assert "generation (0 and 1)" in detail


@pytest.mark.parametrize("mode", ["raw", "schematized", "aggregated"])
def test_other_values_at_the_same_times_under_the_same_ids_are_no_repeats(mode, sensor, folder, tmp_path):
    """A simulator that makes its database again, or what is written once more behind a backup."""
    state, old = tmp_path / "state", sensor.path
    modes.create(sensor)
    modes.add(sensor, 300)
    modes.deliver(sensor.path, folder, mode, flush=True, secret=None, state_dir=state)
    sensor.open(old.with_name("new.db"))
    modes.create(sensor)
    values = ", ".join(name if name in ("id", "timestamp") else f"b.{name}" for name in modes.NAMES)
    sensor.run(f"ATTACH '{old}' AS old")
    sensor.run(
        f"INSERT INTO stations SELECT {values.replace('id,', 'a.id,', 1).replace('timestamp', 'a.timestamp')} "
        "FROM old.stations AS a JOIN old.stations AS b ON b.id = (a.id * 7 + 150) % 300 + 1"
    )
    modes.deliver(sensor.path, folder, mode, flush=True, secret=None, state_dir=state)
    file = sensor.path.parent / "settings.toml"
    found = verified(sensor.path, folder, tmp_path, node_id="n1", mode=mode, config=file)
    assert found["equal"], found["tables"][0]["differences"]
    written_once_more(folder, MODES[mode], table="stations", generation=2)
    assert judged(sensor, folder, tmp_path, mode=mode, config=file)[0]["repeated"]


@pytest.mark.usefixtures("edge")
def test_rows_that_came_again_by_reset_are_meant_to(sensor, folder, edge, tmp_path):
    words = ["--sqlite", sensor.path, "--table-path", folder.base, "--state-dir", tmp_path / "state", "--node-id", "n1"]
    assert ask("reset", *words, "--to-id", "61", "--yes").returncode == 0
    edge.once().succeeded()
    assert verified(sensor.path, folder, tmp_path, node_id="n1")["equal"]
    written_once_more(folder, generation=2)
    assert judged(sensor, folder, tmp_path)[0]["repeated"] == 40 + 100  # those that came again are there twice by now


@pytest.mark.usefixtures("edge")
def test_the_same_rows_under_another_node_id_are_found(sensor, folder, tmp_path):
    """A device whose id was lost has delivered its source twice, once under each name."""
    written_once_more(folder, node="n2", generation=0)
    counts, detail = judged(sensor, folder, tmp_path)
    assert list(counts) == ["another node"]
    assert "under node n2" in detail


@pytest.mark.usefixtures("edge")
def test_other_devices_with_the_same_times_and_ids_are_others(sensor, folder, command, tmp_path):
    sensor.run("UPDATE readings SET temperature = temperature + 0.1, humidity = humidity + 0.1")
    command(sensor.path, folder, node_id="n2", state_dir=tmp_path / "state2").once().succeeded()
    assert verified(sensor.path, folder, tmp_path, node_id="n2")["equal"]


def test_a_source_whose_rows_were_all_rejected_is_not_equal(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(30)
    sensor.run("UPDATE readings SET temperature = 'broken'")
    command(sensor.path, folder, node_id="n1").once().succeeded()
    counts, detail = judged(sensor, folder, tmp_path)
    assert counts == {"all rejected": 30}
    assert "readings_rejected" in detail


def test_rows_deleted_before_they_were_delivered_are_told_as_lost(sensor, folder, edge, tmp_path):
    sensor.add(30, start=100)
    sensor.run("DELETE FROM readings WHERE id <= 110")
    counts, detail = judged(sensor, folder, tmp_path)
    assert counts == {"lost": 10}
    assert "ids 101 to 110" in detail
    # And still when what is behind them was delivered, and purged in its turn.
    edge.once().succeeded()
    assert judged(sensor, folder, tmp_path)[0] == {"lost": 10}
    sensor.run("DELETE FROM readings WHERE id <= 120")
    assert judged(sensor, folder, tmp_path)[0] == {"lost": 10}


def test_a_source_that_leaves_out_ids_lost_nothing_by_it(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(100)
    sensor.run("DELETE FROM readings WHERE id % 3 = 0")
    command(sensor.path, folder, node_id="n1").once().succeeded()
    sensor.run("DELETE FROM readings WHERE id <= 50")
    assert verified(sensor.path, folder, tmp_path, node_id="n1")["equal"]


def log_of(folder):
    return sorted((Path(folder.uri("_1_schematized")) / "_delta_log").glob("0*.json"))


@pytest.mark.usefixtures("edge")
def test_a_commit_that_another_one_replaced_is_told_as_gone(sensor, folder, command, tmp_path):
    """What a store does that ignores If-None-Match: one writer's last commit, cursor and all, becomes another's."""
    command(sensor.path, folder, node_id="n2", state_dir=tmp_path / "state2", max_batch_size=200).once().succeeded()
    *_, ours, theirs = log_of(folder)
    theirs.replace(ours)
    counts, detail = judged(sensor, folder, tmp_path)
    assert counts["commit gone"] == 20
    assert "up to id 100 were committed, but the table's log ends at 80" in detail


@pytest.mark.usefixtures("edge")
def test_a_commit_that_was_replaced_is_found_after_the_purge_too(sensor, folder, tmp_path):
    sensor.run("DELETE FROM readings WHERE id <= 60")
    second = log_of(folder)[2]
    second.write_text(next(line for line in second.read_text().splitlines() if '"commitInfo"' in line))
    assert judged(sensor, folder, tmp_path)[0]["lost"] == 20


def test_rows_below_the_id_that_a_generation_begins_at_are_found(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(100)
    sensor.run("CREATE TABLE kept AS SELECT * FROM readings WHERE id = 30")
    sensor.run("DELETE FROM readings WHERE id = 30")
    edge = command(sensor.path, folder, node_id="n1", table="readings")
    edge.once().succeeded()
    words = ["--sqlite", sensor.path, "--table-path", folder.base, "--state-dir", tmp_path / "state", "--node-id", "n1"]
    assert ask("reset", *words, "--table", "readings", "--to-id", "61", "--yes").returncode == 0
    edge.once().succeeded()
    assert verified(sensor.path, folder, tmp_path, node_id="n1", table="readings")["equal"]
    sensor.run("INSERT INTO readings SELECT * FROM kept")
    assert judged(sensor, folder, tmp_path, table="readings")[0] == {"missing": 1}


def test_rows_below_the_cursor_are_missing_in_windows_too(sensor, folder, tmp_path):
    modes.create(sensor)
    modes.add(sensor, 600)
    sensor.run("CREATE TABLE kept AS SELECT * FROM stations WHERE id = 1")
    sensor.run("DELETE FROM stations WHERE id = 1")
    modes.deliver(sensor.path, folder, "aggregated", flush=True, sqlite_table_name="stations")
    sensor.run("INSERT INTO stations SELECT * FROM kept")
    file = sensor.path.parent / "settings.toml"
    counts, _ = judged(sensor, folder, tmp_path, mode="aggregated", config=file, table="stations")
    assert counts["missing"] >= 1


@pytest.mark.usefixtures("edge")
def test_another_source_is_a_difference(sensor, folder, tmp_path):
    sensor.run("DELETE FROM readings")
    sensor.add(20, start=9000)
    counts, detail = judged(sensor, folder, tmp_path)
    assert counts == {"another source": 20}
    assert "not of this source" in detail


@pytest.mark.usefixtures("edge")
@pytest.mark.parametrize("rows", [1, 3, 7])
def test_however_few_rows_are_held_at_a_time_the_judgement_is_the_same(rows, sensor, folder, tmp_path):
    """A thin rest of what was delivered must not bring all of the table into memory."""
    sensor.run("DELETE FROM readings WHERE id BETWEEN 11 AND 90")
    values = {"sqlite": str(sensor.path), "table_path": folder.base, "state_dir": str(tmp_path / "state")}
    settings = config.load(values | {"node_id": "n1"}, environment={})
    [lane] = lanes_of(settings, Session(open_source(settings), "n1", telemetry.configure()))
    report = verifying.check(lane.route, verifying.Elsewhere({}, list), rows=rows)
    assert report.equal
    assert report.notes == ["80 rows were deleted after delivery, ids 11 to 90: only checked for duplicates"]
    assert sum(one.read for one in report.ranges) == 20
    assert sum(one.delivered for one in report.ranges) == 100
