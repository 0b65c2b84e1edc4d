"""Columns of times in all the forms in which sensors store them, as microseconds in UTC.

The rules are those of `edge_delta.core.time_formats`, where single values are read.
"""

from __future__ import annotations

import re

import polars as pl

from edge_delta.core import time_formats
from edge_delta.core.time_formats import UNITS, TimeForm

UTC = pl.Datetime("us", "UTC")

# Forms with an offset first: one attempt settles the usual case. A blank before the time is a T by then.
_WITH_OFFSET = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z")
_WITHOUT_OFFSET = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d")
_FAST_FORM = re.compile(r"^\d{4}-\d\d-\d\d([T ])\d\d:\d\d:\d\d(\.\d{3}|\.\d{6})?([+-]\d\d:\d\d)?$", re.ASCII)
_AUTO = TimeForm()


def parsed(column: pl.Expr, form: TimeForm = _AUTO) -> pl.Expr:
    """A time column as UTC timestamps; null where it cannot be read as a time.

    ISO 8601 text with any offset, or without one (then the form's zone), a date alone; numbers, also as text, in the
    form's unit, or as dates in digits, seconds, milliseconds, microseconds or nanoseconds since 1970 told apart by
    their size, or as Julian days. Only the years 1 to 9999 are times.

    Args:
        column: of text, numbers or times.
        form: how they are written.
    """
    return column.map_batches(lambda values: parse(values, form), return_dtype=UTC)


def parse(values: pl.Series, form: TimeForm = _AUTO) -> pl.Series:
    """See `parsed`."""
    times = _any_year(values, form)
    micros = times.cast(pl.Int64)
    first, last = micros.min(), micros.max()
    if first is None or (first >= time_formats.FIRST and last <= time_formats.LAST):  # type: ignore[operator]
        return times
    return times.set(~micros.is_between(time_formats.FIRST, time_formats.LAST), None)


def offset_of(column: pl.Expr) -> pl.Expr:
    """The offset that ISO text was written with, as ``+02:00``; null where there is none."""
    return column.map_batches(_offsets, return_dtype=pl.String)


def _offsets(values: pl.Series) -> pl.Series:
    sample = _sample(values)
    match = _FAST_FORM.match(sample)
    if match is not None and match[3] and values.str.ends_with(match[3]).all(ignore_nulls=False):
        return pl.repeat(match[3], len(values), eager=True).alias(values.name)
    text = pl.col(values.name).str.strip_chars()
    sign = text.str.extract(r":\d{2}(?:[.,]\d+)?([+-]\d{2}):?\d{0,2}$", 1)
    minutes = text.str.extract(r"[+-]\d{2}:?(\d{2})$", 1).fill_null("00")
    offset = pl.when(text.str.ends_with("Z")).then(pl.lit("+00:00")).otherwise(sign + ":" + minutes)
    return values.to_frame().select(offset.alias(values.name)).to_series()


def _sample(values: pl.Series) -> str:
    """One of the texts, by which the usual form is told; empty if there is none in the middle of the column."""
    return (values[len(values) // 2] or "") if len(values) else ""


def _any_year(values: pl.Series, form: TimeForm) -> pl.Series:
    if values.dtype == UTC:
        return values
    if form.pattern is not None:
        return _by_pattern(values, form.pattern, form.zone)
    if values.dtype == pl.String:
        return _from_text(values, form)
    if values.dtype.is_numeric():
        return _from_number(values.cast(pl.Float64) if values.dtype.is_float() else values.cast(pl.Int64), form)
    return pl.Series(values.name, [None] * len(values), dtype=UTC)


# -- text


def _by_pattern(values: pl.Series, pattern: str, zone: str) -> pl.Series:
    if values.dtype not in (pl.String, pl.Int64):
        values = values.cast(pl.Int64, strict=False)
    text = values.cast(pl.String).str.strip_chars()
    ours = pattern.replace(".%f", "%.f").replace("%f", "%6f").replace("%z", "%#z")
    if "%#z" in ours:
        return text.str.to_datetime(ours, time_unit="us", time_zone="UTC", strict=False)
    if "%H" not in ours and "%I" not in ours:
        return _located(text.str.to_date(ours, strict=False).cast(pl.Datetime("us")), zone)
    return _located(text.str.to_datetime(ours, time_unit="us", strict=False), zone)


def _from_text(values: pl.Series, form: TimeForm) -> pl.Series:
    times = _fast(values, form.zone)
    if times is None:
        times = values.str.to_datetime(_WITH_OFFSET[0], time_unit="us", time_zone="UTC", strict=False)
    missing = values.is_not_null() & times.is_null()
    if not missing.any():
        return times
    odd = values.filter(missing).str.strip_chars()
    iso = odd.str.replace(" ", "T").str.replace(",", ".")
    found = [iso.str.to_datetime(way, time_unit="us", time_zone="UTC", strict=False) for way in _WITH_OFFSET]
    found += [_located(iso.str.to_datetime(way, time_unit="us", strict=False), form.zone) for way in _WITHOUT_OFFSET]
    found.append(_from_number(odd.cast(pl.Int64, strict=False), form))
    found.append(_from_number(odd.cast(pl.Float64, strict=False), form))
    rest = pl.select(pl.coalesce(found)).to_series()
    return times.scatter(missing.arg_true(), rest)


def _fast(values: pl.Series, zone: str) -> pl.Series | None:
    """Texts of the form that Python's ``isoformat`` writes, the others null; None if that is not the column's form.

    Formats of fixed width have a parser of their own in Polars, four times as fast as those with ``%.f`` or ``%z``.
    """
    match = _FAST_FORM.match(_sample(values))
    if match is None:
        return None
    between, digits, offset = match.groups()
    fraction = {None: "", 4: ".%3f", 7: ".%6f"}[len(digits) if digits else None]
    # Readings seldom share their time, so a cache of texts would only cost.
    form = f"%Y-%m-%d{between}%H:%M:%S{fraction}{offset or ''}"
    naive = values.str.to_datetime(form, time_unit="us", strict=False, cache=False)
    if offset is None:
        return _located(naive, zone)
    minutes = int(offset[0] + "1") * (int(offset[1:3]) * 60 + int(offset[4:]))
    times = naive.dt.replace_time_zone("UTC")
    return times.dt.offset_by(f"{-minutes}m") if minutes else times


def _located(naive: pl.Series, zone: str) -> pl.Series:
    """When the clock on a wall there showed these times, see `TimeForm.zone`."""
    if zone == "UTC":
        return naive.dt.replace_time_zone("UTC")

    def first(walls: pl.Series) -> pl.Series:
        zoned = walls.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        return zoned.dt.convert_time_zone("UTC")

    times = first(naive)
    skipped = naive.is_not_null() & times.is_null()
    if not skipped.any():
        return times
    return times.scatter(skipped.arg_true(), first(naive.filter(skipped).dt.offset_by("-1d")).dt.offset_by("24h"))


# -- numbers


def _from_number(values: pl.Series, form: TimeForm) -> pl.Series:
    """Numbers in the form's unit, or each in the unit that its size tells."""
    number = pl.col(values.name)
    unit = UNITS.get(form.format)
    if unit is not None:
        micro = _in_unit(number, form.format, whole=values.dtype.is_integer())
        return values.to_frame().select(micro.cast(UTC).alias(values.name)).to_series()
    size, whole = number.abs(), values.dtype.is_integer()
    ways = [(size < time_formats.SECONDS_BELOW, "s"), (size < time_formats.MILLISECONDS_BELOW, "ms")]
    ways += [(size < time_formats.MICROSECONDS_BELOW, "us")]
    if not whole:
        ways.insert(0, (number.is_between(*time_formats.JULIAN_DAYS, closed="left"), "julian"))
    micro = pl.coalesce(
        *(pl.when(holds).then(_in_unit(number, name, whole=whole)) for holds, name in ways),
        pl.when(size >= time_formats.MICROSECONDS_BELOW).then(_in_unit(number, "ns", whole=whole)),
        _in_unit(number, "ns", whole=whole),
    )
    times = values.to_frame().select(micro.cast(UTC).alias(values.name)).to_series()
    return _spelled(values, times, form.zone)


def _in_unit(number: pl.Expr, name: str, *, whole: bool) -> pl.Expr:
    unit = UNITS[name]
    if whole:
        if unit.by > 1:
            return number // unit.by + unit.zero
        most = (2**63 - 1 - abs(unit.zero)) // unit.times
        return pl.when(number.is_between(-most, most)).then(number * unit.times + unit.zero)
    if name == "julian":  # the difference first, see `edge_delta.core.time_formats`
        day = unit.times
        return ((number + unit.zero / day) * day).round().cast(pl.Int64, strict=False)
    return (number * (unit.times / unit.by)).round().cast(pl.Int64, strict=False) + unit.zero


def _spelled(values: pl.Series, times: pl.Series, zone: str) -> pl.Series:
    """The times, but what spells a date in its digits is that date."""
    for (first, last), pattern in ((time_formats.DATES, "%Y%m%d"), (time_formats.SECONDS_OF_DATES, "%Y%m%d%H%M%S")):
        spells = values.is_between(first, last) & (values == values.floor() if values.dtype.is_float() else True)
        if not spells.any():
            continue
        dates = _by_pattern(values.filter(spells).cast(pl.Int64), pattern, zone)
        at = spells.arg_true().filter(dates.is_not_null())
        times = times.scatter(at, dates.drop_nulls())
    return times
