"""The part of the Console API (`/console/v1/`) that a target uses: keys, quotas, pages, segments, recent items."""
# ruff: noqa: N815 - the names in camelCase are Statsig's

from __future__ import annotations

import math
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote

import msgspec
from msgspec import Meta, Struct

from target_statsig.emulator.http_server import RefusalError, Request, Response, decode, json_response
from target_statsig.emulator.state import Segment, SegmentType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from target_statsig.emulator.state import Quota, State

PREFIX = "/console/v1/"
API_KEY = "console-emulator"
REVIEW_HEADER = "x-respect-review-settings"

MAX_IDS_PER_PROJECT = 10_000_000
"""Ids over all lists of a project: https://docs.statsig.com/segments."""

MAX_LISTED_EVENTS = 1_000
"""The last events of a name that are listed at most. Statsig's own limit is not published."""

MAX_COUNTED_NAMES = 25
"""The most names of one type in a request for exposures: https://api.statsig.com/openapi/20240601.json."""

NO_SEGMENT = "Segment not found"


class IdsRequest(Struct):
    """`SegmentIDListContractDto` of the Console API's OpenAPI file."""

    ids: Annotated[list[str], Meta(max_length=100_000)]


class UserStoreIdsRequest(IdsRequest):
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


def answer(request: Request, state: State) -> Response:
    """Answer a request.

    Raises:
        RefusalError: It is refused.
    """
    segment_id, route = split_path(request.path)
    handler = _HANDLERS.get((request.method, route))
    if handler is None:
        raise RefusalError(HTTPStatus.NOT_FOUND, f"Cannot {request.method} {request.path}")
    _check_key(request.headers.get("statsig-api-key", ""))
    with state.lock:
        if request.method != "GET":
            is_list = route.startswith("segments/*/")
            _check_quotas([state.mutations, state.list_mutations] if is_list else [state.mutations], state.clock())
        return handler(request, state, segment_id)


def split_path(path: str) -> tuple[str, str]:
    """Return the id in a path (or an empty string) and the route, with `*` in the id's place."""
    collection, *more = path.removeprefix(PREFIX).split("/", 2)
    if not more or not path.startswith(PREFIX):
        return "", collection
    return unquote(more[0]), "/".join((collection, "*", *more[1:]))


def _check_key(key: str) -> None:
    if key != API_KEY:
        ending = f" Key ended in {key[-4:]}." if key else ""
        message = f"This endpoint only accepts an active CONSOLE key, but an invalid key was sent.{ending}"
        raise RefusalError(HTTPStatus.UNAUTHORIZED, message)


def _check_quotas(quotas: Sequence[Quota], now: float) -> None:
    full = any(quota.wait(now) for quota in quotas)
    for quota in quotas:
        quota.count(now)  # refused requests count, too
    if full:
        headers = {"Retry-After": str(math.ceil(max(quota.wait(now) for quota in quotas)))}
        raise RefusalError(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests, try again later", headers=headers)


def _list_segments(request: Request, state: State, _: str) -> Response:
    segments = sorted(state.segments.values(), key=lambda segment: segment.id)
    return _list(request, state, "Segments listed successfully.", [_segment_dto(segment) for segment in segments])


def _list_unit_id_types(request: Request, state: State, _: str) -> Response:
    types = [{"name": name, "description": ""} for name in state.unit_id_types]
    return _list(request, state, "Unit ID types listed successfully.", types)


def _list_events(request: Request, state: State, name: str) -> Response:
    """List the last events of a name: https://docs.statsig.com/api-reference/events/get-specific-events."""
    kept = [event for event in state.events if event["eventName"] == name]
    now_ms = int(state.clock() * 1000)
    events = [_event_dto(event, now_ms) for event in reversed(kept[-MAX_LISTED_EVENTS:])]
    return _list(request, state, "Event values listed successfully.", events)


def _list(request: Request, state: State, message: str, data: Sequence[object]) -> Response:
    number, size = _page_of(request, state)
    shown = data[(number - 1) * size : number * size]
    pagination = _pagination(request.path, number, size, len(data))
    return json_response({"message": message, "data": shown, "pagination": pagination})


def _count_exposures(request: Request, state: State, _: str) -> Response:
    """Count the exposures of recent runs: https://docs.statsig.com/api-reference/configs/read-exposure-event-count.

    Unknown experiments and gates have none, and dynamic configs never have any here.
    """
    data = {}
    for parameter in ("gates", "experiments", "dynamicConfigs"):
        names = request.parameters.get(parameter, ())
        if len(names) > MAX_COUNTED_NAMES:
            message = f"{parameter} must contain no more than {MAX_COUNTED_NAMES} elements"
            raise RefusalError(HTTPStatus.BAD_REQUEST, message)
        data[parameter] = [
            {"id": name} | {member: _exposures(state, parameter, name, seconds) for member, seconds in _PERIODS.items()}
            for name in names
        ]
    return json_response({"message": "Exposure count fetched successfully.", "data": data})


_PERIODS = {"pastDay": 86_400, "past7Days": 7 * 86_400}
"""Seconds, by the member of the response that counts the exposures in them."""


def _exposures(state: State, parameter: str, name: str, seconds: int) -> int:
    since = state.clock() - seconds
    return sum(
        tally.count
        for run in state.runs
        if run.started >= since
        for (subject, kind, *_), tally in run.logs["exposures"].tallies.items()
        if subject == name and kind.startswith(parameter.removesuffix("s"))
    )


def _create_segment(request: Request, state: State, _: str) -> Response:
    wanted = decode(request, NewSegment)
    segment_id = wanted.id or wanted.name.strip().lower().replace(" ", "_")
    if segment_id in state.segments:
        raise RefusalError(HTTPStatus.BAD_REQUEST, "A segment with this id exists already")
    if wanted.idType not in state.unit_id_types:
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
    state.segments[segment_id] = segment
    return json_response(
        {"message": "Segment created successfully.", "data": _segment_dto(segment)}, HTTPStatus.CREATED
    )


def _segment(state: State, segment_id: str) -> Segment:
    segment = state.segments.get(segment_id)
    if segment is None:
        raise RefusalError(HTTPStatus.NOT_FOUND, NO_SEGMENT)
    return segment


def _get_segment(_: Request, state: State, segment_id: str) -> Response:
    data = _segment_dto(_segment(state, segment_id))
    return json_response({"message": "Segment read successfully.", "data": data})


def _get_ids(request: Request, state: State, segment_id: str) -> Response:
    segment = _segment(state, segment_id)
    number, size = _page_of(request, state)
    ids, joined = segment.page(number, size, overlap=state.options.repeated_ids), state.options.joined_ids
    shown = [",".join(ids[at : at + joined]) for at in range(0, len(ids), joined)]
    content = {
        "message": "ID list read successfully.",
        "data": {"name": segment.name, "count": len(segment.ids), "ids": shown},
        "pagination": _pagination(request.path, number, size, len(segment.ids)),
    }
    return json_response(content, items=len(ids))


def _change_ids(request: Request, state: State, segment_id: str) -> Response:
    segment = _segment(state, segment_id)
    is_id_list = request.path.endswith("/id_list")
    wanted_type: SegmentType = "id_list" if is_id_list else "user_store_id_list"
    ids = decode(request, IdsRequest if is_id_list else UserStoreIdsRequest).ids
    if segment.type != wanted_type:
        message = f"Segment must be of type '{wanted_type}' to perform this operation"
        raise RefusalError(HTTPStatus.BAD_REQUEST, message, items=len(ids))
    removing = request.method == "DELETE" or request.path.endswith("/remove_ids")
    in_project = sum(len(each.ids) for each in state.segments.values())
    if not removing and in_project + len(set(ids) - segment.ids) > MAX_IDS_PER_PROJECT:
        message = f"A project holds at most {MAX_IDS_PER_PROJECT:,} ids"
        raise RefusalError(HTTPStatus.BAD_REQUEST, message, items=len(ids))
    segment.change("remove" if removing else "add", ids, time=state.clock())
    return json_response({"message": "Segment updated successfully."}, items=len(ids))


def _get_metadata(_: Request, state: State, segment_id: str) -> Response:
    data = {"currentVersion": _segment(state, segment_id).version, "isUpdating": False}
    return json_response({"message": "ID list metadata read successfully.", "data": data})


_HANDLERS: dict[tuple[str, str], Callable[[Request, State, str], Response]] = {
    ("GET", "segments"): _list_segments,
    ("POST", "segments"): _create_segment,
    ("GET", "segments/*"): _get_segment,
    ("GET", "segments/*/id_list"): _get_ids,
    ("PATCH", "segments/*/id_list"): _change_ids,
    ("DELETE", "segments/*/id_list"): _change_ids,
    ("PATCH", "segments/*/add_ids"): _change_ids,
    ("PATCH", "segments/*/remove_ids"): _change_ids,
    ("GET", "segments/*/idlist_metadata"): _get_metadata,
    ("GET", "unit_id_types"): _list_unit_id_types,
    ("GET", "events/*"): _list_events,
    ("GET", "exposure_count"): _count_exposures,
}


def _page_of(request: Request, state: State) -> tuple[int, int]:
    """Return the number of the requested page, from 1, and its size."""
    most = state.options.page_size
    try:
        number, limit = int(request.query.get("page", 1)), int(request.query.get("limit", most))
    except ValueError:
        number = limit = 0
    if number < 1 or limit < 1:
        raise RefusalError(HTTPStatus.BAD_REQUEST, "limit and page must be integers from 1")
    return number, min(limit, most)


def _pagination(path: str, number: int, size: int, total: int) -> dict[str, Any]:
    def link(other: int) -> str | None:
        return f"{path}?page={other}&limit={size}" if 1 <= other <= math.ceil(total / size) else None

    links = {"nextPage": link(number + 1), "previousPage": link(number - 1)}
    return {"itemsPerPage": size, "pageNumber": number, "totalItems": total, **links}


def _event_dto(event: Mapping[str, Any], now_ms: int) -> dict[str, Any]:
    time = event.get("time")
    if isinstance(time, str):
        moment = msgspec.convert(time, datetime)
        # Without a time zone it is in UTC.
        time = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    return {
        "timestamp": str(now_ms if time is None else time),
        "name": event["eventName"],
        "source": "http-api",
        "value": str(event.get("value", "")),
        "userID": (event.get("user") or {}).get("userID", ""),
        "metadata": event.get("metadata") or {},
    }


def _segment_dto(segment: Segment) -> dict[str, Any]:
    return {
        "id": segment.id,
        "name": segment.name,
        "type": segment.type,
        "idType": segment.id_type,
        "count": len(segment.ids),
        "version": segment.version,
        "description": segment.description,
        "tags": segment.tags,
    }
