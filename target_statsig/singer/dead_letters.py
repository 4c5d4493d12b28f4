"""Rejected records: counted against `max_rejected_percent`, and kept as dead letters: Singer files to pipe back in.

There is one such file per stream and run. It holds the tap's SCHEMA with a mark, and the RECORDs as the tap sent them,
with the reason and the run as additional members of the message.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override
from upath import UPath

from target_statsig.config.load import replay_command
from target_statsig.config.paths import dead_letter_name, make_private
from target_statsig.errors import SCHEMA_VIOLATION, FatalRunError, Heading, RejectionsError
from target_statsig.reports.text import counted
from target_statsig.singer.message import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_statsig.errors import RecordError
    from target_statsig.reports.report import ItemCounts, MemberCounts, RunReport
    from target_statsig.singer.message import Message

logger = logging.getLogger(__name__)

LOCAL = frozenset({"", "file", "local"})
"""The protocols of paths on this machine."""

MARK = "target_statsig_dead_letter"
"""The member of a SCHEMA message that marks a dead-letter file."""

_TEXT = rb'"(?:[^"\\]|\\.)*"'

_ADDED = re.compile(rb',"reason":%b(?:,"field":%b)?(?:,"statsig":%b)?,"run":%b\Z' % (_TEXT, _TEXT, _TEXT, _TEXT))
"""What an earlier run added to a RECORD message, up to its last brace."""

FEW = 10
"""Rejected records that are always tolerated, so that a small stream does not fail for one of them."""

ALL = 100
"""The value of `max_rejected_percent` that allows all records to be rejected."""

SHOWN_FIELDS = 3
"""The most fields whose sources the message names."""

MOST_PENDING = 1 << 20
"""Bytes of a stream's dead letters that wait for the next flush."""


@dataclass(slots=True)
class _File:
    name: str
    schema: Mapping[str, Any] | None = None
    parts: int = 0
    letters: int = 0
    pending: bytearray = field(default_factory=bytearray)


def cause_of(error: Exception) -> str:
    """Return the cause of an error of a file system, which may have errors of its own; those may hold a key."""
    return error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__


class DeadLetters:
    """Writes dead letters into a directory, which is created for the first one. Thread-safe.

    Attributes:
        directory: The directory, for messages.
        paths: The paths of the written files.
        count: The number of dead letters that are written for good.
    """

    def __init__(self, directory: str, run_id: str) -> None:
        """Take a path or a URL of `universal-pathlib`, and the id of the run, which makes the files' names unique."""
        self.directory = UPath(directory)
        self.paths: list[str] = []
        self.count = 0
        self._run_id = run_id
        self._remote = self.directory.protocol not in LOCAL
        self._failure: Exception | None = None
        self._lock = threading.Lock()
        self._files: dict[str, _File] = {}
        self._held = ExitStack()

    @property
    def lost(self) -> bool:
        """Whether a dead letter could not be written. Then no more are written, and no STATE may follow."""
        return self._failure is not None

    def put(self, line: bytes, schema: Mapping[str, Any], error: RecordError, message: str = "") -> None:
        """Write a rejected record, at the latest when `flush` is called.

        Line and SCHEMA message are as the tap sent them. `message` is Statsig's, if Statsig refused the record.

        Raises:
            FatalRunError: It cannot be written.
        """
        with self._lock:
            stream = schema["stream"]
            if stream not in self._files:
                self._files[stream] = _File(dead_letter_name(stream, self._run_id))
            file = self._files[stream]
            if schema != file.schema:
                file.schema = schema
                file.pending += encode({**schema, MARK: True}) + b"\n"
            extra = {"reason": error.reason, "field": error.field, "statsig": message, "run": self._run_id}
            added = encode({name: value for name, value in extra.items() if value})
            file.pending += _ADDED.sub(b"", line.rstrip().removesuffix(b"}")) + b"," + added[1:] + b"\n"
            file.letters += 1
        if len(file.pending) > MOST_PENDING:
            self.flush()

    def flush(self) -> None:
        """Write all dead letters for good, so that a STATE may follow.

        Raises:
            FatalRunError: Some cannot be written, or could not.
        """
        with self._lock:
            try:
                for file in self._files.values():
                    if file.pending and not self.lost:
                        self._write(file)
            except Exception as error:  # noqa: BLE001 -- a file system may have errors of its own
                self._failure = error
        if self._failure is not None:
            msg = (
                f"Dead letters cannot be written to {self.directory}: {cause_of(self._failure)}. The run stops so that "
                "no record is lost; no STATE passed them. Free or repair the disk, or change `dead_letter_path`, and "
                "run again."
            )
            raise FatalRunError(msg, heading=Heading.DEAD_LETTERS) from self._failure

    def close(self) -> None:
        """Flush, and leave the files to `--replay`. Raises as `flush`."""
        with self._held:
            self.flush()

    def _write(self, file: _File) -> None:
        path: UPath | Path
        if self._remote:
            # Object stores cannot append to a file. So each flush writes one, which begins with the SCHEMA.
            file.parts += 1
            path = self.directory / f"{file.name}-{file.parts:06}.singer"
            path.write_bytes(bytes(file.pending))
            file.schema = None
        else:
            directory = Path(self.directory.path)
            make_private(directory)
            path = directory / f"{file.name}.singer"
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as handle:
                if str(path) not in self.paths:  # locked before it holds a record
                    with suppress(OSError):  # a file system without locks
                        fcntl.flock(self._held.enter_context(path.open("rb")), fcntl.LOCK_SH)
                handle.write(file.pending)
        if str(path) not in self.paths:
            self.paths.append(str(path))
        self.count += file.letters
        file.letters = 0
        file.pending.clear()


def may_grow(path: UPath) -> bool:
    """Return whether the run that writes a dead-letter file still goes on. Only local files grow."""
    if path.protocol not in LOCAL:
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return isinstance(error, BlockingIOError)
    return False


class NoDeadLetters(DeadLetters):
    """The dead letters of a dry run, which writes none."""

    @override
    def put(self, line: bytes, schema: Mapping[str, Any], error: RecordError, message: str = "") -> None:
        pass


def too_many(records: int, rejected: int, max_percent: int) -> bool:
    """Return whether more than `FEW` records of a stream, and more than `max_percent`, were rejected."""
    return rejected > FEW and rejected * 100 > records * max_percent


def whereabouts(letters: DeadLetters, environ: Mapping[str, str]) -> str:
    """Return a text that says where the dead letters of a run are, and how to send them again."""
    records = counted(letters.count, "rejected record is", "rejected records are")
    return f"{records} in {letters.directory}. After you fix the cause, run: {replay_command(environ)}"


@dataclass(eq=False)
class Rejections:
    """The rejected records of one stream. `where` returns a sentence that says where a field is read from."""

    stream: str
    max_percent: int
    counts: ItemCounts | MemberCounts
    report: RunReport
    dead_letters: DeadLetters
    where: Callable[[str], str]
    _fields: dict[tuple[str, bool], None] = field(default_factory=dict, init=False)

    @property
    def allows_none(self) -> bool:
        """Whether the first rejected record ends the run."""
        return self.max_percent == 0

    def add(self, line: bytes, schema: Message, error: RecordError, *, message: str = "") -> None:
        """Count a rejected record and write it to the dead letters (`DeadLetters.put`).

        Raises:
            RejectionsError: No record of this stream may be rejected.
            FatalRunError: The dead letters cannot be written.
        """
        self.dead_letters.put(line, schema, error, message)
        with self.report.lock:
            self.counts.rejected += 1
            self.counts.reasons[error.reason] += 1
            if error.field is not None:
                self._fields[error.field, error.reason == SCHEMA_VIOLATION] = None
        if self.allows_none:
            raise self._error_at_first(error)

    def check_reject_limit(self) -> None:
        """Log the number of rejected records at the end of the run, and compare it with the limit.

        Raises:
            RejectionsError: Too many records of the stream, or all of them, were rejected.
        """
        counts = self.counts
        if not counts.rejected or self.allows_none:
            return  # `add` has raised an error already
        worst = ", ".join(f"{reason} {count:,}" for reason, count in counts.reasons.most_common(3))
        share = f"{counts.rejected:,} of {counted(counts.records, 'record')}"
        were_rejected = f"{'was' if counts.records == 1 else 'were'} rejected ({worst})"
        where = "".join(
            f" `{name}` does not fit the stream's SCHEMA." if breaks_schema else f" {self.where(name)}"
            for name, breaks_schema in islice(self._fields, SHOWN_FIELDS)
        )
        if not counts.accepted and self.max_percent < ALL:
            fault = f", so nothing of the stream was delivered.{where}"
        elif too_many(counts.records, counts.rejected, self.max_percent):
            fault = f", more than `max_rejected_percent` allows ({self.max_percent}).{where}"
        else:
            percent = counts.rejected * 100 / counts.records
            rate = f"{percent:.1f} %" if percent >= 0.1 else "under 0.1 %"  # noqa: PLR2004 -- what one decimal can show
            logger.warning("Stream '%s': %s (%s) %s.%s", self.stream, share, rate, were_rejected, where)
            return
        place = "" if self.dead_letters.lost else f" The rejected records are in {self.dead_letters.directory}."
        remedy = "Fix the mapping, or the records at their source."
        msg = f"Stream '{self.stream}': {share} {were_rejected}{fault}{place} {remedy}"
        raise RejectionsError(msg)

    def _error_at_first(self, error: RecordError) -> RejectionsError:
        self.dead_letters.flush()  # raises an error where a dead letter is lost
        text = (
            f"Stream '{self.stream}': a record was rejected ({error}), and `max_rejected_percent` is 0, so the run "
            f"stops. The record is in {self.dead_letters.directory}. Fix the record at its source, or raise "
            "`max_rejected_percent`."
        )
        if error.reason != "missing_key_property":
            return RejectionsError(text)
        from singer_sdk.exceptions import MissingKeyPropertiesError  # slow to import, and not needed to prepare

        class MissingKeyRejectionError(RejectionsError, MissingKeyPropertiesError):
            """Also singer-sdk's error for such a record."""

        return MissingKeyRejectionError(text)
