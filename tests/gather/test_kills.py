"""`edge-delta gather` killed at any moment, beside devices that go on: each row once."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.command import EdgeDelta, clean_environment, started
from tests.support.gathering import Devices, cleaned, compacted
from tests.support.tables import Place

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sqlite import Sensor

READINGS = "_1_schematized"
WINDOWS = "_3_aggregated"


@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_gather_killed_again_and_again_takes_each_row_once(tmp_path: Path, sensor: Sensor, kills: int) -> None:
    aggregate = {"window_minutes": 1, "allowed_lateness": 0, "aggregations": {"temperature": ["mean"]}}
    devices = Devices(tmp_path, sensor, ["schematized", "aggregated"], {"aggregate": aggregate})
    chance = random.Random(kills)
    for name in ("hall-1", "hall-2", "hall-3", "hall-4"):
        devices.deliver(name, 90)
    killed = 0
    for turn in range(kills):
        killed += killed_gather(devices, chance.uniform(0.1, 1.6))
        name = chance.choice(devices.names)
        devices.deliver(name, chance.randint(1, 90))
        if turn % 5 == 1:
            compacted(devices.place(name))
        if turn % 5 == 3:
            cleaned(devices.place(name))
            devices.late(name, chance.randint(0, 60))
        if turn % 10 == 9:
            devices.deliver(f"hall-{10 + turn}", 30)
    assert killed >= kills // 3
    devices.gather()
    devices.assert_gathered(READINGS)
    devices.assert_gathered(WINDOWS)


def killed_gather(devices: Devices, seconds: float) -> bool:
    """Start it, and kill it after some seconds; whether it was still at work."""
    log = devices.directory / "killed.log"
    with log.open("ab") as file:
        words = EdgeDelta(devices.directory, devices.flags).arguments({}, "gather")
        process = started(words, cwd=devices.directory, env=clean_environment(), stderr=file.fileno())
        time.sleep(seconds)
        at_work = process.poll() is None
        process.kill()
        process.wait(10)
        if not at_work:
            assert process.poll() == 0, log.read_text()
        return at_work


def test_gather_works_on_a_store(lake: Place, tmp_path: Path, sensor: Sensor, command) -> None:
    sensor.create()
    root = lake.base.rpartition("/")[0]
    flags = {"table_path": f"{root}/{{node_id}}/readings", "processing_mode": "schematized"}
    both = Place(f"{root}/fleet/readings", lake.environment, lake.url)
    for turn in range(2):
        sensor.add(50, start=turn * 50)
        for node in ("hall-1", "hall-2"):
            command(sensor.path, lake, node_id=node, **flags, state_dir=tmp_path / node).once().succeeded()
        gather = EdgeDelta(tmp_path, flags | {"into": both.base, "state_dir": tmp_path / "state"}, lake.environment)
        gather.run("gather").succeeded()
    found = both.read(READINGS)
    assert sorted(found.select("node_id", "reading_id").rows()) == [
        (node, number) for node in ("hall-1", "hall-2") for number in range(1, 101)
    ]


def test_a_store_that_does_not_answer_is_said_in_one_line(lake: Place, tmp_path: Path) -> None:
    flags = {"table_path": "s3://lake/{node_id}/readings", "into": "s3://lake/fleet/readings"}
    nowhere = {**lake.environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    found = EdgeDelta(tmp_path, flags | {"state_dir": tmp_path / "state"}, nowhere).run("gather")
    assert found.code == 1
    assert "cannot be reached" in found.error
