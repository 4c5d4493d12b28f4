"""The delivery ledger as a stream sees it, the one that remembers nothing, and bags of digests.

Statsig cannot deduplicate (https://docs.statsig.com/http-api: there is no key for it) and taps send the rows at their
bookmark again in every run. So each batch is written down before it is sent and again when it is acknowledged; a later
run asks whether a record is known before it sends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from target_statsig._compat import override

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DIGEST_BYTES = 16
"""Length of a record's digest: that two of 10^12 records share one has a chance of about 10^-15."""


def each(digests: bytes) -> list[bytes]:
    """Split digests that stand end to end."""
    return [digests[place : place + DIGEST_BYTES] for place in range(0, len(digests), DIGEST_BYTES)]


UNORDERED = "unordered"
"""The kind of bookmarks that can be compared for equality only."""


@dataclass(frozen=True, slots=True)
class Bookmark:
    """A value of a replication key.

    Attributes:
        kind: What sort of value it is; only bookmarks of one kind can be compared.
        text: The value, written so that the code-point order of texts is the order of values, unless it is UNORDERED.
    """

    kind: str
    text: str


class StreamLedger(Protocol):
    """What is remembered of one stream's deliveries. Every method may be called from several threads."""

    def begin(self) -> None:
        """Keep other runs out of the stream until the store is closed; wait a little for one that is at work.

        Raises:
            FatalRunError: Another run is at work.
            InterruptedRunError: The run was asked to stop while it waited.
        """

    def check(self) -> None:
        """Check that other runs are still kept out.

        Raises:
            FatalRunError: They are not.
        """

    @property
    def is_blank(self) -> bool:
        """Whether no record can be known: no earlier run left anything."""

    @property
    def passed(self) -> Bookmark | None:
        """The bookmark of the last STATE of earlier runs, where what is before it was forgotten; None: not known."""

    def known(self, digests: Sequence[bytes], *, highest: Bookmark | None, epoch: int) -> list[bool]:
        """Return for each record whether an earlier run has delivered it.

        A record is known as often as one earlier run delivered or skipped it, and each answer uses up one: the answers
        hold for these records in this order. What this run itself sent is never known. Known records are written down
        again, before the next batch is, so that they stay known to later runs.

        Args:
            digests: One of DIGEST_BYTES bytes for each record, in the order of the stream.
            highest: The highest replication-key value among the records; None where it is unknown.
            epoch: How many STATE messages this run has read before the last of the records.
        """

    def in_doubt(self, digests: bytes) -> int:
        """Return how many of these records an earlier run may have delivered: it died before it read the answer.

        Each is counted once. Ask for records that were not known, once this run has delivered them. `digests` stand end
        to end.
        """

    def intend(self, digests: bytes, *, highest: Bookmark | None, epoch: int) -> int:
        """Write a batch down before it is sent, and return its number; its digests stand end to end."""

    def acknowledge(self, batch: int) -> None:
        """Write down that Statsig has taken the batch with this number."""

    def withdraw(self, batch: int) -> None:
        """Delete a batch that Statsig refused for good; its halves are batches of their own."""

    def state_written(self, bookmark: Bookmark | None, *, epoch: int) -> None:
        """Forget what no tap will send again now that a STATE has been written.

        Call it after the STATE has left, with its bookmark of this stream, where it has one, and its number among those
        that this run has read, from 1. That STATE may still get lost, so only what lies below the STATE written before
        it, in this run or an earlier one, is forgotten. Where bookmarks have no order, it is what came before the STATE
        before that one: the rows at a bookmark come before its STATE.
        """


class NoLedger(StreamLedger):
    """Remembers nothing and needs no store (`dedupe: false`): several runs may send the stream at once."""

    @override
    def begin(self) -> None:
        pass

    @override
    def check(self) -> None:
        pass

    @property
    @override
    def is_blank(self) -> bool:
        return True

    @property
    @override
    def passed(self) -> Bookmark | None:
        return None

    @override
    def known(self, digests: Sequence[bytes], *, highest: Bookmark | None, epoch: int) -> list[bool]:
        return [False] * len(digests)

    @override
    def in_doubt(self, digests: bytes) -> int:
        return 0

    @override
    def intend(self, digests: bytes, *, highest: Bookmark | None, epoch: int) -> int:
        return 0

    @override
    def acknowledge(self, batch: int) -> None:
        pass

    @override
    def withdraw(self, batch: int) -> None:
        pass

    @override
    def state_written(self, bookmark: Bookmark | None, *, epoch: int) -> None:
        pass


_PER_BUCKET = 8
"""Digests in a bucket, on average: fewer cost memory for buckets, more cost time for searching."""


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
