"""A source that is replaced after a `reset` and before the rows came again: the current views equal the truth."""

from __future__ import annotations

import pytest

from edge_delta.core import events as telemetry
from edge_delta.settings import load as config
from edge_delta.topology import commands
from tests.support.lives import SETTINGS, TABLES, World
from tests.system.test_current import assert_equal, by_the_files


def replaced(world, step):
    """The source is another one, with rows that were not in the one before."""
    {"restore": world.restore, "recreate": world.recreate, "renumber": world.renumber}[step]()


def backed_up(world):
    """A backup of 130 rows, and 70 that were delivered since."""
    world.add(130)
    world.deliver()
    world.backup()
    world.add(70)
    world.deliver()


@pytest.mark.parametrize("share", [None, 0.3, 0.8])
@pytest.mark.parametrize("step", ["restore", "recreate", "renumber"])
def test_what_a_reset_asked_for_and_the_source_has_no_more_stays_current(step, share, sensor, folder):
    world = World(sensor, folder, seed=11, key=step != "renumber")
    backed_up(world)
    world.reset(share)
    replaced(world, step)
    for _ in range(2):
        world.add(40)
        world.deliver()
        assert_equal(by_the_files(folder, TABLES), world.wanted())
    assert world.verified() == []


def test_a_changed_cooldown_is_told_with_the_reset_that_makes_the_alerts_again(sensor, folder):
    world = World(sensor, folder, seed=16, chosen=["emergency"])
    world.add(60)
    world.deliver()
    world.deliver(emergency=SETTINGS["emergency"] | {"cooldown": 3600})
    file = str(sensor.path.with_name("settings.toml"))
    [report] = commands.verify(config.load({"config": file}, environment={}), telemetry.configure())
    assert not report.equal
    assert any("reset --processing-mode emergency --to-beginning" in note for note in report.notes)
    world.reset()
    world.deliver(emergency=SETTINGS["emergency"] | {"cooldown": 3600})
    assert world.verified() == []


def test_two_resets_and_a_backup_before_a_run_leave_each_reading_once(sensor, folder):
    world = World(sensor, folder, seed=13)
    backed_up(world)
    world.reset(0.7)
    world.reset(0.4)
    world.restore()
    world.add(90)
    world.deliver()
    assert_equal(by_the_files(folder, TABLES), world.wanted())
    assert world.verified() == []


def test_verify_says_before_the_next_run_that_a_reset_asked_for_rows_that_are_gone(sensor, folder):
    world = World(sensor, folder, seed=14, chosen=["schematized", "aggregated"])
    backed_up(world)
    world.reset(0.3)
    world.restore()
    assert [(mode, list(counts)) for mode, counts in world.verified()] == [
        ("schematized", ["another source"]),
        ("aggregated", ["another source"]),
    ]


def test_windows_alone_keep_what_a_reset_asked_for_and_a_backup_took_back(sensor, folder):
    world = World(sensor, folder, seed=12, chosen=["aggregated"])
    backed_up(world)
    world.reset(0.3)
    world.restore()
    world.add(90)
    done = world.deliver()
    wanted = world.wanted()
    assert_equal(by_the_files(folder, wanted), wanted)
    assert done.named("reset cut short")[0]["come_until"] <= 130


@pytest.mark.parametrize("emit", ["closed", "early"])
def test_windows_alone_count_no_row_of_a_backup_twice(emit, sensor, folder):
    world = World(sensor, folder, seed=15, chosen=["aggregated"])
    settings = {"aggregate": {**SETTINGS["aggregate"], "emit": emit}}
    world.add(130)
    world.deliver(**settings)
    world.backup()
    world.add(300)
    world.deliver(**settings)
    world.restore()
    world.add(90)
    done = world.deliver(**settings)
    wanted = world.wanted()
    assert_equal(by_the_files(folder, wanted), wanted)
    assert done.named("source reset")[0]["known_until"] == 130
    assert world.verified() == []


def test_a_new_row_that_is_like_a_delivered_one_is_delivered(sensor, folder):
    """It is late, and the first of a database that was made again: its time, sensor and temperature are known."""
    world = World(sensor, folder, seed=3, chosen=["raw"])
    world.add(60)
    world.deliver()
    world.recreate()
    like = world.readings[49]
    world.insert([(*like[:3], 61.0)])
    world.add(20)
    world.deliver()
    assert folder.read("_0_raw").filter(source_generation=1)["pressure"].sort().to_list() == [*range(61, 82)]


@pytest.mark.parametrize("choice", ["new_generation", "stop"])
def test_windows_alone_count_once_where_a_reset_found_a_backup_already(choice, sensor, folder):
    world = World(sensor, folder, seed=17, chosen=["aggregated"])
    settings = {"on_source_reset": choice}
    world.add(130)
    world.deliver(**settings)
    world.backup()
    world.add(60)
    world.deliver(**settings)
    world.restore()
    world.reset()
    world.restore()
    world.add(90)
    world.deliver(**settings)
    wanted = world.wanted()
    assert_equal(by_the_files(folder, wanted), wanted)
    assert world.verified() == []


def test_rows_of_open_windows_that_a_reset_asked_for_and_a_backup_took_back_are_told_as_lost(sensor, folder):
    world = World(sensor, folder, seed=18, chosen=["schematized", "aggregated"])
    world.add(130)
    world.deliver(flush=False)
    world.backup()
    world.add(60)
    world.deliver(flush=False)
    world.reset()
    world.restore()
    world.add(90)
    done = world.deliver()
    wanted, found = world.wanted(), by_the_files(folder, world.wanted())
    assert found["readings"] == wanted["readings"]
    lost = sum(row[2] for row in wanted["windows"]) - sum(row[2] for row in found["windows"])
    assert lost > 0
    assert [told["rows"] for told in done.named("rows lost")] == [lost]
    assert world.verified() == [("aggregated", {"lost": lost})]


@pytest.mark.parametrize("steps", [("restore", "reset"), ("reset", "restore")], ids="-".join)
def test_alerts_alone_come_once_where_a_reset_and_a_backup_meet(steps, sensor, folder):
    world = World(sensor, folder, seed=5, chosen=["emergency"])
    world.add(130)
    world.deliver()
    world.backup()
    world.add(60)
    world.deliver()
    for step in steps:
        getattr(world, step)()
    world.add(40)
    world.deliver()
    wanted = world.wanted()
    assert_equal(by_the_files(folder, wanted), wanted)
    assert world.verified() == []


@pytest.mark.parametrize("chosen", [["raw"], ["aggregated"], ["emergency"]], ids=["raw", "windows", "alerts"])
@pytest.mark.parametrize("steps", [("renumber",), ("restore",), ("restore", "restore")], ids="-".join)
def test_verify_calls_nothing_repeated_that_a_reset_took_the_place_of(steps, chosen, sensor, folder):
    world = World(sensor, folder, seed=17, key="renumber" not in steps, chosen=chosen)
    backed_up(world)
    world.reset(0.5 if steps == ("renumber",) else None)
    world.deliver()
    for step in steps:
        replaced(world, step)
        world.add(40)
        world.deliver()
    wanted = world.wanted()
    assert_equal(by_the_files(folder, wanted), wanted)
    assert world.verified() == []


def test_a_reset_of_a_table_without_rows_loses_none(sensor, folder):
    world = World(sensor, folder, seed=18)
    backed_up(world)
    world.recreate()
    world.deliver()
    world.reset()
    world.add(40)
    world.deliver()
    assert_equal(by_the_files(folder, TABLES), world.wanted())
    assert world.verified() == []


@pytest.mark.parametrize("mode", ["raw", "schematized"])
def test_rows_whose_ids_an_update_moved_a_little_are_neither_there_twice_nor_called_missing(mode, sensor, folder):
    world = World(sensor, folder, seed=21, chosen=[mode])
    world.add(100)
    world.deliver()
    sensor.run("UPDATE stations SET id = -id")
    sensor.run("UPDATE stations SET id = 3 - id")
    world.add(20)
    world.deliver()
    assert folder.read(TABLES["raw" if mode == "raw" else "readings"])["pressure"].sort().to_list() == [*range(1, 121)]
    assert world.verified() == []
