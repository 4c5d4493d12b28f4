"""A segment that changes by row: each record adds an id or removes one, and the last word on an id wins.

Gathers changes so that requests are few and full.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from target_statsig._compat import override
from target_statsig.segments.kept import tell_kept
from target_statsig.segments.sync import SegmentSync

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_statsig.reports.report import SegmentCounts
    from target_statsig.segments.completeness import Verdict
    from target_statsig.segments.growth import Growth
    from target_statsig.segments.membership import Words
    from target_statsig.segments.remote import RemoteSegment
    from target_statsig.singer.state_gate import StateGate
    from target_statsig.store.members import Pending

GATHERED = 100_000
"""Ids held in memory at most, some 20 MB of them; ten full requests of the usual size."""


class RowSync(SegmentSync):
    """Does what rows say; where that fails, keeps it for the next run, so that a STATE may pass."""

    def __init__(
        self,
        remote: RemoteSegment,
        gate: StateGate,
        growth: Growth,
        counts: SegmentCounts,
        earlier: Callable[[], Pending | None],
        pending: Callable[[], Pending],
    ) -> None:
        """Begin with nothing gathered.

        Args:
            remote: The segment.
            gate: Where gathered changes hold a STATE back.
            growth: Watches over the segment's size.
            counts: The segment's counts in the report.
            earlier: Returns what earlier runs kept, or None where nothing ever was.
            pending: Opens what is kept for the next run.
        """
        self._remote = remote
        self._gate = gate
        self._growth = growth
        self._counts = counts
        self._earlier = earlier
        self._pending = pending
        self._changes: dict[str, bool] = {}
        self._ticket: int | None = None
        self._failed = False

    @override
    def begin(self) -> None:
        self._growth.begin(self._remote.check().count)
        earlier = self._earlier()
        if earlier is None:
            return
        kept = earlier.changes()
        while chunk := dict(itertools.islice(kept, GATHERED)):
            ids = list(chunk)
            self._send(chunk)
            earlier.clear(ids)

    @override
    def take(self, words: Words) -> None:
        if self._ticket is None:
            self._ticket = self._gate.open()
        self._changes.update(words)
        if len(self._changes) >= GATHERED:
            self._send_changes(GATHERED)

    @override
    def flush(self) -> None:
        self._send_changes(len(self._changes))

    def _send_changes(self, number: int) -> None:
        """Send so many changes: what is over came last, so a STATE that waits may pass before it is sent."""
        if self._failed:
            self._put_away()
            return
        changes = iter(self._changes.items())
        now, over = dict(itertools.islice(changes, number)), dict(changes)
        try:
            self._send(now)
        finally:
            self._changes = now | over  # without what was sent
        self._pass()
        if over:
            self.take(over)

    @override
    def plan(self, verdict: Verdict, *, rejected: int) -> None:
        """Plan nothing: rows have said what to do."""

    @property
    @override
    def unsent(self) -> int:
        return sum(self._unsent)

    @property
    @override
    def requests(self) -> int:
        return sum(map(self._remote.requests_for, self._unsent))

    @property
    def _unsent(self) -> tuple[int, int]:
        """Additions and removals that are still to be sent."""
        joining = sum(self._changes.values())
        return joining, len(self._changes) - joining

    @override
    def add(self) -> None:
        self._send_words(self._changes, joins=True)

    @override
    def remove(self) -> None:
        self._send_words(self._changes, joins=False)
        self._pass()

    @override
    def close(self) -> None:
        """Remember nothing: the next run goes by its own rows."""

    @override
    def fail(self) -> None:
        self._failed = True

    @override
    def keep(self) -> None:
        self._put_away()
        tell_kept(self._remote.id, self._earlier(), self._counts)

    def _put_away(self) -> None:
        if self._changes:
            self._pending().keep(self._changes.items())
            self._pass()

    def _send(self, changes: dict[str, bool]) -> None:
        self._send_words(changes, joins=True)
        self._send_words(changes, joins=False)

    def _send_words(self, changes: dict[str, bool], *, joins: bool) -> None:
        """Send those who join, or those who leave, and take them out of the changes."""
        wanted = [member for member, word in changes.items() if word is joins]
        if joins:
            self._growth.allow(len(wanted), lambda members: changes.keys() & members)
        ids = iter(wanted)
        send = self._remote.add if joins else self._remote.remove
        while batch := list(itertools.islice(ids, self._remote.batch_size)):
            send(batch)
            for member in batch:
                del changes[member]

    def _pass(self) -> None:
        """Let the STATE pass that waited for these changes."""
        self._changes.clear()
        if self._ticket is not None:
            self._gate.close(self._ticket)
            self._ticket = None
