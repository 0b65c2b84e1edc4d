"""`edge-delta check` says where a table's layout does not suit the devices that write it."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from edge_delta.doctor.layout import CHECKPOINT_BYTES, LIVE_FILES
from tests.support.ask import ask
from tests.support.command import clean_environment

SUFFIX = "_1_schematized"


@pytest.fixture
def told(sensor, folder, tmp_path, command):
    """The warnings about the table of a device that delivered ten rows, after something was done to its log."""
    sensor.create()
    sensor.add(10)
    state = tmp_path / "state"

    def run(change, layout="{node_id}/readings"):
        base = str(Path(folder.base).parent / layout)
        command(sensor.path, folder, node_id="n1", table_path=base, state_dir=state).once().succeeded()
        change(Path(base.replace("{node_id}", "n1") + SUFFIX), state / "last_upload.json")
        words = ("check", "--json", "--sqlite", sensor.path, "--table-path", base, "--state-dir", state)
        done = ask(*words, "--node-id", "n1", env=clean_environment())
        assert done.returncode == 0, done.stderr
        return [(one["fact"], one["cure"]) for one in json.loads(done.stdout) if one["level"] == "warning"]

    return run


def more_files(kind, count):
    """As if so many files had been added to the table, or had been joined."""

    def change(table, _status):
        log = table / "_delta_log"
        last = max(log.glob("*.json"))
        [add] = [json.loads(line)["add"] for line in last.read_text().splitlines() if line.startswith('{"add"')]
        gone = {name: add[name] for name in ("size", "partitionValues")} | {
            "deletionTimestamp": add["modificationTime"]
        }
        said = add if kind == "add" else gone
        names = ({kind: said | {"path": f"part-{uuid.uuid4()}.parquet", "dataChange": False}} for _ in range(count))
        after = log / f"{int(last.stem) + 1:020}.json"
        after.write_text("\n".join(['{"commitInfo":{}}', *map(json.dumps, names)]))

    return change


def checkpointed(change):
    def changed(table, status):
        from deltalake import DeltaTable  # noqa: PLC0415 - as the others here, after the process that delivers

        change(table, status)
        DeltaTable(str(table)).create_checkpoint()

    return changed


def nothing(_table, _status):
    """All stays as it is."""


def test_a_table_of_a_devices_own_suits(told):
    assert told(nothing) == []


def test_many_live_files_are_told_with_the_other_layout_where_the_table_is_shared(told):
    [small, (fact, cure)] = told(more_files("add", LIVE_FILES), "readings")
    assert "on average" in small[0]
    assert f"has {LIVE_FILES + 1:,} live files" in fact
    assert "{node_id} in table_path" in cure
    assert "edge-delta gather" in cure


def test_a_large_checkpoint_is_told(told):
    [(fact, cure)] = told(checkpointed(more_files("remove", 40_000)))
    assert "has a checkpoint of" in fact
    assert float(fact.partition("checkpoint of ")[2].partition(" MB")[0]) * 1e6 > CHECKPOINT_BYTES
    assert "retention_days" in cure


def test_a_table_that_others_commit_to_all_the_time_is_told(told):
    def crowded(_table, status):
        said = json.loads(status.read_text())
        assert said["tables"]["schematized"]["tries_per_commit"] == 1
        said["tables"]["schematized"]["tries_per_commit"] = 4.25
        status.write_text(json.dumps(said))

    [(fact, cure)] = told(crowded, "readings")
    assert "a commit took 4.2 rounds of tries lately" in fact
    assert "{node_id} in table_path" in cure
