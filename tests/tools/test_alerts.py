"""The short versions of `make alerts`."""

from __future__ import annotations

from tools.alerts import killed, waited


def test_no_alert_and_no_end_is_there_twice_or_missing_after_kills(tmp_path):
    assert "none twice, none missing" in killed(tmp_path, kills=4)


def test_an_alert_is_readable_soon_with_many_groups_open(tmp_path):
    assert "2,000 groups open" in waited(tmp_path, groups=2_000, count=3)
