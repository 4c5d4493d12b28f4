"""A segment that mirrors its stream: whoever is in the stream is a member, and whoever is not is removed, with proof.

Gathers the whole audience in the store, compares it with what Statsig has, sends additions first and removals last.
Whether removals are allowed is not decided here (`guards`), nor is completeness told here (`completeness`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from target_statsig._compat import override
from target_statsig.config.settings import RemovalScope
from target_statsig.errors import Heading, SegmentError
from target_statsig.reports.text import counted
from target_statsig.segments.baseline import Baseline
from target_statsig.segments.feeders import SEPARATE_FEEDERS, moment, other_feeder
from target_statsig.segments.guards import Action, Evidence, decide
from target_statsig.segments.removal import remove_all
from target_statsig.segments.sync import SegmentSync
from target_statsig.store.values import Hold, HoldState

if TYPE_CHECKING:
    from target_statsig.clock import Clock
    from target_statsig.config.settings import StreamSettings
    from target_statsig.reports.report import SegmentCounts
    from target_statsig.segments.completeness import Verdict
    from target_statsig.segments.growth import Growth
    from target_statsig.segments.guards import Decision
    from target_statsig.segments.membership import Words
    from target_statsig.segments.remote import RemoteSegment
    from target_statsig.store.store import Store

logger = logging.getLogger(__name__)

MARKED_AT_ONCE = 10_000
"""Ids remembered as missing together."""


class MirrorSync(SegmentSync):
    """Makes a segment equal its stream."""

    def __init__(
        self,
        stream: str,
        settings: StreamSettings,
        remote: RemoteSegment,
        store: Store,
        counts: SegmentCounts,
        clock: Clock,
        growth: Growth,
    ) -> None:
        """Begin with an empty audience.

        Args:
            stream: The stream's name.
            settings: The stream's settings.
            remote: The segment.
            store: What remembers its members.
            counts: The segment's counts in the report.
            clock: The run's clock.
            growth: Watches over the segment's size.
        """
        self._stream = stream
        self._settings = settings
        self._remote = remote
        self._store = store
        self._counts = counts
        self._clock = clock
        self._growth = growth
        self._members = store.members(remote.id)
        self._audience = store.audience(remote.id)
        self._baseline = Baseline(remote, store)
        self._lock = store.lock(remote.id)
        self._additions = self._removals = 0
        self._decision: Decision | None = None
        self._hold = Hold(stream)
        self._closed = False

    @override
    def begin(self) -> None:
        self._lock.acquire()
        # What the run before held is out of date, however this one ends.
        self._store.record_hold(self._remote.id, self._hold)
        self._refuse_second_feeder()
        self._baseline.look(self._remote.check())

    @override
    def take(self, words: Words) -> None:
        self._audience.take(words)

    @override
    def flush(self) -> None:
        """Send nothing: a mirror is known at its end, and the STATE of a full table says nothing."""

    @override
    def plan(self, verdict: Verdict, *, rejected: int) -> None:
        counts = self._counts
        own_only = self._settings.removal_scope is RemovalScope.OWN
        if own_only and not self._members.is_known():
            self._warn(
                f"Segment '{self._remote.id}': the store does not know yet whom this target added, so `removal_scope: "
                f"own` removes nobody in this run. That is so in the first run, and after the store was lost."
            )
        counts.before = self._baseline.ensure()
        plan = self._audience.plan(own_only=own_only)
        current = self._audience.count_current()
        counts.unchanged = current - plan.added
        self._growth.foresee(counts.before, plan.added)
        self._audience.clear_missing()
        self._additions, self._removals = plan.added, plan.removed
        counts.proof = verdict.proof.value
        self._hold = Hold(
            self._stream,
            HoldState.HELD,
            before=counts.before,
            members=counts.before + plan.added,
            removals=plan.removed,
            current=current,
            rejected=rejected,
            doubt="" if verdict.applicable else verdict.hint,
        )
        self._decision = decide(
            Evidence(
                verdict=verdict,
                rejected=rejected,
                before=counts.before,
                current=current,
                removals=plan.removed,
                on_incomplete_stream=self._settings.on_incomplete_stream,
                max_removal_percent=self._settings.max_removal_percent,
                allow_empty_segment=self._settings.allow_empty_segment,
            )
        )

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
        removing = self._removals if self._decision and self._decision.action is Action.REMOVE else 0
        return self._additions - self._counts.added, max(removing - self._counts.removed, 0)

    @override
    def add(self) -> None:
        for batch in self._audience.additions(self._remote.batch_size):
            self._clock.sleep(0)
            self._lock.check()
            self._remote.add(batch)
            self._members.record_added(batch)

    @override
    def remove(self) -> None:
        if self._decision is None or self._decision.action is Action.NOTHING_TO_REMOVE:
            return
        if self._decision.action is Action.REMOVE:
            batches = self._audience.removals(self._remote.batch_size)
            remove_all(batches, self._remote, self._members, self._lock, self._clock)
        else:
            self._hold_back(self._decision)

    @override
    def close(self) -> None:
        counts = self._counts
        warning = self._baseline.record(
            added=counts.added,
            removed=counts.removed,
            status="held" if counts.held else "complete",
            stream=self._stream,
            at=self._clock.time(),
        )
        if warning is not None:
            self._warn(warning)
        self._store.record_hold(self._remote.id, self._hold if counts.held else None)
        counts.after = self._members.count_known()
        self._audience.close()
        self._lock.release()
        self._closed = True

    @override
    def fail(self) -> None:
        self._leave()

    @override
    def keep(self) -> None:
        """Keep nothing, and say that it cannot be told who is gone, where the input did not end."""
        if not self._closed:
            self._leave()

    def _leave(self) -> None:
        if self._counts.held_because is None:  # else a guard has told already
            self._counts.held = None
        self._lock.release()

    def _hold_back(self, decision: Decision) -> None:
        """Remember who is missing, and say why nobody was removed."""
        now = self._clock.time()
        for batch in self._audience.removals(MARKED_AT_ONCE):
            self._members.mark_missing(batch, now)
        missing = self._members.missing()
        counts = self._counts
        counts.held = self._removals
        counts.held_since = None if missing.since is None else moment(missing.since)
        counts.held_because = decision.reason.value
        missed = f" (the first of them since {counts.held_since})" if counts.held_since else ""
        text = (
            f"Segment '{self._remote.id}': {self._removals:,} of {counted(counts.before or 0, 'member')} "
            f"{'is' if self._removals == 1 else 'are'} not in stream "
            f"'{self._stream}'{missed}. Removed nobody, added {counts.added:,}. {decision.hint}"
        )
        if decision.action is Action.FAIL:
            counts.after = self._members.count_known()
            raise SegmentError(text, heading=decision.heading)
        self._warn(text)

    def _refuse_second_feeder(self) -> None:
        other = other_feeder(self._store.facts(self._remote.id), self._stream, self._clock.time())
        if other is not None:
            msg = (
                f"Segment '{self._remote.id}' {other}; stream '{self._stream}' would remove whom that one added. "
                f"Nothing of it was changed. {SEPARATE_FEEDERS}"
            )
            raise SegmentError(msg, heading=Heading.SHARED_SEGMENT)

    def _warn(self, text: str) -> None:
        self._counts.warnings.append(text)
        logger.warning("%s", text)
