"""What goes on in a process that prepares records for the one that started it (`workforce`).

Knows a connection and tasks. It has no key, no store and no settings but those of a stream's mapping; it writes nothing
anywhere, and ends when the other end of its connection does.
"""

from __future__ import annotations

import pickle
import signal
import sys
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

import msgspec

from target_statsig.events.prepare import Prepared
from target_statsig.garbage import spare_the_collector

if TYPE_CHECKING:
    from target_statsig.events.prepare import Preparation


class Task(msgspec.Struct, frozen=True):
    """Lines to prepare.

    Attributes:
        number: Which preparation is asked for.
        preparation: The pickled preparation, when the worker meets it first; else empty.
        lines: RECORD messages, a line each.
        count: How many lines.
        now_ms: The present, unix milliseconds.
    """

    number: int
    preparation: bytes
    lines: bytes
    count: int
    now_ms: int


TASKS = msgspec.msgpack.Decoder(Task)
ANSWERS = msgspec.msgpack.Decoder(Prepared | None)
ENCODER = msgspec.msgpack.Encoder()

READY = b"ready"
"""What a worker says first."""


def serve(connection: Connection) -> None:
    """Answer tasks until there are no more."""
    preparations: dict[int, Preparation] = {}
    connection.send_bytes(READY)
    while True:
        try:
            task = TASKS.decode(connection.recv_bytes())
        except EOFError:
            return
        if task.preparation:
            # Not from anywhere, but from the process that started this one.
            preparations[task.number] = pickle.loads(task.preparation)  # noqa: S301
        prepared = answer(preparations[task.number], task.lines, task.count, task.now_ms)
        connection.send_bytes(ENCODER.encode(prepared))


def answer(preparation: Preparation, lines: bytes, count: int, now_ms: int) -> Prepared | None:
    """Prepare lines; whatever goes wrong, somebody will look at these records one by one."""
    try:
        return preparation(lines, count, now_ms)
    except Exception:  # noqa: BLE001 -- its text might hold a value; it is raised again where errors are told
        return None


def main(descriptor: int) -> None:
    """Serve a connection that was inherited; signals are for the process at its other end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    spare_the_collector()
    with Connection(descriptor) as connection:
        try:
            serve(connection)
        except OSError:
            sys.exit()
