"""One segment's sync: what its stream's lane may ask of it, whatever the `sync_mode`.

`mirror` gathers the whole audience and compares; `rows` does what each row says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from target_statsig.segments.completeness import Verdict
    from target_statsig.segments.membership import Words


class SegmentSync(Protocol):
    """Takes changes while the input is read, and brings them to Statsig.

    At the end of the input the run calls `plan`, `add`, `remove` and `close` in this order, each for all segments
    before the next. Every method raises SegmentError where this one segment cannot go on.
    """

    def begin(self) -> None:
        """Check the segment, before anything is gathered for it."""

    def take(self, words: Words) -> None:
        """Take what records that follow each other say; later words on an id win over earlier ones.

        All of them are taken, also where this raises: a STATE may pass them when they are kept for the next run.
        """

    def flush(self) -> None:
        """Send what can be sent during the input, so that a STATE may pass it."""

    def plan(self, verdict: Verdict, *, rejected: int) -> None:
        """Work out what to change.

        Args:
            verdict: Whether the tap finished the stream.
            rejected: How many of the stream's records were rejected.
        """

    @property
    def unsent(self) -> int:
        """Return how many changes of the plan are still to be sent."""

    @property
    def requests(self) -> int:
        """Return how many requests they need."""

    def add(self) -> None:
        """Send the additions."""

    def remove(self) -> None:
        """Send the removals, as far as they are allowed."""

    def close(self) -> None:
        """Read back what became of the segment, and remember how the sync ended."""

    def fail(self) -> None:
        """Change nothing any more: something about this segment went wrong."""

    def keep(self) -> None:
        """Keep for the next run what rows asked for and was not sent: the input did not end, or the segment failed."""
