"""A segment that changes by row and may not grow over `max_segment_size`: all rows come before the first change.

Gathers them in the store, for this run alone: where they would be too many, the source is to be fixed, and nothing of
it is to come back. So a STATE waits for the end of the run, and without it the tap sends the rows again.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

from target_statsig._compat import override
from target_statsig.segments.kept import tell_kept
from target_statsig.segments.rows import GATHERED
from target_statsig.segments.sync import SegmentSync

if TYPE_CHECKING:
    from target_statsig.reports.report import SegmentCounts
    from target_statsig.segments.completeness import Verdict
    from target_statsig.segments.growth import Growth
    from target_statsig.segments.membership import Words
    from target_statsig.segments.remote import RemoteSegment
    from target_statsig.singer.state_gate import StateGate
    from target_statsig.store.members import Audience, Pending


class StagedRowSync(SegmentSync):
    """Does what rows say at the end of the input, where the segment does not grow too large."""

    def __init__(
        self,
        remote: RemoteSegment,
        gate: StateGate,
        growth: Growth,
        counts: SegmentCounts,
        audience: Audience,
        pending: Pending,
    ) -> None:
        """Begin with nothing gathered.

        Args:
            remote: The segment.
            gate: Where the rows hold a STATE back.
            growth: Watches over the segment's size.
            counts: The segment's counts in the report.
            audience: What gathers the rows.
            pending: What earlier runs kept.
        """
        self._remote = remote
        self._gate = gate
        self._growth = growth
        self._counts = counts
        self._audience = audience
        self._pending = pending
        self._planned: Counter[bool] = Counter()
        self._ticket: int | None = None

    @override
    def begin(self) -> None:
        self._growth.begin(self._remote.check().count)
        kept = self._pending.changes()
        while chunk := dict(itertools.islice(kept, GATHERED)):
            self._audience.take(chunk)

    @override
    def take(self, words: Words) -> None:
        if self._ticket is None:
            self._ticket = self._gate.open()
        self._audience.take(words)

    @override
    def flush(self) -> None:
        """Send nothing: it is not known yet whether there are too many."""

    @override
    def plan(self, verdict: Verdict, *, rejected: int) -> None:
        self._growth.allow(self._audience.count_current(), self._audience.among)
        self._planned = Counter(joins for _, joins in self._audience.words())

    @property
    @override
    def unsent(self) -> int:
        return self._planned.total()

    @property
    @override
    def requests(self) -> int:
        return sum(map(self._remote.requests_for, self._planned.values()))

    @override
    def add(self) -> None:
        self._send(joins=True)

    @override
    def remove(self) -> None:
        self._send(joins=False)
        if self._ticket is not None:
            self._gate.close(self._ticket)
            self._ticket = None

    @override
    def close(self) -> None:
        self._audience.close()

    @override
    def fail(self) -> None:
        self._planned.clear()

    @override
    def keep(self) -> None:
        """Keep nothing but what earlier runs kept: no STATE has passed what this one did not send."""
        tell_kept(self._remote.id, self._pending, self._counts)

    def _send(self, *, joins: bool) -> None:
        ids = (member for member, word in self._audience.words() if word is joins)
        send = self._remote.add if joins else self._remote.remove
        while batch := list(itertools.islice(ids, self._remote.batch_size)):
            send(batch)
            self._pending.clear(batch)
            self._planned[joins] -= len(batch)
