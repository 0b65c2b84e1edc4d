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


@pytest.mark.parametrize("share", [None, 0.3, 0.8])
@pytest.mark.parametrize("step", ["restore", "recreate", "renumber"])
def test_what_a_reset_asked_for_and_the_source_has_no_more_stays_current(step, share, sensor, folder):
    world = World(sensor, folder, seed=11, key=step != "renumber")
    world.add(130)
    world.deliver()
    world.backup()
    world.add(70)
    world.deliver()
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
    world.add(130)
    world.deliver()
    world.backup()
    world.add(70)
    world.deliver()
    world.reset(0.7)
    world.reset(0.4)
    world.restore()
    world.add(90)
    world.deliver()
    assert_equal(by_the_files(folder, TABLES), world.wanted())
    assert world.verified() == []


def test_verify_says_before_the_next_run_that_a_reset_asked_for_rows_that_are_gone(sensor, folder):
    world = World(sensor, folder, seed=14, chosen=["schematized", "aggregated"])
    world.add(130)
    world.deliver()
    world.backup()
    world.add(70)
    world.deliver()
    world.reset(0.3)
    world.restore()
    assert [(mode, list(counts)) for mode, counts in world.verified()] == [
        ("schematized", ["another source"]),
        ("aggregated", ["another source"]),
    ]


def test_windows_alone_keep_what_a_reset_asked_for_and_a_backup_took_back(sensor, folder):
    world = World(sensor, folder, seed=12, chosen=["aggregated"])
    world.add(130)
    world.deliver()
    world.backup()
    world.add(70)
    world.deliver()
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
