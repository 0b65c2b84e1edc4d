"""The small version of `make powercut`, and that it would see a device that reports too early."""

from __future__ import annotations

import pytest

from tools.powercut import Plug, possible

pytestmark = pytest.mark.skipif(not possible(), reason="no root, or no loop devices")


def test_after_a_power_cut_nothing_reported_is_missing_and_source_and_tables_are_equal(tmp_path):
    outcome = Plug(tmp_path, seed=17, in_process=True, longest_pause=0.4).pull(20)
    assert (outcome.images, outcome.lost, outcome.unequal) == (20, [], [])


def test_without_syncing_reported_rows_are_lost_and_the_start_heals_it(tmp_path):
    outcome = Plug(tmp_path, durability="off", seed=17, in_process=True).pull(4)
    assert outcome.lost
    assert outcome.unequal == []
