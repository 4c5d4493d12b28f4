"""The delivery ledger of a stream, the one that remembers nothing, and bags of digests.

Statsig cannot deduplicate (https://docs.statsig.com/http-api has no key for it), and taps send the rows at their
bookmark again in every run. So each batch is recorded before it is sent and when it is acknowledged. A later run asks
whether a record is known before it sends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DIGEST_BYTES = 16
"""Length of a record's digest. Two of 10^12 records share one with a probability of about 10^-15."""


def each(digests: bytes) -> list[bytes]:
    """Split concatenated digests."""
    return [digests[place : place + DIGEST_BYTES] for place in range(0, len(digests), DIGEST_BYTES)]


UNORDERED = "unordered"
"""The kind of bookmarks that can only be compared for equality."""


@dataclass(frozen=True, slots=True)
class Bookmark:
    """A value of a replication key, to be compared only with values of its kind.

    Its text is written so that the code-point order of texts is the order of values, unless the kind is UNORDERED.
    """

    kind: str
    text: str


class StreamLedger:
    """The deliveries of one stream. Thread-safe. A method that is not overridden remembers nothing."""

    def check(self) -> None:
        """Check that other runs are still kept out of the stream.

        Raises:
            FatalRunError: They are not.
        """

    @property
    def is_blank(self) -> bool:
        """Whether earlier runs left nothing, so that no record can be known."""
        return True

    @property
    def passed(self) -> Bookmark | None:
        """The bookmark of the last STATE of earlier runs, where what is before it was forgotten; None: not known."""
        return None

    def known(self, digests: Sequence[bytes], *, highest: Bookmark | None, epoch: int) -> list[bool]:  # noqa: ARG002
        """Return for each record whether an earlier run has delivered it.

        A record is known as often as one earlier run delivered or skipped it, and each answer uses up one. Records that
        this run sent are never known. Known records are recorded again before the next batch, so that later runs know
        them too. `highest` is the highest replication-key value of these records, None if unknown; `epoch` is the
        number of STATE messages that this run has read before the last of them.
        """
        return [False] * len(digests)

    def in_doubt(self, digests: bytes) -> int:  # noqa: ARG002
        """Return how many of these records an earlier run may have delivered before it died.

        Each is counted once. Ask after this run has delivered records that were not known. `digests` are concatenated.
        """
        return 0

    def intend(self, digests: bytes, *, highest: Bookmark | None, epoch: int) -> int:  # noqa: ARG002
        """Record a batch of concatenated digests before it is sent, and return its number."""
        return 0

    def acknowledge(self, batch: int) -> None:
        """Record that Statsig has taken a batch."""

    def withdraw(self, batch: int) -> None:
        """Delete a batch that Statsig refused for good; its halves become batches."""

    def state_written(self, bookmark: Bookmark | None, *, epoch: int) -> None:
        """Forget what no tap sends again after a written STATE, though that STATE may still get lost.

        `bookmark` is its bookmark of this stream, if any; `epoch` its number among those that this run read, from 1.
        """


class NoLedger(StreamLedger):
    """Remembers nothing and needs no store (`dedupe: false`): several runs may send the stream at once."""


_PER_BUCKET = 8
"""Average number of digests in a bucket: fewer cost memory, more cost search time."""


class DigestBag:
    """A multiset of digests, about 30 bytes each: a digest's hash selects its bucket, which is one byte string."""

    def __init__(self, expected: int) -> None:
        """Make room for `expected` digests; more fit, but are found more slowly."""
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
