"""A segment that changes by row: each record adds an id or removes one, and the last change of an id wins.

Gathers changes so that requests are few and full. Mirrors share its `SegmentSync`.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from typing import TYPE_CHECKING

from typing_extensions import override

from target_statsig.errors import Heading, SegmentError
from target_statsig.reports.text import counted

if TYPE_CHECKING:
    from target_statsig.commands.run import Run
    from target_statsig.segments.completeness import Verdict
    from target_statsig.segments.segment import RemoteSegment
    from target_statsig.store.members import Pending

logger = logging.getLogger(__name__)

Changes = dict[str, bool]
"""Ids with whether each becomes a member; a later change of an id replaces an earlier one."""

GATHERED = 100_000
"""Ids held in memory at most, about 20 MB: ten full requests of the default size."""


class SegmentSync:
    """Brings the changes of one segment to Statsig.

    At the end of the input the run calls `plan`, `add`, `remove` and `close` in this order, each for all segments
    before the next. Every method raises SegmentError if this segment cannot go on. A step that is not overridden does
    nothing.
    """

    remote: RemoteSegment

    def begin(self) -> None:
        """Check the segment, before anything is gathered for it."""

    def add_changes(self, changes: Changes) -> None:
        """Gather changes.

        All are gathered even if this raises: a STATE may pass them when they are kept for the next run.
        """

    def flush(self) -> None:
        """Send what can be sent during the input, so that a STATE may pass it: what depends on no later record."""

    def plan(self, verdict: Verdict, *, rejected: int) -> None:
        """Plan the changes; they depend on whether the tap finished the stream, and on rejected records."""

    @property
    def unsent(self) -> tuple[int, int]:
        """Return the numbers of unsent additions and unsent removals."""
        return 0, 0

    def add(self) -> None:
        """Send the additions."""

    def remove(self) -> None:
        """Send the removals that are allowed."""

    def close(self) -> None:
        """Read the segment back, and record how the sync ended."""

    def fail(self) -> None:
        """Stop changing this segment after an error."""

    def keep(self) -> None:
        """Keep unsent changes by row for the next run: the input did not end, or the segment failed."""


class RowSync(SegmentSync):
    """Sends changes while the input is read; keeps those that fail for the next run, so that a STATE may pass."""

    def __init__(self, remote: RemoteSegment, run: Run) -> None:
        self.remote = remote
        self._run = run
        self._changes: Changes = {}
        self._ticket: int | None = None
        self._failed = False
        self._has_wrong_ids = False

    @override
    def begin(self) -> None:
        try:
            self.remote.check()
        except SegmentError as error:
            self._has_wrong_ids = error.heading is Heading.ID_TYPE
            raise
        if (pending := self._kept_before()) is not None:
            for kept in pending.changes(GATHERED):
                ids = list(kept)
                self._send(kept, joins=True)
                self._send(kept, joins=False)
                pending.clear(ids)

    @override
    def add_changes(self, changes: Changes) -> None:
        if self._ticket is None:
            self._ticket = self._run.gate.open()
        self._changes.update(changes)
        if len(self._changes) >= GATHERED:
            self._send_first(GATHERED)

    @override
    def flush(self) -> None:
        self._send_first(len(self._changes))

    def _send_first(self, number: int) -> None:
        """Send this many changes. The rest came last, so a waiting STATE may pass before they are sent."""
        if self._failed:
            self._put_away()
            return
        changes = iter(self._changes.items())
        now, rest = dict(itertools.islice(changes, number)), dict(changes)
        try:
            self._send(now, joins=True)
            self._send(now, joins=False)
        finally:
            self._changes = now | rest  # without what was sent
        self._let_state_pass()
        if rest:
            self.add_changes(rest)

    @property
    @override
    def unsent(self) -> tuple[int, int]:
        additions = sum(self._changes.values())
        return additions, len(self._changes) - additions

    @override
    def add(self) -> None:
        self._send(self._changes, joins=True)

    @override
    def remove(self) -> None:
        self._send(self._changes, joins=False)
        self._let_state_pass()

    @override
    def fail(self) -> None:
        self._failed = True

    @override
    def keep(self) -> None:
        self._put_away()
        _report_kept(self.remote, self._kept_before())

    def _kept_before(self) -> Pending | None:
        """Return the changes that are kept in the store; None where there is no store, which is not created for it."""
        return self._run.store.pending(self.remote.id) if self._run.store_exists else None

    def _put_away(self) -> None:
        if self._has_wrong_ids:
            # They would join the list once `id_type` is right. So no STATE passes, and the tap sends the rows again.
            self._changes.clear()
        elif self._changes:
            self._run.store.pending(self.remote.id).keep(self._changes)
            self._let_state_pass()

    def _send(self, changes: Changes, *, joins: bool) -> None:
        """Send all additions or all removals, and drop them from the changes."""
        ids = iter([member for member, joining in changes.items() if joining is joins])
        send = self.remote.remove
        if joins:
            self.remote.check_additions(sum(changes.values()), lambda members: [*filter(changes.get, members)])
            send = self.remote.add
        while batch := list(itertools.islice(ids, self.remote.batch_size)):
            send(batch)
            for member in batch:
                del changes[member]

    def _let_state_pass(self) -> None:
        """Release the STATE that waited for the changes so far, which are sent or kept."""
        self._changes.clear()
        if self._ticket is not None:
            self._run.gate.close(self._ticket)
            self._ticket = None


class LimitedRowSync(SegmentSync):
    """Sends changes at the end of the input, unless the segment would grow over `max_segment_size`.

    Gathers them in the store, for this run alone: if they are too many, no later run may send them. A STATE waits for
    the end of the run, and without it the tap sends the rows again.
    """

    def __init__(self, remote: RemoteSegment, run: Run) -> None:
        """Open the store, and only then use the Console API: its limits on requests are in the store."""
        self.remote = remote
        self._gate = run.gate
        self._audience = run.store.audience(remote.id)
        self._pending = run.store.pending(remote.id)
        self._planned: Counter[bool] = Counter()
        self._ticket: int | None = None

    @override
    def begin(self) -> None:
        self.remote.check()
        for kept in self._pending.changes(GATHERED):
            self._audience.take(kept)

    @override
    def add_changes(self, changes: Changes) -> None:
        if self._ticket is None:
            self._ticket = self._gate.open()
        self._audience.take(changes)

    @override
    def plan(self, verdict: Verdict, *, rejected: int) -> None:
        self.remote.check_additions(self._audience.count(), self._audience.among)
        self._planned = Counter({joins: self._audience.count(members=joins) for joins in (True, False)})

    @property
    @override
    def unsent(self) -> tuple[int, int]:
        return self._planned[True], self._planned[False]

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
        """Keep only what earlier runs kept: no STATE has passed this run's unsent changes."""
        _report_kept(self.remote, self._pending)

    def _send(self, *, joins: bool) -> None:
        send = self.remote.add if joins else self.remote.remove
        for batch in self._audience.lists(self.remote.batch_size, members=joins):
            send(batch)
            self._pending.clear(batch)
            self._planned[joins] -= len(batch)


def _report_kept(remote: RemoteSegment, pending: Pending | None) -> None:
    """Report and log the number of changes left to the next run; `pending` is None without a store."""
    kept = remote.counts.kept = 0 if pending is None else pending.count()
    if kept:
        changes = counted(kept, "change is kept", "changes are kept")
        logger.warning("Segment '%s': %s in the store; the next run sends them first.", remote.id, changes)
