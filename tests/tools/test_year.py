"""The small version of `make year`: after the retention, what is there stays as much as it was."""

from __future__ import annotations

import pytest

from tests.conftest import lake_at
from tests.support.tables import Place
from tools.year import Clock, Tide, Year


def assert_flat(moments, after):
    """From a day on, there are no more files, and no more of the log, than at that day."""
    settled = [m for m in moments if m.day > after]
    assert len(settled) >= 4
    first, *rest = settled
    assert max(m.files for m in rest) <= 1.25 * first.files
    assert max(m.log for m in rest) <= 1.25 * first.log
    assert max(m.live for m in moments) <= 12
    assert sum(m.upkeeps for m in moments) >= 2 * moments[-1].day


def test_in_a_folder_files_and_log_are_flat_after_the_retention_of_three_days(tmp_path):
    assert_flat([*Year(tmp_path).run(10, 12, lines=10)], after=4)


@pytest.mark.slow
def test_on_s3_files_and_log_are_flat_after_the_retention_of_seven_days(tmp_path, weed):
    with Tide(weed.port, Clock(tmp_path / "clock")) as tide:
        place = lake_at(tide.url)
        place = Place(place.base, {**place.environment, "YEAR_SERVER": str(weed.port)}, place.url)
        assert_flat([*Year(tmp_path, place).run(16, 12, lines=16)], after=9)
