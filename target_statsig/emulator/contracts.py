"""The request bodies of Statsig's OpenAPI files as types, so that decoding is validating.

Knows shapes. Refuses to know what is done with a body; the names in camelCase are Statsig's.
"""
# ruff: noqa: N815

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads the annotations at run time
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.json import Decoder

from target_statsig.emulator.limits import MAX_IDS_PER_REQUEST, MAX_USER_STORE_IDS_PER_REQUEST

Name = Annotated[str, Meta(min_length=1)]
SegmentType = Literal["id_list", "rule_based", "analysis_list", "user_store_id_list"]


class Environment(Struct):
    """`user.statsigEnvironment`."""

    tier: Literal["production", "staging", "development"] | UnsetType = UNSET


class User(Struct):
    """`StatsigUser`."""

    userID: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    ip: str | UnsetType = UNSET
    userAgent: str | UnsetType = UNSET
    country: str | UnsetType = UNSET
    locale: str | UnsetType = UNSET
    appVersion: str | UnsetType = UNSET
    custom: dict[str, Any] | UnsetType = UNSET
    privateAttributes: dict[str, Any] | UnsetType = UNSET
    customIDs: dict[str, str] | UnsetType = UNSET
    statsigEnvironment: Environment | UnsetType = UNSET


class Event(Struct):
    """`StatsigEvent`."""

    eventName: Name
    value: str | int | float | UnsetType = UNSET
    time: int | datetime | UnsetType = UNSET
    user: User | UnsetType = UNSET
    metadata: dict[str, str] | UnsetType = UNSET
    statsigMetadata: dict[str, Any] | UnsetType = UNSET


class LogEventRequest(Struct):
    """`LogEventRequest`."""

    events: Annotated[list[Event], Meta(min_length=1)]
    user: User | UnsetType = UNSET
    statsigMetadata: dict[str, Any] | UnsetType = UNSET


class NamedEvent(Struct):
    """As much of an event as counting needs."""

    eventName: Name


class CountedEvents(Struct):
    """A `LogEventRequest` of which only the names are read: a third of the work."""

    events: Annotated[list[NamedEvent], Meta(min_length=1)]


class IdsRequest(Struct):
    """`SegmentIDListContractDto` and `SegmentIDListResetContractDto`."""

    ids: Annotated[list[str], Meta(max_length=MAX_IDS_PER_REQUEST)]


class UserStoreIdsRequest(Struct):
    """`SegmentIDListUserStoreContractDto`."""

    ids: Annotated[list[str], Meta(max_length=MAX_USER_STORE_IDS_PER_REQUEST)]


class NewSegment(Struct):
    """`SegmentCreateContractDto`, what an ID list needs of it."""

    name: Annotated[str, Meta(min_length=3, max_length=100, pattern=r"^[a-zA-Z0-9_\- ]*$")]
    type: SegmentType
    id: Annotated[str, Meta(min_length=3, max_length=100, pattern=r"^[a-zA-Z0-9_-]*$")] | UnsetType = UNSET
    idType: str = "userID"
    description: Annotated[str, Meta(max_length=1000)] = ""
    tags: list[str] | UnsetType = UNSET


class SeededSegment(Struct, forbid_unknown_fields=True):
    """The body of the control call that puts a segment into the emulator."""

    id: str
    ids: list[str] = []
    type: SegmentType = "id_list"
    id_type: str = "userID"


LOG_EVENT = Decoder(LogEventRequest)
COUNTED_EVENTS = Decoder(CountedEvents)
IDS = Decoder(IdsRequest)
USER_STORE_IDS = Decoder(UserStoreIdsRequest)
NEW_SEGMENT = Decoder(NewSegment)
SEEDED_SEGMENT = Decoder(SeededSegment)
