"""What earlier runs delivered of a stream: how often each record, and which of these runs this one continues.

Every run writes down what it sends and what it skips. So the run with the most deliveries of a record shows how often
it is in Statsig: the maximum over runs, and not their sum.
"""

from __future__ import annotations

from itertools import chain, compress
from operator import not_
from typing import TYPE_CHECKING

from target_statsig.store.database import as_list
from target_statsig.store.ledger import DIGEST_BYTES, each

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from target_statsig.store.database import Connection

_PER_BUCKET = 8
"""Digests in a bucket, on average: fewer cost memory for buckets, more cost time for searching."""

_BATCHES_AT_A_TIME = 100
"""Batches read at a time: a megabyte or so."""


class DigestBag:
    """Digests, each as often as it was added, in some 30 bytes each.

    A digest's hash says in which bucket it lies; a bucket is one string of bytes, its digests end to end.
    """

    def __init__(self, expected: int) -> None:
        """Make room for `expected` digests; more of them fit, and take longer to find."""
        self._mask = (1 << (expected // _PER_BUCKET).bit_length()) - 1
        self._buckets = [b""] * (self._mask + 1)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, digests: Iterable[bytes]) -> None:
        """Put digests in."""
        buckets, mask = self._buckets, self._mask
        for digest in digests:
            buckets[hash(digest) & mask] += digest
            self._size += 1

    def take_each(self, digests: Sequence[bytes]) -> list[bool]:
        """Take each digest out once; return for each whether it was there."""
        if not self._size:
            return [False] * len(digests)
        buckets, mask = self._buckets, self._mask
        answers = []
        for digest in digests:
            index = hash(digest) & mask
            bucket = buckets[index]
            at = bucket.find(digest)
            while at % DIGEST_BYTES and at >= 0:
                at = bucket.find(digest, at + 1)
            if at >= 0:
                buckets[index] = bucket[:at] + bucket[at + DIGEST_BYTES :]
            answers.append(at >= 0)
        self._size -= sum(answers)
        return answers


class Recollection:
    """The deliveries of all earlier runs whose batches are in the store; one thread at a time uses it.

    Attributes:
        is_empty: Whether there are none.
        known: Records that were delivered and not taken yet.
        doubtful: Records in batches without an answer, as far as they are more than the known ones.
    """

    def __init__(self, connection: Connection, stream: int, run_id: str) -> None:
        """Read the batches, and delete those of runs that later runs cover.

        Without that a stream whose bookmark stands still would leave its batches anew with every run.

        Args:
            connection: The connection to use.
            stream: The stream's number in the store.
            run_id: This run, whose own batches do not count.

        Raises:
            StoreError: The database failed.
        """
        self._connection = connection
        self._stream = stream
        self._run_id = run_id
        self._looked_at = 0
        runs = self._earlier_runs()
        self.is_empty = not runs
        expected = sum(size for _, size in runs) // DIGEST_BYTES
        self.known, self.doubtful = DigestBag(expected), DigestBag(expected)
        covered = [run for run, _ in runs if not self._add(run)]
        if covered:
            delete = f"DELETE FROM target_statsig_batches WHERE stream = :stream AND run_id IN ({connection.listed})"
            connection.run(delete, stream=stream, ids=as_list(covered))
        self._unmet = [run for run, _ in runs if run not in covered]

    def behind(self) -> list[str]:
        """Return the earlier runs of which this run will meet no more records.

        These are the runs of which it has met no record at all, but others: they lie before the STATE that it started
        from. A run that it has met may go on behind that record, and stays.
        """
        if self._unmet:
            for page in self._pages(self._run_id, "batch > :looked_at"):
                met = set(chain.from_iterable(each(digests) for _, digests in page))
                self._unmet = [run for run in self._unmet if all(map(met.isdisjoint, self._batches(run)))]
                self._looked_at = page[-1][0]
        return self._unmet if self._looked_at else []

    def _earlier_runs(self) -> list[tuple[str, int]]:
        """Return each run that left batches, the newest first, and the size of its digests in bytes."""
        runs = "SELECT run_id, sum(length(digests)) FROM target_statsig_batches"
        condition = "stream = :stream AND run_id <> :run_id"
        query = f"{runs} WHERE {condition} GROUP BY run_id ORDER BY max(batch) DESC"
        found = self._connection.run(query, stream=self._stream, run_id=self._run_id)
        return [(run, int(size)) for run, size in found]

    def _pages(self, run: str, condition: str = "true") -> Iterator[list[tuple[int, bytes]]]:
        batches = "SELECT batch, digests FROM target_statsig_batches WHERE stream = :stream AND run_id = :run_id"
        values = {"stream": self._stream, "run_id": run, "looked_at": self._looked_at}
        return self._connection.walk(f"{batches} AND {condition}", key="batch", size=_BATCHES_AT_A_TIME, **values)

    def _batches(self, run: str, condition: str = "true") -> Iterator[list[bytes]]:
        for page in self._pages(run, condition):
            yield from (each(digests) for _, digests in page)

    def _add(self, run: str) -> bool:
        """Add a run that came before those that were added; return whether it adds anything new."""
        # The maximum of two bags is what the second leaves of the first, and the second.
        tells = False
        for digests in self._batches(run, "acknowledged"):
            if more := _others(digests, self.known.take_each(digests)):
                tells = True
                self.doubtful.take_each(more)
        unanswered = [digest for digests in self._batches(run, "NOT acknowledged") for digest in digests]
        answers = self.known.take_each(unanswered)
        if more := _others(unanswered, answers):
            tells = True
            self.doubtful.take_each(more)
            self.doubtful.add(more)
        self.known.add(compress(unanswered, answers))
        for digests in self._batches(run, "acknowledged"):
            self.known.add(digests)
        return tells


def _others(digests: Sequence[bytes], answers: Sequence[bool]) -> list[bytes]:
    return list(compress(digests, map(not_, answers)))
