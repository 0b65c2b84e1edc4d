"""Times in the forms in which sensors store them, as UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given, settings

from edge_delta.core import time_columns, time_formats
from edge_delta.core.time_formats import UNITS, TimeForm


def parse(*values, dtype=None):
    frame = pl.DataFrame({"t": pl.Series(values, dtype=dtype)})
    return frame.select(time_columns.parsed(pl.col("t")))["t"].to_list()


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
    assert frame.select(time_columns.offset_of(pl.col("t"))).item() == offset


def test_years_that_no_reader_knows_are_no_times():
    """Numbers reach far: one row with the year -219 stopped every later one, because Python has no such date."""
    wanted = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), None]
    assert parse("0001-01-01", "9999-12-31T23:59:59Z", None) == wanted
    assert parse(-69_076_350_813_334_790.0, 1_767_225_600.0) == [None, datetime(2026, 1, 1, tzinfo=UTC)]
    assert parse("-69076350813334790", "0000-12-31T23:59:59Z", "9999-12-31T23:59:59-01:00") == [None] * 3


# -- forms

WHEN = datetime(2026, 11, 22, 1, 41, 34, tzinfo=UTC)
FORMS = [
    ("s", 1795311694, WHEN),
    ("ms", 1795311694000, WHEN),
    ("us", 1795311694000000, WHEN),
    ("ns", 1795311694000000000, WHEN),
    ("s", 86_400 * 28, datetime(1970, 1, 29, tzinfo=UTC)),
    ("ms", 5, datetime(1970, 1, 1, 0, 0, 0, 5000, UTC)),
    ("days", 20_779, datetime(2026, 11, 22, tzinfo=UTC)),
    ("days", 20_779.5, datetime(2026, 11, 22, 12, tzinfo=UTC)),
    ("julian", 2461366.5, datetime(2026, 11, 22, tzinfo=UTC)),
    ("julian", 2461367, datetime(2026, 11, 22, 12, tzinfo=UTC)),
    ("dotnet", 638_995_980_940_000_000, datetime(2025, 11, 24, 16, 21, 34, tzinfo=UTC)),
    ("apple", 817_004_494, WHEN),
    ("apple", 817_004_494.5, WHEN.replace(microsecond=500_000)),
    ("%Y%m%d%H%M%S", "20261122014134", WHEN),
    ("%Y%m%d%H%M%S", 20261122014134, WHEN),
    ("%d.%m.%Y %H:%M:%S.%f", "22.11.2026 01:41:34.25", WHEN.replace(microsecond=250_000)),
    ("%d/%m/%Y", "22/11/2026", datetime(2026, 11, 22, tzinfo=UTC)),
    ("%Y-%m-%d %H:%M:%S %z", "2026-11-22 03:41:34 +0200", WHEN),
    ("%m/%d/%y %I:%M:%S %p", "11/22/26 01:41:34 AM", WHEN),
    ("s", "2026-11-22T01:41:34Z", WHEN),
    ("s", "1795311694", WHEN),
    ("auto", 20240131, datetime(2024, 1, 31, tzinfo=UTC)),
    ("auto", 20240131123000, datetime(2024, 1, 31, 12, 30, tzinfo=UTC)),
    ("auto", "20240131", datetime(2024, 1, 31, tzinfo=UTC)),
    ("auto", "20240131123000", datetime(2024, 1, 31, 12, 30, tzinfo=UTC)),
    ("auto", 20249931, datetime(1970, 8, 23, 8, 58, 51, tzinfo=UTC)),
    ("auto", 2461041, datetime(1970, 1, 29, 11, 37, 21, tzinfo=UTC)),  # four weeks without a clock
    ("auto", 2461366.5, datetime(2026, 11, 22, tzinfo=UTC)),
    ("auto", -5, datetime(1969, 12, 31, 23, 59, 55, tzinfo=UTC)),
    ("auto", "soon", None),
    ("%Y%m%d", "soon", None),
    ("dotnet", 2**63 - 1, None),
    ("julian", 1e300, None),
]


@pytest.mark.parametrize(("form", "value", "moment"), FORMS)
def test_a_format_says_what_numbers_and_texts_mean_alike_for_columns_and_for_single_values(form, value, moment):
    column = pl.DataFrame({"t": [value, None]})
    assert column.select(time_columns.parsed(pl.col("t"), TimeForm(form)))["t"].to_list() == [moment, None]
    assert time_formats.moment(value, TimeForm(form)) == moment


@pytest.mark.parametrize(
    "text", ["2026-07-01T12:00:00", "2026-07-01 12:00", "2026-07-01T12:00:00.500", "20260701120000"]
)
def test_a_clock_on_the_wall_is_read_in_its_zone(text):
    form = TimeForm(zone="Europe/Helsinki")
    moment = datetime(2026, 7, 1, 9, 0, 0, 500_000 if "." in text else 0, UTC)
    assert pl.DataFrame({"t": [text]}).select(time_columns.parsed(pl.col("t"), form)).item() == moment
    assert time_formats.moment(text, form) == moment


@pytest.mark.parametrize(
    ("wall", "utc"),
    [
        ("2026-10-25T02:30:00", "2026-10-25T00:30:00"),  # shown twice: the first
        ("2026-10-25T03:30:00", "2026-10-25T02:30:00"),
        ("2026-03-29T02:30:00", "2026-03-29T01:30:00"),  # not shown: 03:30
        ("2026-03-29T03:30:00", "2026-03-29T01:30:00"),
        ("2026-03-29T01:59:59", "2026-03-29T00:59:59"),
        ("2026-03-29T02:30:00+00:00", "2026-03-29T02:30:00"),  # an offset that is written counts
    ],
)
def test_times_that_the_clock_shows_twice_or_not_at_all_are_decided(wall, utc):
    form, moment = TimeForm(zone="Europe/Berlin"), datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert pl.DataFrame({"t": [wall]}).select(time_columns.parsed(pl.col("t"), form)).item() == moment
    assert time_formats.moment(wall, form) == moment


ZONES_END = datetime(2099, 12, 30)  # noqa: DTZ001 - hypothesis wants it so; Polars knows no clock changes behind it
values = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2 * 10**9),
    st.floats(0, 5e9),
    st.datetimes(max_value=ZONES_END).map(lambda t: t.isoformat()),
    st.datetimes(max_value=ZONES_END).map(lambda t: t.strftime("%Y%m%d%H%M%S")),
    st.text(max_size=6),
)


@given(value=values, form=st.sampled_from(["auto", *UNITS]), zone=st.sampled_from(["UTC", "America/New_York"]))
@settings(max_examples=400, deadline=None, derandomize=True, database=None)
def test_single_values_and_columns_are_read_by_the_same_rules(value, form, zone):
    form = TimeForm(form, zone)
    column = pl.DataFrame({"t": [value]}).select(time_columns.parsed(pl.col("t"), form)).item()
    single = time_formats.moment(value, form)
    if column is None or single is None:
        assert (column is None) == (single is None) or not isinstance(value, int)
    else:
        assert abs(column - single) <= timedelta(microseconds=1 if isinstance(value, int) else 100)


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        (TimeForm("minutes"), "is none of auto, s"),
        (TimeForm("%H:%M"), "does not tell a date"),
        (TimeForm("%Y %"), "does not tell a date"),
        (TimeForm(zone="Europe/Atlantis"), "no time zone"),
        (TimeForm("%Y-%m-%d", "Asia/Kolkata"), None),
    ],
)
def test_a_form_that_cannot_work_is_refused(form, reason):
    found = time_formats.refusal(form)
    assert found is None if reason is None else reason in found
