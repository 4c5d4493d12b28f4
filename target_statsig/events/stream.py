"""What delivery needs to know of one stream of items, and the bounds that Statsig teaches."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from target_statsig.config.settings import Tier
from target_statsig.events.prepare import Limits

if TYPE_CHECKING:
    from target_statsig.config.settings import StreamSettings
    from target_statsig.events.item_types import ItemType

LEFT_OF_REFUSED = 0.55
"""How much of a body that was too large may be in the next ones: a little more than half, so that what filled one
request fills two, and not two and a remainder."""

FILLED = 0.95
"""How much of a request is filled with items of the usual size: some are larger."""

BILLED_TIERS = frozenset({None, Tier.PRODUCTION})
"""Only production is billed, and an item that names no tier belongs to it: https://docs.statsig.com/pricing."""


@dataclass(slots=True)
class Bounds:
    """How large a request may be; shared by all streams of a process.

    Attributes:
        rows: Items a request at most.
        bytes: Uncompressed body bytes a request at most; lowered for the rest of the run where Statsig says 413.
        largest: Uncompressed body bytes that one item may take by itself: between `bytes` and this, Statsig is asked.
    """

    rows: int
    bytes: int
    largest: int = field(init=False)

    def __post_init__(self) -> None:
        """Take it that one item may fill a request."""
        self.largest = self.bytes

    @property
    def limits(self) -> Limits:
        """The bounds as they are now, for another process."""
        return Limits(self.rows, self.bytes, self.largest)

    def lower(self, refused: int, *, alone: bool) -> None:
        """Stay under a size that Statsig refused.

        Args:
            refused: The uncompressed bytes of the body that was too large.
            alone: Whether it held one item only.
        """
        if alone:
            self.largest = min(self.largest, refused - 1)
        self.bytes = min(self.bytes, self.largest if alone else max(int(refused * LEFT_OF_REFUSED), 1))


class RefusalStreak:
    """Tells poison from a broken mapping: single items refused in a row, while none was ever taken."""

    LIMIT = 20
    """So many refused items, and none taken, are no accident: the mapping or the key is at fault."""

    def __init__(self) -> None:
        """Begin with nothing sent."""
        self._lock = threading.Lock()
        self._taken = False
        self._refused = 0

    def taken(self) -> None:
        """Note that Statsig took a request."""
        self._taken = True

    def refused(self) -> bool:
        """Note that a single item was refused, and return whether to stop."""
        with self._lock:
            self._refused += 1
            return not self._taken and self._refused >= self.LIMIT


@dataclass(slots=True)
class ItemStream:
    """One stream of items: its settings, its compiled mapping, and what it shares with the others.

    Attributes:
        name: The stream's name, after the stream maps.
        replication_key: The column by which the tap says how far it has come, where its SCHEMA names one.
        item_bytes: The bytes of an item in the batch mapped last, on average; 0 before the first.
    """

    name: str
    settings: StreamSettings
    item_type: ItemType
    bounds: Bounds
    refusals: RefusalStreak = field(default_factory=RefusalStreak)
    replication_key: str | None = None
    item_bytes: float = field(default=0.0, init=False)

    @property
    def rows(self) -> int:
        """How many items to gather for a request: as many as it may hold, going by the size of the last ones."""
        if not self.item_bytes:
            return self.bounds.rows
        return max(min(self.bounds.rows, int(FILLED * self.bounds.bytes / self.item_bytes)), 1)

    @property
    def is_billed(self) -> bool:
        """Whether Statsig bills the stream's items."""
        return not self.item_type.has_tier or self.settings.environment_tier in BILLED_TIERS

    @property
    def too_large(self) -> str:
        """The reason of a record whose item alone is too large for a request."""
        return f"{self.item_type.object_type}_too_large"
