"""What the documents say that a device costs is what was counted."""

from __future__ import annotations

import json

import pytest

from tests.support.proxy import Exchange
from tools import costs
from tools.costs import a_day, block, dollars, kind, measured

RECORDED = json.loads(costs.RECORD.read_text(encoding="utf-8"))


def test_the_page_has_the_figures_that_were_counted():
    assert block(RECORDED) in costs.PAGE.read_text(encoding="utf-8"), "run: python -m tools.costs --from-record"


def test_a_day_is_its_commits_upkeeps_and_its_start():
    figures = {"commit": {"PUT": 2, "GET": 3}, "upkeep": {"PUT": 10}, "start": {"GET": 5}}
    day = a_day(figures, 864)  # 100 commits, 1 upkeep
    assert (day["PUT"], day["GET"], day["LIST"]) == (210, 305, 0)
    assert dollars(day) == pytest.approx((210 * 0.005 + 305 * 0.0004) / 1000 * 30)


def test_requests_are_named_as_they_are_billed():
    asked = {
        ("GET", "/lake?list-type=2&prefix=x"): "LIST",
        ("GET", "/lake/x.parquet"): "GET",
        ("POST", "/lake?delete"): "DELETE",
        ("POST", "/lake/x?uploads"): "PUT",
        ("PUT", "/lake/x"): "PUT",
    }
    assert {words: kind(Exchange(*words)) for words in asked} == asked


def test_a_commit_still_asks_what_was_counted_and_an_idle_cycle_nothing(weed, tmp_path):
    figures = measured(tmp_path / "device", weed, 60, commits=6)
    assert figures["idle"] == {}
    recorded = RECORDED["intervals"]["60"]
    for one in ("PUT", "LIST"):
        assert figures["commit"][one] == pytest.approx(recorded["commit"][one], abs=0.5)
    assert figures["commit"]["sent"] == pytest.approx(recorded["commit"]["sent"], rel=0.5)
    assert figures["start"].get("PUT", 0) == 0
