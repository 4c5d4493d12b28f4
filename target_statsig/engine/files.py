"""A table of prepared requests in Parquet files: finding the files, checking that it is complete, reading its rows."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath
from xxhash import xxh3_128_digest

from target_statsig.config.paths import file_system_error
from target_statsig.engine.table import SCHEMA, VERSION, to_rows
from target_statsig.errors import InputError
from target_statsig.reports.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from target_statsig.engine.table import Row

UNFINISHED = "_temporary"
"""The directory within a table's that is there while an engine writes the table, and stays if that fails."""

MARKER = "_SUCCESS"
"""The file that an engine writes when a table is complete."""

HIDDEN = (".", "_")
"""How the names of files and directories begin that engines keep beside those of a table."""

SURVEYED = (
    *("version", "config_digest", "stream", "partition", "attempt", "sequence", "is_last"),
    *("count", "rejections", "deleted", "schema"),
)
"""The columns that are read before anything is sent. They are small."""

SURVEYED_AT_ONCE = 8_192
"""Rows to survey at once."""

READ_BYTES = 1 << 19
"""Bytes of rows to read at once while sending, estimated from the average row of a file."""

BUFFER_BYTES = 1 << 16
"""Bytes of a column to read at once. Otherwise whole row groups are read, which may have 128 MB."""

MOST_PARTITIONS = 1 << 24
"""Engines number partitions from 0 without a gap. Numbers from this one on are random, because the engine gave none."""

SHOWN = 10
"""Partitions that a message names at most."""

NOTHING_SENT = "Nothing was sent."

NO_ROWS = "The table is complete and has no rows, so there is nothing to send."

_FOOTER_END = 8
"""Bytes at the end of a Parquet file: the length of the footer, and the magic number."""

_USER_INFO = re.compile(r"(?<=://)[^/@]*@")
_WILDCARD = re.compile(r"[*?[]")


@dataclass(slots=True)
class _Attempt:
    """The rows of one attempt at a partition, as surveyed. The counts are those of the files to send.

    Attributes:
        seen: 1 for each row that is there, by its number.
        has_duplicates: Whether a row is there more than once.
        last: The number of its last row; None if that row is missing.
        schema: The SCHEMA message of its records; empty if it has none.
    """

    seen: bytearray = field(default_factory=bytearray)
    has_duplicates: bool = False
    last: int | None = None
    schema: str = ""
    records: int = 0
    requests: int = 0
    rejections: Counter[str] = field(default_factory=Counter)

    @property
    def is_complete(self) -> bool:
        return self.last is not None and self.seen.find(0, 0, self.last + 1) < 0

    def add(self, sequence: int, *, is_last: bool) -> None:
        self.seen.extend(bytes(max(sequence + 1 - len(self.seen), 0)))
        self.has_duplicates = self.has_duplicates or self.seen[sequence] > 0
        self.seen[sequence] = 1
        if is_last:
            self.last = sequence


@dataclass(frozen=True, slots=True)
class PreparedTable:
    """A complete table, and which of its files to send. The counts are those of the files to send.

    Attributes:
        url: Its address, for messages.
        part: The glob that chooses the files to send; None for all files.
        identity: A digest that no other table has.
        records: The number of records, with those rejected or left out during preparation.
        rejections: The number of records rejected during preparation, by reason.
        schemas: The partition and the number of each complete attempt, with the SCHEMA message of its records.
        files: The files to send.
    """

    url: str
    part: str | None
    identity: str
    stream: str
    config_digest: str
    records: int
    requests: int
    rejections: Counter[str]
    schemas: Mapping[tuple[int, int], str]
    files: Sequence[UPath]

    def rows(self, before_waiting: Callable[[], None]) -> Iterator[Row]:
        """Yield the rows to send, file by file. A thread reads the next few ahead, so that memory is bounded.

        Before each wait for that thread, `before_waiting` is called.

        Raises:
            InputError: A file can no longer be read.
        """
        batches: Iterator[list[Row] | None] = self._batches()
        # Its thread ends by itself, and is not waited for: where a run stops before the last row, the garbage collector
        # closes this generator, perhaps in a thread that holds what the other needs to end.
        reader = ThreadPoolExecutor(1, "reader")
        ahead = reader.submit(next, batches, None)
        while True:
            if not ahead.done():
                before_waiting()
            rows = ahead.result()
            if rows is None:
                return
            ahead = reader.submit(next, batches, None)
            yield from rows

    def _batches(self) -> Iterator[list[Row]]:
        for path in self.files:
            try:
                with _opened(path) as file:
                    for batch in file.iter_batches(_rows_at_once(file), columns=SCHEMA.names, use_threads=False):
                        yield [row for row in to_rows(batch) if (row.partition, row.attempt) in self.schemas]
            except (OSError, pa.ArrowException) as error:
                msg = (
                    f"The table at {self.url} cannot be read to its end: {type(error).__name__} in {path.name}. What "
                    "was sent is remembered. Send it again when its files can be read."
                )
                raise InputError(msg) from error


def open_table(url: str) -> PreparedTable | None:
    """Find a table, and check that it is complete; None if it is, and has no rows.

    Args:
        url: A directory of Parquet files, a glob that chooses some of them, or one file. A path, or a URL of fsspec.

    Raises:
        InputError: There is no table, it is not complete, or it has another version.
    """
    shown = _USER_INFO.sub("", url)
    if problem := file_system_error(url):
        msg = f"The table at {shown} cannot be read: {problem} {NOTHING_SENT}"
        raise InputError(msg)
    place = ""
    try:
        root, files, selected, part = _find_files(url)
        if not selected:
            msg = (
                f"There are no Parquet files at {shown} that this user can list. {NOTHING_SENT} Name the directory "
                "that was written."
            )
            raise InputError(msg)
        is_marked = (root / MARKER).exists()
        if not is_marked and (root / UNFINISHED).exists():
            msg = (
                f"The table at {shown} is not complete: the job that writes it has not ended, or has failed, for there "
                f"is a directory `{UNFINISHED}`. {NOTHING_SENT} Wait, or run the job again."
            )
            raise InputError(msg)
        survey = _Survey(shown)
        for path in files:
            place = f" in {path.name}"
            survey.add(path, counts=path in selected)
        return survey.table(part, selected, is_marked=is_marked)
    except (OSError, pa.ArrowException) as error:
        msg = (
            f"The table at {shown} cannot be read: {type(error).__name__}{place}. {NOTHING_SENT} Let this user read "
            "all of its files, or prepare it again into an empty directory."
        )
        raise InputError(msg) from error


def _find_files(url: str) -> tuple[UPath, Sequence[UPath], Sequence[UPath], str | None]:
    """Return a table's directory, all its files, the files to send, and the glob that chose them, if any.

    The files to send come first, so that a fault of theirs is found first.
    """
    root = UPath(url)
    if _WILDCARD.search(url):
        directory = url[: _WILDCARD.split(url)[0].rfind("/") + 1]
        root = UPath(directory or ".")
        selected = sorted(_visible(root, root.glob(url[len(directory) :])), key=str)
    elif root.is_dir():
        files = sorted(_files_below(root), key=str)
        return root, files, files, None
    else:
        selected, root = [root] if root.exists() else [], root.parent
    return root, [*dict.fromkeys([*selected, *sorted(_files_below(root), key=str)])], selected, url


def _files_below(root: UPath) -> Iterator[UPath]:
    """Return the Parquet files of a table.

    Raises:
        OSError: A directory on this machine cannot be listed. `rglob` passes it over, and its rows would not be sent.
    """
    if root.protocol in {"", "file"} and root.exists():
        for _, directories, _ in os.walk(root.path, onerror=_raise):
            directories[:] = [name for name in directories if not name.startswith(HIDDEN)]
    return _visible(root, root.rglob("*.parquet"))


def _raise(error: OSError) -> None:
    raise error


def _visible(root: UPath, paths: Iterable[UPath]) -> Iterator[UPath]:
    """Yield the files that belong to the table, which are not hidden."""
    depth = len(root.parts)
    return (path for path in paths if not any(name.startswith(HIDDEN) for name in path.parts[depth:]))


def _rows_at_once(file: pq.ParquetFile) -> int:
    metadata = file.metadata
    size = sum(metadata.row_group(each).total_byte_size for each in range(metadata.num_row_groups))
    return max(int(metadata.num_rows * READ_BYTES / max(size, 1)), 1)


@contextmanager
def _opened(path: UPath) -> Iterator[pq.ParquetFile]:
    with path.open("rb") as source, pq.ParquetFile(source, buffer_size=BUFFER_BYTES, pre_buffer=False) as file:
        yield file


class _Survey:
    """The content of the small columns of a table's files."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._attempts: defaultdict[tuple[int, int], _Attempt] = defaultdict(_Attempt)
        self._prepared: set[tuple[str, str]] = set()
        self._identities: list[bytes] = []

    def add(self, path: UPath, *, counts: bool) -> None:
        """Read the small columns of a file; `counts` says whether it will be sent."""
        self._identities.append(path.name.encode() + _footer(path))
        with _opened(path) as file:
            missing = [name for name in SURVEYED if name not in file.schema_arrow.names]
            if missing:
                msg = (
                    f"{path.name} at {self._url} holds no prepared requests: it has no column '{missing[0]}'. "
                    f"{NOTHING_SENT} Prepare the rows first, and give the table its own directory."
                )
                raise InputError(msg)
            for batch in file.iter_batches(SURVEYED_AT_ONCE, columns=[*SURVEYED], use_threads=False):
                self._add(batch, counts=counts)

    def _add(self, batch: pa.RecordBatch, *, counts: bool) -> None:
        others = {*batch.column("version").to_pylist()} - {VERSION}
        if others:
            msg = (
                f"The table at {self._url} has version {', '.join(sorted(map(str, others)))}, but this target-statsig "
                f"sends version {VERSION}. {NOTHING_SENT} Prepare it with the target-statsig that sends it."
            )
            raise InputError(msg)
        columns = [batch.column(name).to_pylist() for name in SURVEYED]
        for row in zip(*columns, strict=True):
            _, digest, stream, partition, number, sequence, is_last, count, rejections, deleted, schema = row
            self._prepared.add((stream, digest))
            attempt = self._attempts[partition, number]
            attempt.add(sequence, is_last=is_last)
            if schema is not None:
                attempt.schema = sys.intern(schema)
            if counts:
                attempt.records += count + deleted + len(rejections)
                attempt.requests += count > 0
                attempt.rejections.update(rejection["reason"] for rejection in rejections)

    def table(self, part: str | None, files: Sequence[UPath], *, is_marked: bool) -> PreparedTable | None:
        """Return the table, or None if it has no rows; `is_marked` says whether the engine has marked it as complete.

        Raises:
            InputError: It is not complete, or was prepared for several streams or with several configurations.
        """
        if is_marked and not self._prepared:
            return None
        complete = self._complete(is_marked=is_marked)
        if len(self._prepared) > 1:
            streams = ", ".join(sorted({stream for stream, _ in self._prepared}))
            msg = (
                f"The table at {self._url} was not prepared at one time: it holds rows of {streams} under "
                f"{counted(len(self._prepared), 'configuration')}. {NOTHING_SENT} Prepare each stream into its own "
                "empty directory."
            )
            raise InputError(msg)
        ((stream, digest),) = self._prepared
        sent = [self._attempts[each] for each in complete]
        return PreparedTable(
            self._url,
            part,
            xxh3_128_digest(b"".join(sorted(self._identities))).hex(),
            stream,
            digest,
            sum(each.records for each in sent),
            sum(each.requests for each in sent),
            sum((each.rejections for each in sent), Counter[str]()),
            {key: self._attempts[key].schema for key in complete},
            files,
        )

    def _complete(self, *, is_marked: bool) -> list[tuple[int, int]]:
        """Return the partition and the number of each complete attempt.

        Raises:
            InputError: A partition has no complete attempt, or more than one.
        """
        complete = [key for key, attempt in self._attempts.items() if attempt.is_complete]
        attempts = Counter(partition for partition, _ in complete)
        double = {partition for partition, count in attempts.items() if count > 1}
        double |= {key[0] for key in complete if self._attempts[key].has_duplicates}
        if double:
            msg = (
                f"The table at {self._url} holds {_partitions(double)} more than once: two complete attempts, the same "
                f"file twice, or partitions that were joined after `prepare`. {NOTHING_SENT} Prepare it again into an "
                "empty directory. Let the engine's own writer keep one attempt of each, and use `coalesce` only before "
                "`prepare`."
            )
            raise InputError(msg)
        expected = {partition for partition, _ in self._attempts}
        if not is_marked and max(expected, default=0) < MOST_PARTITIONS:
            expected |= {*range(max(expected, default=-1) + 1)}
        missing = expected - attempts.keys()
        if missing or not expected:
            fault = f"all or part of {_partitions(missing)} is missing" if missing else "it has no rows"
            msg = (
                f"The table at {self._url} is not complete: {fault}. {NOTHING_SENT} Wait until the job that writes it "
                "has ended, or run it again into an empty directory."
            )
            raise InputError(msg)
        return complete


def _partitions(numbers: Iterable[int]) -> str:
    ordered = sorted(numbers)
    shown = ", ".join(map(str, ordered[:SHOWN]))
    more = f" and {len(ordered) - SHOWN:,} more" if len(ordered) > SHOWN else ""
    return f"partition{'s' if len(ordered) > 1 else ''} {shown}{more}"


def _footer(path: UPath) -> bytes:
    """Return the digest of a file's footer, which describes the file's content."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - _FOOTER_END, 0))
        length = int.from_bytes(file.read(4), "little")
        file.seek(max(size - _FOOTER_END - length, 0))
        content: Any = file.read(length)
        return xxh3_128_digest(content)
