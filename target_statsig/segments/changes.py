"""A segment that changes by row: each record adds an id or removes one, and the last change of an id wins.

Gathers changes so that requests are few and full. Mirrors share its `SegmentSync`.
"""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING

from typing_extensions import override

from target_statsig.config.choices import SyncMode
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
"""Ids held in memory at most, about 20 MB, if the segment has no size limit: ten full requests of the default size."""


class SegmentSync:
    """Brings the changes of one segment to Statsig.

    At the end of the input the run calls `plan`, `add`, `remove` and `close` in this order, each for all segments
    before the next. Every method raises SegmentError if this segment cannot go on. A step that is not overridden does
    nothing.
    """

    remote: RemoteSegment
    failed = False

    def begin(self) -> None:
        """Check the segment, before anything is gathered for it."""

    def add_changes(self, changes: Changes) -> None:
        """Gather changes: all of them even if this raises, because a STATE may pass those that are kept."""

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
        self.failed = True

    def keep(self) -> None:
        """Keep unsent changes by row for the next run: the input did not end, or the segment failed."""


class RowSync(SegmentSync):
    """Sends changes while the input is read; keeps those that fail for the next run, so that a STATE may pass.

    Under a `max_segment_size` it sends additions only at the end of the input, if they are not too many, and keeps
    none: no later run may send them. A STATE waits for the end of the run; without it the tap sends the rows again.
    """

    def __init__(self, remote: RemoteSegment, run: Run) -> None:
        self.remote = remote
        self._run = run
        settings = remote.settings
        self._is_limited = settings.max_segment_size is not None and settings.sync_mode is not SyncMode.REMOVE
        self._changes: Changes = {}
        self._ticket: int | None = None
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
                if self._is_limited:
                    self._changes.update(kept)
                else:
                    self._send_all(kept)

    @override
    def add_changes(self, changes: Changes) -> None:
        if self._ticket is None:
            self._ticket = self._run.gate.open()
        self._changes.update(changes)
        if len(self._changes) >= GATHERED and not self._is_limited:
            self._send_first(GATHERED)

    @override
    def flush(self) -> None:
        if not self._is_limited:
            self._send_first(len(self._changes))

    def _send_first(self, number: int) -> None:
        """Send this many changes. The rest came last, so a waiting STATE may pass before they are sent."""
        if self.failed:
            self._put_away()
            return
        changes = iter(self._changes.items())
        now, rest = dict(itertools.islice(changes, number)), dict(changes)
        try:
            self._send_all(now)
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
    def keep(self) -> None:
        if not self._is_limited:
            self._put_away()
        pending = self._kept_before()
        kept = self.remote.counts.kept = 0 if pending is None else pending.count()
        if kept:
            changes = counted(kept, "change is kept", "changes are kept")
            logger.warning("Segment '%s': %s in the store; the next run sends them first.", self.remote.id, changes)

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

    def _send_all(self, changes: Changes) -> None:
        self._send(changes, joins=True)
        self._send(changes, joins=False)

    def _send(self, changes: Changes, *, joins: bool) -> None:
        """Send all additions or all removals, and drop them from the changes, and from those that were kept."""
        pending = self._kept_before()
        ids = iter([member for member, joining in changes.items() if joining is joins])
        send = self.remote.remove
        if joins:
            self.remote.check_additions(changes)
            send = self.remote.add
        while batch := list(itertools.islice(ids, self.remote.batch_size)):
            send(batch)
            if pending is not None:
                pending.clear(batch)
            for member in batch:
                del changes[member]

    def _let_state_pass(self) -> None:
        """Release the STATE that waited for the changes so far, which are sent or kept."""
        self._changes.clear()
        if self._ticket is not None:
            self._run.gate.close(self._ticket)
            self._ticket = None
