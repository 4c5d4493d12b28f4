"""A segment that cannot be looked at, since there is no key for it: only a dry run gets so far.

Counts whom the stream names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_statsig._compat import override
from target_statsig.reports.phrases import counted
from target_statsig.segments.sync import SegmentSync

if TYPE_CHECKING:
    from target_statsig.reports.report import SegmentCounts
    from target_statsig.segments.completeness import Verdict
    from target_statsig.segments.membership import Words
    from target_statsig.store.members import Audience


class UnseenSync(SegmentSync):
    """Gathers the stream's last words on each id, and says what cannot be told."""

    def __init__(self, audience: Audience, counts: SegmentCounts) -> None:
        """Begin with an empty audience.

        Args:
            audience: What gathers it.
            counts: The segment's counts in the report.
        """
        self._audience = audience
        self._counts = counts
        self._say("the input was not read to its end")

    @override
    def begin(self) -> None:
        """Check nothing."""

    @override
    def take(self, words: Words) -> None:
        self._audience.take(words)

    @override
    def flush(self) -> None:
        """Send nothing."""

    @override
    def plan(self, verdict: Verdict, *, rejected: int) -> None:
        self._counts.proof = verdict.proof.value
        self._say(f"the stream names {counted(self._audience.count_current(), 'member')}")

    @property
    @override
    def unsent(self) -> int:
        return 0

    @property
    @override
    def requests(self) -> int:
        return 0

    @override
    def add(self) -> None:
        """Add nobody."""

    @override
    def remove(self) -> None:
        """Remove nobody."""

    @override
    def close(self) -> None:
        self._audience.close()

    @override
    def fail(self) -> None:
        """Leave it at what was said."""

    @override
    def keep(self) -> None:
        """Keep nothing."""

    def _say(self, known: str) -> None:
        self._counts.unknown_because = f"{known}, and without `console_api_key` nobody can look at the segment"
