"""The time of an item in unix milliseconds, from the texts and numbers that records have for times.

Pure: the time of extraction and the present are arguments.
"""

from __future__ import annotations

import datetime as dt
import re
from bisect import bisect_left, bisect_right
from decimal import Decimal
from functools import lru_cache
from itertools import repeat
from operator import sub
from typing import TYPE_CHECKING, Any

import msgspec

from target_statsig.config.choices import TimeUnit
from target_statsig.errors import RecordError
from target_statsig.events.values import parse_number
from target_statsig.singer.columns import exact

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_statsig.reports.report import MappingWarnings
    from target_statsig.singer.columns import Column, Faults

OLD_MS = 60 * 86_400_000
"""The age from which on an event is called old, in milliseconds. Statsig does not document how old one may be."""

CLOCKS_APART_MS = 5 * 60_000
"""Milliseconds ahead of now up to which a time does not count as a future one, because clocks differ."""

CALENDAR_MS = range(-62_135_596_800_000, 253_402_300_800_000)
"""The years 1 to 9999."""

PLAUSIBLE_MS = range(946_684_800_000, 4_133_980_800_000)
"""The years 2000 to 2100. With `time_unit: auto`, a number is a time only if some unit makes it one of these years.
Texts of other years are mostly placeholders: 0001-01-01, 1900-01-01, 1970-01-01, 9999-12-31."""

UNITS_BELOW = {10**11: TimeUnit.SECONDS, 10**14: TimeUnit.MILLISECONDS, 10**17: TimeUnit.MICROSECONDS}
"""The unit of numbers below each bound in `time_unit: auto`; larger ones are nanoseconds. As seconds, 10^11 is in the
year 5138; as milliseconds, in 1973."""

_NANOSECONDS = {
    TimeUnit.SECONDS: 10**9,
    TimeUnit.MILLISECONDS: 10**6,
    TimeUnit.MICROSECONDS: 10**3,
    TimeUnit.NANOSECONDS: 1,
}
"""The nanoseconds of each unit."""

# The standard library parses only `local`. Which other forms it accepts differs between versions of Python.
_parts = re.compile(
    r"""
    (?P<local> \d{4}-\d\d-\d\d (?P<clock> [Tt\ ] (?:[01]\d|2[0-3]) : [0-5]\d (?P<seconds> :[0-5]\d )? )? )
    (?(seconds) (?: [.,] (?P<fraction> \d+ ) )? )
    (?(clock) (?: \ ? (?P<zone> [Zz] | UTC | [+-] (?:[01]\d|2[0-3]) (?: :?[0-5]\d (?: :?[0-5]\d )? )? ) )? )
    """,
    re.ASCII | re.VERBOSE,
).fullmatch

_compact = re.compile(r"((?:19|20)\d\d)(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d))?", re.ASCII).fullmatch
"""Dates and times in digits, as warehouses write them: `20240606`, `20240606093000`. Read as seconds the first would be
in August 1970, and as milliseconds the second in the year 2611."""

_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - subtracted from local times; their zone is subtracted separately


def event_times(
    values: Column, extracted: Column, unit: TimeUnit, now_ms: int, warnings: MappingWarnings, faults: Faults
) -> Column:
    """Return the time of each item, in unix milliseconds, from the records' times, of which numbers have this unit.

    Where the time is None or a blank text, the time of extraction is used, or else `now_ms`. Times of extraction are
    in ISO 8601; other values are ignored. A fault is `invalid_time`: a value that is not a time.
    """
    parsed = parse_texts(values)
    if parsed is not None:
        _warn(parsed, now_ms, warnings)
        return parsed
    times: list[int | None] = []
    given: list[int] = []
    defaults: Column | None = parse_texts(extracted)
    if defaults is None:
        defaults = [parse_text(each) if isinstance(each, str) else None for each in extracted]
    for row, (value, default) in enumerate(zip(values, defaults, strict=True)):
        if value is None or (type(value) is str and not value.strip()):
            warnings.time_defaulted += 1
            times.append(now_ms if default is None else default)
            continue
        time_ms = unix_ms(value, unit)
        times.append(time_ms)
        if time_ms is None:
            faults.setdefault(row, RecordError("invalid_time", "event_time"))
        else:
            given.append(time_ms)
    _warn(given, now_ms, warnings)
    return times


def _warn(times: Sequence[int], now_ms: int, warnings: MappingWarnings) -> None:
    earliest, latest, ordered = now_ms - OLD_MS, now_ms + CLOCKS_APART_MS, sorted(times)
    if not ordered or (ordered[0] >= earliest and ordered[-1] <= latest):
        return
    old, future = ordered[: bisect_left(ordered, earliest)], ordered[bisect_right(ordered, latest) :]
    warnings.old_times += _plausible(old)
    warnings.future_times += _plausible(future)
    warnings.placeholder_times += len(old) - _plausible(old) + len(future) - _plausible(future)


def _plausible(ordered: Sequence[int]) -> int:
    return bisect_left(ordered, PLAUSIBLE_MS.stop) - bisect_left(ordered, PLAUSIBLE_MS.start)


def unix_ms(value: object, unit: TimeUnit = TimeUnit.AUTO) -> int | None:
    """Return a time in unix milliseconds, rounded down, or None if the value is not a time.

    A time is a text that `parse_text` accepts, a number in this unit, a text with one, a `datetime` or a `date`.
    Without a zone it is in UTC.
    """
    if isinstance(value, str):
        time_ms = parse_text(value)
        if time_ms is not None:
            return time_ms
        number = parse_number(value)
        return None if number is None else _from_number(number, unit)
    if isinstance(value, (int, float, Decimal)):
        return None if isinstance(value, bool) else _from_number(value, unit)
    if isinstance(value, dt.datetime):
        offset = value.utcoffset()
        local = value.replace(tzinfo=None)
        return (local - _EPOCH - (offset or dt.timedelta())) // dt.timedelta(milliseconds=1)
    if isinstance(value, dt.date):
        return (value.toordinal() - _EPOCH.toordinal()) * 86_400_000
    return None


def parse_texts(
    texts: Sequence[Any], choose: Callable[[Sequence[dt.datetime]], dt.datetime] | None = None
) -> Sequence[int] | None:
    """Return the same as `parse_text` of each, in a quarter of the time; None if one has not the form of RFC 3339.

    With `choose`, which is `min` or `max`, only that time is returned.
    """
    try:
        moments = _decode_column(texts) if type(texts) is tuple else _decode(texts)
        if not moments:
            return None
        chosen = [choose(moments)] if choose else moments
        epoch = _EPOCH if chosen[0].tzinfo is None else _EPOCH.replace(tzinfo=dt.UTC)
        since = map(sub, chosen, repeat(epoch))
        return [each.days * 86_400_000 + each.seconds * 1_000 + each.microseconds // 1_000 for each in since]
    except (TypeError, UnicodeEncodeError, msgspec.ValidationError):
        # A value is not a text, or has another form, or only some have a zone.
        return None


def _decode(texts: Sequence[Any]) -> Sequence[dt.datetime] | None:
    # msgspec would round to the microsecond, not down.
    return None if _has_nanoseconds("\n".join(texts)) else msgspec.convert(texts, list[dt.datetime])


_decode_column = lru_cache(4)(_decode)
"""Cached, because the column of the tap's bookmarks is often the time of the event, too."""

_has_nanoseconds = re.compile(r"\.\d{7}").search


def parse_text(text: str) -> int | None:
    """Return the unix milliseconds of an ISO 8601 time or date, or None if the text is neither.

    A blank may replace the T or precede the zone. The zone may be `Z`, `UTC`, `+00`, `+0530` or `+05:30`; without one
    it is UTC. A fraction may have any number of digits.
    """
    parts = _parts(text) or _parts(text.strip())
    if parts is None:
        return None
    local, _, _, fraction, zone = parts.groups()
    try:
        since = dt.datetime.fromisoformat(local) - _EPOCH
    except ValueError:
        return None
    time_ms = since.days * 86_400_000 + since.seconds * 1_000
    if fraction:
        time_ms += int(fraction[:3].ljust(3, "0"))
    return time_ms - _offset_ms(zone) if zone else time_ms


@lru_cache(maxsize=256)
def _offset_ms(zone: str) -> int:
    """Return the milliseconds by which a zone is ahead of UTC."""
    digits = zone[1:].replace(":", "")
    if not digits.isdecimal():
        return 0
    seconds = sum(int(digits[at : at + 2]) * unit for at, unit in ((0, 3_600), (2, 60), (4, 1)) if at < len(digits))
    return seconds * (-1_000 if zone[0] == "-" else 1_000)


def _from_number(number: Decimal | float, unit: TimeUnit) -> int | None:
    try:
        numerator, denominator = (number, 1) if isinstance(number, int) else exact(number).as_integer_ratio()
    except ValueError:
        return None
    years = CALENDAR_MS
    if unit is TimeUnit.AUTO:
        size, years = abs(numerator) // denominator, PLAUSIBLE_MS
        unit = next((each for bound, each in UNITS_BELOW.items() if size < bound), TimeUnit.NANOSECONDS)
        if denominator == 1 and unit is not TimeUnit.NANOSECONDS and (digits := _compact(str(numerator))):
            year, month, day, hour, minute, second = digits.groups(default="00")
            return parse_text(f"{year}-{month}-{day}T{hour}:{minute}:{second}")
    time_ms = numerator * _NANOSECONDS[unit] // (denominator * _NANOSECONDS[TimeUnit.MILLISECONDS])
    return time_ms if time_ms in years else None
