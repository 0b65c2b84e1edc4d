"""Trying again: how long the pauses are, what is said meanwhile, and when it ends."""

from __future__ import annotations

import io
import json
import random
import threading
import time

import pytest

from edge_delta.core import events, retry
from edge_delta.core.errors import ConfigurationError, StorageUnavailable
from edge_delta.core.events import Event
from edge_delta.core.observing import SilentObserver
from edge_delta.core.retry import Outage, Persistence, Turns


class Heard(SilentObserver):
    """What an observer was told."""

    def __init__(self):
        self.failures = []
        self.recoveries = 0

    def failed(self, error, failures, pause):
        self.failures.append((str(error), failures, pause))

    def recovered(self):
        self.recoveries += 1


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets, as a list with the time in it."""
    at = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: at[0])
    return at


@pytest.fixture
def limits(monkeypatch):
    """Between which limits a pause was drawn; the upper one is taken."""
    drawn = []
    monkeypatch.setattr(random, "uniform", lambda low, high: drawn.append((low, high)) or high)
    return drawn


class Log:
    def __init__(self):
        self._stream = io.StringIO()
        self.log = events.configure(stream=self._stream)

    def said(self, event):
        lines = [json.loads(line) for line in self._stream.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]


def unavailable(number=1):
    return StorageUnavailable(f"no answer {number}")


# -- an outage


@pytest.mark.usefixtures("clock")
def test_pauses_grow_from_two_seconds_to_five_minutes_and_each_is_at_least_a_tenth(limits):
    outage = Outage(Log().log)
    for _ in range(20):
        outage.failed(unavailable(), 0)
        outage.pause()
    longest = [2.0**n for n in range(1, 9)] + [300.0] * 12
    assert limits == [(high / 10, high) for high in longest]


def test_before_any_failure_a_pause_is_at_most_a_second(limits):
    Outage(Log().log).pause()
    assert limits == [(0.1, 1.0)]


def test_an_outage_is_said_at_once_and_then_every_five_minutes(clock):
    log = Log()
    outage = Outage(log.log)
    told = []
    for second in range(0, 901, 100):
        clock[0] = 1_000.0 + second
        outage.failed(unavailable(), 7.25)
        told.append(len(log.said(Event.UNAVAILABLE)))
    assert told == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4]
    assert [line["failures"] for line in log.said(Event.UNAVAILABLE)] == [1, 4, 7, 10]
    assert log.said(Event.UNAVAILABLE)[0]["pause"] == 7.2


def test_its_end_is_said_once_with_how_long_it_took_and_the_next_one_begins_anew(clock):
    log, heard = Log(), Heard()
    outage = Outage(log.log, heard)
    outage.over()
    assert not log.said(Event.RECOVERED)
    outage.failed(unavailable(), 1)
    clock[0] += 42.04
    outage.failed(unavailable(2), 2)
    outage.over()
    outage.over()
    [line] = log.said(Event.RECOVERED)
    assert (line["after_seconds"], line["failures"]) == (42.0, 2)
    assert heard.recoveries == 1
    assert heard.failures == [("no answer 1.", 1, 1), ("no answer 2.", 2, 2)]
    outage.failed(unavailable(3), 3)
    assert [line["failures"] for line in log.said(Event.UNAVAILABLE)] == [1, 1]
    assert outage.failures == 1


# -- turns at a crowded table


class Waits:
    """The pauses that were taken."""

    def __init__(self, told_to_stop_at=None):
        self.taken = []
        self._stop = told_to_stop_at

    def __call__(self, seconds):
        self.taken.append(seconds)
        return len(self.taken) == self._stop


@pytest.mark.usefixtures("clock", "limits")
def test_a_table_that_is_not_crowded_is_not_waited_for():
    waits = Waits()
    turns = Turns(waits)
    turns.await_ours()
    turns.won()
    turns.await_ours()
    assert not waits.taken


@pytest.mark.usefixtures("clock")
def test_turns_that_are_lost_are_waited_for_ever_longer_and_the_eighth_is_the_last(limits):
    waits = Waits()
    turns = Turns(waits)
    assert [turns.lost() for _ in range(8)] == [True] * 7 + [False]
    assert waits.taken == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
    assert {low for low, _ in limits} == {0}
    assert [turns.lost() for _ in range(8)] == [True] * 7 + [False]  # the next commit has as many


@pytest.mark.usefixtures("clock", "limits")
def test_being_told_to_stop_ends_the_tries():
    turns = Turns(Waits(told_to_stop_at=2))
    assert (turns.lost(), turns.lost()) == (True, False)
    assert turns.lost()  # and the next commit's begin anew


@pytest.mark.usefixtures("clock", "limits")
def test_a_table_that_was_crowded_is_waited_for_less_with_each_commit_until_it_is_not():
    waits = Waits()
    turns = Turns(waits)
    turns.lost()
    turns.lost()
    del waits.taken[:]
    for _ in range(5):
        turns.won()
        turns.await_ours()
    assert waits.taken == [0.75, 0.5625, 0.421875]


@pytest.mark.usefixtures("clock", "limits")
def test_a_turn_that_was_lost_once_is_forgotten_with_the_next_commit():
    waits = Waits()
    turns = Turns(waits)
    turns.lost()
    turns.won()
    turns.await_ours()
    assert waits.taken == [0.5]


@pytest.mark.usefixtures("clock", "limits")
def test_a_commit_that_stands_gives_the_next_one_all_its_tries():
    turns = Turns(Waits())
    for _ in range(7):
        turns.lost()
    turns.won()
    assert [turns.lost() for _ in range(8)] == [True] * 7 + [False]


@pytest.mark.usefixtures("limits")
def test_a_table_that_was_crowded_long_ago_is_not_waited_for(clock):
    waits = Waits()
    turns = Turns(waits)
    turns.lost()
    clock[0] += 300
    turns.await_ours()
    assert len(waits.taken) == 2
    clock[0] += 0.1
    turns.await_ours()
    turns.await_ours()
    assert len(waits.taken) == 2


# -- calls that go on


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(retry, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(retry, "LONGEST_PAUSE", 0.02)


class Flaky:
    """Fails so many times, then gives a result."""

    def __init__(self, failures, error=None):
        self.left = failures
        self.calls = 0
        self._error = error

    def __call__(self):
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self._error or unavailable(self.calls)
        return "done"


def persistence(stop=None, *, for_seconds=None, heard=None):
    log = Log()
    return log, Persistence(Outage(log.log, heard), stop or threading.Event(), for_seconds=for_seconds)


@pytest.mark.usefixtures("quick")
def test_what_works_at_once_is_called_once_and_nothing_is_said():
    log, tried = persistence()
    function = Flaky(0)
    assert tried.call(function) == "done"
    assert function.calls == 1
    assert not log.said(Event.UNAVAILABLE)


@pytest.mark.usefixtures("quick")
def test_a_call_goes_on_until_it_works_and_what_is_cached_is_dropped_each_time():
    heard, dropped = Heard(), []
    log, tried = persistence(heard=heard)
    function = Flaky(3)
    assert tried.call(function, on_failure=lambda _error: dropped.append(function.calls)) == "done"
    assert dropped == [1, 2, 3]
    assert [f[:2] for f in heard.failures] == [("no answer 1.", 1), ("no answer 2.", 2), ("no answer 3.", 3)]
    assert all(0 < pause <= 0.02 for _, _, pause in heard.failures)
    assert heard.recoveries == 1
    assert len(log.said(Event.RECOVERED)) == 1


def test_a_call_that_works_ends_the_outage_that_another_call_began():
    heard = Heard()
    outage = Outage(Log().log, heard)
    outage.failed(unavailable(), 1)
    assert Persistence(outage, threading.Event(), for_seconds=0).call(Flaky(0)) == "done"
    assert heard.recoveries == 1


@pytest.mark.usefixtures("quick")
def test_after_its_time_the_error_comes_up():
    _, tried = persistence(for_seconds=0.2)
    function = Flaky(1_000)
    started = time.monotonic()
    with pytest.raises(StorageUnavailable, match="no answer"):
        tried.call(function)
    assert 0.1 < time.monotonic() - started < 5
    assert function.calls > 2


@pytest.mark.usefixtures("quick")
def test_an_error_that_does_not_pass_by_itself_comes_up_at_once():
    _, tried = persistence()
    function = Flaky(1, ConfigurationError("a wrong key", "Correct it"))
    with pytest.raises(ConfigurationError):
        tried.call(function)
    function = Flaky(2, None)
    function._error = None
    errors = iter([unavailable(), ConfigurationError("a wrong key", "Correct it")])

    def fails():
        raise next(errors)

    with pytest.raises(ConfigurationError):
        tried.call(fails)


def test_being_told_to_stop_ends_a_long_pause_at_once_without_an_error(monkeypatch):
    monkeypatch.setattr(retry, "_FIRST_PAUSE", 60.0)
    stop = threading.Event()
    _, tried = persistence(stop)
    threading.Timer(0.2, stop.set).start()
    started = time.monotonic()
    assert tried.call(Flaky(1_000)) is None
    assert time.monotonic() - started < 5
