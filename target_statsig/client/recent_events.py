"""The events of a name that Statsig got lately, from the Console API."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import msgspec

from target_statsig.client.console import PAGE_BYTES, PAGE_SIZE, unusable
from target_statsig.errors import Heading, RefusedError

if TYPE_CHECKING:
    from target_statsig.client.console import ConsoleClient


class _Event(msgspec.Struct):
    timestamp: str | float | None = None


class _Page(msgspec.Struct):
    """The first page, which may be all: Statsig's own example is a list of a thousand."""

    data: list[_Event]


def event_times(console: ConsoleClient, name: str) -> list[int | None]:
    """Return the times of the events of a name, unix milliseconds; None where one cannot be read.

    They are of any sender: https://docs.statsig.com/api-reference/events/get-specific-events. The name may be neither
    `.` nor `..`.

    Raises:
        RequestError: They cannot be read.
    """
    what = "reading the recent events of a name"  # which comes from a record
    path = f"events/{quote(name, safe='')}?{urlencode({'limit': PAGE_SIZE, 'page': 1})}"
    try:
        sent = console.read(path, what, max_response_bytes=PAGE_BYTES)
    except RefusedError as error:
        if error.status == HTTPStatus.NOT_FOUND and error.heading is not Heading.SETTINGS:
            return []
        raise
    try:
        page = msgspec.convert(sent.body, _Page)
    except msgspec.ValidationError as error:
        raise unusable(what, str(error), sent.status) from None
    return [_time_of(event) for event in page.data]


def _time_of(event: _Event) -> int | None:
    try:
        return int(float(event.timestamp or ""))
    except (ValueError, OverflowError):
        return None
