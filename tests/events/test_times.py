from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.config.choices import TimeUnit
from target_statsig.errors import RecordError
from target_statsig.events.times import (
    CLOCKS_APART_MS,
    OLD_MS,
    event_times,
    parse_text,
    parse_texts,
    unix_ms,
)
from target_statsig.reports.report import MappingWarnings

JUNE_6 = 1_717_632_000_000
"""2024-06-06T00:00:00Z, unix milliseconds."""


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        pytest.param("2024-06-06T00:00:00Z", JUNE_6, id="utc"),
        pytest.param("2024-06-06T00:00:00", JUNE_6, id="no-zone-is-utc"),
        pytest.param("2024-06-06 00:00:00", JUNE_6, id="blank-for-t"),
        pytest.param("2024-06-06t00:00:00z", JUNE_6, id="lower-case"),
        pytest.param("2024-06-06", JUNE_6, id="date"),
        pytest.param("2024-06-06T00:00", JUNE_6, id="no-seconds"),
        pytest.param("  2024-06-06T00:00:00Z\n", JUNE_6, id="blanks-around"),
        pytest.param("2024-06-06T02:00:00+02:00", JUNE_6, id="ahead-of-utc"),
        pytest.param("2024-06-05T18:30:00-05:30", JUNE_6, id="behind-utc"),
        pytest.param("2024-06-06 00:00:00+00", JUNE_6, id="short-zone"),
        pytest.param("2024-06-06T05:30:00+0530", JUNE_6, id="zone-without-colon"),
        pytest.param("2024-06-06T00:19:32+00:19:32", JUNE_6, id="zone-with-seconds"),
        pytest.param("2024-06-06 00:00:00 UTC", JUNE_6, id="bigquery"),
        pytest.param("2024-06-06 00:00:00.000 Z", JUNE_6, id="snowflake"),
        pytest.param("2024-06-06T00:00:00.5Z", JUNE_6 + 500, id="one-digit"),
        pytest.param("2024-06-06T00:00:00,25Z", JUNE_6 + 250, id="comma"),
        pytest.param("2024-06-06T00:00:00.123999999999Z", JUNE_6 + 123, id="many-digits-are-cut"),
        pytest.param("2026-11-22 03:55:36.859445+00", 1_795_319_736_859, id="postgres"),
        pytest.param("1969-12-31T23:59:59.999Z", -1, id="before-1970"),
    ],
)
def test_a_text_is_read_as_a_time(text, time_ms):
    assert unix_ms(text) == time_ms


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("   ", id="blank"),
        pytest.param("yesterday", id="word"),
        pytest.param("2024-06-31", id="no-such-day"),
        pytest.param("2023-02-29T00:00:00Z", id="no-leap-year"),
        pytest.param("0000-01-01", id="year-zero"),
        pytest.param("2024-13-01", id="no-such-month"),
        pytest.param("2024-06-06T24:00:00Z", id="hour-24"),
        pytest.param("2024-06-06T23:60:00Z", id="minute-60"),
        pytest.param("2024-06-06T00:00:00+24:00", id="zone-of-a-day"),
        pytest.param("2024-06-06T00:00:00.Z", id="no-digit-after-the-point"),
        pytest.param("2024-06-06T00:00.5Z", id="fraction-of-a-minute"),
        pytest.param("2024-06-06+02:00", id="zone-of-a-date"),
        pytest.param("2024-W23-4", id="week"),
        pytest.param("2024-W23-4T00:00:00", id="week-with-a-clock"),
        pytest.param("06/06/2024", id="other-order"),
        pytest.param("\N{FULLWIDTH DIGIT TWO}024-06-06", id="digits-of-another-script"),
        pytest.param("2024-06-06T00:00:00Z and more", id="more-after-it"),
        pytest.param("2024-06-06T00:00+02Z", id="two-zones"),
        pytest.param("2024-06-06T00:00:00.50Z+02:00", id="two-zones-after-a-fraction"),
        pytest.param("NaN", id="nan"),
        pytest.param("1e400", id="beyond-a-double"),
    ],
)
def test_an_invalid_text_is_not_read_as_a_time(text):
    assert unix_ms(text) is None


@pytest.mark.parametrize(
    ("number", "time_ms"),
    [
        pytest.param(1_717_632_000, JUNE_6, id="seconds"),
        pytest.param(1_717_632_000_000, JUNE_6, id="milliseconds"),
        pytest.param(1_717_632_000_000_999, JUNE_6, id="microseconds"),
        pytest.param(1_717_632_000_000_999_999, JUNE_6, id="nanoseconds"),
        pytest.param(Decimal("1717632000.859"), JUNE_6 + 859, id="decimal-seconds"),
        pytest.param(1717632000.859, JUNE_6 + 859, id="float-seconds"),
        pytest.param(Decimal("1.717632E+12"), JUNE_6, id="decimal-with-exponent"),
        pytest.param("1717632000000", JUNE_6, id="text"),
        pytest.param(" 1717632000.5 ", JUNE_6 + 500, id="text-with-fraction"),
        pytest.param(946_684_800, 946_684_800_000, id="the first second of 2000"),
        pytest.param(4_133_980_799_999, 4_133_980_799_999, id="the last millisecond of 2100"),
        pytest.param(20_240_606, JUNE_6, id="a date"),
        pytest.param(Decimal("20240606.0"), JUNE_6, id="a date with a fraction of zero"),
        pytest.param("20240606", JUNE_6, id="a date in a text"),
        pytest.param(20_240_606_093_000, JUNE_6 + 34_200_000, id="a time to the second"),
        pytest.param("20240606093000", JUNE_6 + 34_200_000, id="a time to the second in a text"),
        pytest.param(946_684_799, None, id="a second before 2000"),
        pytest.param(4_133_980_800_000, None, id="a millisecond after 2100"),
        pytest.param(20_241_399, None, id="a date of no calendar"),
        pytest.param(10**11, None, id="1973 in milliseconds"),
        pytest.param(-1, None, id="before 1970"),
        pytest.param(0, None, id="zero"),
    ],
)
def test_the_unit_of_a_number_goes_by_its_magnitude(number, time_ms):
    assert unix_ms(number) == time_ms


@pytest.mark.parametrize(
    ("unit", "number", "time_ms"),
    [
        pytest.param(TimeUnit.SECONDS, 200_000_000_000, 200_000_000_000_000, id="s"),
        pytest.param(TimeUnit.MILLISECONDS, 1_000, 1_000, id="ms"),
        pytest.param(TimeUnit.MILLISECONDS, "1000", 1_000, id="ms-as-text"),
        pytest.param(TimeUnit.MICROSECONDS, 1_999, 1, id="us"),
        pytest.param(TimeUnit.NANOSECONDS, 1_999_999, 1, id="ns"),
        pytest.param(TimeUnit.NANOSECONDS, "2024-06-06", JUNE_6, id="a-date-has-no-unit"),
    ],
)
def test_a_configured_time_unit_is_used(unit, number, time_ms):
    assert unix_ms(number, unit) == time_ms


def test_eight_digits_of_text_are_a_date():
    assert unix_ms("20240606") == JUNE_6
    assert unix_ms("20241306") is None
    assert unix_ms("20240606", TimeUnit.SECONDS) == 20_240_606_000


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(True, id="true"),
        pytest.param(float("nan"), id="nan"),
        pytest.param(float("inf"), id="infinity"),
        pytest.param(Decimal("NaN"), id="decimal-nan"),
        pytest.param(Decimal("1E+400000"), id="a-huge-exponent"),
        pytest.param(10**21, id="after-the-year-9999"),
        pytest.param(-(10**21), id="before-the-year-1"),
        pytest.param([1_717_632_000], id="list"),
        pytest.param({"seconds": 1}, id="object"),
    ],
)
def test_a_value_outside_the_calendar_is_not_read(number):
    assert unix_ms(number) is None


def test_dates_and_times_of_a_stream_map_are_read():
    ahead = dt.timezone(dt.timedelta(hours=2))
    assert unix_ms(dt.datetime(2024, 6, 6, 2, 0, 0, 999_999, tzinfo=ahead)) == JUNE_6 + 999
    assert unix_ms(dt.datetime(2024, 6, 6)) == JUNE_6  # noqa: DTZ001
    assert unix_ms(dt.date(2024, 6, 6)) == JUNE_6


ZONES = st.integers(-1439, 1439).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
MOMENTS = st.datetimes(min_value=dt.datetime(1, 1, 3), max_value=dt.datetime(9999, 12, 29), timezones=ZONES)  # noqa: DTZ001


@given(MOMENTS, st.sampled_from(["T", " "]), st.sampled_from(["auto", "seconds", "milliseconds", "microseconds"]))
def test_every_moment_is_read_as_datetime_reads_it(moment, separator, precision):
    text = moment.isoformat(separator, timespec=precision)
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    assert unix_ms(text) == (dt.datetime.fromisoformat(text) - epoch) // dt.timedelta(milliseconds=1)
    assert unix_ms(moment) == (moment - epoch) // dt.timedelta(milliseconds=1)


@given(st.text() | st.from_regex(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d*)?(Z|[+-]\d\d:?\d\d)?", fullmatch=True))
def test_no_text_raises_an_error(text):
    assert isinstance(unix_ms(text), (int, type(None)))


PIECES = [
    "2024-06-06",
    "T",
    " ",
    "00",
    "23:59",
    ":60",
    ".",
    ".5",
    ".123",
    ",25",
    "456789",
    "Z",
    "+02",
    "+05:30",
    "-0530",
]


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_a_text_is_read_alike_in_a_column_and_alone(text):
    assert parse_texts([text]) in ([parse_text(text)], None)


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param(["2024-06-06T00:00:00Z", "2024-06-06 02:00:00.5+02:00"], id="with-zones"),
        pytest.param(["2024-06-06T00:00:00", "2024-06-06 00:00:00.5"], id="without-zones"),
    ],
)
def test_a_column_of_ordinary_times_is_read_at_once(texts):
    assert parse_texts(texts) == [JUNE_6, JUNE_6 + 500]
    assert (parse_texts(texts, min), parse_texts(texts, max)) == ([JUNE_6], [JUNE_6 + 500])


@given(st.integers(min_value=0, max_value=253_402_300_799_999))
def test_a_moment_is_the_same_time_in_every_unit(time_ms):
    for unit, number in (
        (TimeUnit.SECONDS, Decimal(time_ms) / 1000),
        (TimeUnit.MILLISECONDS, time_ms),
        (TimeUnit.MICROSECONDS, time_ms * 1000),
        (TimeUnit.NANOSECONDS, time_ms * 1_000_000),
    ):
        assert unix_ms(number, unit) == unix_ms(str(number), unit) == time_ms


def time_of(value, *, time_extracted=None, now_ms=JUNE_6):
    warnings, faults = MappingWarnings(), {}
    (time_ms,) = event_times([value], [time_extracted], TimeUnit.AUTO, now_ms, warnings, faults)
    if faults:
        raise faults[0]
    return time_ms, warnings


@pytest.mark.parametrize("value", [None, "", " "])
def test_a_missing_time_is_the_extraction_time(value):
    assert time_of(value, time_extracted="2024-06-05T00:00:00+00:00") == (
        JUNE_6 - 86_400_000,
        MappingWarnings(time_defaulted=1),
    )


@pytest.mark.parametrize("time_extracted", [None, "", "at some time"])
def test_a_missing_time_is_now_without_an_extraction_time(time_extracted):
    assert time_of(None, time_extracted=time_extracted) == (JUNE_6, MappingWarnings(time_defaulted=1))


def test_an_unreadable_time_rejects_the_record():
    with pytest.raises(RecordError) as caught:
        time_of("soon", time_extracted="2024-06-05T00:00:00Z")
    assert (caught.value.reason, caught.value.field) == ("invalid_time", "event_time")


@pytest.mark.parametrize(
    ("time_ms", "warnings"),
    [
        pytest.param(JUNE_6, MappingWarnings(), id="now"),
        pytest.param(JUNE_6 - OLD_MS, MappingWarnings(), id="sixty-days"),
        pytest.param(JUNE_6 - OLD_MS - 1, MappingWarnings(old_times=1), id="over-sixty-days"),
        pytest.param(JUNE_6 + CLOCKS_APART_MS, MappingWarnings(), id="clocks-differ"),
        pytest.param(JUNE_6 + CLOCKS_APART_MS + 1, MappingWarnings(future_times=1), id="in-the-future"),
    ],
)
def test_old_and_future_times_are_counted(time_ms, warnings):
    assert time_of(time_ms) == (time_ms, warnings)


@given(
    st.lists(
        st.sampled_from(
            ["2024-06-05T12:00:00Z", "2024-06-06 01:00:00.123456+02:00", "1999-12-31", "2020-01-01 00:00:00"]
        )
        | st.sampled_from(["2024-06-07T00:00:00", "soon", "", None, 1_717_632_000, "1717632000"]),
        max_size=4,
    )
)
def test_a_column_of_times_is_read_like_each_alone(values):
    extracted = ["2024-06-05T00:00:00Z", None, "at some time", "2024-06-04"][: len(values)]
    warnings, alone, faults, expected = MappingWarnings(), MappingWarnings(), {}, []
    for value, each in zip(values, extracted, strict=True):
        expected += event_times([value], [each], TimeUnit.AUTO, JUNE_6, alone, {})
    assert [*event_times(values, extracted, TimeUnit.AUTO, JUNE_6, warnings, faults)] == expected
    assert warnings == alone
    assert [*faults] == [row for row, value in enumerate(values) if value == "soon"]
    assert {error.reason for error in faults.values()} <= {"invalid_time"}


@given(
    st.lists(
        st.builds(
            "{}{}{}".format,
            st.sampled_from(["2024-06-06T01:02:03", "1969-12-31 23:59:59", "0001-01-01t00:00:00"]),
            st.sampled_from(["", ".5", ".999", ".999999", ".9999999", ".123999999999"]),
            st.sampled_from(["Z", "z", "+00:00", "-08:00", "+0530", "+23:59"]) | st.sampled_from(["", "+00", " UTC"]),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_a_column_of_times_is_rounded_down_like_each_alone(texts):
    alone = [*map(parse_text, texts)]
    assert parse_texts(texts) in (alone, None)
    assert parse_texts(texts, max) in ([max(alone)], None)


def test_digits_are_no_extraction_time():
    assert parse_text("1717632000") is None
