"""What is counted of a table, while its application goes on."""

from __future__ import annotations

from contextlib import closing

import pytest

from edge_delta.core.counting import MOST_SUMMED, Counts, Times
from edge_delta.core.model import BEFORE_FIRST
from edge_delta.source import Database, SQLiteSource


@pytest.fixture
def census(sensor):
    sensor.create()
    sensor.add(100)
    with closing(Database(sensor.path)) as database:
        yield SQLiteSource(database).census


def times(census, after, upto, rows, first=None):
    return census.times([(after, upto, Counts(rows, 0))], first, most=MOST_SUMMED)[0]


def test_a_range_that_is_purged_after_it_was_counted_has_no_times(sensor, census):
    rows = census.counts(10, 40).rows
    sensor.run("DELETE FROM readings WHERE id BETWEEN 5 AND 50")
    assert times(census, 10, 40, rows) == Times(sum=0)
    assert census.stamps([20, 30]) == []


def test_ids_as_large_as_sqlite_has_them_are_summed_exactly(sensor, census):
    large = [2**63 - 1, 2**62 + 5, -(2**62)]
    sensor.many("INSERT INTO readings (id) VALUES (?)", [(i,) for i in large])
    assert census.counts(BEFORE_FIRST, 2**63 - 1) == Counts(103, sum(range(1, 101)) + sum(large))
    assert census.counts(100, 2**63 - 1) == Counts(2, large[0] + large[1])


def test_times_tell_used_ids_and_no_purged_ones(sensor, census):
    before = times(census, 0, 100, 100)
    sensor.run("DELETE FROM readings WHERE id < 50")
    there = census.stamps([i for i, _ in before.samples])
    assert not before.changed(times(census, 0, 100, 51), there, same=False)
    sensor.run("UPDATE readings SET timestamp = '2027-01-01T00:00:00Z' WHERE id = 73")
    there = census.stamps([i for i, _ in before.samples])
    assert before.changed(times(census, 0, 100, 51), there, same=False)


def test_times_of_a_range_with_every_id_are_those_that_are_found_by_looking(census):
    ranges = [(0, 37, Counts(37, 0)), (37, 100, Counts(63, 0))]
    assert census.times(ranges, 1, most=50) == census.times(ranges, None, most=50)
    assert times(census, 0, 100, 91, first=10).samples[0][0] == 10 + 90 // 16
