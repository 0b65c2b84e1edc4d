"""What a time of the source means: its unit or pattern, and the zone of a clock on the wall. For single values.

`edge_delta.core.time_columns` reads whole columns by the same rules; a test holds both to each other. Nothing heavy is
imported here, because `status` and `health` read one time and end.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

AUTO = "auto"
_DAY = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Unit(Struct, frozen=True):
    """A number as a time: ``number * times // by + zero`` microseconds since 1970, UTC."""

    times: int
    by: int
    zero: int


UNITS = {
    "s": Unit(1_000_000, 1, 0),
    "ms": Unit(1_000, 1, 0),
    "us": Unit(1, 1, 0),
    "ns": Unit(1, 1_000, 0),
    "days": Unit(_DAY, 1, 0),
    "julian": Unit(_DAY, 1, -210_866_760_000_000_000),  # day 2440587.5 is 1970-01-01
    "dotnet": Unit(1, 10, -62_135_596_800_000_000),  # ticks of 100 ns since the year 1
    "apple": Unit(1_000_000, 1, 978_307_200_000_000),  # seconds since 2001
}
"""What a number may count. With ``auto`` it is told by its size."""

SECONDS_BELOW, MILLISECONDS_BELOW, MICROSECONDS_BELOW = 10**11, 10**14, 10**17
JULIAN_DAYS = (2_451_544.5, 2_488_069.5)
"""The years 2000 to 2099. Only numbers with a decimal point: a box without a clock counts its weeks in seconds."""
DATES, SECONDS_OF_DATES = (19_700_101, 21_001_231), (19_700_101_000_000, 21_001_231_235_959)
"""Numbers that spell a date, as 20240131 and 20240131123000 do."""
FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999 in microseconds, all that readers know."""
PLAUSIBLE_SINCE = datetime(2000, 1, 1, tzinfo=UTC)
"""What lies before has more likely another unit, or was measured by a box without a clock."""

_NUMBER = r"(?a)^[+-]?\d+$"
_REAL = r"(?a)^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"  # float() takes 1_0 and nan, too


class TimeForm(Struct, frozen=True):
    """How the times of a column are written.

    Attributes:
        format: ``auto``, a unit (`UNITS`) or a pattern as of ``strptime``. A unit says what numbers are; ISO 8601 text
            is understood beside it.
        zone: where text without an offset was written, an IANA name. A time that the clock showed twice is the first
            of both; one that it skipped is counted from the time before it was put forward, so that 02:30 is 03:30.
    """

    format: str = AUTO
    zone: str = "UTC"

    @property
    def pattern(self) -> str | None:
        """The ``strptime`` pattern, if it is one."""
        return self.format if "%" in self.format else None


def refusal(form: TimeForm) -> str | None:
    """What is wrong with a form, in words; None if nothing is."""
    if form.zone != "UTC":
        try:
            zone_of(form.zone)
        except ValueError:
            return f"{form.zone!r} is no time zone: expected a name like Europe/Berlin"
    if form.pattern is None:
        known = ", ".join([AUTO, *UNITS])
        return None if form.format in (AUTO, *UNITS) else f"{form.format!r} is none of {known}, and no pattern with %"
    sample = datetime(2024, 12, 31, 13, 59, 58, tzinfo=UTC)
    try:
        same = datetime.strptime(sample.strftime(form.pattern), form.pattern).date() == sample.date()  # noqa: DTZ007 - zones come later
    except ValueError:
        same = False
    return None if same else f"{form.format!r} does not tell a date: expected a pattern like %Y%m%d%H%M%S"


def moment(value: object, form: TimeForm | None = None) -> datetime | None:
    """A cell as a time in UTC; None where it is none."""
    form = form or TimeForm()
    try:
        micros = _micros(value, form)
        return None if micros is None or not FIRST <= micros <= LAST else _EPOCH + timedelta(microseconds=micros)
    except (ValueError, OverflowError):
        return None


def _micros(value: object, form: TimeForm) -> int | None:
    if isinstance(value, bytes | bool) or value is None:
        return None
    if form.pattern is not None:
        return _since_epoch(datetime.strptime(str(value).strip(), form.pattern), form.zone)  # noqa: DTZ007 - see there
    if isinstance(value, str):
        text = value.strip()
        if re.match(_NUMBER, text):
            return _of_number(int(text), form)
        try:
            return _since_epoch(datetime.fromisoformat(text.replace(",", ".")), form.zone)
        except ValueError:
            return _of_number(float(text), form) if re.match(_REAL, text) else None
    return _of_number(value, form)  # type: ignore[arg-type]


def _of_number(number: float, form: TimeForm) -> int | None:
    unit = UNITS.get(form.format)
    if unit is None:
        spelled = _spelled(number)
        if spelled is not None:
            return _since_epoch(spelled, form.zone)
        unit = UNITS[_told_by_size(number)]
    if isinstance(number, int):
        return number * unit.times // unit.by + unit.zero
    if unit == UNITS["julian"]:  # the difference first: it is exact, and then a fraction of a day has its microseconds
        return round((number + unit.zero / _DAY) * _DAY)
    return round(number * unit.times / unit.by) + unit.zero


def _told_by_size(number: float) -> str:
    if isinstance(number, float) and JULIAN_DAYS[0] <= number < JULIAN_DAYS[1]:
        return "julian"
    sizes = {"s": SECONDS_BELOW, "ms": MILLISECONDS_BELOW, "us": MICROSECONDS_BELOW}
    return next((unit for unit, below in sizes.items() if abs(number) < below), "ns")


def _spelled(number: float) -> datetime | None:
    """The date that a number spells in its digits, if it does."""
    for (first, last), pattern in ((DATES, "%Y%m%d"), (SECONDS_OF_DATES, "%Y%m%d%H%M%S")):
        if first <= number <= last and number == int(number):
            try:
                return datetime.strptime(str(int(number)), pattern)  # noqa: DTZ007 - a clock on the wall
            except ValueError:
                return None
    return None


def _since_epoch(time: datetime, zone: str) -> int:
    aware = time if time.tzinfo is not None else time.replace(tzinfo=UTC if zone == "UTC" else zone_of(zone), fold=0)
    return (aware.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)


@cache
def zone_of(name: str) -> ZoneInfo:
    """The time zone of that name.

    Raises:
        ValueError: if there is none.
    """
    import zoneinfo  # noqa: PLC0415 - few settings name a zone

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, OSError):
        raise ValueError(name) from None


AHEAD_AFTER = timedelta(minutes=5)
"""What is further ahead of the clock has another zone or unit, or a clock of its own."""
REJECTED_IN_A_ROW = 10
"""Rows without one that was kept, from which on something is wrong with all of them."""
REJECTED_CURE = "Look at the reasons in the rejected table; [columns] and timestamp_format say what the source holds"
ODD_CURE = "Set timestamp_format or source_time_zone, or look at the clock of what writes the rows"


def doubtful(time: datetime, now: datetime) -> str | None:
    """Why a time is more likely misread than meant, in words; None if it is not."""
    if time < PLAUSIBLE_SINCE:
        return "before the year 2000"
    return "ahead of the clock" if time > now + AHEAD_AFTER else None
