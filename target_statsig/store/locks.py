"""Who is at work on a segment: one run at a time, and none for ever.

Owns the lock's row, and whether its holder still lives. Refuses to know what is done under a lock.
"""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from target_statsig.exceptions import SegmentError
from target_statsig.headings import Heading
from target_statsig.store.dialects import insert_into
from target_statsig.store.tables import LOCKS

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from target_statsig.clock import Clock
    from target_statsig.store.engine import Lane

PATIENCE = 10.0
"""Seconds to wait for another run that holds the lock: as long as its last requests may take."""

POLL = 1.0
"""Seconds between two looks."""

SILENCE = 30 * 60.0
"""Seconds without a sign of life after which a holder on another machine counts as dead: the longest wait for a quota
(15 minutes) and a request's longest time out, twice."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that may hold a lock.

    Attributes:
        host: Its machine's name.
        place: What tells one boot of a machine, or one container, from another.
        pid: Its number there.
        process_started: When it began, in the machine's own ticks: numbers are used again.
    """

    host: str
    place: str
    pid: int
    process_started: str

    def is_dead(self, here: Holder) -> bool:
        """Return whether this process is known to live no more.

        Args:
            here: The process that asks; of another machine's processes it can tell nothing.
        """
        if (self.host, self.place) != (here.host, here.place):
            return False
        return _started(self.pid) != self.process_started


def this_process() -> Holder:
    """Return this process as the holder of a lock."""
    pid = os.getpid()
    return Holder(socket.gethostname(), _place(), pid, _started(pid))


def _place() -> str:
    """Return the machine's boot and the process's PID namespace: both number processes anew."""
    place = ""
    with suppress(OSError):
        place = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    with suppress(OSError):
        place += f" {Path('/proc/self/ns/pid').readlink()}"
    return place


def _started(pid: int) -> str:
    """Return when a process began; empty where there is none, or where the machine does not tell and none answers."""
    with suppress(OSError, IndexError):
        # The name in the second field may hold blanks and brackets; field 22 counts from behind the last of them.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    with suppress(OSError):
        os.kill(pid, 0)
        return "alive"
    return ""


class SegmentLock:
    """The lock of one segment, held by this run until it is released or the store is closed."""

    def __init__(self, lane: Lane, segment: int, name: str, *, run_id: str, clock: Clock) -> None:
        """Take what to lock; `acquire` does it.

        Args:
            lane: The connection to use.
            segment: The segment's number in the store.
            name: The segment's id, for messages.
            run_id: This run.
            clock: The run's clock.
        """
        self._lane = lane
        self._segment = segment
        self._name = name
        self._run_id = run_id
        self._clock = clock
        self._token = secrets.token_hex(8)
        self._mine = (LOCKS.c.segment == segment) & (LOCKS.c.token == self._token)

    def acquire(self) -> None:
        """Lock the segment; wait a little for a run that holds it, and take over from one that died.

        Raises:
            SegmentError: Another run holds it.
            InterruptedRunError: The run was asked to stop while it waited.
        """
        deadline = self._clock.monotonic() + PATIENCE
        while (other := self._try()) is not None:
            if self._clock.monotonic() >= deadline:
                raise SegmentError(self._held_by(other), heading=Heading.SHARED_SEGMENT)
            self._clock.sleep(POLL)

    def beat(self) -> None:
        """Give a sign of life.

        Raises:
            SegmentError: The lock was lost to a run that took this one for dead.
        """
        with self._lane.writing() as connection:
            kept = connection.execute(update(LOCKS).where(self._mine).values(heartbeat=self._clock.time()))
        if kept.rowcount == 0:
            msg = (
                f"Segment '{self._name}' was taken over by another run, since this one gave no sign of life for "
                f"{SILENCE / 60:.0f} minutes. It is left as it is; the next run goes on from there."
            )
            raise SegmentError(msg, heading=Heading.SHARED_SEGMENT)

    def is_held(self, connection: Connection) -> bool:
        """Return whether this run still holds the lock, within a transaction."""
        return connection.execute(select(LOCKS.c.token).where(self._mine)).first() is not None

    def release(self) -> None:
        """Unlock the segment; nothing happens where it is not held."""
        with self._lane.writing() as connection:
            connection.execute(delete(LOCKS).where(self._mine))

    def _try(self) -> _Row | None:
        """Take the lock if it is free or its holder is dead; else return who holds it."""
        now = self._clock.time()
        here = this_process()
        values = {
            "token": self._token,
            "run_id": self._run_id,
            "host": here.host,
            "place": here.place,
            "pid": here.pid,
            "process_started": here.process_started,
            "since": now,
            "heartbeat": now,
        }
        with self._lane.writing() as connection:
            free = insert_into(connection, LOCKS).values(segment=self._segment, **values).on_conflict_do_nothing()
            if connection.execute(free.returning(LOCKS.c.token)).first() is not None:
                return None
            other = self._row(connection)
            if not other.holder.is_dead(here) and now - other.heartbeat <= SILENCE:
                return other
            connection.execute(update(LOCKS).where(LOCKS.c.segment == self._segment).values(values))
            return None

    def _row(self, connection: Connection) -> _Row:
        holder = (LOCKS.c.host, LOCKS.c.place, LOCKS.c.pid, LOCKS.c.process_started)
        query = select(*holder, LOCKS.c.run_id, LOCKS.c.since, LOCKS.c.heartbeat)
        found = connection.execute(query.where(LOCKS.c.segment == self._segment).with_for_update()).one()
        return _Row(Holder(*found[:4]), *found[4:])

    def _held_by(self, other: _Row) -> str:
        since = datetime.fromtimestamp(other.since, tz=timezone.utc).isoformat(timespec="seconds")
        return (
            f"Segment '{self._name}' is being synced by another run ({other.run_id}, process {other.holder.pid} on "
            f"{other.holder.host}, since {since}). Nothing of it was touched. Run this again when that one has ended; "
            f"if it hangs, end it: its lock is then taken over."
        )


@dataclass(frozen=True, slots=True)
class _Row:
    holder: Holder
    run_id: str
    since: float
    heartbeat: float
