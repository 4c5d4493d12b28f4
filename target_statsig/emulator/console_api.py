"""The part of the Console API (`/console/v1/`) that a target uses: keys, quotas, pages, segments, recent items."""
# ruff: noqa: N815 - the names in camelCase are Statsig's

from __future__ import annotations

import math
import re
from collections import deque
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote

from msgspec import Meta, Struct

from target_statsig.emulator.http_server import RefusalError, Request, Response, decode, json_response
from target_statsig.emulator.state import Action, Segment, SegmentType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from target_statsig.config.settings import RateWindow
    from target_statsig.emulator.state import State

PREFIX = "/console/v1/"

API_KEY = "console-emulator"

REVIEW_HEADER = "x-respect-review-settings"

MAX_IDS_PER_PROJECT = 10_000_000
"""Ids over all lists of a project: https://docs.statsig.com/segments."""

MAX_LISTED_EVENTS = 1_000
"""The last events of a name that are listed at most. Statsig's own limit is not published."""

MAX_COUNTED_NAMES = 25
"""The most names of one type in a request for exposures: https://api.statsig.com/openapi/20240601.json."""

DAY = 86_400
WEEK = 7 * DAY

_NOBODY = dict.fromkeys(
    (
        "lastModifierID",
        "lastModifiedTime",
        "lastModifierEmail",
        "lastModifierName",
        "creatorID",
        "creatorName",
        "creatorEmail",
    )
)
"""Members that `SegmentDto` requires but that may be null."""

_ROUTE = re.compile(
    r"(?P<collection>segments|unit_id_types|events|exposure_count)(?:/(?P<id>[^/]+)(?:/(?P<rest>.+))?)?"
)


class IdsRequest(Struct):
    """`SegmentIDListContractDto` of the Console API's OpenAPI file."""

    ids: Annotated[list[str], Meta(max_length=100_000)]


class UserStoreIdsRequest(Struct):
    """`SegmentIDListUserStoreContractDto`."""

    ids: Annotated[list[str], Meta(max_length=1_000)]


class NewSegment(Struct):
    """The part of `SegmentCreateContractDto` that an ID list needs."""

    name: Annotated[str, Meta(min_length=3, max_length=100, pattern=r"^[a-zA-Z0-9_\- ]*$")]
    type: SegmentType
    id: Annotated[str, Meta(min_length=3, max_length=100, pattern=r"^[a-zA-Z0-9_-]*$")] = ""
    idType: str = "userID"
    description: Annotated[str, Meta(max_length=1000)] = ""
    tags: list[str] = []


class Quota:
    """Counts requests in sliding windows, all of which must have room. Not thread-safe."""

    def __init__(self, windows: tuple[RateWindow, ...]) -> None:
        self._windows = windows
        self._times: deque[float] = deque(maxlen=max((window.limit for window in windows), default=0))

    def wait(self, now: float) -> float:
        """Return the seconds until every window has room for one more request, or 0.0."""
        full = (window for window in self._windows if len(self._times) >= window.limit)
        return max((0.0, *(self._times[-window.limit] + window.seconds - now for window in full)))

    def count(self, now: float) -> None:
        """Count a request at time `now`."""
        self._times.append(now)


class ConsoleApi:
    """Answers the requests under `/console/v1/`."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._options = state.options
        self._mutations = Quota(self._options.mutation_windows)
        self._list_mutations = Quota(self._options.id_list_windows)
        self._routes: dict[tuple[str, str], Callable[[Request, str], Response]] = {
            ("GET", "segments"): self._list_segments,
            ("POST", "segments"): self._create_segment,
            ("GET", "segments/*"): self._get_segment,
            ("GET", "segments/*/id_list"): self._get_ids,
            ("PATCH", "segments/*/id_list"): self._change_ids,
            ("DELETE", "segments/*/id_list"): self._change_ids,
            ("PATCH", "segments/*/add_ids"): self._change_user_store_ids,
            ("PATCH", "segments/*/remove_ids"): self._change_user_store_ids,
            ("GET", "segments/*/idlist_metadata"): self._get_metadata,
            ("GET", "unit_id_types"): self._list_unit_id_types,
            ("GET", "events/*"): self._list_events,
            ("GET", "exposure_count"): self._count_exposures,
        }

    def answer(self, request: Request) -> Response:
        """Answer a request.

        Raises:
            RefusalError: It is refused.
        """
        segment_id, route = split_path(request.path)
        handler = self._routes.get((request.method, route))
        if handler is None:
            raise RefusalError(HTTPStatus.NOT_FOUND, f"Cannot {request.method} {request.path}")
        self._check_key(request.headers.get("statsig-api-key", ""))
        if request.flaw:
            raise RefusalError(HTTPStatus.BAD_REQUEST, request.flaw)
        with self._state.lock:
            if request.method != "GET":
                self._check_quotas(is_list=route.startswith("segments/*/"))
            return handler(request, segment_id)

    def _check_key(self, key: str) -> None:
        if key != API_KEY:
            ending = f" Key ended in {key[-4:]}." if key else ""
            message = f"This endpoint only accepts an active CONSOLE key, but an invalid key was sent.{ending}"
            raise RefusalError(HTTPStatus.UNAUTHORIZED, message)

    def _check_quotas(self, *, is_list: bool) -> None:
        quotas = [self._mutations, self._list_mutations] if is_list else [self._mutations]
        now = self._state.clock()
        full = any(quota.wait(now) for quota in quotas)
        for quota in quotas:
            quota.count(now)  # refused requests count, too
        if full:
            headers = {"Retry-After": str(math.ceil(max(quota.wait(now) for quota in quotas)))}
            raise RefusalError(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests, try again later", headers=headers)

    def _segment(self, segment_id: str) -> Segment:
        segment = self._state.segments.get(segment_id)
        if segment is None:
            raise RefusalError(HTTPStatus.NOT_FOUND, "Segment not found")
        return segment

    def _list_segments(self, request: Request, _: str) -> Response:
        segments = sorted(self._state.segments.values(), key=lambda segment: segment.id)
        return self._list(request, "Segments listed successfully.", [_segment_dto(segment) for segment in segments])

    def _list_unit_id_types(self, request: Request, _: str) -> Response:
        types = [{"name": name, "description": ""} for name in self._state.unit_id_types]
        return self._list(request, "Unit ID types listed successfully.", types)

    def _list_events(self, request: Request, name: str) -> Response:
        """List the last events of a name: https://docs.statsig.com/api-reference/events/get-specific-events."""
        kept = [event for run in self._state.runs for event in run.logs["events"].kept if event["eventName"] == name]
        now_ms = int(self._state.clock() * 1000)
        events = [_event_dto(event, now_ms) for event in reversed(kept[-MAX_LISTED_EVENTS:])]
        return self._list(request, "Event values listed successfully.", events)

    def _count_exposures(self, request: Request, _: str) -> Response:
        """Count recent exposures: https://docs.statsig.com/api-reference/configs/read-exposure-event-count.

        Unknown experiments and gates have none, and dynamic configs never have any here.
        """
        data = {}
        for parameter in ("gates", "experiments", "dynamicConfigs"):
            names = request.parameters.get(parameter, ())
            if len(names) > MAX_COUNTED_NAMES:
                message = f"{parameter} must contain no more than {MAX_COUNTED_NAMES} elements"
                raise RefusalError(HTTPStatus.BAD_REQUEST, message)
            kind = parameter.removesuffix("s")
            data[parameter] = [
                {
                    "id": name,
                    "pastDay": self._exposures(kind, name, DAY),
                    "past7Days": self._exposures(kind, name, WEEK),
                }
                for name in names
            ]
        return json_response({"message": "Exposure count fetched successfully.", "data": data})

    def _exposures(self, kind: str, name: str, seconds: int) -> int:
        """Return the number of exposures of a name in the runs that began in the last `seconds`."""
        since = self._state.clock() - seconds
        return sum(
            tally.count
            for run in self._state.runs
            if run.started >= since
            for tally in run.logs["exposures"].tallies.values()
            if tally.key[0] == name and tally.key[1].startswith(kind)
        )

    def _list(self, request: Request, message: str, data: Sequence[object]) -> Response:
        number, size = self._page_of(request)
        shown = data[(number - 1) * size : number * size]
        pagination = _pagination(request.path, number, size, len(data))
        return json_response({"message": message, "data": shown, "pagination": pagination})

    def _create_segment(self, request: Request, _: str) -> Response:
        wanted = decode(request.body, NewSegment)
        segment_id = wanted.id or wanted.name.strip().lower().replace(" ", "_")
        if segment_id in self._state.segments:
            raise RefusalError(HTTPStatus.BAD_REQUEST, "A segment with this id exists already")
        if wanted.idType not in self._state.unit_id_types:
            raise RefusalError(HTTPStatus.BAD_REQUEST, f"Invalid idType '{wanted.idType}'")
        segment = Segment(
            segment_id,
            wanted.type,
            wanted.idType,
            name=wanted.name,
            description=wanted.description,
            tags=wanted.tags,
            created=True,
        )
        self._state.segments[segment_id] = segment
        content = {"message": "Segment created successfully.", "data": _segment_dto(segment)}
        return json_response(content, HTTPStatus.CREATED)

    def _get_segment(self, _: Request, segment_id: str) -> Response:
        segment = self._segment(segment_id)
        return json_response({"message": "Segment read successfully.", "data": _segment_dto(segment)})

    def _get_ids(self, request: Request, segment_id: str) -> Response:
        segment = self._segment(segment_id)
        number, size = self._page_of(request)
        ids = segment.page(number, size, overlap=self._options.repeated_ids)
        joined = self._options.joined_ids
        lines = [",".join(ids[at : at + joined]) for at in range(0, len(ids), joined)] if joined > 1 else ids
        content = {
            "message": "ID list read successfully.",
            "data": {"name": segment.name or segment.id, "count": len(segment.ids), "ids": lines},
            "pagination": _pagination(request.path, number, size, len(segment.ids)),
        }
        return json_response(content, items=len(ids))

    def _change_ids(self, request: Request, segment_id: str) -> Response:
        return self._change(request, self._segment(segment_id), "id_list", decode(request.body, IdsRequest).ids)

    def _change_user_store_ids(self, request: Request, segment_id: str) -> Response:
        ids = decode(request.body, UserStoreIdsRequest).ids
        return self._change(request, self._segment(segment_id), "user_store_id_list", ids)

    def _change(self, request: Request, segment: Segment, wanted_type: SegmentType, ids: list[str]) -> Response:
        if segment.type != wanted_type:
            message = f"Segment must be of type '{wanted_type}' to perform this operation"
            raise RefusalError(HTTPStatus.BAD_REQUEST, message, items=len(ids))
        if segment.take_update_step():
            raise RefusalError(HTTPStatus.CONFLICT, "Another update of this segment is in progress", items=len(ids))
        removing = request.method == "DELETE" or request.path.endswith("/remove_ids")
        action: Action = "remove" if removing else "add"
        in_project = sum(len(each.ids) for each in self._state.segments.values())
        if action == "add" and in_project + len(set(ids) - segment.ids) > MAX_IDS_PER_PROJECT:
            message = f"A project holds at most {MAX_IDS_PER_PROJECT:,} ids"
            raise RefusalError(HTTPStatus.BAD_REQUEST, message, items=len(ids))
        segment.change(action, ids, time=self._state.clock(), updating=self._options.updating_for_requests)
        return json_response({"message": "Segment updated successfully."}, items=len(ids))

    def _get_metadata(self, _: Request, segment_id: str) -> Response:
        segment = self._segment(segment_id)
        data = {"currentVersion": segment.version, "isUpdating": segment.take_update_step()}
        return json_response({"message": "ID list metadata read successfully.", "data": data})

    def _page_of(self, request: Request) -> tuple[int, int]:
        """Return the number of the requested page, from 1, and its size."""
        try:
            number = int(request.query.get("page", 1))
            limit = int(request.query.get("limit", self._options.page_size))
        except ValueError:
            number = limit = 0
        if number < 1 or limit < 1:
            raise RefusalError(HTTPStatus.BAD_REQUEST, "limit and page must be integers from 1")
        return number, min(limit, self._options.page_size)


def split_path(path: str) -> tuple[str, str]:
    """Return the segment's id (or an empty string) and the route, with `*` in the id's place."""
    match = _ROUTE.fullmatch(path.removeprefix(PREFIX))
    if match is None:
        return "", ""
    if match["id"] is None:
        return "", match["collection"]
    rest = f"/{match['rest']}" if match["rest"] else ""
    return unquote(match["id"]), f"{match['collection']}/*{rest}"


def _pagination(path: str, number: int, size: int, total: int) -> dict[str, Any]:
    def link(other: int) -> str | None:
        return f"{path}?page={other}&limit={size}" if 1 <= other <= math.ceil(total / size) else None

    return {
        "itemsPerPage": size,
        "pageNumber": number,
        "nextPage": link(number + 1),
        "previousPage": link(number - 1),
        "totalItems": total,
    }


def _event_dto(event: Mapping[str, Any], now_ms: int) -> dict[str, Any]:
    time = event.get("time")
    if isinstance(time, str):
        time = int(datetime.fromisoformat(time).timestamp() * 1000)
    return {
        "timestamp": str(now_ms if time is None else time),
        "name": event["eventName"],
        "source": "http-api",
        "value": str(event.get("value", "")),
        "userID": (event.get("user") or {}).get("userID", ""),
        "metadata": event.get("metadata") or {},
    }


def _segment_dto(segment: Segment) -> dict[str, Any]:
    """Return a segment with the members that `SegmentDto` requires."""
    return _NOBODY | {
        "id": segment.id,
        "name": segment.name or segment.id,
        "type": segment.type,
        "idType": segment.id_type,
        "count": len(segment.ids),
        "version": segment.version,
        "description": segment.description,
        "isEnabled": True,
        "createdTime": 0,
        "tags": segment.tags,
        "rules": [],
    }
