"""Reading Singer messages from standard input.

singer-sdk's own readers quote the whole line in their errors, record included. This one gives only the line's number.
It also calls back while no input comes, so that a held STATE need not wait for the tap.
"""

from __future__ import annotations

import json
import os
import select
import stat
import sys
from collections import Counter
from itertools import islice, repeat, takewhile
from typing import IO, TYPE_CHECKING

from singer_sdk.singerlib.encoding.base import GenericSingerReader
from typing_extensions import override

from target_statsig.errors import NO_STATE_PASSES, InputError, InterruptedRunError
from target_statsig.singer.message import NO_END, NO_JSON, Undecoded, decode, lines_of
from target_statsig.singer.records import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from target_statsig.clock import Clock
    from target_statsig.singer.message import Message

LINES_AT_ONCE = 500
"""Undecoded lines that are passed on together. A signal is heeded after each batch."""

RECORD = b'"record"'
"""The end of a RECORD message's head, which names the stream."""

MESSAGE_TYPES = frozenset({"SCHEMA", "RECORD", "STATE", "ACTIVATE_VERSION", "BATCH"})

NO_MESSAGE = "is not a Singer message of a known type"


def _heads(stream: str) -> list[bytes]:
    """Return the heads of a stream's RECORD messages, as singer-sdk, singer-python and other taps write them."""
    names = {json.dumps(stream), json.dumps(stream, ensure_ascii=False)}
    forms = ('{{"type":"RECORD","stream":{},', '{{"type": "RECORD", "stream": {}, ')
    # Half a surrogate pair occurs in a line only escaped.
    return [form.format(name).encode(errors="replace") for name in names for form in forms]


def unreadable(number: int, what: str) -> InputError:
    """Return an error about a line of the input, without any of its content."""
    remedy = "Check what the tap writes there."
    if what.endswith(NO_END):
        remedy = "Check the tap's log for an error, and run again."
    elif number == 1 and what.endswith((NO_JSON, NO_MESSAGE)):  # perhaps no tap wrote it
        remedy += " A file of CSV or JSON lines needs a tap that reads it."
    return InputError(f"Line {number} of the input {what}. {NO_STATE_PASSES} {remedy}")


class SingerMessageReader(GenericSingerReader[bytes]):
    """Reads messages and passes each to the callback of its type; RECORDs go to `take_records` in batches of lines.

    Attributes:
        line_number: The number of the current line, from 1.
        waiting: Whether the reader waits for input and holds no message.
        stop: Set by others to end the reading before the next line.
        between_blocks: Called before each block of lines, with its size in bytes, and with 0 when no input has come for
            `IDLE_SECONDS`.
        take_records: Called with consecutive RECORD messages of one stream: the stream's name, the number of the first
            line, and the messages.
    """

    def __init__(self) -> None:
        super().__init__()
        self.line_number = 0
        self.waiting = False
        self.stop = False
        self.between_blocks: Callable[[int], None] = lambda _: None
        self.take_records: Callable[[str, int, Batch], None] = lambda *_: None
        self._stream_of: dict[bytes, str] = {}
        """The stream of a RECORD message, by the message's head."""

    @property
    @override
    def default_input(self) -> IO[bytes]:
        if sys.stdin is None:
            msg = "Standard input is closed, so nothing was read. Pipe in a tap's output, or name a file with --input."
            raise InputError(msg)
        return sys.stdin.buffer

    @override
    def process_lines(
        self, file_input: IO[bytes] | None, callbacks: dict[str, Callable[[Message], None]]
    ) -> Counter[str]:
        stats: Counter[str] = Counter()
        source = read_blocks(self.default_input.fileno(), self._while_idle) if file_input is None else file_input
        for block in self._blocks(source):
            for stream, content in self._messages(block):
                if isinstance(content, Batch):
                    self.take_records(stream, self.line_number - len(content) + 1, content)
                    stats["RECORD"] += len(content)
                else:
                    callbacks[content["type"]](content)
                    stats[content["type"]] += 1
                    if content["type"] == "SCHEMA":
                        known: str = content["stream"]
                        self._stream_of |= dict.fromkeys(_heads(known), known)
                self.check_stop()
        return stats

    def _messages(self, block: bytes) -> Iterator[tuple[str, Batch | Message]]:
        """Yield consecutive RECORDs of a stream as a batch, with its name, and any other message, with an empty name.

        Only RECORDs of a stream without a SCHEMA, or with an unusual head, are decoded.
        """
        lines = lines_of(block)
        start = 0
        while start < len(lines):
            # Looked up here, because the SCHEMA that was just yielded may have added its stream.
            head = lines[start][: lines[start].find(RECORD)]
            stream = self._stream_of.get(head)
            if stream is None:
                self.line_number += 1
                if not lines[start].isspace():
                    yield self._decoded(lines[start])
                start += 1
            else:
                candidates = islice(lines, start, start + LINES_AT_ONCE)
                count = sum(takewhile(bool, map(bytes.startswith, candidates, repeat(head + RECORD))))
                self.line_number += count
                yield stream, Batch(lines[start : start + count])
                start += count

    def _decoded(self, line: bytes) -> tuple[str, Batch | Message]:
        message = self.deserialize_json(line)
        message_type = message.get("type")
        if not isinstance(message_type, str) or message_type not in MESSAGE_TYPES:
            raise self.error(NO_MESSAGE)
        if message_type != "RECORD":
            return "", message
        self.assert_line_requires(message, {"stream", "record"})
        stream: str = message["stream"]
        if type(message["record"]) not in {dict, Undecoded}:
            msg = f"is a RECORD of '{stream}' whose record is not an object"
            raise self.error(msg)
        return stream, Batch([line], [message])

    def error(self, what: str) -> InputError:
        """Return `unreadable` of the current line."""
        return unreadable(self.line_number, what)

    @override
    def deserialize_json(self, line: bytes) -> Message:
        message = decode(line)
        if isinstance(message, str):
            raise self.error(message)
        return message

    @override
    def assert_line_requires(self, line_dict: object, requires: set[str]) -> None:  # type: ignore[override]
        present: Message = line_dict if isinstance(line_dict, dict) else {}
        missing = requires - present.keys()
        if missing:
            msg = f"lacks {', '.join(sorted(missing))}"
            raise self.error(msg)
        if "stream" in requires and not isinstance(present["stream"], str):
            msg = "has a stream name that is not text"
            raise self.error(msg)

    def _blocks(self, blocks: Iterable[bytes | str]) -> Iterator[bytes]:
        """Yield the blocks, with `waiting` set while the next one is fetched: a signal handler may raise only then."""
        source = iter(blocks)
        while True:
            self.waiting = True
            try:
                block = next(source, None)
            finally:
                self.waiting = False
            self.check_stop()
            if block is None:
                return
            self.between_blocks(len(block))
            yield block if isinstance(block, bytes) else block.encode()

    def check_stop(self) -> None:
        """End the reading if the run was stopped.

        Raises:
            InterruptedRunError: It was.
        """
        if self.stop:
            msg = "the run was asked to stop before the input ended"
            raise InterruptedRunError(msg)

    def _while_idle(self) -> None:
        # A signal handler must not raise during the callback.
        self.waiting = False
        self.between_blocks(0)
        self.waiting = True
        self.check_stop()


CHUNK_BYTES = 1 << 17
"""Bytes to read at once, if there are as many. The records of a megabyte would not stay in the processor's cache until
they are mapped, which takes a tenth longer."""

IDLE_SECONDS = 5.0
"""How long to wait for input before `while_idle` is called."""


def read_blocks(descriptor: int, while_idle: Callable[[], None]) -> Iterator[bytes]:
    """Yield blocks of whole lines from a file descriptor; the last line may lack its end.

    `while_idle` is called whenever no input has come for `IDLE_SECONDS`.
    """
    rest: list[bytes] = []
    while True:
        while not select.select([descriptor], [], [], IDLE_SECONDS)[0]:
            while_idle()
        chunk = os.read(descriptor, CHUNK_BYTES)
        end = chunk.rfind(b"\n") + 1
        if end or not chunk:
            if block := b"".join([*rest, chunk[:end]]):
                yield block
            rest.clear()
        if not chunk:
            return
        rest.append(chunk[end:])


DRAIN_SECONDS = 5.0
"""The most seconds to read on after an error. Taps take some seconds to start; a person would not wait longer."""


def drain_input(clock: Clock) -> None:
    """Read and discard the rest of standard input, if it is a pipe, for `DRAIN_SECONDS` at most.

    Otherwise the tap fails to write to a closed pipe, and `meltano run` ends with two screenfuls of that traceback
    instead of this target's error.
    """
    try:
        descriptor = sys.stdin.fileno()
        mode = os.fstat(descriptor).st_mode
    except (AttributeError, OSError, ValueError):
        return  # standard input is missing, closed or replaced
    # Some programs, such as Meltano under older versions of Python, use a socket as a pipe.
    if not stat.S_ISFIFO(mode) and not stat.S_ISSOCK(mode):
        return
    end = clock.monotonic() + DRAIN_SECONDS
    while (left := end - clock.monotonic()) > 0:
        if not select.select([descriptor], [], [], left)[0] or not os.read(descriptor, CHUNK_BYTES):
            return
