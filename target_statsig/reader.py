"""Standard input as Singer messages: bytes in, decoded messages out, no value in any error.

singer-sdk's own readers put the whole line into their errors, and a line holds a record. This one names its number.
It also wakes up while nothing comes, so that a held STATE does not wait for the tap.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from itertools import islice, repeat, takewhile
from typing import IO, TYPE_CHECKING

import msgspec
from singer_sdk.singerlib.encoding.base import GenericSingerReader

from target_statsig._compat import override
from target_statsig.blocks import lines_of, read_blocks
from target_statsig.exceptions import CUT_OFF, InputError, InterruptedRunError
from target_statsig.phrases import counted
from target_statsig.record import MESSAGES, Message, decode_around_record, decode_leniently

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LINES_AT_ONCE = 500
"""Undecoded lines handed over together; between two times a signal is heeded."""

LOOK_THERE = "Look at what the tap writes there."

RECORD = b'"record"'
"""What stands in a RECORD message behind its head, which tells the stream."""

TakeLines = Callable[[int, list[bytes]], None]
"""Takes undecoded lines that follow each other, given the number of the first."""


def _head_of(line: bytes) -> bytes:
    return line[: line.find(RECORD)]


class SingerMessageReader(GenericSingerReader[bytes]):
    """Reads messages and hands each to the callback of its type.

    Attributes:
        line_number: The number of the line at hand, from 1.
        waiting: True while the reader waits for input and holds no message.
        stop: Set from outside to end the reading before the next line.
        between_blocks: Called with the bytes of each block of lines before it is read, and with 0 when nothing has come
            for a while (`blocks`).
        take_records: Offered messages before their callbacks are: takes as many as it can from a list, beginning at a
            place in it, and returns the place of the first that it leaves to its callback.
        lines_taken: Who takes undecoded lines, by how they begin: all that stands before `"record"`.
    """

    def __init__(self) -> None:
        """Begin before the first line."""
        super().__init__()
        self.line_number = 0
        self.waiting = False
        self.stop = False
        self.between_blocks: Callable[[int], None] = lambda _: None
        self.take_records: Callable[[Sequence[Message], int], int] = lambda _, place: place
        self.lines_taken: dict[bytes, TakeLines] = {}

    @property
    @override
    def default_input(self) -> IO[bytes]:
        if sys.stdin is None:
            msg = "Standard input is closed, so nothing was read. Pipe a tap's output in, or name a file with --input."
            raise InputError(msg)
        return sys.stdin.buffer

    @override
    def process_lines(
        self, file_input: IO[bytes] | None, callbacks: dict[str, Callable[[Message], None]]
    ) -> Counter[str]:
        stats: Counter[str] = Counter()
        source = read_blocks(self.default_input.fileno(), self._while_idle) if file_input is None else file_input
        for block in self._marked(source):
            for part, take in self._parts(block):
                if take is None:
                    for messages in self._decoded(part[0]):
                        self._hand_over(messages, callbacks, stats)
                else:
                    self._pass_on(part, take)
                    stats["RECORD"] += len(part)
        return stats

    def _parts(self, block: bytes) -> Iterator[tuple[list[bytes], TakeLines | None]]:
        """Yield the lines of a block that follow each other and are taken undecoded by the same one.

        Those that nobody takes come in one piece, as a block.
        """
        if not self.lines_taken:
            yield [block], None
            return
        lines = lines_of(block)
        place = 0
        while place < len(lines):
            # Asked only now: a SCHEMA of the part before may have changed who takes what.
            head = _head_of(lines[place])
            take = self.lines_taken.get(head)
            behind = islice(lines, place + 1, None)
            if take is None:
                part = [lines[place], *takewhile(lambda line: _head_of(line) not in self.lines_taken, behind)]
                yield [b"".join(part)], None
            else:
                alike = takewhile(bool, map(bytes.startswith, behind, repeat(head + RECORD)))
                part = lines[place : place + 1 + len([*alike])]
                yield part, take
            place += len(part)

    def _pass_on(self, lines: list[bytes], take: TakeLines) -> None:
        for place in range(0, len(lines), LINES_AT_ONCE):
            some = lines[place : place + LINES_AT_ONCE]
            take(self.line_number + 1, some)
            self.line_number += len(some)
            if self.stop:
                raise self.stopped()

    def _hand_over(
        self, messages: list[Message], callbacks: dict[str, Callable[[Message], None]], stats: Counter[str]
    ) -> None:
        """Hand over the messages of the lines that end with the line at hand."""
        before = self.line_number - len(messages)
        place = 0
        while place < len(messages):
            taken = self.take_records(messages, place) - place
            if taken:
                stats["RECORD"] += taken
                place += taken
            else:
                place += 1
                self.line_number = before + place
                message = messages[place - 1]
                kind = message.get("type")
                if not isinstance(kind, str) or kind not in callbacks:
                    msg = "is no Singer message of a known type"
                    raise self.error(msg)
                callbacks[kind](message)
                stats[kind] += 1
            if self.stop:
                raise self.stopped()
        self.line_number = before + place

    def _decoded(self, block: bytes) -> Iterator[list[Message]]:
        """Yield the messages of whole lines: decoded all at once, or one by one where something is odd about one."""
        try:
            messages = MESSAGES.decode_lines(block)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError):
            messages = []
        if len(messages) == len(lines_of(block)):
            self.line_number += len(messages)
            yield messages
        else:
            yield from self._one_by_one(block)

    def _one_by_one(self, block: bytes) -> Iterator[list[Message]]:
        for line in lines_of(block):
            self.line_number += 1
            if line and not line.isspace():
                yield [self.deserialize_json(line)]

    def error(self, what: str, number: int | None = None, *, remedy: str = LOOK_THERE) -> InputError:
        """Return an error about the line at hand, or about another one, without anything of what it holds."""
        number = self.line_number if number is None else number
        return InputError(f"Line {number} of the input {what}. {CUT_OFF} {remedy}")

    @override
    def deserialize_json(self, line: bytes) -> Message:
        return self.decode(line, self.line_number)

    def decode(self, line: bytes, number: int) -> Message:
        """Return a line as a message; an empty one where it is no JSON object.

        Raises:
            InputError: It cannot be read; the error names its number.
        """
        message: object
        try:
            try:
                message = MESSAGES.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, ArithmeticError):
                message = self._lenient(line, number)
        except RecursionError:
            message = self._around_record(line, number)
        return message if isinstance(message, dict) else {}

    def _around_record(self, line: bytes, number: int) -> Message:
        """Leave a record of any depth to be kept out like any other of no use."""
        try:
            return decode_around_record(line)
        except (msgspec.DecodeError, UnicodeDecodeError, ArithmeticError, RecursionError):
            msg = f"({counted(len(line.rstrip()), 'byte')}) is nested too deeply"
            raise self.error(msg, number) from None

    def _lenient(self, line: bytes, number: int) -> object:
        try:
            return decode_leniently(line)
        except UnicodeDecodeError as error:
            msg = "is not valid UTF-8"
            raise self.error(msg, number) from error
        except ValueError:
            # `from None`: the decoder's own error carries the line, and a traceback would print it.
            msg = f"({counted(len(line.rstrip()), 'byte')}) is not valid JSON"
            if line.endswith(b"\n"):
                raise self.error(msg, number) from None
            msg += " and has no end: whoever wrote it was ended, or broke, meanwhile"
            raise self.error(msg, number, remedy="Look for an error in the tap's log, and run again.") from None

    @override
    def assert_line_requires(self, line_dict: object, requires: set[str]) -> None:  # type: ignore[override]
        """Check that a message has the members that its type needs.

        Raises:
            InputError: A member is missing, or the stream's name is no text; the message's content is not named.
        """
        present: Message = line_dict if isinstance(line_dict, dict) else {}
        missing = requires - present.keys()
        if missing:
            msg = f"lacks {', '.join(sorted(missing))}"
            raise self.error(msg)
        if "stream" in requires and not isinstance(present["stream"], str):
            msg = "names its stream by something that is no text"
            raise self.error(msg)

    def _marked(self, blocks: Iterable[bytes | str]) -> Iterator[bytes]:
        """Set `waiting` while the next block is fetched, so that a signal knows whether it may break in."""
        source = iter(blocks)
        while True:
            self.waiting = True
            try:
                block = next(source, None)
            finally:
                self.waiting = False
            if self.stop:
                raise self.stopped()
            if block is None:
                return
            self.between_blocks(len(block))
            yield block if isinstance(block, bytes) else block.encode()

    @staticmethod
    def stopped() -> InterruptedRunError:
        """Return the error with which the reading ends when it was asked to stop."""
        return InterruptedRunError("the run was asked to stop before the input ended")

    def _while_idle(self) -> None:
        # A signal must not break into what is done meanwhile.
        self.waiting = False
        self.between_blocks(0)
        self.waiting = True
        if self.stop:
            raise self.stopped()
