"""Times in the forms in which sensors store them, as UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from edge_delta.modes import times


def parse(*values, dtype=None):
    frame = pl.DataFrame({"t": pl.Series(values, dtype=dtype)})
    return frame.select(times.parsed(pl.col("t")))["t"].to_list()


EXPECTED = datetime(2026, 11, 22, 1, 41, 34, 909000, UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T01:41:34.909+00:00",
        "2026-11-22T01:41:34.909Z",
        "2026-11-22T03:41:34.909+02:00",
        "2026-11-22T03:41:34.909+0200",
        "2026-11-22T03:41:34.909+02",
        "2026-11-21T20:11:34.909-05:30",
        "2026-11-22 01:41:34.909+00:00",
        "2026-11-22 01:41:34.909",
        "2026-11-22T01:41:34.909",
        "2026-11-22T01:41:34.909000",
        "2026-11-22T01:41:34,909",
        " 2026-11-22T01:41:34.909Z ",
        "1795311694.909",
        "1795311694909",
        "1795311694909000",
    ],
)
def test_text_in_many_forms_is_one_moment(text):
    # Alone, and among others in the usual form.
    assert parse(text) == [EXPECTED]
    assert parse("2026-11-22T01:41:34.909+00:00", text, None) == [EXPECTED, EXPECTED, None]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-22T01:41:34Z", datetime(2026, 11, 22, 1, 41, 34, tzinfo=UTC)),
        ("2026-11-22T01:41", datetime(2026, 11, 22, 1, 41, tzinfo=UTC)),
        ("2026-11-22T01:41+02:00", datetime(2026, 11, 21, 23, 41, tzinfo=UTC)),
        ("2026-11-22", datetime(2026, 11, 22, tzinfo=UTC)),
        ("1969-12-31T23:59:59Z", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2024-02-29T12:00:00Z", datetime(2024, 2, 29, 12, tzinfo=UTC)),
    ],
)
def test_shorter_forms_and_edges(text, moment):
    assert parse(text) == [moment]


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01T00:00:00Z", "2025-02-29", "12:00", "2026-11-22T25:00:00Z"])
def test_what_is_no_time_is_null(text):
    assert parse(text) == [None]


@pytest.mark.parametrize("unit", [1, 1_000, 1_000_000, 1_000_000_000])
def test_integers_are_told_by_their_size(unit):
    assert parse(1795311694 * unit, dtype=pl.Int64) == [EXPECTED.replace(microsecond=0)]


def test_fractions_of_seconds_and_julian_days():
    assert parse(1795311694.909, dtype=pl.Float64) == [EXPECTED]
    [julian] = parse(2461366.5, dtype=pl.Float64)
    assert julian == datetime(2026, 11, 22, tzinfo=UTC)
    [precise] = parse(2440587.5 + 1795311694.909 / 86400, dtype=pl.Float64)
    assert abs(precise - EXPECTED) < timedelta(milliseconds=1)


@pytest.mark.parametrize("extreme", [2**63 - 1, -(2**63)])
def test_extreme_integers_are_no_exception(extreme):
    parse(extreme, dtype=pl.Int64)


@pytest.mark.parametrize("extreme", [float("inf"), float("-inf"), float("nan"), 1e300, -1e300])
def test_extreme_floats_are_no_exception(extreme):
    parse(extreme, dtype=pl.Float64)


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("2026-11-22T01:41:34.909+02:00", "+02:00"),
        ("2026-11-22T01:41:34-0530", "-05:30"),
        ("2026-11-22T01:41:34+02", "+02:00"),
        ("2026-11-22T01:41:34Z", "+00:00"),
        ("2026-11-22 01:41:34.5+05:45", "+05:45"),
        ("2026-11-22T01:41:34", None),
        ("2026-11-22", None),
        ("1795311694", None),
        (None, None),
    ],
)
def test_the_offset_that_a_time_was_written_with(text, offset):
    frame = pl.DataFrame({"t": [text]}, schema={"t": pl.String})
    assert frame.select(times.offset_of(pl.col("t"))).item() == offset


def test_years_that_no_reader_knows_are_no_times():
    """Numbers reach far: one row with the year -219 stopped every later one, because Python has no such date."""
    wanted = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), None]
    assert parse("0001-01-01", "9999-12-31T23:59:59Z", None) == wanted
    assert parse(-69_076_350_813_334_790.0, 1_767_225_600.0) == [None, datetime(2026, 1, 1, tzinfo=UTC)]
    assert parse("-69076350813334790", "0000-12-31T23:59:59Z", "9999-12-31T23:59:59-01:00") == [None] * 3
