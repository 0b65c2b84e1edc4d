"""What the documents say that a layout costs is what was counted."""

from __future__ import annotations

import json

import pytest

from tools import layouts
from tools.layouts import OWN, PARTITIONED, SHARED, a_day, block, from_devices_on, measured, upkeeps

RECORDED = json.loads(layouts.RECORD.read_text(encoding="utf-8"))


def test_the_page_has_the_figures_that_were_counted():
    assert block(RECORDED) in layouts.PAGE.read_text(encoding="utf-8"), "run: python -m tools.layouts --from-record"


def test_the_advice_at_the_top_of_the_page_is_the_tables():
    assert f"[from {from_devices_on(RECORDED)} devices on]" in layouts.PAGE.read_text(encoding="utf-8")


def test_a_day_is_its_commits_checkpoints_compactions_and_starts():
    figures = {"plain": {"GET": 10}, "checkpoint": {"GET": 100}, "upkeep": {"GET": 1_000}, "start": {"GET": 10_000}}
    assert a_day(figures, SHARED)["GET"] == pytest.approx(273.6 * 10 + 14.4 * 100 + 3.88 * 10_000)
    assert a_day(figures, OWN)["GET"] == pytest.approx(270.72 * 10 + 14.4 * 100 + 2.88 * 1_000 + 3.88 * 10_000)
    assert (upkeeps(10), upkeeps(1_000)) == (28.8, 288)


def test_the_advice_follows_from_the_figures():
    def figures(cpu):
        return {"plain": {"cpu": cpu, "GET": 1, "sent": 1, "received": 1}, "peak": 100}

    def record(*cpus):
        each = [{"layout": OWN.name, "devices": 1, "figures": figures(1)}]
        each += [
            {"layout": SHARED.name, "devices": number, "figures": figures(cpu)}
            for number, cpu in zip(layouts.DEVICES, cpus, strict=True)
        ]
        return {"measured": each}

    assert from_devices_on(record(1, 1, 1)) is None
    assert from_devices_on(record(1.5, 2.5, 9)) == 100


@pytest.mark.slow
@pytest.mark.parametrize("layout", [OWN, SHARED, PARTITIONED], ids=lambda one: one.name)
def test_every_layout_can_be_measured(layout, weed, tmp_path):
    found = measured(tmp_path / "device", weed, layout, 3, ["plain", "checkpoint"])
    assert found["plain"]["PUT"] >= 2
    assert found["peak"] > 0
