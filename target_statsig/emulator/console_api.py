"""The Console API, as much of it as a sync of segments needs.

Knows `/console/v1/*`, its keys, quotas and words. Refuses to know sockets, faults and events.
"""

from __future__ import annotations

import math
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

import msgspec

from target_statsig.emulator.contracts import IDS, NEW_SEGMENT, USER_STORE_IDS
from target_statsig.emulator.limits import MAX_IDS_PER_PROJECT, Quota
from target_statsig.emulator.messages import Answer, Arrival, RefusalError, json_answer
from target_statsig.emulator.pages import page_of
from target_statsig.emulator.segments import Segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from msgspec.json import Decoder

    from target_statsig.emulator.options import Options
    from target_statsig.emulator.state import State

PREFIX = "/console/v1/"

_T = TypeVar("_T")
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
"""Members that `SegmentDto` requires and that may be null."""

_ROUTE = re.compile(r"(?P<collection>segments|unit_id_types)(?:/(?P<id>[^/]+)(?:/(?P<rest>.+))?)?")


class ConsoleApi:
    """Answers the requests under `/console/v1/`."""

    def __init__(self, state: State, options: Options) -> None:
        """Take what to change, and how to behave."""
        self._state = state
        self._options = options
        self._mutations = Quota(options.mutation_windows) if options.mutation_windows else None
        self._list_mutations = Quota(options.id_list_windows) if options.id_list_windows else None
        self._routes: dict[tuple[str, str], Callable[[Arrival, str], Answer]] = {
            ("GET", "segments"): self._list_segments,
            ("POST", "segments"): self._create_segment,
            ("GET", "segments/*"): self._get_segment,
            ("GET", "segments/*/id_list"): self._get_ids,
            ("PATCH", "segments/*/id_list"): self._change_ids,
            ("DELETE", "segments/*/id_list"): self._change_ids,
            ("POST", "segments/*/id_list/reset"): self._change_ids,
            ("PATCH", "segments/*/add_ids"): self._change_user_store_ids,
            ("PATCH", "segments/*/remove_ids"): self._change_user_store_ids,
            ("GET", "segments/*/idlist_metadata"): self._get_metadata,
            ("GET", "unit_id_types"): self._list_unit_id_types,
        }

    def answer(self, arrival: Arrival) -> Answer:
        """Do what the request asks for.

        Raises:
            RefusalError: With the status and words to answer.
        """
        segment_id, route = split_path(arrival.path)
        handler = self._routes.get((arrival.method, route))
        if handler is None:
            raise RefusalError(HTTPStatus.NOT_FOUND, f"Cannot {arrival.method} {arrival.path}")
        self._check_key(arrival.headers.get("statsig-api-key", ""))
        if arrival.flaw:
            raise RefusalError(HTTPStatus.BAD_REQUEST, arrival.flaw)
        with self._state.lock:
            if arrival.method != "GET":
                self._check_quotas(is_list=route.startswith("segments/*/"))
            return handler(arrival, segment_id)

    def _check_key(self, key: str) -> None:
        if key != self._options.console_api_key:
            ending = f" Key ended in {key[-4:]}." if key else ""
            words = f"This endpoint only accepts an active CONSOLE key, but an invalid key was sent.{ending}"
            raise RefusalError(HTTPStatus.UNAUTHORIZED, words)

    def _check_quotas(self, *, is_list: bool) -> None:
        quotas = [self._mutations, self._list_mutations if is_list else None]
        now = self._options.clock()
        wait = max((quota.wait(now) for quota in quotas if quota), default=0.0)
        if wait:
            headers = {"Retry-After": str(math.ceil(wait))} if self._options.send_retry_after else {}
            raise RefusalError(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests, try again later", headers=headers)
        for quota in quotas:
            if quota:
                quota.count(now)

    def _segment(self, segment_id: str) -> Segment:
        segment = self._state.segments.get(segment_id)
        if segment is None:
            raise RefusalError(HTTPStatus.NOT_FOUND, "Segment not found")
        return segment

    def _list_segments(self, arrival: Arrival, _: str) -> Answer:
        segments = sorted(self._state.segments.values(), key=lambda segment: segment.id)
        page = page_of(arrival, self._options.page_size)
        data = [_segment_dto(segment) for segment in segments[page.slice]]
        return page.answer("Segments listed successfully.", data, len(segments))

    def _create_segment(self, arrival: Arrival, _: str) -> Answer:
        wanted = _decode(NEW_SEGMENT, arrival.body)
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
            created=True,
        )
        self._state.segments[segment_id] = segment
        content = {"message": "Segment created successfully.", "data": _segment_dto(segment)}
        return json_answer(content, HTTPStatus.CREATED)

    def _get_segment(self, _: Arrival, segment_id: str) -> Answer:
        segment = self._segment(segment_id)
        return json_answer({"message": "Segment read successfully.", "data": _segment_dto(segment)})

    def _get_ids(self, arrival: Arrival, segment_id: str) -> Answer:
        segment = self._segment(segment_id)
        page = page_of(arrival, self._options.page_size)
        ids = segment.page(page.number, page.size, overlap=self._options.repeated_ids)
        joined = self._options.joined_ids
        lines = [",".join(ids[at : at + joined]) for at in range(0, len(ids), joined)] if joined > 1 else ids
        data = {"name": segment.name or segment.id, "count": len(segment.ids), "ids": lines}
        return page.answer("ID list read successfully.", data, len(segment.ids), items=len(ids))

    def _change_ids(self, arrival: Arrival, segment_id: str) -> Answer:
        return self._change(arrival, self._segment(segment_id), "id_list", _decode(IDS, arrival.body).ids)

    def _change_user_store_ids(self, arrival: Arrival, segment_id: str) -> Answer:
        ids = _decode(USER_STORE_IDS, arrival.body).ids
        return self._change(arrival, self._segment(segment_id), "user_store_id_list", ids)

    def _change(self, arrival: Arrival, segment: Segment, wanted_type: str, ids: list[str]) -> Answer:
        if segment.type != wanted_type:
            words = f"Segment must be of type '{wanted_type}' to perform this operation"
            raise RefusalError(HTTPStatus.BAD_REQUEST, words, items=len(ids))
        if segment.take_update_step():
            raise RefusalError(HTTPStatus.CONFLICT, "Another update of this segment is in progress", items=len(ids))
        removing = arrival.method == "DELETE" or arrival.path.endswith("/remove_ids")
        action = "reset" if arrival.path.endswith("/reset") else "remove" if removing else "add"
        if action == "add" and self._count_all_ids() + len(ids) > MAX_IDS_PER_PROJECT:
            new = len(set(ids) - segment.ids)
            if self._count_all_ids() + new > MAX_IDS_PER_PROJECT:
                words = f"A project holds at most {MAX_IDS_PER_PROJECT:,} ids"
                raise RefusalError(HTTPStatus.BAD_REQUEST, words, items=len(ids))
        options = self._options
        getattr(segment, action)(ids, time=options.clock(), updating=options.updating_for_requests)
        return json_answer({"message": "Segment updated successfully."}, items=len(ids))

    def _count_all_ids(self) -> int:
        return sum(len(segment.ids) for segment in self._state.segments.values())

    def _get_metadata(self, _: Arrival, segment_id: str) -> Answer:
        segment = self._segment(segment_id)
        data = {"currentVersion": segment.version, "isUpdating": segment.take_update_step()}
        return json_answer({"message": "ID list metadata read successfully.", "data": data})

    def _list_unit_id_types(self, arrival: Arrival, _: str) -> Answer:
        types = self._state.unit_id_types
        page = page_of(arrival, self._options.page_size)
        data = [{"name": name, "description": ""} for name in types[page.slice]]
        return page.answer("Unit ID types listed successfully.", data, len(types))


def split_path(path: str) -> tuple[str, str]:
    """Return the segment's id (or an empty string) and the route, with `*` in the id's place."""
    match = _ROUTE.fullmatch(path.removeprefix(PREFIX))
    if match is None:
        return "", ""
    if match["id"] is None:
        return "", match["collection"]
    rest = f"/{match['rest']}" if match["rest"] else ""
    return unquote(match["id"]), f"{match['collection']}/*{rest}"


def _decode(decoder: Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        raise RefusalError(HTTPStatus.BAD_REQUEST, f"Invalid request body: {error}") from error


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
        "tags": [],
        "rules": [],
    }
