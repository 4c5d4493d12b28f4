"""Whom Statsig has in a segment: from memory where nothing drifted, else read from Statsig.

Tells drift by Statsig's own count and by the list's version.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from target_statsig.errors import Heading, SegmentError
from target_statsig.reports.text import counted

if TYPE_CHECKING:
    from target_statsig.client.console import ListState, Segment
    from target_statsig.segments.remote import RemoteSegment
    from target_statsig.store.store import Store

logger = logging.getLogger(__name__)

READINGS = 3
"""How often a list that changes while it is read is read anew, before that is given up."""


class Baseline:
    """The members of one segment before this run changes them."""

    def __init__(self, remote: RemoteSegment, store: Store) -> None:
        """Know nothing yet."""
        self._remote = remote
        self._store = store
        self._members = store.members(remote.id)
        self._counted = 0

    def look(self, segment: Segment) -> None:
        """Take Statsig's count from the segment, as it is when the run begins."""
        self._counted = segment.count

    def drift(self) -> str | None:
        """Return how the list differs from what the store knows of it, as a sentence; None where nothing says so.

        Raises:
            SegmentError: The list cannot be read.
        """
        return self._drift(self._remote.list_state())

    def ensure(self) -> int:
        """Make sure that the store knows the list, and return how many members it has.

        A run in which nothing drifted reads one small answer here, and no list.

        Raises:
            SegmentError: The list cannot be read, or changes whenever it is read.
        """
        if not self._remembered(self._remote.list_state()):
            self._read()
        return self._members.count_known()

    def record(self, *, added: int, removed: int, status: str, stream: str, at: float) -> str | None:
        """Remember how the sync ended, and read Statsig's count back where something was changed.

        Args:
            added: Members added by this run.
            removed: Members removed by this run.
            status: How the sync ended, in a word.
            stream: The stream that feeds the segment.
            at: When, in seconds since 1970.

        Returns:
            A warning where Statsig counts another number than it should.

        Raises:
            SegmentError: The count cannot be read.
        """
        expected = self._counted + added - removed
        facts = replace(
            self._store.facts(self._remote.id),
            fed_by=stream,
            expected_count=expected,
            last_sync_at=at,
            last_status=status,
            last_added=added,
            last_removed=removed,
        )
        warning = None
        if added or removed:
            segment, state = self._remote.settled()
            facts = replace(facts, list_version=None if state.updating else state.version)
            if segment.count != expected:
                warning = (
                    f"Statsig counts {counted(segment.count, 'member')} of segment '{self._remote.id}', and should "
                    f"count {expected:,}: someone else changes it, or Statsig is still at work. The next run reads the "
                    f"list."
                )
        self._store.record_facts(self._remote.id, facts)
        return warning

    def _remembered(self, state: ListState) -> bool:
        """Return whether the store's knowledge is still good, and say by how much if it is not."""
        if not self._members.is_known():
            return False
        drift = self._drift(state)
        if drift is not None:
            logger.warning("Segment '%s': %s. It is read from Statsig.", self._remote.id, drift)
        return drift is None

    def _drift(self, state: ListState) -> str | None:
        facts = self._store.facts(self._remote.id)
        if facts.expected_count != self._counted:
            expected = "another number" if facts.expected_count is None else f"{facts.expected_count:,}"
            return f"Statsig counts {counted(self._counted, 'member')} where {expected} were expected"
        if None not in {facts.list_version, state.version} and facts.list_version != state.version:
            expected = f"version {state.version} where {facts.list_version} was expected"
            return f"the list was changed by someone else ({expected})"
        return None

    def _read(self) -> None:
        """Read the list, and again where it changed meanwhile."""
        for _ in range(READINGS):
            segment, before = self._remote.settled()
            distinct = self._members.replace_known(self._remote.ids())
            after = self._remote.list_state()
            if not after.updating and after.version == before.version:
                self._counted = segment.count
                facts = replace(
                    self._store.facts(self._remote.id), list_version=after.version, expected_count=segment.count
                )
                self._store.record_facts(self._remote.id, facts)
                logger.info("Segment '%s': read %s from Statsig.", self._remote.id, counted(distinct, "member"))
                return
        self._members.forget()
        msg = (
            f"Segment '{self._remote.id}' changed every time while its list was read ({READINGS} times): someone else "
            f"is at work on it. Nothing of it was changed. Let one job at a time change it, and run again."
        )
        raise SegmentError(msg, heading=Heading.SHARED_SEGMENT)
