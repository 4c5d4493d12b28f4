"""Writing STATEs, in order, each as soon as every record before it is settled and never earlier.

A record is settled when Statsig has acknowledged it, or when it is in a dead-letter file or in the store. A batch holds
a ticket until its records are settled.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from target_statsig.errors import FatalRunError, Heading
from target_statsig.singer.message import encode

if TYPE_CHECKING:
    from collections.abc import Callable

State = Any
"""The value of a STATE, usually an object."""

STATE_PATIENCE = 30.0
"""Seconds that a STATE waits for the batch before it to fill up. Then the batch is sent even if it is not full."""

_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")


class StateGate:
    """Holds each STATE back until all tickets that were open when it came are closed. Thread-safe.

    Attributes:
        received: The number of STATE messages so far.
    """

    def __init__(self, write: Callable[[State, int], None]) -> None:
        """Take what writes a STATE, given its value and its number, from 1. One thread at a time calls it."""
        self.received = 0
        self._write = write
        self._lock = threading.Lock()
        self._next_ticket = 0
        self._open: dict[int, int] = {}
        """The open tickets, each with the number of the last STATE that may pass."""
        self._held: deque[tuple[State, int]] = deque()
        """The waiting STATEs, each with its number."""
        self._last: State = None
        self._patient_until: float | None = None

    def open(self) -> int:
        """Open a ticket for records that are not settled yet, and return its number."""
        with self._lock:
            ticket = self._next_ticket
            self._next_ticket += 1
            self._open[ticket] = self.received
            return ticket

    def close(self, ticket: int) -> None:
        """Close a ticket, because its records are settled, and write the STATE that waited for it."""
        with self._lock:
            del self._open[ticket]
            self._release()

    def settle(self, ticket: int, received: int) -> None:
        """Let STATEs up to number `received` pass an open ticket, because its records before them are settled."""
        with self._lock:
            self._open[ticket] = received
            self._release()

    def hold(self, state: State) -> None:
        """Take a STATE; write it at once if no ticket is open."""
        with self._lock:
            self.received += 1
            if self.received == 1 or state != self._last:
                self._last = state
                self._held.append((state, self.received))
            self._release()

    @property
    def settled(self) -> bool:
        """Whether every ticket is closed."""
        return not self._open

    @property
    def waiting(self) -> bool:
        """Whether any STATE is held back."""
        return bool(self._held)

    def is_overdue(self, now: float) -> bool:
        """Return whether a STATE has waited for `STATE_PATIENCE`; if so, start the wait again.

        Call it often; `now` is in seconds that never go back.
        """
        if not self.waiting:
            self._patient_until = None
        elif self._patient_until is None:
            self._patient_until = now + STATE_PATIENCE
        elif now >= self._patient_until:
            self._patient_until = None
            return True
        return False

    def _release(self) -> None:
        """Write the newest STATE that may pass, and drop older ones, which it supersedes."""
        passed = None
        last = min(self._open.values(), default=self.received)
        while self._held and self._held[0][1] <= last:
            passed = self._held.popleft()
        if passed is not None:
            self._write(*passed)


def write_state(state: State) -> None:
    """Write a STATE to standard output and flush it.

    Raises:
        FatalRunError: The STATE cannot be written.
    """
    try:
        sys.stdout.write(encode_state(state) + "\n")
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError) as error:
        why = "is closed by the program that started this one"  # either end of it, or it is None
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            why = f"cannot be written ({error.strerror})"
        msg = (
            f"Standard output {why}, so no STATE can be saved. The run stops. The next run starts at the last STATE "
            "that was saved."
        )
        raise FatalRunError(msg, heading=Heading.OUTPUT) from error


def encode_state(state: State) -> str:
    """Return a STATE as JSON in ASCII, which every standard output can encode, its numbers as the tap wrote them."""
    try:
        return json.dumps(state)
    except TypeError:
        # It holds Decimals, because the reader decodes numbers with a fraction as such.
        return _NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], encode(state).decode())
