"""One stream's delivery ledger in the store: what it records, and what it forgets after a STATE.

A batch is one row: its concatenated digests, the highest replication-key value of its records, and its epoch. The epoch
is the number of STATE messages before its last record, counted over all runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, compress
from operator import not_
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from target_statsig.store.database import as_list
from target_statsig.store.ledger import DIGEST_BYTES, UNORDERED, Bookmark, DigestBag, StreamLedger, each

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from target_statsig.clock import Clock
    from target_statsig.store.database import Connection
    from target_statsig.store.locks import Lock

_SKIPPED_BYTES = 10_000 * DIGEST_BYTES
"""Bytes of digests of known records to record together, if no batch is sent in between."""

_FORGET_EVERY = 100
"""Batches between deletions after a STATE: deleting one takes as long as deleting all."""

_KEPT = 3
"""STATEs to keep: the two from which a run may start, and the one before them, after which their rows came."""

_BATCHES_AT_A_TIME = 100
"""Batches to read at a time, about a megabyte."""


@dataclass(frozen=True, slots=True)
class _State:
    """A written STATE: its number over all runs, and its bookmark if that can be read."""

    epoch: int
    bookmark: Bookmark | None


class StoredLedger(StreamLedger):
    """The deliveries of one stream in the store, and the last three STATEs that were written of it, over all runs."""

    def __init__(
        self, connection: Connection, lock: Lock, stream: int, *, run_id: str, clock: Clock, keep_days: int
    ) -> None:
        """Read the last STATEs. For `keep_days` days everything is kept, whatever STATE says."""
        self._connection = connection
        self._lock = lock
        self._stream = stream
        self._run_id = run_id
        self._clock = clock
        # The connection's lock, so that two ledgers in one transaction never wait for each other.
        self._turn = connection.turn
        self._recollection: Recollection | None = None
        self._skipped: dict[str | None, dict[str, Any]] = {}
        """The rows of skipped records that are not recorded yet, by the kind of their highest bookmark."""
        self._unsettled = 0
        self._forgets = not keep_days
        if keep_days:
            delete = "DELETE FROM target_statsig_batches WHERE stream = :stream AND at < :oldest"
            connection.run(delete, stream=stream, oldest=clock.time() - keep_days * 86_400.0)
        self._read_states()

    def _read_states(self) -> None:
        query = "SELECT before_epoch, state_epoch, state_kind, state_bookmark FROM target_statsig_streams"
        ((before, epoch, kind, text),) = self._connection.run(f"{query} WHERE stream = :stream", stream=self._stream)
        self._states = [] if before is None else [_State(before, None)]
        if epoch is not None:
            self._states.append(_State(epoch, None if kind is None else Bookmark(kind, text)))
        self._stored = self._states[-1] if self._states else None
        self._has_own_state = False
        newest = "SELECT max(epoch) FROM target_statsig_batches WHERE stream = :stream"
        # STATEs that earlier runs have read, as far as the store shows.
        self._epochs_before = max(epoch or 0, self._connection.value(newest, stream=self._stream) or 0)
        is_ordered = self._forgets and kind not in {None, UNORDERED}
        self._passed = Bookmark(kind, text) if is_ordered else None

    def begin(self) -> None:
        """Keep other runs out of the stream until the store is closed; wait a little for a running one.

        Raises:
            FatalRunError: Another run is sending the stream.
            InterruptedRunError: The run was asked to stop while it waited.
        """
        self._lock.acquire()
        self._read_states()  # another run may have ended since

    @override
    def check(self) -> None:
        self._lock.check()

    @property
    @override
    def is_blank(self) -> bool:
        return self._recollect().is_empty

    @property
    @override
    def passed(self) -> Bookmark | None:
        return self._passed

    @override
    def known(self, digests: Sequence[bytes], *, highest: Bookmark | None, epoch: int) -> list[bool]:
        with self._turn:
            answers = self._recollect().known.take_each(digests)
            known = list(compress(digests, answers))
            if known:
                new = self._row(bytearray(), highest, epoch, acknowledged=True)
                row = self._skipped.setdefault(new["kind"], new)
                row["digests"] += b"".join(known)
                row["epoch"] = max(row["epoch"], new["epoch"])
                row["highest"] = None if highest is None else max(row["highest"], highest.text)
                if sum(len(row["digests"]) for row in self._skipped.values()) >= _SKIPPED_BYTES:
                    self._write()
            return answers

    @override
    def in_doubt(self, digests: bytes) -> int:
        doubtful = self._recollect().doubtful
        if not doubtful:  # as nearly always, and then nobody needs to wait
            return 0
        with self._turn:
            return sum(doubtful.take_each(each(digests)))

    @override
    def intend(self, digests: bytes, *, highest: Bookmark | None, epoch: int) -> int:
        return self._write(self._row(digests, highest, epoch, acknowledged=False))[-1]

    def intend_for(
        self, request: StoredLedger, ids: bytes, digests: bytes, *, highest: Bookmark | None, epoch: int
    ) -> tuple[int, int]:
        """Record a batch in another ledger, and in this one, as `intend` would; return the numbers of both."""
        asked = request._row(ids, None, epoch, acknowledged=False)
        *_, number, own = self._write(asked, self._row(digests, highest, epoch, acknowledged=False))
        return number, own

    @override
    def acknowledge(self, batch: int, *, also: int = 0) -> None:
        """Record that Statsig has taken a batch, and the batch `also` of another ledger of the store; 0 is none."""
        update = "UPDATE target_statsig_batches SET acknowledged = true WHERE batch IN (:batch, :also)"
        self._connection.run(update, batch=batch, also=also)

    @override
    def withdraw(self, batch: int) -> None:
        self._connection.run("DELETE FROM target_statsig_batches WHERE batch = :batch", batch=batch)

    @override
    def state_written(self, bookmark: Bookmark | None, *, epoch: int) -> None:
        with self._turn:
            is_unordered = bookmark is not None and bookmark.kind == UNORDERED
            # The same one again is about other streams.
            if not (is_unordered and self._has_own_state and bookmark == self._states[-1].bookmark):
                self._has_own_state = True
                self._states = [*self._states[-_KEPT + 1 :], _State(self._epochs_before + epoch, bookmark)]
            if self._unsettled >= _FORGET_EVERY:
                self.settle()

    def transaction(self) -> AbstractContextManager[None]:
        """Record the block's changes in one transaction, in this ledger and others of the store."""
        return self._connection.writing()

    def settle(self) -> None:
        """Record what is not recorded yet and the last STATE, and forget what that allows.

        A run that dies before only leaves more than the next run needs.
        """
        with self._turn:
            if self._skipped:  # before anything is forgotten
                self._write()
            if self._states and self._states[-1] is not self._stored:
                self._record_state()
            self._unsettled = 0

    def _record_state(self) -> None:
        last, before = self._states[-1], self._states[-2] if len(self._states) > 1 else None
        with self._connection.writing():
            if before and self._forgets:
                self._forget(before, last)
            assignments = "before_epoch = :before, state_epoch = :epoch, state_kind = :kind, state_bookmark = :bookmark"
            self._connection.run(
                f"UPDATE target_statsig_streams SET {assignments} WHERE stream = :stream",
                stream=self._stream,
                before=before.epoch if before else None,
                epoch=last.epoch,
                kind=last.bookmark.kind if last.bookmark else None,
                bookmark=last.bookmark.text if last.bookmark else None,
            )
        self._stored = last

    def _forget(self, before: _State, last: _State) -> None:
        """Delete the batches whose records no run gets again, from whichever of two STATEs it starts.

        The next run may start from the last STATE, or from the one before it if the last got lost. A batch is forgotten
        if it came before both and lies strictly below both bookmarks. If bookmarks have no order, it is forgotten if it
        came before the third-last STATE: the rows at a bookmark, which a tap sends again, came after the STATE before.
        """
        kind = lowest = None
        if before.bookmark and last.bookmark and before.bookmark.kind == last.bookmark.kind != UNORDERED:
            kind, lowest = last.bookmark.kind, min(before.bookmark.text, last.bookmark.text)
        # NULL if there is none, which matches no batch.
        oldest = self._states[0].epoch if len(self._states) == _KEPT else None
        # Before the first record, the start of the stream is not known.
        behind = self._recollection.behind() if self._recollection and oldest is not None else []
        met = f"run_id = :run_id OR run_id {self._connection.is_listed}"
        self._connection.run(
            "DELETE FROM target_statsig_batches WHERE stream = :stream AND epoch < :before AND "
            f"CASE WHEN kind = :kind THEN highest < :lowest ELSE epoch < :oldest AND ({met}) END",
            stream=self._stream,
            run_id=self._run_id,
            before=before.epoch,
            kind=kind,
            lowest=lowest,
            oldest=oldest,
            ids=as_list(behind),
        )

    def _recollect(self) -> Recollection:
        if self._recollection is None:
            with self._turn:
                if self._recollection is None:
                    self._recollection = Recollection(self._connection, self._stream, self._run_id)
        return self._recollection

    def _write(self, *rows: dict[str, Any]) -> list[int]:
        """Insert the skipped records and then the rows; return their numbers."""
        with self._turn:
            forgets = self._forgets
            if self._skipped:
                rows = (*self._skipped.values(), *rows)
                # Only once: if the answer to the COMMIT is lost, they may be stored, and would be stored twice. So
                # forget nothing without that answer: the batches of earlier runs still hold them.
                self._skipped.clear()
                self._forgets = False
            numbers = self._connection.insert("target_statsig_batches", "batch", *rows)
            self._forgets = forgets
            self._unsettled += len(rows)
            return numbers

    def _row(
        self, digests: bytes | bytearray, highest: Bookmark | None, epoch: int, *, acknowledged: bool
    ) -> dict[str, Any]:
        return {
            "stream": self._stream,
            "run_id": self._run_id,
            "acknowledged": acknowledged,
            "epoch": self._epochs_before + epoch,
            "kind": highest.kind if highest else None,
            "highest": highest.text if highest else None,
            "at": self._clock.time(),
            "digests": digests,
        }


class Recollection:
    """The deliveries of all earlier runs in the store. Not thread-safe.

    Every run records what it sends and what it skips. So the number of times that a record is in Statsig is the maximum
    over the runs, not their sum.

    Attributes:
        is_empty: Whether there are none.
        known: Records that were delivered and not taken yet.
        doubtful: Records in batches without an answer, beyond the known ones.
    """

    def __init__(self, connection: Connection, stream: int, run_id: str) -> None:
        """Read the batches of other runs, and delete those of runs that later runs cover.

        Otherwise a stream with an unchanging bookmark would add its batches with every run.
        """
        self._connection = connection
        self._stream = stream
        self._run_id = run_id
        self._looked_at = 0
        # The newest first, each with the bytes of its digests.
        others = "target_statsig_batches WHERE stream = :stream AND run_id <> :run_id"
        query = f"SELECT run_id, sum(length(digests)) FROM {others} GROUP BY run_id ORDER BY max(batch) DESC"
        runs = connection.run(query, stream=stream, run_id=run_id)
        self.is_empty = not runs
        expected = sum(int(size) for _, size in runs) // DIGEST_BYTES
        self.known, self.doubtful = DigestBag(expected), DigestBag(expected)
        covered = [run for run, _ in runs if not self._add(run)]
        if covered:
            delete = f"DELETE FROM target_statsig_batches WHERE stream = :stream AND run_id {connection.is_listed}"
            connection.run(delete, stream=stream, ids=as_list(covered))
        self._unmet = [run for run, _ in runs if run not in covered]

    def behind(self) -> list[str]:
        """Return the earlier runs whose records this run does not get again.

        These are the runs of which it got no record although it got records of others: they lie before the STATE from
        which it started. A run of which it got a record may have more, and stays.
        """
        if self._unmet:
            for page in self._pages(self._run_id, "batch > :looked_at"):
                met = set(chain.from_iterable(each(digests) for _, digests in page))
                self._unmet = [run for run in self._unmet if all(map(met.isdisjoint, self._batches(run)))]
                self._looked_at = page[-1][0]
        return self._unmet if self._looked_at else []

    def _pages(self, run: str, condition: str = "true") -> Iterator[list[tuple[int, bytes]]]:
        batches = "SELECT batch, digests FROM target_statsig_batches WHERE stream = :stream AND run_id = :run_id"
        values = {"stream": self._stream, "run_id": run, "looked_at": self._looked_at}
        return self._connection.walk(f"{batches} AND {condition}", key="batch", size=_BATCHES_AT_A_TIME, **values)

    def _batches(self, run: str, condition: str = "true") -> Iterator[list[bytes]]:
        for page in self._pages(run, condition):
            yield from (each(digests) for _, digests in page)

    def _add(self, run: str) -> bool:
        """Add a run that came before the added ones; return whether it holds anything new."""
        # The maximum of two bags is the second plus what it leaves of the first.
        adds = False
        for digests in self._batches(run, "acknowledged"):
            if more := _others(digests, self.known.take_each(digests)):
                adds = True
                self.doubtful.take_each(more)
        unanswered = [digest for digests in self._batches(run, "NOT acknowledged") for digest in digests]
        answers = self.known.take_each(unanswered)
        if more := _others(unanswered, answers):
            adds = True
            self.doubtful.take_each(more)
            self.doubtful.add(more)
        self.known.add(compress(unanswered, answers))
        for digests in self._batches(run, "acknowledged"):
            self.known.add(digests)
        return adds


def _others(digests: Sequence[bytes], answers: Sequence[bool]) -> list[bytes]:
    return list(compress(digests, map(not_, answers)))
