"""The Console API's segments: read them, create them, add ids and remove them.

Knows paths, bodies and pages (https://docs.statsig.com/console-api/segments). Refuses to know which ids belong in
a segment, and what to say of one that cannot be used: Statsig's own words stay on the errors.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from target_statsig.client import shapes
from target_statsig.client.keys import KeyKind
from target_statsig.client.transport import ANSWER_BYTES, Request
from target_statsig.exceptions import RefusedError
from target_statsig.headings import Heading
from target_statsig.phrases import counted
from target_statsig.settings import CONSOLE_URL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from target_statsig.client.rate_limit import RateLimiter
    from target_statsig.client.sender import Answer, Sender

API_VERSION = "20240601"

ID_LIST = "id_list"
USER_STORE_LIST = "user_store_id_list"

PAGE_SIZE = 1_000
"""Items asked for at a time. How many a page may hold is not documented, so a shorter one is not taken for the last."""

NO_SUCH_CALL = "Cannot "
"""How Statsig's answer to a call begins that it does not have: `Cannot GET /segments/vips`."""

PAGE_BYTES = 64 * 1024 * 1024
"""Bytes of a page that are read: 100,000 ids, the most that Statsig takes at once, are a tenth of it."""

MAX_IDS = 10_000_000
"""Ids in all lists of a project together, at most: https://docs.statsig.com/segments/add-id-list."""


Item = TypeVar("Item")


class _Page(Protocol[Item]):
    """A page of any kind of item."""

    @property
    def items(self) -> list[Item]:
        """What is on it."""

    @property
    def pagination(self) -> shapes.Pagination | None:
        """Where it stands."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment as the Console API describes it.

    Attributes:
        id: The segment's id.
        type: `id_list`, `user_store_id_list`, `rule_based` or `analysis_list`.
        id_type: Statsig's name for what it holds, such as `userID`.
        count: Ids in it; 0 where Statsig does not say.
    """

    id: str
    type: str
    id_type: str
    count: int


@dataclass(frozen=True, slots=True)
class ListState:
    """How far Statsig is with an ID list.

    Attributes:
        version: Changes with every update; None where there was none yet.
        updating: An update is under way.
    """

    version: int | None
    updating: bool


class ConsoleClient:
    """Reads and changes the segments of one project."""

    def __init__(self, sender: Sender, *, base_url: str, key: str, timeout: float, limiter: RateLimiter) -> None:
        """Take what sends, and where to.

        Args:
            sender: Sends each request until it is settled.
            base_url: The setting `console_url`.
            key: A Console API Key of the project.
            timeout: Seconds for one HTTP request.
            limiter: Spaces the requests that change something.

        Raises:
            AuthenticationError: The key is missing, or has characters that no key has.
        """
        self._sender = sender
        self._base_url = base_url.rstrip("/")
        self._timeout = timeout
        self._limiter = limiter
        self._headers = {
            KeyKind.CONSOLE.header: KeyKind.CONSOLE.check(key),
            "STATSIG-API-VERSION": API_VERSION,
            "content-type": "application/json",
        }

    def segment(self, segment_id: str) -> Segment:
        """Return a segment.

        Raises:
            RefusedError: There is none (status 404), or nothing can be made of the answer.
            RequestError: It cannot be read.
        """
        what = f"reading segment '{segment_id}'"
        return _segment(self._read(_path(segment_id), what), what)

    def list_state(self, segment_id: str) -> ListState:
        """Return how far Statsig is with an ID list.

        Raises:
            RequestError: It cannot be read.
        """
        what = f"reading the state of segment '{segment_id}'"
        data = shapes.read(self._read(_path(segment_id, "idlist_metadata"), what), shapes.ListStateAnswer, what).data
        version = data.current_version
        return ListState(None if version is None else int(version), bool(data.is_updating))

    def ids(self, segment_id: str) -> Iterator[str]:
        """Yield all ids of a list, page by page, as they are read; one may come twice.

        Raises:
            RefusedError: The pages do not end.
            RequestError: They cannot be read.
        """
        return self._items(_path(segment_id, "id_list"), shapes.IdPage, f"reading the ids of segment '{segment_id}'")

    def add_ids(self, segment_id: str, ids: Sequence[str], *, segment_type: str) -> Answer:
        """Add ids to a list; those that are in it already stay.

        Args:
            segment_id: The segment.
            ids: At most 100,000, or 1,000 for a list in the user store.
            segment_type: The segment's `type`.

        Raises:
            RequestError: Statsig did not take them.
        """
        what = f"adding {counted(len(ids), 'id')} to segment '{segment_id}'"
        call = "add_ids" if segment_type == USER_STORE_LIST else "id_list"
        return self._change("PATCH", _path(segment_id, call), {"ids": ids}, what)

    def remove_ids(self, segment_id: str, ids: Sequence[str], *, segment_type: str) -> Answer:
        """Remove ids from a list; those that are not in it are passed over.

        Args:
            segment_id: The segment.
            ids: At most 100,000, or 1,000 for a list in the user store.
            segment_type: The segment's `type`.

        Raises:
            RequestError: Statsig did not take them.
        """
        what = f"removing {counted(len(ids), 'id')} from segment '{segment_id}'"
        method, call = ("PATCH", "remove_ids") if segment_type == USER_STORE_LIST else ("DELETE", "id_list")
        return self._change(method, _path(segment_id, call), {"ids": ids}, what)

    def create_segment(self, segment_id: str, *, id_type: str) -> Segment:
        """Create an empty ID list.

        Args:
            segment_id: Its id, and its name: 3 to 100 letters, digits, `_` and `-`.
            id_type: Statsig's name for what it will hold, such as `userID`.

        Raises:
            RequestError: Statsig did not create it.
        """
        what = f"creating segment '{segment_id}' for ids of type {id_type}"
        body = {"id": segment_id, "name": segment_id, "type": ID_LIST, "idType": id_type}
        try:
            return _segment(self._change("POST", _path(), body, what), what)
        except RefusedError as error:
            if not error.maybe_taken:
                raise
            return self.segment(segment_id)  # the try whose answer was lost has created it

    def unit_id_types(self) -> list[str]:
        """Return the names of the project's ID types, in which case matters.

        Raises:
            RequestError: They cannot be read.
        """
        return list(self._items("unit_id_types", shapes.UnitIdTypePage, "reading the ID types of the project"))

    def count_ids(self) -> int:
        """Return how many ids all lists of the project hold together.

        Raises:
            RequestError: The segments cannot be read.
        """
        segments = self._items(_path(), shapes.SegmentPage, "reading the segments of the project")
        return sum(int(segment.count or 0) for segment in segments if segment.type in {ID_LIST, USER_STORE_LIST})

    def _items(self, path: str, shape: type[_Page[Item]], what: str) -> Iterator[Item]:
        """Yield the items of all pages.

        Pages are counted here: `nextPage` only tells whether there is another, and an empty one is the last whatever
        it tells. A server that repeats itself must not keep a run busy for ever, nor pass for one that has finished.
        """
        n_items = 0
        before: list[Item] = []
        for number in itertools.count(1):
            query = urlencode({"limit": PAGE_SIZE, "page": number})
            answer = self._read(f"{path}?{query}", f"{what}, page {number:,}", PAGE_BYTES)
            page = shapes.read(answer, shape, what)
            items = page.items
            if items and items == before:
                raise shapes.nonsense(what, f"page {number:,} is the same as the one before", answer.status)
            yield from items
            n_items += len(items)
            if n_items > MAX_IDS:
                raise shapes.nonsense(what, f"there are more than {MAX_IDS:,}", answer.status)
            if not items or page.pagination is None or not page.pagination.next_page:
                return
            before = items

    def _read(self, path: str, what: str, answer_bytes: int = ANSWER_BYTES) -> Answer:
        return self._send(replace(self._request("GET", path, None), answer_bytes=answer_bytes), what, None)

    def _change(self, method: str, path: str, body: Mapping[str, object], what: str) -> Answer:
        return self._send(self._request(method, path, msgspec.json.encode(body)), what, self._limiter)

    def _send(self, request: Request, what: str, limiter: RateLimiter | None) -> Answer:
        try:
            return self._sender.send(request, what=what, key=KeyKind.CONSOLE, limiter=limiter)
        except RefusedError as error:
            if error.status != HTTPStatus.NOT_FOUND or not self._is_no_console(error.words):
                raise
            address = urlsplit(self._base_url)
            shown = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()  # without a password
            msg = (
                f"`{KeyKind.CONSOLE.url_setting}` ({shown}) is not the address of the Console API, which ends "
                f"in {urlsplit(CONSOLE_URL).path}: Statsig, or who else is there, answered 404 to {what}."
            )
            lost = RefusedError(msg, words=error.words, heading=Heading.SETTINGS)
            lost.maybe_taken = error.maybe_taken
            raise lost from error

    def _is_no_console(self, words: str) -> bool:
        """Return whether a 404 with these words is about the address, and not about a segment."""
        if not words or words.startswith(NO_SUCH_CALL):
            return True
        return not urlsplit(self._base_url).path and "segment" not in words.lower()

    def _request(self, method: str, path: str, body: bytes | None) -> Request:
        return Request(method, f"{self._base_url}/{path}", self._headers, timeout=self._timeout, body=body)


def _path(*parts: str) -> str:
    return "/".join(["segments", *(quote(part, safe="") for part in parts)])


def _segment(answer: Answer, what: str) -> Segment:
    data = shapes.read(answer, shapes.SegmentAnswer, what).data
    return Segment(data.id, data.type, data.id_type, int(data.count or 0))
