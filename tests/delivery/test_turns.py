"""Turns of several sources: what is urgent comes between any two of the others."""

from __future__ import annotations

import io
import itertools
import threading

from edge_delta.core import events as telemetry
from edge_delta.core.observing import SilentObserver
from edge_delta.delivery.turns import Share, Turns


class Source:
    """Works in so many turns a cycle, and writes down each; the process ends with the last cycle of a quiet one."""

    behind = False

    def __init__(self, name, told, stop, *, turns, urgent=None, news=0):
        self.name, self.told, self.stop, self.left, self.urgent = name, told, stop, turns, urgent
        self.news = news

    def turns(self, _stop):
        for _ in range(self.left):
            self.told.append(self.name)
            yield
        if self.urgent is None:
            self.stop.set()

    def hurry(self, _stop):
        self.told.append(f"{self.name} hurries")
        for _ in range(self.news):
            yield

    def take_over_settings(self):
        return False

    def pause(self):
        return 300.0

    def in_order(self):
        pass

    def end(self, _stop):
        pass


def told_by(*sources):
    """What happens until the first of the quiet ones is done."""
    told, stop = [], threading.Event()
    turns, log = Turns(), telemetry.configure(stream=io.StringIO())
    for name, more in sources:
        turns.add(Share(name, lambda n=name, m=more: Source(n, told, stop, **m), log=log, observer=SilentObserver()))
    turns.run(stop)
    return told


def test_an_urgent_source_that_is_done_with_its_cycle_is_looked_at_before_each_of_the_others():
    quiet = [(name, {"turns": 3}) for name in ("a", "b", "c")]
    told = told_by(("alerts", {"turns": 1, "urgent": 0.1}), *quiet)
    after = told[told.index("a") :]
    for one, other in itertools.pairwise(after):
        assert "alerts" in one or "alerts" in other, told


def test_what_is_urgent_and_still_under_way_when_a_round_begins_is_looked_for_in_this_round_too():
    quiet = [(name, {"turns": 3}) for name in "abcde"]
    told = told_by(("alerts", {"turns": 1, "urgent": 0.1, "news": 1}), *quiet)
    after = told[told.index("a") :]
    for three in zip(after, after[1:], after[2:], strict=False):  # a look takes two turns, as it finds something
        assert any("alerts" in one for one in three), told


def test_an_urgent_source_does_not_wait_until_the_others_are_loaded():
    told, stop = [], threading.Event()
    turns, log = Turns(), telemetry.configure(stream=io.StringIO())

    def loaded(name, **more):
        told.append(f"{name} is loaded")
        return Source(name, told, stop, **more)

    for name, more in (("alerts", {"turns": 1, "urgent": 0.1}), ("a", {"turns": 1}), ("b", {"turns": 1})):
        turns.add(Share(name, lambda n=name, m=more: loaded(n, **m), log=log, observer=SilentObserver()))
    turns.run(stop)
    assert told.index("alerts is loaded") < told.index("alerts") < told.index("a is loaded")
