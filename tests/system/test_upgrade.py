"""What an older version wrote is taken over: nothing is repeated, nothing is lost, and everyone keeps their name."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.support.command import EdgeDelta
from tests.support.expected import assert_every_table_is_right
from tests.support.sqlite import Sensor
from tests.support.tables import Place, assert_each_once, assert_plain_protocol
from tools import upgrade_fixture as recorded

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = sorted(path.name for path in recorded.FIXTURES.iterdir())
SUFFIXES = ("_0_raw", "_1_schematized", "_2_sanitized", "_3_aggregated", "_4_emergency", "_rejected")
FRESH = 150
"""Rows that come after the upgrade."""


class Device:
    """A device as an older version left it, now run by this one."""

    def __init__(self, folder: Path, table: str) -> None:
        self.table = table
        self.folder = folder
        self.place = Place(str(folder / "lake" / table))
        self.state = folder / "state" / table
        self._command = EdgeDelta(folder, {"config": f"{table}.toml"})

    def run(self, command="run", **flags):
        return self._command.run(command, **flags)

    def sensor(self, generation=1):
        name = f"{self.table}.db" if generation else f"{self.table}-0.db"
        return Sensor(self.folder / "source" / name)

    def source_ids(self, suffix, key):
        """The ids in a table, by generation."""
        rows = self.place.read(suffix).select("source_generation", key).rows()
        return {g: [i for generation, i in rows if generation == g] for g in {g for g, _ in rows}}


@pytest.fixture(params=VERSIONS)
def version(request, tmp_path):
    """The folder of a device that ran this version."""
    with tarfile.open(recorded.FIXTURES / request.param / "device.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def tables_of(place):
    """Every row of every table, in any order."""
    return {s: sorted(map(repr, place.read(s).rows())) for s in SUFFIXES if place.exists(s)}


def test_new_rows_of_an_upgraded_device_follow_in_every_mode_and_none_is_lost_or_repeated(version):
    device = Device(version, "stations")
    node = (device.state / "node_id").read_text(encoding="utf-8").strip()
    with device.sensor() as sensor:
        recorded.fill(sensor, "stations", 1, FRESH, after=recorded.ROWS[1])
        done = device.run(once=True, flush=True).succeeded()
    assert not done.named("source reset")
    for generation in (0, 1):
        with device.sensor(generation) as source:
            assert_every_table_is_right(source, device.place, generation=generation)
    for suffix in SUFFIXES:
        assert device.place.read(suffix)["node_id"].unique().to_list() == [node]
        assert_plain_protocol(device.place, suffix)
    assert set(device.place.read("_0_raw")["source_generation"]) == {0, 1}
    assert json.loads(device.run("verify", json=True).stdout)["equal"]


def test_a_run_right_after_the_upgrade_adds_nothing(version):
    for table in ("stations", "events"):
        device = Device(version, table)
        before = tables_of(device.place)
        assert "_rejected" in before
        with device.sensor():
            device.run(once=True).succeeded()
        assert tables_of(device.place) == before


def test_new_rows_of_a_table_with_plain_rowids_follow(version):
    device = Device(version, "events")
    before = device.source_ids("_1_schematized", "reading_id")
    rejected = device.source_ids("_rejected", "reading_id")
    last = max(before[1] + rejected[1])
    with device.sensor() as sensor:
        recorded.fill(sensor, "events", 1, FRESH, after=last)
        device.run(once=True).succeeded()
        bad = [i for (i,) in sensor.run("SELECT rowid FROM events WHERE typeof(level) <> 'integer' ORDER BY rowid")]
    after = device.source_ids("_1_schematized", "reading_id")
    assert sorted(after[0]) == sorted(before[0])
    assert_each_once(after[1], set(range(1, last + FRESH + 1)) - set(bad))
    assert_each_once(device.source_ids("_rejected", "reading_id")[1], bad)
    assert json.loads(device.run("verify", json=True).stdout)["equal"]


def test_a_state_directory_that_was_lost_with_the_upgrade_repeats_nothing(version):
    device = Device(version, "stations")
    node = (device.state / "node_id").read_text(encoding="utf-8").strip()
    for file in device.state.iterdir():
        file.unlink()
    before = tables_of(device.place)
    with device.sensor():
        device.run(once=True, node_id=node).succeeded()
    assert tables_of(device.place) == before


def test_the_next_source_of_an_upgraded_device_is_the_next_generation(version):
    device = Device(version, "events")
    database = version / "source" / "events.db"
    database.rename(database.with_name("events-1.db"))
    before = tables_of(device.place)["_1_schematized"]
    with device.sensor() as sensor:
        recorded.create(sensor, "events")
        recorded.fill(sensor, "events", 1, 40, after=500_000)
        device.run(once=True).succeeded()
    ids = device.source_ids("_1_schematized", "reading_id")
    assert set(ids) == {0, 1, 2}
    assert len(ids[2]) + len(device.source_ids("_rejected", "reading_id")[2]) == 40
    assert set(before) < set(tables_of(device.place)["_1_schematized"])


def test_an_upgraded_table_is_compacted_without_a_change_of_its_rows(version):
    device = Device(version, "stations")
    before = tables_of(device.place)
    with device.sensor():
        device.run("maintain").succeeded()
        assert tables_of(device.place) == before
        device.run(once=True).succeeded()
    assert tables_of(device.place) == before


def test_status_and_check_read_what_the_older_version_left(version):
    device = Device(version, "stations")
    with device.sensor():
        status = json.loads(device.run("status", json=True).stdout)
        assert device.run("check").code == 0
    cursors = {mode: about["cursor"] for mode, about in status["modes"].items()}
    assert cursors == dict.fromkeys(recorded.MODES, recorded.ROWS[1])
