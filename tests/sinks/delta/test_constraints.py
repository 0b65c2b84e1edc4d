"""A row that a table's own conditions refuse is rejected alone, and both tables get what is theirs once."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from deltalake import DeltaTable, Field, Schema

from edge_delta.core import events
from edge_delta.settings import load
from edge_delta.topology import commands
from tests.support.inprocess import deliver


def add_constraint(folder, text, suffix="_1_schematized"):
    DeltaTable(folder.uri(suffix)).alter.add_constraint({"warm": text})


def assert_split(folder, sensor, refused):
    everything = {row[0] for row in sensor.rows()}
    rejected = folder.read("_rejected").sort("reading_id")
    assert rejected["reading_id"].to_list() == sorted(refused)
    assert sorted(folder.read()["reading_id"]) == sorted(everything - set(refused))
    return rejected


def test_rows_that_break_a_check_are_rejected_alone_with_the_reason_and_the_others_go_on(sensor, folder):
    sensor.create()
    sensor.add(1)
    deliver(sensor.path, folder)
    add_constraint(folder, "temperature < 25.0")
    sensor.add(300, start=1)
    sensor.run("UPDATE readings SET temperature = NULL WHERE id = 77")
    deliver(sensor.path, folder, max_batch_size=64)
    refused = [row[0] for row in sensor.rows() if not (row[3] is not None and row[3] < 25)]
    assert 50 < len(refused) < 250
    rejected = assert_split(folder, sensor, refused)
    assert set(rejected["rule"]) == {"constraint"}
    assert set(rejected["column_name"]) == {"warm"}
    assert all("the table demands temperature < 25" in reason for reason in rejected["reason"])
    assert json.loads(rejected["row"][0])["id"] == refused[0]
    deliver(sensor.path, folder)
    assert_split(folder, sensor, refused)


def test_rows_without_what_not_null_demands_are_rejected_alone(sensor, folder):
    sensor.create()
    sensor.add(20)
    deliver(sensor.path, folder)
    schema = folder.table().schema()
    fields = [Field(f.name, f.type, nullable=f.name != "sensor_id") for f in schema.fields]
    shutil.rmtree(folder.base + "_1_schematized")
    shutil.rmtree(sensor.path.parent / "state")
    DeltaTable.create(folder.uri("_1_schematized"), Schema(fields))
    sensor.run("UPDATE readings SET sensor_id = NULL WHERE id IN (3, 20)")
    deliver(sensor.path, folder)
    rejected = assert_split(folder, sensor, [3, 20])
    assert set(rejected["column_name"]) == {"sensor_id"}


def test_rows_that_a_constraint_refused_are_replayed_when_it_is_gone(sensor, folder):
    sensor.create()
    sensor.add(1)
    deliver(sensor.path, folder)
    add_constraint(folder, "temperature < 25.0")
    sensor.add(99, start=1)
    deliver(sensor.path, folder)
    waiting = folder.read("_rejected").height
    assert waiting > 5
    settings, log = settings_of(sensor, folder)
    assert commands.replay(settings, log)["schematized"].passed == 0
    DeltaTable(folder.uri("_1_schematized")).alter.drop_constraint("warm")
    assert commands.replay(settings, log)["schematized"].passed == waiting
    assert sorted(folder.read()["reading_id"]) == list(range(1, 101))


def test_source_and_table_are_equal_for_verify_where_a_constraint_refused_rows(sensor, folder):
    sensor.create()
    sensor.add(1)
    deliver(sensor.path, folder)
    add_constraint(folder, "humidity < 0.5")
    sensor.add(99, start=1)
    deliver(sensor.path, folder)
    settings, log = settings_of(sensor, folder)
    [report] = commands.verify(settings, log)
    assert report.equal
    assert folder.read("_rejected").height > 5


def settings_of(sensor, folder):
    values = {
        "sqlite": str(sensor.path),
        "table_path": folder.base,
        "state_dir": str(sensor.path.parent / "state"),
        "node_id": "n1",
    }
    return load.load(values, environment={}), events.configure(stream=io.StringIO())


@pytest.mark.parametrize("text", ["no_such_function(temperature) > 1"])
def test_a_constraint_that_cannot_be_evaluated_is_a_decision(text, sensor, folder, command):
    sensor.create()
    sensor.add(5)
    device = command(sensor.path, folder, node_id="n1")
    device.once().succeeded()
    log = Path(folder.uri("_1_schematized")) / "_delta_log"
    first = log / f"{0:020}.json"
    lines = [json.loads(line) for line in first.read_text().splitlines()]
    for line in lines:
        if "metaData" in line:
            line["metaData"]["configuration"]["delta.constraints.odd"] = text
        if "protocol" in line:
            line["protocol"]["minWriterVersion"] = 3
    first.write_text("\n".join(json.dumps(line) for line in lines))
    for checkpoint in log.glob("*checkpoint*"):
        checkpoint.unlink()
    sensor.add(5, start=5)
    assert device.once(retry_for=0.1).code == 3
    assert folder.read().height == 5
