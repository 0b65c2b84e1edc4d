"""`edge-delta gather` looks after the tables that it writes, and goes on from what they say it took."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.command import parse_events
from tests.support.gathering import Devices, Gathered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sqlite import Sensor

READINGS = "_1_schematized"
EVERY = 4
_DAY = 86_400


@pytest.fixture
def devices(tmp_path: Path, sensor: Sensor) -> Devices:
    (tmp_path / "config.toml").write_text(f"[maintenance]\nevery_commits = {EVERY}\n")
    found = Devices(tmp_path, sensor)
    for name in ("hall-1", "hall-2"):
        found.deliver(name)
    found.gather()
    return found


def rounds(devices: Devices, count: int, **flags: Any) -> Iterator[Gathered]:
    """Rounds with five new rows of one device each, of which every one comes as a row that is appended."""
    for turn in range(count):
        name = f"hall-{turn % 2 + 1}"
        devices.deliver(name, 5)
        found = devices.gather(config=devices.directory / "config.toml", **flags)
        assert (found.mode()["rows"], found.about(name)["way"]) == (5, "append")
        yield found


def looked_after(found: Gathered) -> list[str]:
    return [event["table"].rpartition("readings")[2] for event in _events(found, "table looked after")]


def _events(found: Gathered, name: str) -> list[dict[str, Any]]:
    assert not [event for event in parse_events(found.stderr) if event["event"] == "upkeep failed"]
    return [event for event in parse_events(found.stderr) if event["event"] == name]


def test_the_fleets_tables_are_compacted_after_so_many_commits_and_what_was_taken_stays_known(devices):
    done = [looked_after(found) for found in rounds(devices, EVERY + 2)]
    assert sum(READINGS in each for each in done) == 1
    assert any("_gather" in each for each in done)
    assert len(devices.fleet.table(READINGS).file_uris()) <= EVERY
    devices.assert_gathered()
    assert devices.gather().mode()["commits"] == 0


def test_what_is_older_than_the_retention_goes_and_no_row_is_taken_again(devices):
    folder = Path(devices.fleet.uri(READINGS))
    left = folder / "part-00000-left-by-a-round-that-was-killed.parquet"
    left.write_bytes(b"PAR1")
    created = folder / "_delta_log" / f"{0:020}.json"
    devices.fleet.table(READINGS).create_checkpoint()
    for file in (left, *created.parent.iterdir()):
        os.utime(file, (time.time() - 40 * _DAY,) * 2)
    assert any(READINGS in looked_after(found) for found in rounds(devices, EVERY))
    assert not left.exists()
    assert not created.exists()
    devices.assert_gathered()
    assert devices.gather().mode()["commits"] == 0


def test_the_fleets_tables_are_left_alone_where_others_maintain_them(devices):
    for found in rounds(devices, EVERY, no_maintenance=True):
        assert not looked_after(found)
    assert len(devices.fleet.table(READINGS).file_uris()) == 1 + EVERY
