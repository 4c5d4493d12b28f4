"""Standard output: STATEs, a line each, for whoever started this to save."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import msgspec

from target_statsig.errors import FatalRunError, Heading

if TYPE_CHECKING:
    from target_statsig.singer.state_gate import State

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
        why = "is closed: whoever started this is gone"
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
        f"Standard output {why}, and no STATE can be saved any more. The run stops; the next one sends again what came "
        f"after the last STATE that was saved.",
        heading=Heading.OUTPUT,
    )
