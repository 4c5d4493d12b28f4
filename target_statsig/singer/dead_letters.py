"""Dead letters: rejected records, kept as Singer files that can be piped back in.

There is one file per stream and run. It holds the tap's SCHEMA with a mark, and the RECORDs as the tap sent them, with
the reason and the run as additional members of the message.
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec
from upath import UPath

from target_statsig._compat import override
from target_statsig.config.paths import dead_letter_name, make_private
from target_statsig.errors import FatalRunError, Heading
from target_statsig.singer.message import ENCODER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_statsig.errors import RecordError

LOCAL = frozenset({"", "file", "local"})
"""The protocols of paths on this machine."""

MARK = "target_statsig_dead_letter"
"""The member of a SCHEMA message that marks a dead-letter file."""

_EXTRA = b',"reason":'
"""The beginning of the members that are added to a RECORD message."""

_EXTRA_MEMBERS = frozenset({"reason", "field", "statsig", "run"})


@dataclass(slots=True)
class _OpenFile:
    name: str
    handle: IO[bytes] | None = None
    schema: Mapping[str, Any] | None = None
    parts: int = 0
    unflushed: int = 0
    pending: list[bytes] = field(default_factory=list)


def extended(line: bytes, members: Mapping[str, str]) -> bytes:
    """Return a line, which is a JSON object, with more members; they replace those that an earlier run added."""
    own = line.rstrip().removesuffix(b"}")
    added = own.rfind(_EXTRA)
    if added >= 0 and _are_extra(own[added + 1 :]):
        own = own[:added]
    return own + b"," + ENCODER.encode(members)[1:]


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
        """Start without files.

        Args:
            directory: A path, or a URL of `universal-pathlib`.
            run_id: The name of the run, which is part of every file's name.
        """
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

        Args:
            line: The RECORD message, as the tap sent it.
            schema: The SCHEMA message of its stream, as the tap sent it.
            error: Why it was rejected.
            message: Statsig's message, if Statsig refused it.

        Raises:
            FatalRunError: It cannot be written.
        """
        try:
            with self._lock:
                file = self._file_of(schema["stream"])
                if schema != file.schema:
                    file.schema = schema
                    self._append(file, ENCODER.encode({**schema, MARK: True}))
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
        except OSError as error:
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

    def _unwritable(self, error: OSError) -> FatalRunError:
        self.lost = True
        return FatalRunError(
            f"Dead letters cannot be written to {self.directory}: {error.strerror or type(error).__name__}. The run "
            "stops so that no record is lost; no STATE passed them. Free or repair the disk, or change "
            "`dead_letter_path`, and run again.",
            heading=Heading.DEAD_LETTERS,
        )


class NoDeadLetters(DeadLetters):
    """The dead letters of a dry run, which writes none."""

    @override
    def put(self, line: bytes, schema: Mapping[str, Any], error: RecordError, message: str = "") -> None:
        pass
