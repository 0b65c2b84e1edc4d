"""Times in all the forms in which sensors store them, as microseconds in UTC."""

from __future__ import annotations

import re

import polars as pl

from edge_delta.modes.base import UTC

# Forms with an offset first: one attempt settles the usual case. A blank before the time is a T by then.
_WITH_OFFSET = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z")
_WITHOUT_OFFSET = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d")
_JULIAN_DAY_OF_EPOCH = 2440587.5
_JULIAN_DAYS = (2_300_000.0, 2_700_000.0)  # the years 1585 to 2680
_FAST_FORM = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6})?[+-]\d\d:\d\d$", re.ASCII)
_MICROSECONDS_A_DAY = 86_400_000_000
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999  # the years 1 to 9999, all that readers know
_SECONDS_BELOW, _MILLISECONDS_BELOW, _MICROSECONDS_BELOW = 1e11, 1e14, 1e17


def parsed(column: pl.Expr) -> pl.Expr:
    """A time column as UTC timestamps; null where it cannot be read as a time.

    ISO 8601 text with any offset, or without one (then UTC), a date alone; numbers, also as text, as seconds,
    milliseconds, microseconds or nanoseconds since 1970 told apart by their size, or as Julian days. Only the years
    1 to 9999 are times.
    """
    return column.map_batches(_parse, return_dtype=UTC)


def offset_of(column: pl.Expr) -> pl.Expr:
    """The offset that ISO text was written with, as ``+02:00``; null where there is none."""
    return column.map_batches(_offsets, return_dtype=pl.String)


def _offsets(values: pl.Series) -> pl.Series:
    sample = _sample(values)
    if _FAST_FORM.match(sample) and values.str.ends_with(sample[-6:]).all(ignore_nulls=False):
        return pl.repeat(sample[-6:], len(values), eager=True).alias(values.name)
    text = pl.col(values.name).str.strip_chars()
    sign = text.str.extract(r":\d{2}(?:[.,]\d+)?([+-]\d{2}):?\d{0,2}$", 1)
    minutes = text.str.extract(r"[+-]\d{2}:?(\d{2})$", 1).fill_null("00")
    offset = pl.when(text.str.ends_with("Z")).then(pl.lit("+00:00")).otherwise(sign + ":" + minutes)
    return values.to_frame().select(offset.alias(values.name)).to_series()


def _sample(values: pl.Series) -> str:
    """One of the texts, by which the usual form is told; empty if there is none in the middle of the column."""
    return (values[len(values) // 2] or "") if len(values) else ""


def _parse(values: pl.Series) -> pl.Series:
    times = _any_year(values)
    micros = times.cast(pl.Int64)
    first, last = micros.min(), micros.max()
    if first is None or (first >= _FIRST and last <= _LAST):  # type: ignore[operator]
        return times
    return times.set(~micros.is_between(_FIRST, _LAST), None)


def _any_year(values: pl.Series) -> pl.Series:
    if values.dtype == pl.String:
        return _from_text(values)
    if values.dtype.is_numeric():
        return _from_number(values.cast(pl.Float64) if values.dtype.is_float() else values.cast(pl.Int64))
    return pl.Series(values.name, [None] * len(values), dtype=UTC)


def _from_text(values: pl.Series) -> pl.Series:
    times = _fast(values)
    if times is None:
        times = values.str.to_datetime(_WITH_OFFSET[0], time_unit="us", time_zone="UTC", strict=False)
    missing = values.is_not_null() & times.is_null()
    if not missing.any():
        return times
    odd = values.filter(missing).str.strip_chars()
    iso = odd.str.replace(" ", "T").str.replace(",", ".")
    found = [iso.str.to_datetime(form, time_unit="us", time_zone="UTC", strict=False) for form in _WITH_OFFSET]
    found += [
        iso.str.to_datetime(form, time_unit="us", strict=False).dt.replace_time_zone("UTC") for form in _WITHOUT_OFFSET
    ]
    found.append(_from_number(odd.cast(pl.Int64, strict=False)))
    found.append(_from_number(odd.cast(pl.Float64, strict=False)))
    rest = pl.select(pl.coalesce(found)).to_series()
    return times.scatter(missing.arg_true(), rest)


def _fast(values: pl.Series) -> pl.Series | None:
    """Texts of the form that Python's ``isoformat`` writes, the others null; None if that is not the column's form.

    Formats of fixed width have a parser of their own in Polars, four times as fast as those with ``%.f`` or ``%z``.
    """
    sample = _sample(values)
    match = _FAST_FORM.match(sample)
    if match is None:
        return None
    fraction = {None: "", 4: ".%3f", 7: ".%6f"}[len(match[1]) if match[1] else None]
    offset = sample[-6:]
    minutes = int(offset[0] + "1") * (int(offset[1:3]) * 60 + int(offset[4:]))
    # Readings seldom share their time, so a cache of texts would only cost.
    form = f"%Y-%m-%dT%H:%M:%S{fraction}{offset}"
    naive = values.str.to_datetime(form, time_unit="us", strict=False, cache=False)
    times = naive.dt.replace_time_zone("UTC")
    return times.dt.offset_by(f"{-minutes}m") if minutes else times


def _from_number(values: pl.Series) -> pl.Series:
    """Numbers as times, the unit told by the size: up to 10^11 seconds, then milli-, micro- and nanoseconds."""
    name = values.name
    number = pl.col(name)
    size = number.abs()
    julian = ((number - _JULIAN_DAY_OF_EPOCH) * _MICROSECONDS_A_DAY).round().cast(pl.Int64, strict=False)
    micro = (
        pl.when(number.is_between(*_JULIAN_DAYS))
        .then(julian)
        .when(size < _SECONDS_BELOW)
        .then((number * 1_000_000).round().cast(pl.Int64, strict=False))
        .when(size < _MILLISECONDS_BELOW)
        .then((number * 1_000).round().cast(pl.Int64, strict=False))
        .when(size < _MICROSECONDS_BELOW)
        .then(number.round().cast(pl.Int64, strict=False))
        .otherwise((number / 1_000).round().cast(pl.Int64, strict=False))
    )
    return values.to_frame().select(micro.cast(UTC).alias(name)).to_series()
