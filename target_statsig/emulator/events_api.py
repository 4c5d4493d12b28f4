"""The events API: keys, sizes, validation, the 202.

Knows `/v1/*`. Refuses to know sockets, faults and segments.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from target_statsig.emulator.contracts import COUNTED_EVENTS, LOG_CUSTOM_EXPOSURE, LOG_CUSTOM_METRIC, LOG_EVENT
from target_statsig.emulator.limits import MAX_EVENT_REQUEST_BYTES, MAX_EVENTS_PER_REQUEST
from target_statsig.emulator.messages import Answer, Arrival, RefusalError, json_answer

if TYPE_CHECKING:
    from msgspec.json import Decoder

    from target_statsig.emulator.options import Options
    from target_statsig.emulator.state import State

PREFIX = "/v1/"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One call of the events API.

    Attributes:
        items: The member of the body that holds what is logged.
        contract: Decodes and validates the body.
    """

    items: str
    contract: Decoder[Any]


EVENTS = Endpoint("events", LOG_EVENT)
NAMES_OF_EVENTS = Endpoint("events", COUNTED_EVENTS)
"""As much of the events as counting needs."""

ENDPOINTS = {
    "log_event": EVENTS,
    "log_custom_exposure": Endpoint("exposures", LOG_CUSTOM_EXPOSURE),
    "log_custom_metric": Endpoint("metrics", LOG_CUSTOM_METRIC),
}


class EventsApi:
    """Answers the requests under `/v1/`, and refuses what is under no prefix."""

    def __init__(self, state: State, options: Options) -> None:
        """Take where to record, and how to behave."""
        self._state = state
        self._options = options

    def answer(self, arrival: Arrival) -> Answer:
        """Take the request, or refuse it whole: Statsig knows no errors of single events.

        Raises:
            RefusalError: With the status and words to answer.
        """
        endpoint = ENDPOINTS.get(arrival.path.removeprefix(PREFIX))
        if endpoint is None or arrival.method != "POST":
            raise RefusalError(HTTPStatus.NOT_FOUND, f"Cannot {arrival.method} {arrival.path}")
        self._check_key(arrival.headers.get("statsig-api-key", ""))
        if arrival.flaw:
            raise RefusalError(HTTPStatus.BAD_REQUEST, arrival.flaw)
        if max(arrival.size, len(arrival.body)) > MAX_EVENT_REQUEST_BYTES:
            note = f"dropped unread: over {MAX_EVENT_REQUEST_BYTES:,} bytes"
            return json_answer({"success": True}, HTTPStatus.ACCEPTED, note=note)
        count = self._take(endpoint, arrival)
        return json_answer({"success": True}, HTTPStatus.ACCEPTED, items=count)

    def _check_key(self, key: str) -> None:
        if key == self._options.server_secret_key:
            return
        kind = next((kind for kind in ("client", "console", "secret") if key.startswith(f"{kind}-")), None)
        if not key:
            words = "Missing API key: send a Server Secret Key in the statsig-api-key header"
        elif kind in {"client", "console"}:
            words = f"Invalid API key: this endpoint wants a Server Secret Key, and a {kind} key was sent"
        else:
            words = "Invalid API key: it is not the Server Secret Key of this project"
        raise RefusalError(HTTPStatus.UNAUTHORIZED, words)

    def _take(self, endpoint: Endpoint, arrival: Arrival) -> int:
        if endpoint is EVENTS and self._options.keep_events == "counts":
            endpoint = NAMES_OF_EVENTS
        try:
            validated = getattr(endpoint.contract.decode(arrival.body), endpoint.items)
        except msgspec.DecodeError as error:
            raise RefusalError(HTTPStatus.BAD_REQUEST, f"Invalid request body: {error}") from error
        count = len(validated)
        announced = arrival.headers.get("statsig-event-count")
        if count > MAX_EVENTS_PER_REQUEST:
            words = f"Too many {endpoint.items}: {count:,}, over {MAX_EVENTS_PER_REQUEST:,}"
            raise RefusalError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, words, items=count)
        if announced is not None and announced != str(count):
            words = f"statsig-event-count says {announced}, the body has {count} {endpoint.items}"
            raise RefusalError(HTTPStatus.BAD_REQUEST, words, items=count)
        if endpoint is NAMES_OF_EVENTS:
            names = Counter(event.eventName for event in validated)
            with self._state.lock:
                self._state.run.events.count_names(names)
        else:
            body = msgspec.json.decode(arrival.body)
            with self._state.lock:
                self._state.run.take(endpoint.items, body, self._options.clock() * 1000)
        return count
