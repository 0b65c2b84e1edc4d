"""`edge-delta verify --repair`: the rows that are missing come once, and nothing else."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from deltalake import DeltaTable, write_deltalake

from edge_delta.core import events as telemetry
from edge_delta.core.errors import AlreadyRunning
from edge_delta.device.state import StateDirectory
from edge_delta.settings import load as config
from edge_delta.topology import commands
from tests.support.ask import verified
from tests.support.command import eventually
from tests.support.inprocess import deliver


def settings_of(sensor, folder, *modes, **more):
    values = {"sqlite": str(sensor.path), "table_path": folder.base, "node_id": "n1", "processing_mode": list(modes)}
    return config.load({**values, "state_dir": str(sensor.path.parent / "state"), **more}, environment={})


def repaired(sensor, folder, *modes, **more):
    log = telemetry.configure(stream=io.StringIO())
    return [(one.rows, one.refusal) for one in commands.repair(settings_of(sensor, folder, *modes, **more), log)]


def counts(sensor, folder, *modes):
    log = telemetry.configure(stream=io.StringIO())
    return [dict(report.counts) for report in commands.verify(settings_of(sensor, folder, *modes), log)]


def without(place, condition, suffix="_1_schematized"):
    """Take rows out of a table, as a person with a tool of his own may do."""
    table = DeltaTable(place.uri(suffix))
    table.alter.set_table_properties({"delta.appendOnly": "false"})
    table.delete(condition)


@pytest.fixture
def damaged(sensor, folder):
    """300 readings in two tables, of which rows were taken out since."""
    sensor.create()
    sensor.add(300)
    sensor.run("UPDATE readings SET temperature = 'broken' WHERE id % 50 = 0")
    deliver(sensor.path, folder, processing_mode=["raw", "schematized"])
    without(folder, "reading_id BETWEEN 20 AND 55 OR reading_id = 299")
    without(folder, "source_rowid = 7", "_0_raw")
    sensor.add(3, start=300)  # these only wait
    return folder


def test_missing_rows_are_delivered_once_in_a_commit_that_says_so_and_the_next_start_goes_on(damaged, sensor):
    modes = ("raw", "schematized")
    assert counts(sensor, damaged, *modes) == [{"missing": 1}, {"missing": 36}]  # 50 is rejected
    assert repaired(sensor, damaged, *modes, max_batch_size=20) == [(1, None), (36, None)]
    assert counts(sensor, damaged, *modes) == [{}, {}]
    assert repaired(sensor, damaged, *modes) == [(0, None), (0, None)]
    history = DeltaTable(damaged.uri("_1_schematized")).history()
    said = [one.get("edge_delta_operation") for one in history]
    assert said[:2] == ["verify --repair"] * 2
    assert said.count("verify --repair") == 2
    deliver(sensor.path, damaged, processing_mode=list(modes))
    assert counts(sensor, damaged, *modes) == [{}, {}]
    assert damaged.read()["reading_id"].n_unique() == damaged.read().height == 303 - 6


def test_a_repair_that_is_killed_is_finished_by_the_next_one(damaged, sensor, command):
    before = damaged.table().version()
    edge = command(sensor.path, damaged, node_id="n1", state_dir=sensor.path.parent / "state", max_batch_size=1)
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_delta", *edge.arguments({"repair": True}, "verify")], stdout=subprocess.DEVNULL
    )
    eventually(lambda: damaged.table().version() >= before + 3, what="three commits")
    process.kill()
    process.wait(10)
    left = counts(sensor, damaged, "schematized")[0]["missing"]
    assert 0 < left < 36
    assert repaired(sensor, damaged, "schematized") == [(left, None)]
    assert counts(sensor, damaged, "schematized") == [{}]


def test_what_cannot_be_sure_is_refused_and_writes_nothing(sensor, folder):
    sensor.create()
    sensor.add(50)
    modes = ["schematized", "aggregated", "emergency"]
    env = {"EMERGENCY_CONFIG": '{"severity_thresholds": {"temperature": 21}}'}
    deliver(sensor.path, folder, processing_mode=modes, flush=True, env=env)
    without(folder, "reading_id = 7")
    extra = folder.read().head(1).sql("SELECT * REPLACE (49999 AS reading_id) FROM self")
    write_deltalake(folder.table(), extra, mode="append")
    versions = [folder.table(suffix).version() for suffix in ("_1_schematized", "_3_aggregated")]
    [(rows, why), *others] = repaired(sensor, folder, *modes)
    assert rows == 0
    assert why is not None
    assert why.startswith("extra: ")
    assert [rows for rows, _ in others] == [0, 0]
    assert [folder.table(suffix).version() for suffix in ("_1_schematized", "_3_aggregated")] == versions


def test_windows_that_are_missing_are_for_reset(sensor, folder):
    sensor.create()
    sensor.add(2_000)
    deliver(sensor.path, folder, processing_mode=["aggregated"])
    without(
        folder,
        f"window_start = '{folder.read('_3_aggregated')['window_start'].min():%Y-%m-%d %H:%M:%S}+00:00'",
        "_3_aggregated",
    )
    [(rows, why)] = repaired(sensor, folder, "aggregated")
    assert rows == 0
    assert why is not None
    assert "edge-delta reset" in why


def test_a_repair_beside_a_running_process_is_refused(damaged, sensor):
    with StateDirectory(sensor.path.parent / "state").locked(), pytest.raises(AlreadyRunning):
        repaired(sensor, damaged, "schematized")


def test_the_command_repairs_and_judges(damaged, sensor, tmp_path):
    flags = {"node_id": "n1", "state_dir": sensor.path.parent / "state"}
    assert not verified(sensor.path, damaged, tmp_path, **flags)["equal"]
    found = verified(sensor.path, damaged, tmp_path, "--repair", **flags)
    assert found["equal"]
    assert found["repaired"] == [{"mode": "schematized", "rows": 36, "refusal": None}]
