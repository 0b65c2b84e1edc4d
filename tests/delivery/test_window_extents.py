"""What is known of open windows, as values: which a watermark closes, which lie ahead, which rows are in none."""

from __future__ import annotations

import polars as pl
import pytest

from edge_delta.delivery.open_windows import OpenWindows, Window, between, from_first, in_windows, latest_of
from edge_delta.modes.aggregated import WINDOW

MINUTE = 60_000_000
EARLY = Window(first=3, last=9, rows=5, end=MINUTE, earliest=10, latest=50, written=2)
LATE = Window(first=7, last=12, rows=4, end=2 * MINUTE, earliest=MINUTE + 5, latest=MINUTE + 40, written=1)


@pytest.fixture
def both():
    starts = pl.Series(WINDOW, [0, MINUTE]).cast(pl.Datetime("us", "UTC"))
    return OpenWindows({0: EARLY, MINUTE: LATE}, pl.DataFrame([starts, pl.Series("n", [5, 4])]))


def rows(*cells):
    times = pl.Series("timestamp", [time for _, _, time in cells]).cast(pl.Datetime("us", "UTC"))
    starts = pl.Series(WINDOW, [start for _, start, _ in cells]).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame([pl.Series("_rowid", [rowid for rowid, _, _ in cells]), starts, times])


def test_two_parts_of_a_window_are_one_with_the_rows_of_both():
    other = Window(first=1, last=20, rows=3, end=MINUTE, earliest=20, latest=70, written=1)
    assert EARLY.joined(other) == Window(1, 20, 8, MINUTE, 10, 70, 3)
    assert other.joined(EARLY) == EARLY.joined(other)


def test_rows_that_the_tables_version_lacks_wait_and_never_fewer_than_none(both):
    assert (EARLY.pending, LATE.pending, both.pending) == (3, 3, 6)
    assert Window(1, 1, 2, MINUTE, 0, 0, written=5).pending == 0


def test_the_first_row_of_all_or_what_is_said_where_nothing_is_open(both):
    assert both.first(1) == 3
    assert OpenWindows().first(77) == 77


def test_a_watermark_closes_what_ended_before_it_by_the_lateness_and_none_closes_nothing(both):
    assert both.closed_by(None, 0) == set()
    assert both.closed_by(MINUTE - 1, 0) == set()
    assert both.closed_by(MINUTE, 0) == {0}
    assert both.closed_by(2 * MINUTE, 0) == {0, MINUTE}
    assert both.closed_by(2 * MINUTE, 60) == {0}
    assert both.closed_by(2 * MINUTE - 1, 60) == set()


def test_the_latest_time_up_to_a_limit_is_the_latest_that_is_known_of_each_window(both):
    assert both.latest_before(49) == 10
    assert both.latest_before(50) == 50
    assert both.latest_before(9) is None
    assert both.latest_before(10) == 10
    assert both.latest_before(MINUTE + 39) == MINUTE + 5
    assert both.latest_before(MINUTE + 40) == MINUTE + 40


def test_windows_whose_earliest_row_is_behind_a_limit_are_ahead(both):
    assert both.after(9) == {0: EARLY, MINUTE: LATE}
    assert both.after(10) == {MINUTE: LATE}
    assert both.after(MINUTE + 5) == {}


def test_some_of_the_windows_have_their_parts_with_them(both):
    assert both.only([0, MINUTE]) is both
    assert both.only([]) == OpenWindows()
    one = both.only([MINUTE])
    assert one.windows == {MINUTE: LATE}
    assert one.parts["n"].to_list() == [4]
    assert both.without([MINUTE]).parts["n"].to_list() == [5]
    assert OpenWindows({0: EARLY}).only([0]) == OpenWindows()


def test_how_many_rows_the_table_has_is_noted_of_windows_that_are_open(both):
    noted = both.with_written({MINUTE: 4, 7 * MINUTE: 9})
    assert noted.windows[MINUTE].pending == 0
    assert noted.windows[0] == EARLY
    assert noted.windows.keys() == both.windows.keys()


def test_rows_are_in_a_window_from_its_first_row_to_its_last():
    frame = rows((3, 0, 10), (4, 0, 20), (9, 0, 50), (10, 0, 55), (4, MINUTE, MINUTE + 9))
    assert frame.filter(in_windows([0]))["_rowid"].to_list() == [3, 4, 9, 10]
    assert frame.filter(from_first({0: 4}))["_rowid"].to_list() == [4, 9, 10]
    assert frame.filter(between({0: (4, 9)}))["_rowid"].to_list() == [4, 9]


def test_the_latest_time_of_rows_up_to_a_limit():
    frame = rows((1, 0, 10), (2, 0, 20), (3, 0, 30))
    assert latest_of(frame, 20) == 20
    assert latest_of(frame, 9) is None
