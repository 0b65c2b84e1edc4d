"""``uc://``: rows are delivered with what a catalog vends, and an S3 server that enforces it request by request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from edge_delta.sinks.unity.registering import statement
from tests.support.command import EdgeDelta, clean_environment, eventually, finished
from tests.support.proxy import DropAnswer
from tests.support.tables import Place, assert_each_once
from tests.support.workspace import CLIENT, SECRET, Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.gate import Gate
    from tests.support.sqlite import Sensor

BASE = "main.plant.readings"
TABLE = f"{BASE}_1_schematized"
READINGS = "_1_schematized"


@pytest.fixture
def workspace(gate: Gate, owned_lake: Place) -> Iterator[Workspace]:
    """With external tables as the printed statements make them."""
    with Workspace(gate) as made:
        for suffix in (READINGS, "_rejected"):
            made.run(statement(f"uc://{BASE}{suffix}", owned_lake.uri(suffix)), owned_lake.options)
        yield made


@pytest.fixture
def device(workspace: Workspace, gate: Gate, sensor: Sensor, tmp_path: Path) -> Iterator[EdgeDelta]:
    sensor.create()
    sensor.add(30)
    settings = {
        "sqlite": sensor.path,
        "table_path": f"uc://{BASE}",
        "state_dir": tmp_path / "state",
        "node_id": "n1",
        "interval": 0.3,
        "retry_for": 0,
    }
    environment = {
        "DATABRICKS_HOST": workspace.url,
        "DATABRICKS_CLIENT_ID": CLIENT,
        "DATABRICKS_CLIENT_SECRET": SECRET,
        "AWS_ENDPOINT_URL": gate.url,
        "AWS_REGION": "us-east-1",
    }
    assert not any("KEY" in name or "PROFILE" in name for name in clean_environment() | environment)
    one = EdgeDelta(tmp_path, settings, environment)
    yield one
    one.end()


def ids(owned_lake: Place) -> list[int]:
    return owned_lake.read(READINGS)["reading_id"].to_list()


def failed(device: EdgeDelta, **flags: Any) -> str:
    done = device.once(**flags)
    assert done.code == 1, done.stderr
    return done.error


def test_a_table_of_the_catalogs_own_stops_it_for_a_person(device: EdgeDelta, workspace: Workspace) -> None:
    workspace.tables[TABLE].kind = "MANAGED"
    managed = device.once()
    assert managed.code == 3
    assert "is managed by its catalog" in managed.error


def test_rows_arrive_across_expiries_with_no_key_of_the_bucket(
    device: EdgeDelta, workspace: Workspace, gate: Gate, sensor: Sensor, owned_lake: Place
) -> None:
    workspace.key_seconds, workspace.token_seconds = 2.0, 3.0
    running = device.start()
    running.wait_for("batch committed")
    count = 30
    while sum(key.used > 0 for key in gate.keys.values()) < 4:
        sensor.add(5, start=count)
        count += 5
        running.wait_for("batch committed", count=(count - 25) // 5)
    asked = dict(workspace.asked)
    time.sleep(2.2)  # what was vended has ended
    assert dict(workspace.asked) == asked, "an idle device asks for nothing"
    assert running.terminate() == 0
    assert_each_once(ids(owned_lake), range(1, count + 1))
    assert not running.named("unavailable")
    assert not gate.refusals
    assert workspace.asked["token"] > 1
    assert set(workspace.asked_about.values()) == {1}
    assert sorted(key.until for key in gate.keys.values())[1] < time.time()


def test_revoked_ends_as_refused_storage_and_loses_nothing(
    device: EdgeDelta, workspace: Workspace, gate: Gate, sensor: Sensor, owned_lake: Place
) -> None:
    device.once().succeeded()
    workspace.external_use = False
    gate.revoke()
    sensor.add(5, start=30)
    error = failed(device)
    assert "EXTERNAL USE SCHEMA" in error
    assert f"GRANT EXTERNAL USE SCHEMA ON SCHEMA main.plant TO `{CLIENT}`" in error
    workspace.external_use = True
    device.once().succeeded()
    assert_each_once(ids(owned_lake), range(1, 36))
    device.run("verify").succeeded()


def test_revoked_while_it_runs_it_goes_on_once_it_is_granted_again(
    device: EdgeDelta, workspace: Workspace, gate: Gate, sensor: Sensor, owned_lake: Place
) -> None:
    running = device.start()
    running.wait_for("batch committed")
    workspace.external_use = False
    gate.revoke()
    sensor.add(5, start=30)
    said = running.wait_for("unavailable")
    assert "EXTERNAL USE SCHEMA" in said["error"]
    workspace.external_use = True
    running.wait_for("recovered")
    eventually(lambda: len(ids(owned_lake)) == 35)
    assert_each_once(ids(owned_lake), range(1, 36))
    assert running.terminate() == 0


@pytest.mark.slow
def test_every_mode_begins_on_a_table_of_one_column(
    device: EdgeDelta, workspace: Workspace, owned_lake: Place, sensor: Sensor
) -> None:
    suffixes = ("_0_raw", "_2_sanitized", "_3_aggregated", "_4_emergency", "_superseded")
    for suffix in suffixes:
        workspace.run(statement(f"uc://{BASE}{suffix}", owned_lake.uri(suffix)), owned_lake.options)
    modes = "raw,schematized,sanitized,aggregated,emergency"
    sensor.run("UPDATE readings SET temperature = 1e9 WHERE id = 7")
    device.once(processing_mode=modes, flush=True).succeeded()
    device.run("verify", processing_mode=modes).succeeded()
    device.run("reset", processing_mode="schematized", to_id=20, yes=True).succeeded()
    device.once(processing_mode="schematized").succeeded()
    device.run("verify", processing_mode="schematized").succeeded()
    assert owned_lake.read(READINGS).unique("reading_id").height == 30
    assert owned_lake.read("_superseded").height == 1


def test_the_other_commands_work_by_name(
    device: EdgeDelta, workspace: Workspace, gate: Gate, owned_lake: Place
) -> None:
    assert "credentials are vended to write it" in device.run("check").succeeded().stdout
    device.once(max_batch_size=10).succeeded()
    assert "can be written" in device.run("check").succeeded().stdout
    device.run("maintain", upgrade=True).succeeded()
    assert len(owned_lake.table(READINGS).file_uris()) == 1
    asked = ["query", "INFO", "--table-path", f"uc://{BASE}", "--state-dir", str(device.flags["state_dir"])]
    environment = clean_environment() | dict(device.environment)
    shown = finished(asked, cwd=device.directory, env=environment, timeout=60).succeeded().stdout
    assert f"uc://{TABLE}" in shown
    del workspace.tables[f"{BASE}_rejected"]
    printed = device.run("sql").succeeded().stdout
    assert f"CREATE TABLE IF NOT EXISTS {BASE}_rejected (node_id STRING, source_table STRING" in printed
    assert f"LOCATION '{owned_lake.uri('_rejected')}'" in printed
    assert f"GRANT USE SCHEMA, EXTERNAL USE SCHEMA ON SCHEMA main.plant TO `{CLIENT}`" in printed
    assert "CREATE OR REPLACE VIEW delivered_readings" in printed
    assert "uc://" not in printed
    assert f"no table {BASE}_rejected" in device.run("check").succeeded().stdout
    assert not gate.refusals
    for command, more in (("fleet", {}), ("gather", {"into": f"uc://{BASE}"})):
        flags = dict.fromkeys(("sqlite", "node_id", "state_dir", "interval", "retry_for")) | more
        refused = device.run(command, **flags)
        assert refused.code == 2
        assert "is a name in Unity Catalog" in refused.error


@pytest.mark.slow
def test_a_device_that_is_part_of_the_name_has_its_own_tables_and_looks_after_them(
    device: EdgeDelta, workspace: Workspace, owned_lake: Place, tmp_path: Path
) -> None:
    for suffix in (READINGS, "_rejected"):
        workspace.run(statement(f"uc://main.plant.r_n1{suffix}", owned_lake.uri(f"_n1{suffix}")), owned_lake.options)
    config = tmp_path / "config.toml"
    config.write_text("[maintenance]\nevery_commits = 5\n", encoding="utf-8")
    flags = {"table_path": "uc://main.plant.r_{node_id}", "config": config}
    done = device.once(max_batch_size=5, **flags).succeeded()
    assert done.named("table looked after")
    assert not done.named("upkeep failed")
    device.run("verify", **flags).succeeded()


def test_a_commit_whose_answer_is_lost_as_its_key_ends_arrives_once(
    device: EdgeDelta, gate: Gate, owned_lake: Place
) -> None:
    gate.plan(DropAnswer(), method="PUT", path=r"_delta_log/0+1\.json")
    gate.ends.append(("GET|HEAD", r"_delta_log/0+1\.json"))
    device.once(retry_for=10).succeeded()
    assert "ExpiredToken" in gate.refusals
    assert_each_once(ids(owned_lake), range(1, 31))
