"""What Statsig received recently under a name, from the Console API: events, or the number of exposures.

Raises RequestError if that cannot be read.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import msgspec

from target_statsig.client.console import PAGE_BYTES, PAGE_SIZE, ConsoleResponse, Data
from target_statsig.errors import Heading, RefusedError

if TYPE_CHECKING:
    from target_statsig.client.console import ConsoleClient

EXPERIMENTS = "experiments"
GATES = "gates"


class _Event(msgspec.Struct):
    timestamp: str | float | None = None


class _Count(msgspec.Struct, rename={"past_day": "pastDay", "past_week": "past7Days"}):
    id: str
    past_day: float
    past_week: float


class _Counts(msgspec.Struct):
    experiments: list[_Count] = []
    gates: list[_Count] = []


def event_times(console: ConsoleClient, name: str) -> list[int | None]:
    """Return the times of the events of a name in Unix milliseconds; None for a time that cannot be read.

    They are of any sender: https://docs.statsig.com/api-reference/events/get-specific-events. The name may be neither
    `.` nor `..`.
    """
    what = "reading the recent events of a name"  # which comes from a record
    # The first page, which may be all: Statsig's own example is a list of a thousand.
    path = f"events/{quote(name, safe='')}?{urlencode({'limit': PAGE_SIZE, 'page': 1})}"
    return [_time_of(event) for event in _read(console, path, what, ConsoleResponse[list[_Event]]) or ()]


def exposure_count(console: ConsoleClient, where: str, name: str, *, past_week: bool) -> int:
    """Return the number of exposures of an experiment or a gate (`where`) that Statsig received.

    It is that of the last 7 days, or of the last 24 hours, from any sender: https://docs.statsig.com/api-reference/configs/read-exposure-event-count.
    """
    what = f"reading the number of exposures of one of the {where}"  # its name comes from a record
    counts = _read(console, f"exposure_count?{urlencode({where: name})}", what, ConsoleResponse[_Counts]) or _Counts()
    own: list[_Count] = [count for count in getattr(counts, where) if count.id == name]
    return int(sum(count.past_week if past_week else count.past_day for count in own))


def _read(console: ConsoleClient, path: str, what: str, shape: type[ConsoleResponse[Data]]) -> Data | None:
    """Return the data at a path; None if Statsig does not know the name."""
    try:
        return console.read(path, what, shape, max_response_bytes=PAGE_BYTES)
    except RefusedError as error:
        if error.status == HTTPStatus.NOT_FOUND and error.heading is not Heading.SETTINGS:
            return None
        raise


def _time_of(event: _Event) -> int | None:
    try:
        return int(float(event.timestamp or ""))
    except (ValueError, OverflowError):
        return None
