"""What goes on in a process that prepares records for the one that started it (`workforce`).

Tasks come through its standard input, and answers go to its standard output; it ends when the input does. It has no
key, no store and no settings but those of a stream's mapping, and writes nothing anywhere else.
"""

from __future__ import annotations

import pickle
import signal
import sys
from contextlib import suppress
from typing import IO, TYPE_CHECKING

import msgspec

from target_statsig.events.prepare import Limits, Prepared
from target_statsig.garbage import spare_the_collector
from target_statsig.singer.records import Batch

if TYPE_CHECKING:
    from target_statsig.events.prepare import Preparation


class Task(msgspec.Struct, frozen=True):
    """Lines to prepare.

    Attributes:
        number: Which preparation is asked for.
        preparation: The pickled preparation, when the worker meets it first; else empty.
        lines: RECORD messages.
        limits: How large a request may be.
        now_ms: The present, unix milliseconds.
    """

    number: int
    preparation: bytes
    lines: list[bytes]
    limits: Limits
    now_ms: int


TASKS = msgspec.msgpack.Decoder(Task)
ANSWERS = msgspec.msgpack.Decoder(Prepared)
ENCODER = msgspec.msgpack.Encoder()

READY = b"ready"
"""What a worker says first."""


LENGTH_BYTES = 8
"""Of the number that stands before each message and says how long it is."""


def framed(message: bytes) -> bytes:
    """Return a message as it goes through a pipe."""
    return len(message).to_bytes(LENGTH_BYTES, "big") + message


def is_whole(received: bytes | bytearray) -> bool:
    """Return whether a framed message was received to its end."""
    length = int.from_bytes(received[:LENGTH_BYTES], "big")
    return LENGTH_BYTES <= len(received) == LENGTH_BYTES + length


def send(pipe: IO[bytes], message: bytes) -> None:
    """Write a message.

    Raises:
        OSError: Nobody reads any more.
    """
    pipe.write(framed(message))
    pipe.flush()


def receive(pipe: IO[bytes]) -> bytes:
    """Read a message, and wait for it.

    Raises:
        EOFError: Nobody writes any more.
    """
    length = pipe.read(LENGTH_BYTES)
    message = pipe.read(int.from_bytes(length, "big"))
    if len(length) < LENGTH_BYTES or len(message) < int.from_bytes(length, "big"):
        raise EOFError
    return message


def serve(tasks: IO[bytes], answers: IO[bytes]) -> None:
    """Answer tasks until there are no more.

    Raises:
        EOFError: There are no more.
        OSError: Nobody reads the answers any more.
    """
    preparations: dict[int, Preparation] = {}
    send(answers, READY)
    while True:
        task = TASKS.decode(receive(tasks))
        if task.preparation:
            # Not from anywhere, but from the process that started this one.
            preparations[task.number] = pickle.loads(task.preparation)  # noqa: S301
        prepared = preparations[task.number](Batch(task.lines), task.limits, task.now_ms)
        send(answers, ENCODER.encode(prepared))


def main() -> None:
    """Serve the process that started this one; signals are for that one."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    spare_the_collector()
    answers = sys.stdout.buffer
    # Whatever prints something must not print it between two answers.
    sys.stdout = sys.stderr
    with suppress(EOFError, OSError):
        serve(sys.stdin.buffer, answers)
