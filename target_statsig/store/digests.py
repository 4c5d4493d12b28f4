"""Many digests in little memory.

Owns a multiset of digests that takes 30 bytes for each, where a dictionary takes a hundred. Refuses to know what was
digested.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_statsig.ledger import DIGEST_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

_PER_BUCKET = 8
"""Digests in a bucket, on average: fewer cost memory for buckets, more cost time for searching."""


class DigestBag:
    """Digests, each as often as it was added.

    A digest's first bytes say in which bucket it lies; a bucket is one string of bytes, its digests end to end.
    """

    def __init__(self, expected: int) -> None:
        """Make room for a number of digests; more of them fit, and take longer to find."""
        self._mask = (1 << (expected // _PER_BUCKET).bit_length()) - 1
        self._buckets = [b""] * (self._mask + 1)
        self._size = 0

    def __len__(self) -> int:
        """Return how many there are."""
        return self._size

    def add(self, digest: bytes, times: int = 1) -> None:
        """Put a digest in, a number of times."""
        self._buckets[int.from_bytes(digest[:4], "big") & self._mask] += digest * times
        self._size += times

    def take_each(self, digests: Sequence[bytes]) -> list[bool]:
        """Take each digest out once; tell of each whether it was there."""
        if not self._size:
            return [False] * len(digests)
        buckets, mask, number = self._buckets, self._mask, int.from_bytes
        # Nearly none of them are there, and a call for each would take most of the time.
        return [digest in buckets[number(digest[:4], "big") & mask] and self._take(digest) for digest in digests]

    def _take(self, digest: bytes) -> bool:
        index = int.from_bytes(digest[:4], "big") & self._mask
        bucket = self._buckets[index]
        at = bucket.find(digest)
        while at % DIGEST_BYTES and at >= 0:
            at = bucket.find(digest, at + 1)
        if at < 0:
            return False
        self._buckets[index] = bucket[:at] + bucket[at + DIGEST_BYTES :]
        self._size -= 1
        return True
