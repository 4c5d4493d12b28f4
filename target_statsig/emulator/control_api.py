"""The emulator's own calls under `/_emulator/`: look at what arrived, forget it, switch faults on, seed a segment.

Knows the state and the faults. Refuses to know sockets and Statsig's own calls.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec

from target_statsig.emulator.contracts import SEEDED_SEGMENT
from target_statsig.emulator.faults import Faults, decode_faults
from target_statsig.emulator.messages import Answer, Arrival, RefusalError, json_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_statsig.emulator.state import State

PREFIX = "/_emulator/"


class ControlApi:
    """Answers the requests under `/_emulator/`; they need no key and are not logged."""

    def __init__(self, state: State, faults: Faults, clear: Callable[[], None]) -> None:
        """Take what to show and to change, and what begins again."""
        self._state = state
        self._faults = faults
        self._clear = clear

    def answer(self, arrival: Arrival) -> Answer:
        """Do what the request asks for.

        Raises:
            RefusalError: There is no such call, or its body is wrong.
        """
        try:
            return self._answer(arrival)
        except msgspec.DecodeError as error:
            raise RefusalError(HTTPStatus.BAD_REQUEST, f"Invalid request body: {error}") from error

    def _answer(self, arrival: Arrival) -> Answer:
        call = f"{arrival.method} {arrival.path.removeprefix(PREFIX)}"
        if call == "GET state":
            return json_answer(self._state.to_json())
        if call == "POST clear":
            self._clear()
            return json_answer({})
        if call == "GET faults":
            return json_answer(self._faults.to_json())
        if call == "DELETE faults":
            self._faults.clear()
            return json_answer(self._faults.to_json())
        if call == "POST faults":
            for fault in decode_faults(arrival.body):
                self._faults.add(fault)
            return json_answer(self._faults.to_json(), HTTPStatus.CREATED)
        if call == "POST segments":
            seed = SEEDED_SEGMENT.decode(arrival.body)
            segment = self._state.seed_segment(seed.id, seed.ids, segment_type=seed.type, id_type=seed.id_type)
            return json_answer({"id": segment.id, "count": len(segment.ids)}, HTTPStatus.CREATED)
        raise RefusalError(HTTPStatus.NOT_FOUND, f"Cannot {arrival.method} {arrival.path}")
