"""Writes of several threads in one transaction: to commit ten of them takes as long as to commit one.

Owns who writes for whom. Refuses to know what is written.

A thread that finds nobody writing writes at once. Those that come meanwhile queue up, and when that transaction has
ended, the first of them writes for all of them. So every thread still waits for its own write, and for no other.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from target_statsig.store.engine import Lane

T = TypeVar("T")


class Journal:
    """Gathers the writes that come while another is under way; any thread may write."""

    def __init__(self, lane: Lane) -> None:
        """Take the connection to use."""
        self._lane = lane
        self._door = threading.Lock()
        self._queue: list[_Entry[Any]] = []
        self._is_busy = False

    def write(self, write: Callable[[Connection], T], *, is_one_statement: bool = False) -> T:
        """Write, alone or with others, and return when it is committed.

        Args:
            write: Does it, in this thread or in another; others' writes may come before and behind it in the same
                transaction, in the order in which they were asked for. It does nothing but that.
            is_one_statement: Whether it runs a single statement.

        Returns:
            What `write` returned.

        Raises:
            StoreError: The database failed: nothing of the transaction is kept, and each of its writes raises this.
        """
        entry = _Entry(write, is_one_statement=is_one_statement)
        with self._door:
            self._queue.append(entry)
            leads = not self._is_busy
            self._is_busy = True
        if leads or entry.wait():
            self._write_all()
        return entry.result()

    def _write_all(self) -> None:
        """Write what has queued up, and hand over to the first of those that came meanwhile."""
        with self._door:
            group, self._queue = self._queue, []
        try:
            alone = len(group) == 1 and group[0].is_one_statement
            with self._lane.writing(is_one_statement=alone) as connection:
                for entry in group:
                    entry.write(connection)
        except BaseException as error:  # noqa: BLE001 -- every thread that wrote raises it
            for entry in group:
                entry.error = error
        with self._door:
            self._is_busy = bool(self._queue)
            heir = self._queue[0] if self._queue else None
        if heir is not None:
            heir.wake(leads=True)
        for entry in group:
            entry.wake()


class _Entry(Generic[T]):
    """One thread's write, and how that thread learns what became of it."""

    __slots__ = ("_leads", "_turn", "_value", "_write", "error", "is_one_statement")

    def __init__(self, write: Callable[[Connection], T], *, is_one_statement: bool) -> None:
        self._write = write
        self.is_one_statement = is_one_statement
        self._leads = False
        # Not an Event, which takes ten times as long to make and to wait for.
        self._turn = threading.Lock()
        self._turn.acquire()
        self.error: BaseException | None = None

    def write(self, connection: Connection) -> None:
        self._value = self._write(connection)

    def wait(self) -> bool:
        """Wait until this is written; return True where this thread has to do it."""
        self._turn.acquire()
        return self._leads

    def wake(self, *, leads: bool = False) -> None:
        self._leads = leads
        self._turn.release()

    def result(self) -> T:
        if self.error is not None:
            raise self.error
        return self._value
