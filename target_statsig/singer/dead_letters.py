"""Rejected records: counted against `max_rejected_percent`, and kept as dead letters: Singer files to pipe back in.

There is one such file per stream and run. It holds the tap's SCHEMA with a mark, and the RECORDs as the tap sent them,
with the reason and the run as additional members of the message.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec
from typing_extensions import override
from upath import UPath

from target_statsig.config.load import replay_command
from target_statsig.config.paths import dead_letter_name, make_private
from target_statsig.errors import FatalRunError, Heading, RejectionsError
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

_EXTRA = b',"reason":'
"""The beginning of the members that are added to a RECORD message."""

_EXTRA_MEMBERS = frozenset({"reason", "field", "statsig", "run"})

FEW = 10
"""Rejected records that are always tolerated, so that a small stream does not fail for one of them."""

ALL = 100
"""The value of `max_rejected_percent` that allows all records to be rejected."""

SHOWN_FIELDS = 3
"""The most fields whose sources the message names."""


@dataclass(slots=True)
class _OpenFile:
    name: str
    handle: IO[bytes] | None = None
    schema: Mapping[str, Any] | None = None
    parts: int = 0
    unflushed: int = 0
    pending: list[bytes] = field(default_factory=list)


def cause_of(error: Exception) -> str:
    """Return the cause of an error of a file system, which may have errors of its own; those may hold a key."""
    return error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__


def extended(line: bytes, members: Mapping[str, str]) -> bytes:
    """Return a line, which is a JSON object, with more members; they replace those that an earlier run added."""
    own = line.rstrip().removesuffix(b"}")
    added = own.rfind(_EXTRA)
    if added >= 0 and _are_extra(own[added + 1 :]):
        own = own[:added]
    return own + b"," + encode(members)[1:]


def _are_extra(members: bytes) -> bool:
    """Return whether a line's last members were added by an earlier run, and are not columns of its record."""
    try:
        decoded = msgspec.json.decode(b"{%b}" % members, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False  # the record's closing brace is among them, so `reason` is a column
    return "run" in decoded and decoded.keys() <= _EXTRA_MEMBERS


class DeadLetters:
    """Writes dead letters into a directory, which is created for the first one. Thread-safe.

    Attributes:
        directory: The directory, for messages.
        paths: The paths of the written files.
        count: The number of dead letters that are written for good.
        lost: Whether a dead letter could not be written.
    """

    def __init__(self, directory: str, run_id: str) -> None:
        """Take a path or a URL of `universal-pathlib`, and the id of the run, which is part of every file's name."""
        self.directory = UPath(directory)
        self.paths: list[str] = []
        self.count = 0
        self.lost = False
        self._run_id = run_id
        self._remote = self.directory.protocol not in LOCAL
        self._lock = threading.Lock()
        self._files: dict[str, _OpenFile] = {}

    def put(self, line: bytes, schema: Mapping[str, Any], error: RecordError, message: str = "") -> None:
        """Write a rejected record, at the latest when `flush` is called.

        Line and SCHEMA message are as the tap sent them. `message` is Statsig's, if Statsig refused the record.

        Raises:
            FatalRunError: It cannot be written.
        """
        try:
            with self._lock:
                file = self._file_of(schema["stream"])
                if schema != file.schema:
                    file.schema = schema
                    self._append(file, encode({**schema, MARK: True}))
                extra = {"reason": error.reason, "field": error.field, "statsig": message, "run": self._run_id}
                self._append(file, extended(line, {name: value for name, value in extra.items() if value}))
                file.unflushed += 1
        except OSError as failure:
            raise self._unwritable(failure) from failure

    def flush(self) -> None:
        """Write all dead letters for good, so that a STATE may follow.

        Raises:
            FatalRunError: They cannot be written.
        """
        try:
            with self._lock:
                for file in self._files.values():
                    self._flush_file(file)
                    self.count += file.unflushed
                    file.unflushed = 0
        except Exception as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Flush, and close the files.

        Raises:
            FatalRunError: Something cannot be written.
        """
        try:
            self.flush()
        finally:
            with self._lock:
                for file in self._files.values():
                    if file.handle is not None:
                        with contextlib.suppress(OSError):  # a failed flush may have left something to write
                            file.handle.close()
                        file.handle = None

    def _file_of(self, stream: str) -> _OpenFile:
        if stream not in self._files:
            file = self._files[stream] = _OpenFile(dead_letter_name(stream, self._run_id))
            if not self._remote:
                directory = Path(self.directory.path)
                make_private(directory)
                path = directory / f"{file.name}.singer"
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                file.handle = os.fdopen(descriptor, "ab")
                self.paths.append(str(path))
        return self._files[stream]

    @staticmethod
    def _append(file: _OpenFile, line: bytes) -> None:
        if file.handle is None:
            file.pending.append(line)
        else:
            file.handle.write(line + b"\n")

    def _flush_file(self, file: _OpenFile) -> None:
        if file.handle is not None:
            file.handle.flush()
        elif file.pending:
            part = self._next_part(file)
            with part.open("wb") as handle:
                handle.write(b"\n".join(file.pending) + b"\n")
            self.paths.append(str(part))
            file.pending.clear()
            file.schema = None

    def _next_part(self, file: _OpenFile) -> UPath:
        """Return the path of the next part, where no file exists yet.

        Object stores cannot append to a file. So each flush writes a part of its own, which begins with the SCHEMA.
        """
        file.parts += 1
        part = self.directory / f"{file.name}-{file.parts:06}.singer"
        return self._next_part(file) if part.exists() else part

    def _unwritable(self, error: Exception) -> FatalRunError:
        self.lost = True
        return FatalRunError(
            f"Dead letters cannot be written to {self.directory}: {cause_of(error)}. The run stops so that no record "
            "is lost; no STATE passed them. Free or repair the disk, or change `dead_letter_path`, and run again.",
            heading=Heading.DEAD_LETTERS,
        )


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
    return (
        f"{records} in {letters.directory}. After you fix the cause, send them again with the same configuration: "
        f"{replay_command(environ)}"
    )


class Rejections:
    """The rejected records of one stream."""

    def __init__(
        self,
        stream: str,
        max_percent: int,
        counts: ItemCounts | MemberCounts,
        report: RunReport,
        dead_letters: DeadLetters,
        where: Callable[[str], str],
    ) -> None:
        """Start with none. `where` returns a sentence that says where a field is read from."""
        self._stream = stream
        self._max_percent = max_percent
        self._counts = counts
        self._report = report
        self._dead_letters = dead_letters
        self._where = where
        self._fields: dict[str, None] = {}

    @property
    def allows_none(self) -> bool:
        """Whether the first rejected record ends the run."""
        return self._max_percent == 0

    def add(self, line: bytes, schema: Message, error: RecordError, *, message: str = "") -> None:
        """Count a rejected record and write it to the dead letters (`DeadLetters.put`).

        Raises:
            RejectionsError: No record of this stream may be rejected.
            FatalRunError: The dead letters cannot be written.
        """
        self._dead_letters.put(line, schema, error, message)
        with self._report.lock:
            self._counts.rejected += 1
            self._counts.reasons[error.reason] += 1
            if error.field is not None:
                self._fields[error.field] = None
        if self.allows_none:
            raise self._error_at_first(error)

    def check_reject_limit(self) -> None:
        """Log the number of rejected records at the end of the run, and compare it with the limit.

        Raises:
            RejectionsError: Too many records of the stream, or all of them, were rejected.
        """
        counts = self._counts
        if not counts.rejected or self.allows_none:
            return  # `add` has raised an error already
        worst = ", ".join(f"{reason} {count:,}" for reason, count in counts.reasons.most_common(3))
        share = f"{counts.rejected:,} of {counted(counts.records, 'record')}"
        were_rejected = f"{'was' if counts.records == 1 else 'were'} rejected ({worst})"
        where = "".join(f" {self._where(name)}" for name in islice(self._fields, SHOWN_FIELDS))
        if not counts.accepted and self._max_percent < ALL:
            msg = (
                f"Stream '{self._stream}': {share} {were_rejected}, so nothing of the stream was delivered.{where} "
                f"{self._aftermath}"
            )
            raise RejectionsError(msg)
        if too_many(counts.records, counts.rejected, self._max_percent):
            msg = (
                f"Stream '{self._stream}': {share} {were_rejected}, more than `max_rejected_percent` allows "
                f"({self._max_percent}).{where} The other records were sent. {self._aftermath}"
            )
            raise RejectionsError(msg)
        percent = counts.rejected * 100 / counts.records
        rate = f"{percent:.1f} %" if percent >= 0.1 else "under 0.1 %"  # noqa: PLR2004 -- what one decimal can show
        logger.warning("Stream '%s': %s (%s) %s.%s", self._stream, share, rate, were_rejected, where)

    @property
    def _aftermath(self) -> str:
        if self._dead_letters.lost:
            return "Fix the mapping or the tap."
        return (
            f"The rejected records are in {self._dead_letters.directory}. Fix the mapping or the tap, then send them "
            "again from there."
        )

    def _error_at_first(self, error: RecordError) -> RejectionsError:
        self._dead_letters.flush()
        where = f" The record is in {self._dead_letters.directory}." if not self._dead_letters.lost else ""
        kind = _missing_key_rejection if error.reason == "missing_key_property" else RejectionsError
        return kind(
            f"Stream '{self._stream}': a record was rejected ({error}), and `max_rejected_percent` is 0, so the run "
            f"stops.{where} Fix the record at its source, or raise `max_rejected_percent`."
        )


def _missing_key_rejection(text: str) -> RejectionsError:
    """Return the error for a record without a key property, which is also singer-sdk's `MissingKeyPropertiesError`."""
    from singer_sdk.exceptions import MissingKeyPropertiesError  # slow to import, and not needed to prepare

    class MissingKeyRejectionError(RejectionsError, MissingKeyPropertiesError):
        pass

    return MissingKeyRejectionError(text)
