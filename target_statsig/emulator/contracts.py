"""The request bodies of Statsig's OpenAPI files and guides as types, so that decoding is validating.

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


class SecondaryExposure(Struct):
    """`ExposureEventMetadata`."""

    gate: str
    gateValue: str
    ruleID: str


class Event(Struct):
    """`StatsigEvent`; the schema knows no null, but Statsig's own SDKs send it for what they leave out."""

    eventName: Name
    value: str | int | float | UnsetType | None = UNSET
    time: int | datetime | UnsetType | None = UNSET
    user: User | UnsetType | None = UNSET
    metadata: dict[str, str] | UnsetType | None = UNSET
    secondaryExposures: list[SecondaryExposure] | UnsetType | None = UNSET
    statsigMetadata: dict[str, Any] | UnsetType | None = UNSET


class LogEventRequest(Struct):
    """`LogEventRequest`."""

    events: Annotated[list[Event], Meta(min_length=1)]
    user: User | UnsetType | None = UNSET
    statsigMetadata: dict[str, Any] | UnsetType | None = UNSET


class Exposure(Struct):
    """`ExposureEvent`: an `ExperimentExposure` or a `GateExposure`; null as in `Event`."""

    experimentName: Name | UnsetType = UNSET
    gateName: Name | UnsetType = UNSET
    passes: bool | UnsetType = UNSET
    group: Name | UnsetType = UNSET
    ruleID: str | UnsetType = UNSET
    user: User | UnsetType | None = UNSET
    time: int | str | UnsetType | None = UNSET
    secondaryExposures: list[SecondaryExposure] | UnsetType | None = UNSET

    def __post_init__(self) -> None:
        """Check what the schema's `oneOf` says.

        Raises:
            ValueError: It is of both kinds or of neither, or says twice or never how it was assigned.
        """
        if (self.experimentName is UNSET) == (self.gateName is UNSET):
            msg = "an exposure has either `experimentName` or `gateName`"
            raise ValueError(msg)
        if self.gateName is not UNSET and self.passes is UNSET:
            msg = "an exposure to a gate needs `passes`"
            raise ValueError(msg)
        if (self.group is UNSET) == (self.ruleID is UNSET):
            msg = "an exposure has either `group` or `ruleID`"
            raise ValueError(msg)


class LogCustomExposureRequest(Struct):
    """`LogCustomExposureRequest`."""

    exposures: Annotated[list[Exposure], Meta(min_length=1)]
    user: User | UnsetType | None = UNSET
    statsigMetadata: dict[str, Any] | UnsetType | None = UNSET


class Metric(Struct):
    """A metric's value, which no published schema describes: https://docs.statsig.com/metrics/precomputed-metrics."""

    user_id: Name
    id_type: Name
    metric_name: Name
    metric_value: int | float | UnsetType = UNSET
    numerator: int | float | UnsetType = UNSET
    denominator: int | float | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Check that there is one kind of value.

        Raises:
            ValueError: There are both, neither, or half of a ratio.
        """
        parts = [self.numerator is not UNSET, self.denominator is not UNSET]
        if any(parts) != all(parts) or any(parts) == (self.metric_value is not UNSET):
            msg = "a metric has either `metric_value`, or `numerator` and `denominator`"
            raise ValueError(msg)


class LogCustomMetricRequest(Struct):
    """The body of `log_custom_metric`."""

    metrics: Annotated[list[Metric], Meta(min_length=1)]
    isTest: bool | UnsetType | None = UNSET
    statsigMetadata: dict[str, Any] | UnsetType | None = UNSET


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
LOG_CUSTOM_EXPOSURE = Decoder(LogCustomExposureRequest)
LOG_CUSTOM_METRIC = Decoder(LogCustomMetricRequest)
IDS = Decoder(IdsRequest)
USER_STORE_IDS = Decoder(UserStoreIdsRequest)
NEW_SEGMENT = Decoder(NewSegment)
SEEDED_SEGMENT = Decoder(SeededSegment)
