"""`--apply-held`: removes the members that the last run of each mirrored segment held.

No Singer message says that a tap ended well. The scheduler knows, and runs this step only then.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from target_statsig.config.choices import SyncMode
from target_statsig.errors import FatalRunError, Heading, SegmentError
from target_statsig.reports.report import SegmentCounts
from target_statsig.reports.text import counted, iso_time
from target_statsig.segments.completeness import Proof, Verdict
from target_statsig.segments.mirror import Action, Baseline, decide
from target_statsig.segments.segment import RemoteSegment
from target_statsig.store.tables import Command, HoldState

if TYPE_CHECKING:
    from target_statsig.clock import Clock
    from target_statsig.commands.run import Run
    from target_statsig.store.store import Store
    from target_statsig.store.tables import Hold

logger = logging.getLogger(__name__)

RUN_AGAIN = "Run the tap into the target again to find the missing members anew."

NOTHING = "No member is held, so none is removed."


def apply_held(run: Run, segment_id: str | None) -> int:
    """Remove the members that the last run of each segment held, or of one segment only, and write the report.

    Errors are kept in the run. Returns the exit code: 0 if all was applied or nothing was held, 1 if anything was
    refused or failed, 128 plus the signal's number if interrupted.
    """
    run.command = Command.APPLY_HELD
    try:
        for name, hold in _holds(run, segment_id).items():
            try:
                _apply(run, name, hold)
            except SegmentError as error:
                run.fail(error)
    except Exception as error:  # noqa: BLE001 -- whatever fails, the report and the summary say so
        run.fail(error)
    run.conclude()
    return run.exit_code


def _holds(run: Run, segment_id: str | None) -> dict[str, Hold]:
    """Return what is held in the segments that this configuration mirrors, or in one segment only."""
    mirrored = run.config.mirrored_segments
    held = run.store.holds() if mirrored and run.store_exists else {}
    if segment_id is None:
        # Several configurations may share a store, each with its own step.
        held = {name: hold for name, hold in held.items() if run.config.mirrored(hold.stream, name) is not None}
    elif segment_id in held:
        held = {segment_id: held[segment_id]}
    elif segment_id in mirrored or (mirrored and run.store_exists and run.store.facts(segment_id).fed_by is not None):
        held = {}  # a mirror without a hold
    else:
        names = ", ".join(f"'{name}'" for name in held) or "none"
        msg = (
            f"`--segment {segment_id}` is not a mirrored segment. Segments with held removals: {names}. No member "
            "was removed"
        )
        raise FatalRunError(msg, heading=Heading.SETTINGS)
    if not mirrored:
        logger.info("No stream of this configuration mirrors a segment. %s", NOTHING)
    elif not held:
        logger.info(NOTHING)
    return held


def _apply(run: Run, segment_id: str, hold: Hold) -> None:
    settings = run.config.mirrored(hold.stream, segment_id)
    if settings is None:
        msg = (
            f"Segment '{segment_id}' was mirrored from stream '{hold.stream}', but this configuration does not mirror "
            "that stream into it. No member was removed. Use the configuration that mirrors it"
        )
        raise FatalRunError(msg, heading=Heading.SETTINGS)
    if hold.state is HoldState.OUTDATED:
        logger.info(
            "Segment '%s': the last run did not contain stream '%s', so what an earlier run held stays held. %s",
            segment_id,
            hold.stream,
            RUN_AGAIN,
        )
        return
    counts = SegmentCounts(SyncMode.MIRROR)
    run.report.members(hold.stream).segments[segment_id] = counts
    # A deleted segment has no members to remove: do not create an empty one.
    settings = replace(settings, create_segment=False)
    remote = RemoteSegment(segment_id, settings, counts, run)
    HeldRemovals(remote, run.store, run.clock).apply()


class HeldRemovals:
    """What the last run of one segment held."""

    def __init__(self, remote: RemoteSegment, store: Store, clock: Clock) -> None:
        self._remote = remote
        self._counts = remote.counts
        self._store = store
        self._baseline = Baseline(remote, store, clock)
        self._members = self._baseline.members

    def apply(self) -> None:
        """Remove the held members.

        Raises:
            SegmentError: No member may be removed, or Statsig refused a request; the text says why.
            InterruptedRunError: The run was asked to stop. Another `--apply-held` removes the rest.
        """
        baseline = self._baseline
        baseline.lock.acquire()
        try:
            # Read under the lock: another run may have changed it before.
            hold = self._store.holds().get(self._remote.id)
            if hold is None or hold.state is HoldState.OUTDATED:
                self._refuse_changed("another run came in between")
            self._check_hold(hold)
            baseline.begin()
            removals = self._count_held(hold)
            self._check_guards(hold, removals)
            if removals:
                self._store.record_hold(self._remote.id, replace(hold, state=HoldState.APPLYING))
                baseline.remove(self._members.held(self._remote.batch_size, own_only=baseline.own_only))
            self._finish(hold.stream)
        finally:
            baseline.lock.release()

    def _check_hold(self, hold: Hold) -> None:
        """Refuse if the run did not end well, or if more than a proof is missing."""
        self._counts.held = hold.removals
        since = self._members.missing_since()
        self._counts.held_since = None if since is None else iso_time(since)
        if hold.state is HoldState.BEGUN:
            self._counts.held = None
            self._refuse("the last run did not finish it, so the missing members are not known", RUN_AGAIN)
        if hold.doubt:
            self._counts.held_because = "unproven"
            held = f"{counted(hold.removals, 'member')} {'is' if hold.removals == 1 else 'are'} held"
            self._refuse(f"{held}, and more than a proof is missing", hold.doubt)

    def _count_held(self, hold: Hold) -> int:
        """Return the number of held members; refuse if the list has changed."""
        drift = self._baseline.drift() if hold.state is HoldState.HELD else None
        if drift is not None:
            self._refuse_changed(drift)
        members = self._baseline.ensure()
        held = self._members.count_held(own_only=self._baseline.own_only)
        if members - held != hold.members - hold.removals:
            self._refuse_changed(
                f"it has {counted(members - held, 'member')} that are not held, but "
                f"{hold.members - hold.removals:,} were expected"
            )
        self._counts.before = members
        return held

    def _check_guards(self, hold: Hold, removals: int) -> None:
        """Refuse if a guard forbids it under the present settings."""
        verdict = Verdict(Proof.APPLIED, applicable=True)
        decision = decide(verdict, replace(hold, removals=removals), self._remote.settings)
        if decision.action in {Action.HOLD, Action.FAIL}:
            self._counts.held = removals
            self._counts.held_because = decision.reason.value
            are = "is" if removals == 1 else "are"
            what = f"{removals:,} of {counted(hold.before, 'member')} {are} not in stream '{hold.stream}'"
            self._refuse(what, decision.hint, heading=decision.heading)

    def _finish(self, stream: str) -> None:
        """Record that nothing is held any more, and read the segment's count back."""
        counts = self._counts
        self._baseline.record(status="complete", stream=stream)
        self._store.record_hold(self._remote.id, None)
        counts.held, counts.held_since = 0, None
        counts.proof = Proof.APPLIED.value
        counts.after = counts.unchanged = self._members.count_known()
        logger.info(
            "Segment '%s': removed %s that the last run held. Members now: %s.",
            self._remote.id,
            counted(counts.removed, "member"),
            f"{counts.after:,}",
        )

    def _refuse_changed(self, drift: str) -> NoReturn:
        self._counts.held_because = "changed"
        self._refuse(drift, RUN_AGAIN, heading=Heading.SHARED_SEGMENT)

    def _refuse(self, what: str, remedy: str, *, heading: Heading = Heading.UNPROVEN) -> NoReturn:
        msg = f"Segment '{self._remote.id}': {what}. No member was removed. {remedy}"
        raise SegmentError(msg, heading=heading)
