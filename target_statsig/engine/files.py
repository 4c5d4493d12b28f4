"""A table of prepared requests in Parquet files: finding the files, checking that it is complete, reading its rows."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath
from xxhash import xxh3_128_digest

from target_statsig.config.paths import file_system_error
from target_statsig.engine.table import ROWS_AT_ONCE, SCHEMA, VERSION, to_rows
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

BUFFER_BYTES = 1 << 16
"""Bytes of a column to read at once. Otherwise whole row groups are read, which may have 128 MB."""

SHOWN = 10
"""Partitions that a message names at most."""

NOTHING_SENT = "Nothing was sent."

NO_ROWS = "The table is complete and has no rows, so there is nothing to send."

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
                    for batch in file.iter_batches(ROWS_AT_ONCE, columns=SCHEMA.names, use_threads=False):
                        yield [row for row in to_rows(batch) if (row.partition, row.attempt) in self.schemas]
            except (OSError, pa.ArrowException) as error:
                msg = (
                    f"The table at {self.url} cannot be read to its end: {type(error).__name__} in {path.name}. What "
                    "was sent is remembered. Send it again when its files can be read."
                )
                raise InputError(msg) from error


def refusal(url: str, fault: str, remedy: str) -> InputError:
    """Return the error of a table that is not sent at all."""
    return InputError(f"The table at {url} {fault}. {NOTHING_SENT} {remedy}".rstrip())


def open_table(url: str) -> PreparedTable | None:
    """Find a table, and check that it is complete; None if it is, and has no rows.

    Args:
        url: A directory of Parquet files, a glob that chooses some of them, or one file. A path, or a URL of fsspec.

    Raises:
        InputError: There is no table, it is not complete, or it has another version.
    """
    shown = _USER_INFO.sub("", url)
    if problem := file_system_error(url):
        raise refusal(shown, f"cannot be read: {problem.removesuffix('.')}", "")
    place = ""
    try:
        root, files, selected, part = _find_files(url)
        if not selected:
            raise refusal(shown, "has no Parquet files that this user can list", "Name the directory that was written.")
        is_marked = (root / MARKER).exists()
        if not is_marked and (root / UNFINISHED).exists():
            fault = "the job that writes it has not ended, or has failed, for there is a directory"
            raise refusal(shown, f"is not complete: {fault} `{UNFINISHED}`", "Wait, or run the job again.")
        survey = _Survey(shown, is_marked=is_marked)
        for number, path in enumerate(files):
            place = f" in {path.name}"
            survey.add(path, counts=number < len(selected))
        return survey.table(part, selected)
    except (OSError, pa.ArrowException) as error:
        fault = f"cannot be read: {type(error).__name__}{place}"
        remedy = "Let this user read all of its files, or prepare it again into an empty directory."
        raise refusal(shown, fault, remedy) from error


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
    """Return the Parquet files of a table."""
    # `rglob` passes over a directory that cannot be listed, and its rows would not be sent.
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


@contextmanager
def _opened(path: UPath) -> Iterator[pq.ParquetFile]:
    with path.open("rb") as source, pq.ParquetFile(source, buffer_size=BUFFER_BYTES, pre_buffer=False) as file:
        yield file


class _Survey:
    """The content of the small columns of a table's files; `is_marked` says whether its engine says it is complete."""

    def __init__(self, url: str, *, is_marked: bool) -> None:
        self._url = url
        self._is_marked = is_marked
        self._attempts: defaultdict[tuple[int, int], _Attempt] = defaultdict(_Attempt)
        self._prepared: set[tuple[str, str]] = set()
        self._identities: list[bytes] = []

    def add(self, path: UPath, *, counts: bool) -> None:
        """Read the small columns of a file; `counts` says whether it will be sent."""
        with _opened(path) as file:
            missing = [name for name in SURVEYED if name not in file.schema_arrow.names]
            if missing:
                fault = f"holds rows that were not prepared: {path.name} has no column '{missing[0]}'"
                raise refusal(self._url, fault, "Prepare the rows first, and give the table its own directory.")
            for batch in file.iter_batches(SURVEYED_AT_ONCE, columns=[*SURVEYED], use_threads=False):
                self._add(batch, counts=counts)
        self._identities.append(path.name.encode() + _footer(path))

    def _add(self, batch: pa.RecordBatch, *, counts: bool) -> None:
        others = {*batch.column("version").to_pylist()} - {VERSION}
        if others:
            fault = f"has version {min(others, key=str)}, but this target-statsig sends version {VERSION}"
            raise refusal(self._url, fault, "Prepare it with the target-statsig that sends it.")
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

    def table(self, part: str | None, files: Sequence[UPath]) -> PreparedTable | None:
        """Return the table, or None if it has no rows.

        Raises:
            InputError: It is not complete, or was prepared for several streams or with several configurations.
        """
        if self._is_marked and not self._prepared:
            return None
        complete = {key: attempt for key, attempt in self._attempts.items() if attempt.is_complete}
        self._check_partitions(complete)
        if len(self._prepared) > 1:
            streams = ", ".join(sorted({stream for stream, _ in self._prepared}))
            held = f"rows of {streams} under {counted(len(self._prepared), 'configuration')}"
            fault = f"was not prepared at one time: it holds {held}"
            raise refusal(self._url, fault, "Prepare each stream into its own empty directory.")
        ((stream, digest),) = self._prepared
        sent = complete.values()
        return PreparedTable(
            self._url,
            part,
            xxh3_128_digest(b"".join(sorted(self._identities))).hex(),
            stream,
            digest,
            sum(each.records for each in sent),
            sum(each.requests for each in sent),
            sum((each.rejections for each in sent), Counter[str]()),
            {key: attempt.schema for key, attempt in complete.items()},
            files,
        )

    def _check_partitions(self, complete: Mapping[tuple[int, int], _Attempt]) -> None:
        """Check that each partition has exactly one complete attempt, with each of its rows once."""
        times: Counter[int] = Counter()
        for (partition, _), attempt in complete.items():
            times[partition] += 1 + attempt.has_duplicates
        double = [partition for partition, count in times.items() if count > 1]
        if double:
            fault = (
                f"holds {_partitions(double)} more than once: two complete attempts, the same file twice, or "
                "partitions that were joined after `prepare`"
            )
            remedy = (
                "Prepare it again into an empty directory. Let the engine's own writer keep one attempt of each, and "
                "use `coalesce` only before `prepare`."
            )
            raise refusal(self._url, fault, remedy)
        begun = {partition for partition, _ in self._attempts}
        expected = begun if self._is_marked else range(max(begun, default=-1) + 1)
        missing = [*islice((number for number in expected if number not in times), SHOWN + 1)]
        if missing or not begun:
            fault = f"all or part of {_partitions(missing)} is missing" if missing else "it has no rows"
            remedy = "Wait until the job that writes it has ended, or run it again into an empty directory."
            raise refusal(self._url, f"is not complete: {fault}", remedy)


def _partitions(numbers: Iterable[int]) -> str:
    ordered = sorted(numbers)
    more = " and more" if len(ordered) > SHOWN else ""
    return f"partition{'s' if len(ordered) > 1 else ''} {', '.join(map(str, ordered[:SHOWN]))}{more}"


def _footer(path: UPath) -> bytes:
    """Return the digest of a file's footer, which describes the file's content."""
    with path.open("rb") as file:
        end = file.seek(-8, os.SEEK_END)  # then come the footer's length and the magic number
        length = int.from_bytes(file.read(4), "little")
        file.seek(end - length)
        content: Any = file.read(length)
        return xxh3_128_digest(content)
