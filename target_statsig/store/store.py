"""The store as the rest of the target sees it: how a database is opened for one Statsig project and one run.

It has two connections: one for members, whose queries may take a minute, and one for everything that is answered at
once.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sqlite3
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from target_statsig.config.paths import make_private
from target_statsig.errors import FatalRunError, Heading, SegmentError, StoreError
from target_statsig.store.database import (
    DAMAGED,
    FILE_MODE,
    PATIENCE,
    Connection,
    StoreUrl,
    connect_postgres,
    insertion,
    sqlite_code,
    upsertion,
)
from target_statsig.store.deliveries import StoredLedger
from target_statsig.store.locks import Lock, StoredRequestLog, open_locks
from target_statsig.store.members import Audience, Members, Pending
from target_statsig.store.tables import Hold, HoldState, SegmentFacts, columns, create_tables

if TYPE_CHECKING:
    from pathlib import Path

    from target_statsig.clock import Clock
    from target_statsig.store.tables import PastRun


KEPT_RUNS = 100
"""Runs of a project that are remembered at most."""

KEPT_SECONDS = 90 * 86_400
"""Seconds for which a run is remembered at most."""


_CHECKED_BYTES = 64 * 1024 * 1024
"""Files up to this size are checked for damage when they are opened, in under half a second."""

_PRAGMAS = (
    # A killed process loses nothing. A power cut may lose the last transactions but does not damage the file.
    "synchronous = NORMAL",
    # Bytes of the write-ahead log after a burst.
    "journal_size_limit = 67108864",
    # Pages of 4 KB in that log before they are written to the file, while the writer waits. Rows deleted before that
    # are never written; SQLite's default of 1,000 fills up earlier.
    "wal_autocheckpoint = 8192",
    # KiB of the page cache, and the most that a sort holds in memory. More does not help: with four times as much,
    # comparing ten million unordered ids takes longer.
    "cache_size = -8192",
    "temp.cache_size = -8192",
    # Keep ten million staged ids on disk, whatever the default of this SQLite build.
    "temp_store = FILE",
    # Some builds overwrite deleted data, which temporary files do not need.
    "temp.secure_delete = OFF",
)

_PAUSE = 0.05
"""Seconds between two attempts to switch to the write-ahead log."""


def open_database(url: StoreUrl, clock: Clock) -> Connection:
    """Open a connection to a store's database; create it if necessary.

    Raises:
        StoreError: The database cannot be used, or has the schema of another version.
    """
    size = _own_file(url, url.path) if url.path else 0
    with contextlib.ExitStack() as opened:  # closed again if something fails
        connection = opened.enter_context(contextlib.closing(connect(url, clock)))
        if 0 < size <= _CHECKED_BYTES and connection.value("PRAGMA quick_check(1)") != "ok":
            raise url.error(DAMAGED)
        create_tables(connection)
        opened.pop_all()
    return connection


def connect(url: StoreUrl, clock: Clock) -> Connection:
    """Open another connection to a database that `open_database` has opened."""
    if url.path is None:
        return connect_postgres(url, PATIENCE)
    return Connection(url, functools.partial(_open_file, url.path, clock), sqlite3.Error)


def _own_file(url: StoreUrl, path: Path) -> int:
    """Create the file and its directory, for this user only, and return the file's size in bytes."""
    try:
        make_private(path.parent)
        # This does not open an existing file: closing it would drop the locks of this process's other connections.
        path.touch(FILE_MODE)
        if path.is_file():  # a directory or a device is not ours
            path.chmod(FILE_MODE)  # SQLite gives it to the -wal and -shm files, too
        return path.stat().st_size
    except OSError as error:
        raise url.explain(error) from None


def _open_file(path: Path, clock: Clock) -> sqlite3.Connection:
    driver = sqlite3.connect(path, timeout=PATIENCE, check_same_thread=False, isolation_level=None)
    deadline = clock.monotonic() + PATIENCE
    try:
        while True:
            try:
                driver.execute("PRAGMA journal_mode = WAL").fetchall()
                break
            except sqlite3.OperationalError as error:
                # SQLite refuses at once while another run switches to the write-ahead log, too.
                is_busy = sqlite_code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
                if not is_busy or clock.monotonic() >= deadline:
                    raise
            clock.sleep(_PAUSE)
        for pragma in _PRAGMAS:
            driver.execute(f"PRAGMA {pragma}").fetchall()
    except BaseException:
        driver.close()
        raise
    return driver


class Store:
    """An open store. Its methods take Statsig's ids of segments and the names of streams."""

    def __init__(self, url: str, *, clock: Clock, project: str, run_id: str) -> None:
        """Open the store, given its URL; create it where there is none. Rows of other projects stay out of sight.

        Raises:
            StoreError: The store cannot be opened.
        """
        self._url = StoreUrl.parse(url)
        self._clock = clock
        self._run_id = run_id
        self._ledgers: dict[str, StoredLedger] = {}
        self._identity = project
        with contextlib.ExitStack() as opened:  # closed again if something fails
            self._quick = opened.enter_context(contextlib.closing(open_database(self._url, clock)))
            self._project = self._number("project", identity=project)
            self._opened = opened.pop_all()
        self._segment = functools.cache(lambda name: self._number("segment", project=self._project, name=name))

    @functools.cached_property
    def _members(self) -> Connection:
        return self._opened.enter_context(contextlib.closing(connect(self._url, self._clock)))

    @functools.cached_property
    def _lock(self) -> functools.partial[Lock]:
        locks = self._opened.enter_context(contextlib.closing(open_locks(self._url, self._identity, PATIENCE)))
        return functools.partial(Lock, self._quick, locks, self._project, self._run_id, self._clock)

    def members(self, segment: str) -> Members:
        """Return what the store knows of a segment's members."""
        return Members(self._members, self._segment(segment))

    def audience(self, segment: str) -> Audience:
        """Return an empty audience of a segment, to be filled by this run."""
        return Audience(self._members, self._segment(segment))

    def pending(self, segment: str) -> Pending:
        """Return the changes of a segment that an earlier run left unsent."""
        return Pending(self._members, self._segment(segment))

    def facts(self, segment: str) -> SegmentFacts:
        """Return what is remembered of a segment."""
        query = f"SELECT {columns(SegmentFacts)} FROM target_statsig_segments WHERE segment = :segment"
        return SegmentFacts(*self._quick.run(query, segment=self._segment(segment))[0])

    def record_facts(self, segment: str, **facts: str | float | None) -> None:
        """Record some facts of a segment, by their names in `SegmentFacts`; the others stay as they are."""
        assignments = ", ".join(f"{column} = :{column}" for column in facts)
        statement = f"UPDATE target_statsig_segments SET {assignments} WHERE segment = :segment"
        self._quick.run(statement, segment=self._segment(segment), **facts)

    def segments_fed_by(self, stream: str) -> list[str]:
        """Return the ids of the segments that a stream fed before."""
        query = "SELECT name FROM target_statsig_segments WHERE project = :project AND fed_by = :stream"
        return sorted(name for (name,) in self._quick.run(query, project=self._project, stream=stream))

    def holds(self) -> dict[str, Hold]:
        """Return what the last run of each segment left undone, by the segment's id."""
        join = "target_statsig_segments JOIN target_statsig_holds USING (segment)"
        query = f"SELECT name, {columns(Hold)} FROM {join} WHERE project = :project ORDER BY name"
        rows = self._quick.run(query, project=self._project)
        return {name: Hold(stream, HoldState(state), *counts) for name, stream, state, *counts in rows}

    def record_hold(self, segment: str, hold: Hold | None) -> None:
        """Replace, for this run, what the last run of a segment left undone; None where that is nothing."""
        if hold is None:
            statement, values = "DELETE FROM target_statsig_holds WHERE segment = :segment", {}
        else:
            values = asdict(hold) | {"state": hold.state.value, "run_id": self._run_id}
            statement = upsertion("target_statsig_holds", ("segment",), tuple(values))
        self._quick.run(statement, segment=self._segment(segment), **values)

    def outdate_hold(self, segment: str) -> None:
        """Record that this run came after the last run of a segment, unless it is that run."""
        update = "UPDATE target_statsig_holds SET state = :state WHERE segment = :segment AND run_id <> :run_id"
        self._quick.run(update, state=HoldState.OUTDATED.value, segment=self._segment(segment), run_id=self._run_id)

    def ledger(self, stream: str, *, object_type: str = "event", keep_days: int = 0) -> StoredLedger:
        """Return the ledger of a stream's deliveries: one for a stream in a run, and for an object type.

        For `keep_days` days everything is remembered; 0: STATE decides.
        """
        name = f"{object_type} {stream}"
        return self._ledger(name, stream, lock=name, run_id=self._run_id, keep_days=keep_days)

    def ledgers_of_table(
        self, stream: str, *, object_type: str, keep_days: int, table: str, part: str | None
    ) -> tuple[StoredLedger, StoredLedger]:
        """Return the ledgers of the requests of prepared tables, and of the records of a stream.

        For the records all senders of a table are one run. The first ledger is the one to begin: it keeps other runs
        out of the stream; or, where `part` of a table is sent, those that send the same part. Records are remembered
        for `keep_days` days, whatever STATE says; 0: STATE decides.
        """
        name = f"{object_type} {stream}"
        lock = name if part is None else f"{name} {part}"
        requests = self._ledger(f"requests of {name}", stream, lock=lock, run_id=self._run_id, keep_days=0)
        return requests, self._ledger(name, stream, lock=name, run_id=f"table {table}", keep_days=keep_days)

    def _ledger(self, name: str, stream: str, *, lock: str, run_id: str, keep_days: int) -> StoredLedger:
        if name not in self._ledgers:
            number = self._number("stream", project=self._project, name=name)
            error = functools.partial(FatalRunError, heading=Heading.SHARED_STREAM)
            self._ledgers[name] = StoredLedger(
                self._quick,
                self._lock(lock, what=f"Stream '{stream}'", error=error),
                number,
                run_id=run_id,
                clock=self._clock,
                keep_days=keep_days,
            )
        return self._ledgers[name]

    def lock(self, segment: str) -> Lock:
        """Return the lock of a segment; it is not taken yet."""
        error = functools.partial(SegmentError, heading=Heading.SHARED_SEGMENT)
        return self._lock(f"segment {segment}", what=f"Segment '{segment}'", error=error)

    def record_run(self, run: PastRun) -> None:
        """Remember a run that ends, and forget those that are too many or too old."""
        values = {
            "project": self._project,
            "ended_at": run.ended_at,
            "command": run.command.value,
            # Escapes keep out what no column can hold: NUL, and halves of a character.
            "report": json.dumps(run.report),
            "sent": None if run.sent is None else json.dumps(asdict(run.sent)),
        }
        forget = functools.partial(self._quick.run, project=self._project)
        latest = f"SELECT run FROM target_statsig_runs WHERE project = :project ORDER BY run DESC LIMIT {KEPT_RUNS}"
        outdated = f"project = :project AND (ended_at < :oldest OR run NOT IN ({latest}))"
        with self._quick.writing():
            if run.sent is not None:
                forget("UPDATE target_statsig_runs SET sent = NULL WHERE project = :project")
            self._quick.run(insertion("target_statsig_runs", tuple(values)), **values)
            forget(f"DELETE FROM target_statsig_runs WHERE {outdated}", oldest=run.ended_at - KEPT_SECONDS)

    def request_log(self, *, keep: float) -> StoredRequestLog:
        """Return the times of list mutations, shared by all runs on this project, of the last `keep` seconds."""
        return StoredRequestLog(self._quick, self._project, keep)

    def close(self) -> None:
        """Close the store; nothing that came from it can be used afterwards."""
        # Where one fails the others would, each after a long wait; and nothing is lost.
        with contextlib.suppress(StoreError):
            for ledger in self._ledgers.values():
                ledger.settle()
        self._opened.close()

    def _number(self, kind: str, **names: Any) -> int:
        """Return the number of the project, segment or stream with these names; make its row where there is none."""
        condition = " AND ".join(f"{name} = :{name}" for name in names)
        query = f"SELECT {kind} FROM target_statsig_{kind}s WHERE {condition}"
        number: int | None = self._quick.value(query, **names)
        if number is None:
            values = names | ({"known": False} if kind == "segment" else {})
            self._quick.run(f"{insertion(f'target_statsig_{kind}s', tuple(values))} ON CONFLICT DO NOTHING", **values)
            number = int(self._quick.value(query, **names))
        return number
