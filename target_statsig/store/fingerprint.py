"""What tells one set of ids from another, whatever the order in which they come, without keeping any of them.

Pure. Refuses to know whose ids they are, and where a fingerprint is kept.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING

from xxhash import xxh3_128_digest

if TYPE_CHECKING:
    from collections.abc import Iterable

_BYTES = 16
"""Length of a digest, and of their sum."""

_MODULUS = (1 << 8 * _BYTES) - 1
"""What sums are taken by. A number leaves the same remainder as the sum of its digits to the base of one more: so many
digests, written end to end, are one number, and need not be made into numbers one by one."""

_KEY_BITS = 63
"""As many as a database's integer holds."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The fingerprint of a set of ids.

    Two that are equal are of the same set: that two sets of the same size share one has a chance of 2^-128.

    Attributes:
        key: What the ids were digested with. It is drawn by lot, so that nobody who may choose his id can choose one
            that makes up for another's.
        count: How many ids; those that came twice count twice.
        sum: The sum of their digests.
    """

    key: int
    count: int
    sum: bytes


class Fingerprinter:
    """Takes the fingerprint of ids as they come."""

    def __init__(self, key: int | None = None) -> None:
        """Begin with no ids.

        Args:
            key: That of the fingerprint to compare with; None draws one.
        """
        self._key = secrets.randbits(_KEY_BITS) if key is None else key
        self._count = 0
        self._sum = 0

    def take(self, ids: Iterable[str]) -> None:
        """Take ids, in any order and any number; hundreds at a time take a tenth of a microsecond each."""
        digests = b"".join(map(xxh3_128_digest, map(str.encode, ids), repeat(self._key)))
        self._count += len(digests) // _BYTES
        self._sum += int.from_bytes(digests, "little")

    @property
    def fingerprint(self) -> Fingerprint:
        """The fingerprint of all ids that were taken."""
        return Fingerprint(self._key, self._count, (self._sum % _MODULUS).to_bytes(_BYTES, "little"))
