"""Removals that the last run of a segment held, carried out on the word of whoever started the tap.

Judges everything again but the missing proof. What was begun once, and was cut off, is finished.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from target_statsig.config.settings import RemovalScope
from target_statsig.errors import Heading, SegmentError
from target_statsig.reports.text import counted
from target_statsig.segments.baseline import Baseline
from target_statsig.segments.completeness import Proof, Verdict
from target_statsig.segments.feeders import moment
from target_statsig.segments.guards import Action, Evidence, decide
from target_statsig.segments.removal import remove_all
from target_statsig.store.values import HoldState

if TYPE_CHECKING:
    from target_statsig.clock import Clock
    from target_statsig.config.settings import StreamSettings
    from target_statsig.reports.report import SegmentCounts
    from target_statsig.segments.remote import RemoteSegment
    from target_statsig.store.store import Store
    from target_statsig.store.values import Hold

logger = logging.getLogger(__name__)

RUN_AGAIN = "Run the tap into the target again: that run tells anew who is missing."


class HeldRemovals:
    """What the last run of one segment held."""

    def __init__(
        self, settings: StreamSettings, remote: RemoteSegment, store: Store, counts: SegmentCounts, clock: Clock
    ) -> None:
        """Look at nothing yet.

        Args:
            settings: The settings of the stream that feeds the segment.
            remote: The segment.
            store: What remembers its members.
            counts: The segment's counts in the report.
            clock: The run's clock.
        """
        self._settings = settings
        self._own_only = settings.removal_scope is RemovalScope.OWN
        self._remote = remote
        self._store = store
        self._counts = counts
        self._clock = clock
        self._members = store.members(remote.id)
        self._baseline = Baseline(remote, store)
        self._lock = store.lock(remote.id)

    def apply(self) -> None:
        """Remove those who are held, or say why not.

        Raises:
            SegmentError: Nobody may be removed, or Statsig did not take all of it.
            InterruptedRunError: The run was asked to stop; to apply the same again removes the rest.
        """
        self._lock.acquire()
        try:
            # Under the lock: what was held before it may be gone.
            hold = self._store.hold(self._remote.id)
            if hold is None or hold.state is HoldState.OUTDATED:
                self._refuse_changed("another run came in between")
            self._apply(hold)
        finally:
            self._lock.release()

    def _apply(self, hold: Hold) -> None:
        self._counts.held = hold.removals
        since = self._members.missing().since
        self._counts.held_since = None if since is None else moment(since)
        self._refuse_unfit(hold)
        self._baseline.look(self._remote.check())
        self._counts.before, removals = self._look_at_list(hold)
        self._judge(hold, removals)
        if removals:
            self._store.record_hold(self._remote.id, replace(hold, state=HoldState.APPLYING))
            batches = self._members.held(self._remote.batch_size, own_only=self._own_only)
            remove_all(batches, self._remote, self._members, self._lock, self._clock)
        self._finish(hold)

    def _refuse_unfit(self, hold: Hold) -> None:
        """Refuse what no word can stand for.

        Raises:
            SegmentError: The run did not end well, or more than a proof is missing.
        """
        if hold.state is HoldState.BEGUN:
            self._counts.held = None
            self._refuse("the last run did not finish it, so nobody knows who is missing", RUN_AGAIN)
        if hold.doubt:
            self._counts.held_because = "unproven"
            held = f"{counted(hold.removals, 'member')} {'is' if hold.removals == 1 else 'are'} held"
            self._refuse(f"{held}, and not for want of a proof alone", hold.doubt)

    def _look_at_list(self, hold: Hold) -> tuple[int, int]:
        """Return how many members there are, and how many of them are held.

        Raises:
            SegmentError: They are not those of the run any more.
        """
        drift = self._baseline.drift() if hold.state is HoldState.HELD else None
        if drift is not None:
            self._refuse_changed(drift)
        members = self._baseline.ensure()
        held = self._members.count_held(own_only=self._own_only)
        if members - held != hold.members - hold.removals:
            self._refuse_changed(
                f"not held: {counted(members - held, 'member')} where {hold.members - hold.removals:,} were expected"
            )
        return members, held

    def _judge(self, hold: Hold, removals: int) -> None:
        """Judge all the guards again.

        Raises:
            SegmentError: One of them forbids it.
        """
        decision = decide(
            Evidence(
                verdict=Verdict(Proof.APPLIED, applicable=True),
                rejected=hold.rejected,
                before=hold.before,
                current=hold.current,
                removals=removals,
                on_incomplete_stream=self._settings.on_incomplete_stream,
                max_removal_percent=self._settings.max_removal_percent,
                allow_empty_segment=self._settings.allow_empty_segment,
            )
        )
        if decision.action in {Action.HOLD, Action.FAIL}:
            self._counts.held = removals
            self._counts.held_because = decision.reason.value
            are = "is" if removals == 1 else "are"
            what = f"{removals:,} of {counted(hold.before, 'member')} {are} not in stream '{hold.stream}'"
            self._refuse(what, decision.hint, heading=decision.heading)

    def _finish(self, hold: Hold) -> None:
        """Remember that nothing is held any more, and read back what became of the segment."""
        counts = self._counts
        warning = self._baseline.record(
            added=0, removed=counts.removed, status="complete", stream=hold.stream, at=self._clock.time()
        )
        self._store.record_hold(self._remote.id, None)
        if warning is not None:
            counts.warnings.append(warning)
            logger.warning("%s", warning)
        counts.held, counts.held_since = 0, None
        counts.proof = Proof.APPLIED.value
        counts.after = counts.unchanged = self._members.count_known()
        logger.info(
            "Segment '%s': removed %s whom the last run held; left: %s.",
            self._remote.id,
            counted(counts.removed, "member"),
            f"{counts.after:,}",
        )

    def _refuse_changed(self, drift: str) -> NoReturn:
        self._counts.held_because = "changed"
        self._refuse(drift, RUN_AGAIN, heading=Heading.SHARED_SEGMENT)

    def _refuse(self, what: str, remedy: str, *, heading: Heading = Heading.UNPROVEN) -> NoReturn:
        msg = f"Segment '{self._remote.id}': {what}. Removed nobody. {remedy}"
        raise SegmentError(msg, heading=heading)
