"""STATEs: each is written as soon as everything before it is settled, in order, and never earlier.

Settled means acknowledged by Statsig, in a dead-letter file, or in the store. A batch in flight holds a ticket; worker
threads close it.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from target_statsig.errors import FatalRunError, Heading

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_statsig.clock import Clock

State = Any
"""A STATE's value: an object, as a rule."""

STATE_PATIENCE = 30.0
"""Seconds for which a STATE waits until its batch is full; then the batch is sent as it is."""


class StateGate:
    """Holds each STATE back until all tickets that were open when it came are closed.

    Attributes:
        received: How many STATE messages have come so far.
    """

    def __init__(self, write: Callable[[State, int], None]) -> None:
        """Take what writes a STATE; it also gets the STATE's number, from 1, and is called by one thread at a time."""
        self.received = 0
        self._write = write
        self._lock = threading.Lock()
        self._next_ticket = 0
        self._open: dict[int, int] = {}
        """Tickets, each with the number of the last STATE that may pass it all the same."""
        self._held: deque[tuple[int, int, State]] = deque()
        self._last: State = None

    def open(self) -> int:
        """Return a ticket for records that are not settled yet."""
        with self._lock:
            ticket = self._next_ticket
            self._next_ticket += 1
            self._open[ticket] = 0
            return ticket

    def close(self, ticket: int) -> None:
        """Close a ticket, whose records are settled, and write the STATE that waited for them."""
        with self._lock:
            del self._open[ticket]
            self._release()

    def settle(self, ticket: int, received: int) -> None:
        """Let the STATE with this number pass an open ticket, whose records before it are settled."""
        with self._lock:
            self._open[ticket] = received
            self._release()

    def hold(self, state: State) -> None:
        """Take a STATE; it is written now if nothing before it is open."""
        with self._lock:
            self.received += 1
            if self.received == 1 or state != self._last:
                self._last = state
                self._held.append((self._next_ticket, self.received, state))
            self._release()

    @property
    def settled(self) -> bool:
        """Whether every ticket is closed."""
        return not self._open

    @property
    def waiting(self) -> bool:
        """Whether any STATE is held back."""
        return bool(self._held)

    def _release(self) -> None:
        """Write the newest STATE that may pass; those before it say less and are left out."""
        passed = None
        while self._held:
            first_behind, number, _ = self._held[0]
            if any(ticket < first_behind and settled < number for ticket, settled in self._open.items()):
                break
            passed = self._held.popleft()
        if passed is not None:
            _, number, state = passed
            self._write(state, number)


class Patience:
    """Decides when a STATE has waited long enough for batches that are not full."""

    def __init__(self, gate: StateGate, clock: Clock) -> None:
        self._gate = gate
        self._clock = clock
        self._until: float | None = None

    def is_over(self) -> bool:
        """Return whether it has; then the next call begins a new wait."""
        if not self._gate.waiting:
            self._until = None
            return False
        now = self._clock.monotonic()
        if self._until is None:
            self._until = now + STATE_PATIENCE
        if now < self._until:
            return False
        self._until = None
        return True


_ENCODER = msgspec.json.Encoder(decimal_format="number")


def write_state(state: State) -> None:
    """Write a STATE to standard output at once, for the program that started this to save.

    Raises:
        FatalRunError: It cannot be written.
    """
    try:
        sys.stdout.write(encode_state(state) + "\n")
        sys.stdout.flush()
    except (BrokenPipeError, ValueError, AttributeError) as error:
        # The other end of the pipe is closed, or this one is, or there never was a standard output (it is None).
        why = "is closed by the program that started this one"
        raise _lost(why) from error
    except OSError as error:
        why = f"cannot be written ({error.strerror})"
        raise _lost(why) from error


def encode_state(state: State) -> str:
    """Return a STATE as a line of JSON; its numbers stay as the tap wrote them."""
    try:
        return json.dumps(state)
    except TypeError:
        # Decimals, of which the reader makes numbers with a fraction.
        return _ENCODER.encode(state).decode()


def _lost(why: str) -> FatalRunError:
    return FatalRunError(
        f"Standard output {why}, so no STATE can be saved. The run stops. The next run starts at the last STATE that "
        "was saved.",
        heading=Heading.OUTPUT,
    )
