"""The members of a mirrored segment as the store remembers them: read from Statsig anew where the list has drifted.

Drift shows in Statsig's own count and in the list's version. Neither shows every change for sure, so the list is also
read every `full_check_days`.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from target_statsig.config.choices import RemovalScope
from target_statsig.errors import Heading, SegmentError
from target_statsig.reports.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from target_statsig.clock import Clock
    from target_statsig.segments.segment import RemoteSegment
    from target_statsig.store.store import Store

logger = logging.getLogger(__name__)

DAY = 86_400

READINGS = 3
"""How often a list that changes while it is read is read anew, before the run gives up on it."""


class Baseline:
    """One mirrored segment with its remembered members, which change as Statsig acknowledges requests.

    Each method that asks Statsig raises SegmentError where that fails.

    Attributes:
        remote: The segment.
        members: What the store knows of its members.
        lock: The segment's lock, not taken yet.
    """

    def __init__(self, remote: RemoteSegment, store: Store, clock: Clock) -> None:
        self.remote = remote
        self.members = store.members(remote.id)
        self.lock = store.lock(remote.id)
        self._store = store
        self._clock = clock
        self._counted = 0
        """Members that Statsig counts, before this run changes any."""

    @property
    def own_only(self) -> bool:
        """Whether only members that this target added may be removed."""
        return self.remote.settings.removal_scope is RemovalScope.OWN

    def begin(self) -> None:
        """Check the segment, and take Statsig's count as it is when the run begins."""
        self._counted = self.remote.check().count

    def drift(self) -> str | None:
        """Return how the list differs from what the store knows of it, as a sentence; None where nothing shows it."""
        facts, version = self._store.facts(self.remote.id), self.remote.list_state().version
        if facts.expected_count != self._counted:
            expected = "another number" if facts.expected_count is None else f"{facts.expected_count:,}"
            return f"Statsig counts {counted(self._counted, 'member')} where {expected} were expected"
        if None not in {facts.list_version, version} and facts.list_version != version:
            expected = f"version {version} where {facts.list_version} was expected"
            return f"the list was changed by someone else ({expected})"
        return None

    def ensure(self) -> int:
        """Make sure that the store knows the list, and return how many members it has.

        Where nothing drifted that reads one small answer, and no list unless `full_check_days` have passed.

        Raises:
            SegmentError: The list cannot be read, or changes whenever it is read.
        """
        if not self.members.is_known():
            self._read()
        elif (drift := self.drift()) is not None:
            logger.warning("Segment '%s': %s. It is read from Statsig.", self.remote.id, drift)
            self._read()
        elif self._is_check_due():
            self._read()
        return self.members.count_known()

    def add(self, batches: Iterable[Sequence[str]]) -> None:
        """Add members, and remember each request that was acknowledged.

        Args:
            batches: The ids, those of one request at a time.

        Raises:
            SegmentError: Statsig did not take them, or the lock was lost.
            InterruptedRunError: The run was asked to stop.
        """
        for batch in batches:
            self._check_may_go_on()
            self.remote.add(batch)
            self.members.record_added(batch)

    def remove(self, batches: Iterable[Sequence[str]]) -> None:
        """Remove members, as `add` adds them. A mirror removes members in no other way."""
        for batch in batches:
            self._check_may_go_on()
            self.remote.remove(batch)
            self.members.record_removed(batch)

    def _check_may_go_on(self) -> None:
        self._clock.sleep(0)  # raises where a signal came
        self.lock.check()

    def record(self, *, status: str, stream: str) -> None:
        """Remember how the sync ended; read Statsig's count back where something changed, and warn if it is wrong."""
        added, removed = self.remote.counts.added, self.remote.counts.removed
        expected = self._counted + added - removed
        facts = replace(
            self._store.facts(self.remote.id),
            fed_by=stream,
            expected_count=expected,
            last_sync_at=self._clock.time(),
            last_status=status,
            last_added=added,
            last_removed=removed,
        )
        counts_now = expected
        if added or removed:
            segment, state = self.remote.settled()
            facts = replace(facts, list_version=None if state.updating else state.version)
            counts_now = segment.count
        self._store.record_facts(self.remote.id, facts)
        if counts_now != expected:
            self.remote.warn(
                f"Statsig counts {counted(counts_now, 'member')} of segment '{self.remote.id}', and should count "
                f"{expected:,}: someone else changes it, or Statsig is still at work. The next run reads the list."
            )

    def _is_check_due(self) -> bool:
        """Return whether `full_check_days` have passed: one member swapped for another shows in no count."""
        read_at = self._store.facts(self.remote.id).list_read_at
        most = self.remote.settings.full_check_days * DAY
        # A time to come was recorded before the clock was set back.
        return read_at is None or not 0 <= self._clock.time() - read_at < most

    def _read(self) -> None:
        """Read the list, and again where it changed meanwhile."""
        for _ in range(READINGS):
            segment, before = self.remote.settled()
            distinct = self.members.replace_known(self.remote.ids())
            after = self.remote.list_state()
            if not after.updating and after.version == before.version:
                self._counted = segment.count
                known = self._store.facts(self.remote.id)
                facts = replace(
                    known,
                    list_version=after.version,
                    expected_count=segment.count,
                    list_read_at=self._clock.time(),
                )
                self._store.record_facts(self.remote.id, facts)
                logger.info("Segment '%s': read %s from Statsig.", self.remote.id, counted(distinct, "member"))
                return
        self.members.forget()
        msg = (
            f"Segment '{self.remote.id}' changed every time while its list was read ({READINGS} times): someone else "
            f"is at work on it. Nothing of it was changed. Let one job at a time change it, and run again."
        )
        raise SegmentError(msg, heading=Heading.SHARED_SEGMENT)
