"""A segment that mirrors its stream: adds ids that are new in the stream and, with a proof, removes missing ones.

Gathers the whole audience in the store, compares it with the list in Statsig, sends additions first and removals last.
`completeness` says what is proven, and whether members may be removed.

The store remembers the list. It is read again from Statsig if it has drifted, which shows in Statsig's count and in the
list's version. Neither shows every change, so the list is also read every `full_check_days`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from typing_extensions import override

from target_statsig.clock import iso_time
from target_statsig.config.choices import RemovalScope
from target_statsig.errors import Heading, SegmentError
from target_statsig.reports.text import counted
from target_statsig.segments.changes import SegmentSync
from target_statsig.segments.completeness import Action, Decision, decide
from target_statsig.segments.segment import DAY, other_feeder
from target_statsig.store.tables import Hold, HoldState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from target_statsig.clock import Clock
    from target_statsig.commands.run import Run
    from target_statsig.segments.changes import Changes
    from target_statsig.segments.completeness import Verdict
    from target_statsig.segments.segment import RemoteSegment
    from target_statsig.store.store import Store

logger = logging.getLogger(__name__)

READINGS = 3
"""Attempts to read a list that changes while it is read."""


class Baseline:
    """The known members of one mirrored segment, updated as Statsig acknowledges requests.

    Its lock is not taken yet. Each method that asks Statsig raises SegmentError if that fails.
    """

    def __init__(self, remote: RemoteSegment, store: Store, clock: Clock) -> None:
        self.remote = remote
        self.members = store.members(remote.id)
        self.lock = store.lock(remote.id)
        self._store = store
        self._clock = clock
        self._counted = 0
        """Members that Statsig counted before this run changed any."""

    @property
    def own_only(self) -> bool:
        """Whether only members that this target added may be removed."""
        return self.remote.settings.removal_scope is RemovalScope.OWN

    def begin(self) -> None:
        """Check the segment, and note Statsig's count at the start of the run."""
        self._counted = self.remote.check().count

    def drift(self) -> str | None:
        """Return how the list differs from what the store knows, as a sentence; None if no difference shows."""
        facts, version = self._store.facts(self.remote.id), self.remote.list_state().version
        if facts.expected_count != self._counted:
            expected = "another number" if facts.expected_count is None else f"{facts.expected_count:,}"
            return f"Statsig counts {counted(self._counted, 'member')}, but the store expected {expected}"
        if None not in {facts.list_version, version} and facts.list_version != version:
            return f"the list was changed by someone else (version {version}, expected {facts.list_version})"
        return None

    def ensure(self) -> int:
        """Make sure that the store knows the list, and return how many members it has.

        Without drift it reads one small answer, and the list only after `full_check_days`. Raises SegmentError also if
        the list changed during each reading.
        """
        read_at = self._store.facts(self.remote.id).list_read_at
        # A member exchanged for another shows in no count. A future time was recorded before the clock was set back.
        most = self.remote.settings.full_check_days * DAY
        is_due = read_at is None or not 0 <= self._clock.time() - read_at < most
        is_known = self.members.is_known()
        drift = self.drift() if is_known else None
        if drift is not None:
            logger.warning("Segment '%s': %s. The list is read again from Statsig.", self.remote.id, drift)
        if not is_known or drift is not None or is_due:
            self._read()
        return self.members.count_known()

    def add(self, batches: Iterable[Sequence[str]]) -> None:
        """Add members, one request per batch, and record each acknowledged request.

        Raises:
            SegmentError: Statsig did not take them, or the lock was lost.
            InterruptedRunError: The run was asked to stop.
        """
        self._change(batches, self.remote.add, self.members.record_added)

    def remove(self, batches: Iterable[Sequence[str]]) -> None:
        """Remove members, as `add` adds them. This is the only way in which a mirror removes members."""
        self._change(batches, self.remote.remove, self.members.record_removed)

    def _change(self, batches: Iterable[Sequence[str]], *steps: Callable[[Sequence[str]], None]) -> None:
        for batch in batches:
            self._clock.sleep(0)  # raises where a signal came
            self.lock.check()
            for step in steps:
                step(batch)

    def record(self, stream: str) -> None:
        """Record that a stream was synced. After changes, read Statsig's count back and warn if it is wrong."""
        added, removed = self.remote.counts.added, self.remote.counts.removed
        expected = members = self._counted + added - removed
        if added or removed:
            segment, state = self.remote.settled()
            members = segment.count
            self._store.record_facts(self.remote.id, list_version=None if state.updating else state.version)
        self._store.record_facts(
            self.remote.id, fed_by=stream, expected_count=expected, last_sync_at=self._clock.time()
        )
        if members != expected:
            self.remote.warn(
                f"Statsig counts {counted(members, 'member')} of segment '{self.remote.id}', but {expected:,} were "
                "expected. Someone else is changing it, or Statsig has not finished. The next run reads the list again."
            )

    def _read(self) -> None:
        """Read the list, and again if it changed meanwhile."""
        for _ in range(READINGS):
            segment, before = self.remote.settled()
            distinct = self.members.replace_known(self.remote.ids())
            after = self.remote.list_state()
            if not after.updating and after.version == before.version:
                self._counted = segment.count
                read = {"list_version": after.version, "expected_count": segment.count}
                self._store.record_facts(self.remote.id, list_read_at=self._clock.time(), **read)
                logger.info("Segment '%s': read %s from Statsig.", self.remote.id, counted(distinct, "member"))
                return
        self.members.forget()
        msg = (
            f"Segment '{self.remote.id}' changed during each of {READINGS} readings of its list, so someone else is "
            "changing it. Nothing in it was changed. Let only one job change it, and run again."
        )
        raise SegmentError(msg, heading=Heading.SHARED_SEGMENT)


class MirrorSync(SegmentSync):
    """Makes a segment equal its stream."""

    def __init__(self, stream: str, remote: RemoteSegment, run: Run) -> None:
        """Open the store, and only then use the Console API: its limits on requests are in the store."""
        self.remote = remote
        self._stream = stream
        self._store = run.store
        self._clock = run.clock
        self._baseline = Baseline(remote, run.store, run.clock)
        self._members = self._baseline.members
        self._audience = run.store.audience(remote.id)
        self._decision = Decision(Action.NOTHING_TO_REMOVE)
        self._hold = Hold(stream)

    @override
    def begin(self) -> None:
        self._baseline.lock.acquire()
        # What the last run held is out of date, however this run ends.
        self._store.record_hold(self.remote.id, self._hold)
        if other := other_feeder(self._store.facts(self.remote.id), self._stream, self._clock.time()):
            raise self.remote.unfit(other)
        self._baseline.begin()

    @override
    def add_changes(self, changes: Changes) -> None:
        self._audience.take(changes)

    @override
    def plan(self, verdict: Verdict, *, rejected: int) -> None:
        counts, settings, own_only = self.remote.counts, self.remote.settings, self._baseline.own_only
        if own_only and not self._members.is_known():
            self.remote.warn(
                f"Segment '{self.remote.id}': the store does not know yet which members this target added, as in a "
                "first run or after the store was lost, so `removal_scope: own` removes none of them in this run."
            )
        counts.before = self._baseline.ensure()
        added, removed = self._audience.plan(own_only=own_only)
        current = self._audience.count()
        counts.unchanged = current - added
        self.remote.check_growth(counts.before, added)
        self._audience.clear_missing()
        counts.proof = verdict.proof.value
        self._hold = Hold(
            self._stream,
            HoldState.HELD,
            before=counts.before,
            members=counts.before + added,
            removals=removed,
            current=current,
            rejected=rejected,
            doubt="" if verdict.applicable else verdict.hint,
        )
        self._decision = decide(verdict, self._hold, settings)

    @property
    @override
    def unsent(self) -> tuple[int, int]:
        counts, hold = self.remote.counts, self._hold
        removals = hold.removals if self._decision.action is Action.REMOVE else 0
        return hold.members - hold.before - counts.added, max(removals - counts.removed, 0)

    @override
    def add(self) -> None:
        self._baseline.add(self._audience.additions(self.remote.batch_size))

    @override
    def remove(self) -> None:
        if self._decision.action is Action.REMOVE:
            self._baseline.remove(self._audience.removals(self.remote.batch_size))
        elif self._decision.action is not Action.NOTHING_TO_REMOVE:
            self._hold_back(self._decision)

    @override
    def close(self) -> None:
        counts = self.remote.counts
        self._baseline.record(self._stream)
        self._store.record_hold(self.remote.id, self._hold if counts.held else None)
        counts.after = self._members.count_known()
        self._audience.close()
        self._baseline.lock.release()

    @override
    def fail(self) -> None:
        super().fail()
        if self.remote.counts.held_because is None:  # otherwise a guard has set the number of held members
            self.remote.counts.held = None
        self._baseline.lock.release()

    @override
    def keep(self) -> None:
        """Keep nothing: without the end of the input, the missing members are not known. The report says so."""
        if self.remote.counts.after is None:
            self.fail()

    def _hold_back(self, decision: Decision) -> None:
        """Remember the missing members, and report why none was removed."""
        now = self._clock.time()
        for batch in self._audience.removals(self.remote.batch_size):
            self._members.mark_missing(batch, now)
        since = self._members.missing_since()
        counts, missing = self.remote.counts, self._hold.removals
        counts.held = missing
        counts.held_since = None if since is None else iso_time(since)
        counts.held_because = decision.reason.value
        missed = f" (the first since {counts.held_since})" if counts.held_since else ""
        text = (
            f"Segment '{self.remote.id}': {missing:,} of {counted(counts.before or 0, 'member')} "
            f"{'is' if missing == 1 else 'are'} not in stream '{self._stream}'{missed}. Removed none and added "
            f"{counts.added:,}. {decision.hint}"
        )
        if decision.action is Action.FAIL:
            counts.after = self._members.count_known()
            raise SegmentError(text, heading=decision.heading)
        self.remote.warn(text)
