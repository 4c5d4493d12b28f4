"""The events API (`/v1/`): keys, sizes, validation.

The bodies of Statsig's OpenAPI files and guides are types, so that decoding validates them.
"""
# ruff: noqa: N815 - the names in camelCase are Statsig's

from __future__ import annotations

from collections import Counter
from datetime import datetime  # noqa: TC003 - msgspec reads the annotations at run time
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from target_statsig.emulator.http_server import RefusalError, Request, Response, decode, json_response

if TYPE_CHECKING:
    from target_statsig.emulator.state import State

PREFIX = "/v1/"
SECRET_KEY = "secret-emulator"  # noqa: S105 - made up, and valid only here

MAX_REQUEST_BYTES = 10_000_000
"""Bytes of a body, decompressed; Statsig drops a bigger one: https://docs.statsig.com/http-api."""

MAX_EVENTS_PER_REQUEST = 3_000
"""The most events of a request, about which the guide gives this as a rough limit: https://docs.statsig.com/http-api."""

Name = Annotated[str, Meta(min_length=1)]


class Environment(Struct, frozen=True):
    """An environment. Statsig's schema has three tiers, but a project may rename them and add others."""

    tier: Name | UnsetType = UNSET


class User(Struct):
    """`StatsigUser`."""

    userID: str = ""
    email: str = ""
    ip: str = ""
    userAgent: str = ""
    country: str = ""
    locale: str = ""
    appVersion: str = ""
    custom: dict[str, Any] = {}
    privateAttributes: dict[str, Any] = {}
    customIDs: dict[str, str] = {}
    statsigEnvironment: Environment = Environment()


class SecondaryExposure(Struct):
    """`ExposureEventMetadata`."""

    gate: str
    gateValue: str
    ruleID: str


class Event(Struct):
    """`StatsigEvent`.

    By the schema there is no null, and metadata are texts. But Statsig's own SDKs send null for missing members, and
    numbers, booleans and objects in the metadata.
    """

    eventName: Name
    value: str | int | float | None = None
    time: int | datetime | None = None
    user: User | None = None
    metadata: dict[str, Any] | None = None
    secondaryExposures: list[SecondaryExposure] | None = None
    statsigMetadata: dict[str, Any] | None = None


class Exposure(Struct):
    """`ExposureEvent`: an `ExperimentExposure` or a `GateExposure`; null as in `Event`."""

    experimentName: Name | UnsetType = UNSET
    gateName: Name | UnsetType = UNSET
    passes: bool | UnsetType = UNSET
    group: Name | UnsetType = UNSET
    ruleID: str | UnsetType = UNSET
    user: User | None = None
    time: int | str | None = None
    secondaryExposures: list[SecondaryExposure] | None = None

    def __post_init__(self) -> None:
        """Check what the schema's `oneOf` says."""
        if (self.experimentName is UNSET) == (self.gateName is UNSET):
            msg = "an exposure has either `experimentName` or `gateName`"
            raise ValueError(msg)
        if self.gateName is not UNSET and self.passes is UNSET:
            msg = "an exposure to a gate needs `passes`"
            raise ValueError(msg)
        if (self.group is UNSET) == (self.ruleID is UNSET):
            msg = "an exposure has either `group` or `ruleID`"
            raise ValueError(msg)


class Metric(Struct):
    """A metric's value. There is no published schema: https://docs.statsig.com/metrics/precomputed-metrics."""

    user_id: Name
    id_type: Name
    metric_name: Name
    metric_value: int | float | UnsetType = UNSET
    numerator: int | float | UnsetType = UNSET
    denominator: int | float | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Check that there is a value or a whole ratio, and not both."""
        parts = [self.numerator is not UNSET, self.denominator is not UNSET]
        if any(parts) != all(parts) or any(parts) == (self.metric_value is not UNSET):
            msg = "a metric has either `metric_value`, or `numerator` and `denominator`"
            raise ValueError(msg)


class Body(Struct, kw_only=True):
    """The members that all bodies have."""

    user: User | None = None
    statsigMetadata: dict[str, Any] | None = None


class LogEventRequest(Body):
    events: Annotated[list[Event], Meta(min_length=1)]


class LogCustomExposureRequest(Body):
    exposures: Annotated[list[Exposure], Meta(min_length=1)]


class LogCustomMetricRequest(Body):
    metrics: Annotated[list[Metric], Meta(min_length=1)]
    isTest: bool | None = None


class NamedEvent(Struct, gc=False):
    eventName: Name


class CountedEvents(Struct):
    """The names of events, which are all that counting needs; decoding them takes a third of the time."""

    events: Annotated[list[NamedEvent], Meta(min_length=1)]


ENDPOINTS: dict[str, tuple[str, type[Struct]]] = {
    "log_event": ("events", LogEventRequest),
    "log_custom_exposure": ("exposures", LogCustomExposureRequest),
    "log_custom_metric": ("metrics", LogCustomMetricRequest),
}
"""For each call, the member of the body that holds the items, and the type of the body."""


def answer(request: Request, state: State) -> Response:
    """Accept a request or refuse it as a whole, because Statsig has no errors for single events.

    Raises:
        RefusalError: It is refused.
    """
    endpoint = ENDPOINTS.get(request.path.removeprefix(PREFIX))
    if endpoint is None or request.method != "POST":
        raise RefusalError(HTTPStatus.NOT_FOUND, f"Cannot {request.method} {request.path}")
    _check_key(request.headers.get("statsig-api-key", ""))
    if len(request.body) > MAX_REQUEST_BYTES:
        note = f"dropped unread: over {MAX_REQUEST_BYTES:,} bytes"
        return json_response({"success": True}, HTTPStatus.ACCEPTED, note=note)
    name, contract = endpoint
    only_names = name == "events" and state.options.keep_events == "counts"
    items = getattr(decode(request, CountedEvents if only_names else contract), name)
    count, announced = len(items), request.headers.get("statsig-event-count")
    if count > MAX_EVENTS_PER_REQUEST:
        message = f"Too many {name}: {count:,}, over {MAX_EVENTS_PER_REQUEST:,}"
        raise RefusalError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message, items=count)
    if announced is not None and announced != str(count):
        message = f"statsig-event-count says {announced}, the body has {count} {name}"
        raise RefusalError(HTTPStatus.BAD_REQUEST, message, items=count)
    if only_names:
        state.count_names(Counter([event.eventName for event in items]))
    else:
        state.take(name, msgspec.json.decode(request.body))
    return json_response({"success": True}, HTTPStatus.ACCEPTED, items=count)


def _check_key(key: str) -> None:
    if key == SECRET_KEY:
        return
    message = "Invalid API key: it is not the Server Secret Key of this project"
    if not key:
        message = "Missing API key: send a Server Secret Key in the statsig-api-key header"
    raise RefusalError(HTTPStatus.UNAUTHORIZED, message)
