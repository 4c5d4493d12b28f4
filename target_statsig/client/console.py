"""The Console API: segments, which are read, created and changed, and what Statsig received recently under a name.

Source of paths, bodies and shapes: https://docs.statsig.com/console-api/segments, version 20240601.
"""

from __future__ import annotations

import itertools
from http import HTTPStatus
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from target_statsig.client.http import Request
from target_statsig.client.rate_limit import RateLimiter
from target_statsig.config.choices import ApiKeyKind
from target_statsig.config.settings import CONSOLE_URL, RateWindow
from target_statsig.errors import Heading, RefusedError
from target_statsig.reports.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from target_statsig.client.answers import Call
    from target_statsig.client.sender import Sender
    from target_statsig.clock import Clock
    from target_statsig.config.settings import Settings

API_VERSION = "20240601"

ID_LIST = "id_list"
USER_STORE_LIST = "user_store_id_list"

EXPERIMENTS = "experiments"
GATES = "gates"

PAGE_SIZE = 1_000
"""Items to ask for per page. The largest page is not documented, so a shorter page need not be the last."""

PAGES = RateWindow(80, 10)
"""Limit for pages of all lists. Reading a list's ids is limited to 100 requests, without a period, says
https://docs.statsig.com/api-reference/segments/get-ids-in-a-segment. Changes are limited to that in 10 seconds:
https://docs.statsig.com/console-api/introduction."""

RESPECT_REVIEWS = {"x-respect-review-settings": "true"}
"""Asks Statsig to refuse changes that need a review. Without it the Console API bypasses reviews. Its values are not
documented: https://api.statsig.com/openapi/20240601.json."""

NO_SUCH_CALL = "Cannot "
"""How Statsig's message for an unknown path begins: `Cannot GET /segments/vips`."""

MAX_RESPONSE_BYTES = 64 * 1024 * 1024
"""Bytes of a response to read at most. 100,000 ids, the most in a request, take a tenth of it."""

MAX_IDS = 10_000_000
"""Ids in all lists of a project together, at most: https://docs.statsig.com/segments/add-id-list."""


Data = TypeVar("Data")
Item = TypeVar("Item")


class Segment(msgspec.Struct, frozen=True, rename="camel"):
    """A segment as the Console API describes it.

    Attributes:
        type: `id_list`, `user_store_id_list`, `rule_based` or `analysis_list`.
        id_type: Statsig's name for what it holds, such as `userID`.
    """

    id: str
    type: str
    id_type: str
    said_count: float | None = msgspec.field(default=None, name="count")

    @property
    def count(self) -> int:
        """Ids in it; 0 if Statsig does not say."""
        return int(self.said_count or 0)


class ListState(msgspec.Struct, frozen=True):
    """The state of an ID list. The version changes with every update, and is None before the first."""

    version: int | None = msgspec.field(default=None, name="currentVersion")
    updating: bool | None = msgspec.field(default=False, name="isUpdating")


class _Pagination(msgspec.Struct, rename="camel"):
    """The paging fields. The form of `next_page` is not documented, except that it is null on the last page."""

    next_page: str | int | None = None


class _Response(msgspec.Struct, Generic[Data]):
    """The fields of a response that are read; others are ignored."""

    data: Data
    pagination: _Pagination | None = None


class _Ids(msgspec.Struct):
    ids: list[str | int]


class _UnitIdType(msgspec.Struct):
    name: str


class _Event(msgspec.Struct):
    timestamp: str | float | None = None


class _ExposureCount(msgspec.Struct, rename={"past_day": "pastDay", "past_week": "past7Days"}):
    id: str
    past_day: float
    past_week: float


class _ExposureCounts(msgspec.Struct):
    experiments: list[_ExposureCount] = []
    gates: list[_ExposureCount] = []


class ConsoleClient:
    """Asks the Console API of one project; every method may raise a RequestError."""

    def __init__(self, sender: Sender, settings: Settings, limiter: RateLimiter, clock: Clock) -> None:
        """Take the settings of the Console API; the limiter spaces changes, and the clock spaces pages of lists.

        Raises:
            AuthenticationError: The key is missing, or has characters that no key has.
        """
        self._sender = sender
        self._base_url = settings.console_url.rstrip("/")
        self._timeout = settings.request_timeout
        self._limiter = limiter
        self._headers = {
            ApiKeyKind.CONSOLE.header: ApiKeyKind.CONSOLE.check(settings.console_api_key or ""),
            "STATSIG-API-VERSION": API_VERSION,
            "content-type": "application/json",
        }
        self._pages = RateLimiter([PAGES], clock)
        self._change_headers = self._headers | (RESPECT_REVIEWS if settings.respect_review_settings else {})

    def segment(self, segment_id: str) -> Segment:
        """Return a segment; if it does not exist, the RefusedError has the status 404."""
        return self._read(_path(segment_id), f"reading segment '{segment_id}'", _Response[Segment])

    def list_state(self, segment_id: str) -> ListState:
        """Return the state of an ID list."""
        what = f"reading the list state of segment '{segment_id}'"
        return self._read(_path(segment_id, "idlist_metadata"), what, _Response[ListState])

    def ids(self, segment_id: str) -> Iterator[str]:
        """Yield all ids of a list as its pages are read; an id may come twice."""
        what = f"reading the ids of segment '{segment_id}'"
        return self._items(_path(segment_id, "id_list"), _Response[_Ids], _split, what)

    def add_ids(self, segment_id: str, ids: Sequence[str], *, segment_type: str) -> Call:
        """Add ids to a list: at most 100,000, or 1,000 in the user store. Adding a member again does no harm."""
        what = f"adding {counted(len(ids), 'id')} to segment '{segment_id}'"
        call = "add_ids" if segment_type == USER_STORE_LIST else "id_list"
        return self._change("PATCH", _path(segment_id, call), {"ids": ids}, what)

    def remove_ids(self, segment_id: str, ids: Sequence[str], *, segment_type: str) -> Call:
        """Remove ids from a list: at most 100,000, or 1,000 in the user store. Other ids are ignored."""
        what = f"removing {counted(len(ids), 'id')} from segment '{segment_id}'"
        method, call = ("PATCH", "remove_ids") if segment_type == USER_STORE_LIST else ("DELETE", "id_list")
        return self._change(method, _path(segment_id, call), {"ids": ids}, what)

    def create_segment(
        self, segment_id: str, *, id_type: str, description: str | None = None, tags: Sequence[str] = ()
    ) -> Segment:
        """Create an empty ID list. Its id is also its name: 3 to 100 letters, digits, `_` and `-`.

        `id_type` is Statsig's name for the type, such as `userID`; `description` has at most 1,000 characters.
        """
        what = f"creating segment '{segment_id}' for ids of type {id_type}"
        body: dict[str, object] = {"id": segment_id, "name": segment_id, "type": ID_LIST, "idType": id_type}
        if description is not None:
            body["description"] = description
        if tags:
            body["tags"] = tags
        try:
            return _convert(self._change("POST", _path(), body, what), _Response[Segment]).data
        except RefusedError as error:
            if not error.maybe_taken:
                raise
            return self.segment(segment_id)  # the try with the lost answer has created it

    def unit_id_types(self) -> list[str]:
        """Return the names of the project's ID types; case matters."""
        what = "reading the ID types of the project"
        return [unit.name for unit in self._items("unit_id_types", _Response[list[_UnitIdType]], list, what)]

    def count_ids(self) -> int:
        """Return how many ids all lists of the project hold together."""
        what = "reading the segments of the project"
        segments = self._items(_path(), _Response[list[Segment]], list, what)
        return sum(segment.count for segment in segments if segment.type in {ID_LIST, USER_STORE_LIST})

    def event_times(self, name: str) -> list[int | None]:
        """Return the times of the recent events of a name in Unix milliseconds; None for a time that cannot be read.

        They are of any sender: https://docs.statsig.com/api-reference/events/get-specific-events. The name may be
        neither `.` nor `..`.
        """
        # The first page, which may be all: Statsig's own example is a list of a thousand.
        path = f"events/{quote(name, safe='')}?{urlencode({'limit': PAGE_SIZE, 'page': 1})}"
        what = "reading the recent events of a name"  # which comes from a record
        return [_time_of(event) for event in self._known(path, what, _Response[list[_Event]]) or ()]

    def exposure_count(self, where: str, name: str, *, past_week: bool) -> int:
        """Return the number of exposures of an experiment or a gate (`where`) that Statsig received.

        It is that of the last 7 days, or of the last 24 hours, from any sender: https://docs.statsig.com/api-reference/configs/read-exposure-event-count.
        """
        what = f"reading the number of exposures of one of the {where}"  # its name comes from a record
        path = f"exposure_count?{urlencode({where: name})}"
        counts = self._known(path, what, _Response[_ExposureCounts]) or _ExposureCounts()
        own: list[_ExposureCount] = [count for count in getattr(counts, where) if count.id == name]
        return int(sum(count.past_week if past_week else count.past_day for count in own))

    def _read(self, path: str, what: str, shape: type[_Response[Data]]) -> Data:
        """Read the data at a path below `console_url`, in this shape; `what` describes it in messages."""
        return _convert(self._send("GET", path, what), shape).data

    def _known(self, path: str, what: str, shape: type[_Response[Data]]) -> Data | None:
        """Return the data at a path; None if Statsig does not know the name in it."""
        try:
            return self._read(path, what, shape)
        except RefusedError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def _items(
        self, path: str, shape: type[_Response[Data]], items_of: Callable[[Data], list[Item]], what: str
    ) -> Iterator[Item]:
        """Yield the items of all pages.

        Pages are counted here: `nextPage` only shows whether there is another, and an empty page is always the last. A
        server whose pages do not end must not keep a run busy for ever.
        """
        n_items = 0
        for number in itertools.count(1):
            query = urlencode({"limit": PAGE_SIZE, "page": number})
            call = self._send("GET", f"{path}?{query}", f"{what}, page {number:,}", limiter=self._pages)
            page = _convert(call, shape)
            items = items_of(page.data)
            yield from items
            n_items += len(items)
            if n_items > MAX_IDS:
                raise _unusable(call, f"there are more than {MAX_IDS:,}")
            if not items or page.pagination is None or not page.pagination.next_page:
                return

    def _change(self, method: str, path: str, body: Mapping[str, object], what: str) -> Call:
        return self._send(method, path, what, body=msgspec.json.encode(body), limiter=self._limiter)

    def _send(
        self, method: str, path: str, what: str, *, body: bytes | None = None, limiter: RateLimiter | None = None
    ) -> Call:
        url, headers = f"{self._base_url}/{path}", self._headers if body is None else self._change_headers
        request = Request(method, url, headers, self._timeout, body, MAX_RESPONSE_BYTES)
        try:
            return self._sender.send(request, what=what, kind=ApiKeyKind.CONSOLE, limiter=limiter)
        except RefusedError as error:
            is_about_the_address = not error.message or error.message.startswith(NO_SUCH_CALL)
            if error.status != HTTPStatus.NOT_FOUND or not is_about_the_address:
                raise
            msg = (
                f"`console_url` is not the address of the Console API, which ends in {urlsplit(CONSOLE_URL).path}. The "
                f"server there answered 404 to {what}."
            )
            raise RefusedError(msg, message=error.message, heading=Heading.SETTINGS) from error


def _path(*parts: str) -> str:
    return "/".join(["segments", *(quote(part, safe="") for part in parts)])


def _split(data: _Ids) -> list[str]:
    """Return the ids of a page. Statsig's example has several in one string, separated by commas."""
    return [id_ for joined in data.ids for part in str(joined).split(",") if (id_ := part.strip())]


def _time_of(event: _Event) -> int | None:
    try:
        return int(float(event.timestamp or ""))
    except (ValueError, OverflowError):
        return None


def _convert(call: Call, shape: type[_Response[Data]]) -> _Response[Data]:
    try:
        return msgspec.convert(call.answer.body, shape, strict=False)  # a version may be written as 12.0
    except msgspec.ValidationError as error:
        raise _unusable(call, str(error)) from None


def _unusable(call: Call, why: str) -> RefusedError:
    """Return the error for a response of another shape; `why` holds no value from it."""
    status = call.answer.status
    return RefusedError(f"Statsig's answer ({status}) to {call.what} cannot be used: {why}.", status=status)
