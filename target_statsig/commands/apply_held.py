"""`--apply-held`: removes the members that the last run of each mirrored segment held.

No Singer message says that a tap ended well. The scheduler knows, and runs this step only then.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from target_statsig.clock import iso_time
from target_statsig.config.choices import SyncMode
from target_statsig.errors import FatalRunError, Heading, SegmentError
from target_statsig.reports.report import SegmentCounts
from target_statsig.reports.text import counted
from target_statsig.segments.completeness import Action, Proof, Verdict, decide
from target_statsig.segments.mirror import Baseline
from target_statsig.segments.segment import RemoteSegment
from target_statsig.store.tables import Command, HoldState

if TYPE_CHECKING:
    from target_statsig.commands.run import Run
    from target_statsig.config.settings import StreamSettings
    from target_statsig.store.store import Store
    from target_statsig.store.tables import Hold

logger = logging.getLogger(__name__)

RUN_AGAIN = "Run the tap into the target again to find the missing members anew."


def apply_held(run: Run, segment_id: str | None = None) -> int:
    """Remove the members that the last run of each segment held, or of one segment only, and write the report.

    Errors are kept in the run. Returns the exit code: 0 if all was applied or nothing was held, 1 if anything was
    refused or failed, 128 plus the signal's number if interrupted.
    """
    run.command = Command.APPLY_HELD
    try:
        held = _held(run, segment_id)
        if not held:
            logger.info("No member is held, so none is removed.")
        for name, (hold, settings) in held.items():
            try:
                _apply(run, name, hold, settings)
            except SegmentError as error:
                run.fail(error)
    except Exception as error:  # noqa: BLE001 -- whatever fails, the report and the summary say so
        run.fail(error)
    run.conclude()
    return run.report.exit_code


def _held(run: Run, segment_id: str | None) -> dict[str, tuple[Hold, StreamSettings]]:
    """Return what is held in the segments that this configuration mirrors, or in one segment only."""
    mirrored = run.config.mirrored_segments
    store = run.store if mirrored and run.store_exists else None
    holds = store.holds() if store else {}
    # Several configurations may share a store, each with its own step.
    held = {
        name: (hold, settings)
        for name, hold in holds.items()
        if (settings := run.config.mirrored(hold.stream, name)) is not None
    }
    if segment_id is None:
        return held
    if segment_id in held:
        return {segment_id: held[segment_id]}
    if segment_id not in holds and (segment_id in mirrored or (store and store.facts(segment_id).fed_by)):
        return {}  # a mirror without a hold
    names = ", ".join(f"'{name}'" for name in held) or "none"
    msg = (
        f"`--segment {segment_id}` is not a segment that this configuration mirrors. Segments with held removals: "
        f"{names}. No member was removed"
    )
    raise FatalRunError(msg, heading=Heading.SETTINGS)


def _apply(run: Run, segment_id: str, hold: Hold, settings: StreamSettings) -> None:
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
    remote = RemoteSegment(segment_id, replace(settings, create_segment=False), counts, run)
    baseline = Baseline(remote, run.store, run.clock)
    baseline.lock.acquire()
    try:
        _remove_held(baseline, run.store, hold)
    finally:
        baseline.lock.release()


def _remove_held(baseline: Baseline, store: Store, hold: Hold) -> None:
    """Remove the held members of a segment whose lock is taken, and record that nothing is held any more."""
    remote, members, counts = baseline.remote, baseline.members, baseline.remote.counts
    # The scheduler's word is about the run whose hold was read. Another may have come before the lock was taken.
    if store.holds().get(remote.id) != hold:
        raise _changed(remote, "another run came in between")
    _check_hold(baseline, hold)
    baseline.begin()
    removals = _count_held(baseline, hold)
    _check_guards(remote, hold, removals)
    if removals:
        store.record_hold(remote.id, replace(hold, state=HoldState.APPLYING))
        baseline.remove(members.held(remote.batch_size, own_only=baseline.own_only))
    baseline.record(hold.stream)
    store.record_hold(remote.id, None)
    counts.held, counts.held_since = 0, None
    counts.proof = Proof.APPLIED.value
    counts.after = counts.unchanged = members.count_known()
    logger.info(
        "Segment '%s': removed %s that the last run held. Members now: %s.",
        remote.id,
        counted(counts.removed, "member"),
        f"{counts.after:,}",
    )


def _check_hold(baseline: Baseline, hold: Hold) -> None:
    remote, counts = baseline.remote, baseline.remote.counts
    counts.held = hold.removals
    since = baseline.members.missing_since()
    counts.held_since = None if since is None else iso_time(since)
    if hold.state is HoldState.BEGUN:
        counts.held = None
        raise _refusal(remote, "the last run did not finish it, so the missing members are not known", RUN_AGAIN)
    if hold.doubt:
        counts.held_because = "unproven"
        held = f"{counted(hold.removals, 'member')} {'is' if hold.removals == 1 else 'are'} held"
        raise _refusal(remote, f"{held}, and more than a proof is missing", hold.doubt)


def _count_held(baseline: Baseline, hold: Hold) -> int:
    """Return the number of held members; refuse if the list has changed."""
    if hold.state is HoldState.HELD and (drift := baseline.drift()) is not None:
        raise _changed(baseline.remote, drift)
    members = baseline.remote.counts.before = baseline.ensure()
    held = baseline.members.count_held(own_only=baseline.own_only)
    stay, expected = members - held, hold.members - hold.removals
    if stay != expected:
        drift = f"it has {counted(stay, 'member')} that are not held, but {expected:,} were expected"
        raise _changed(baseline.remote, drift)
    return held


def _check_guards(remote: RemoteSegment, hold: Hold, removals: int) -> None:
    decision = decide(Verdict(Proof.APPLIED, applicable=True), replace(hold, removals=removals), remote.settings)
    if decision.action in {Action.HOLD, Action.FAIL}:
        remote.counts.held, remote.counts.held_because = removals, decision.reason.value
        are = "is" if removals == 1 else "are"
        what = f"{removals:,} of {counted(hold.before, 'member')} {are} not in stream '{hold.stream}'"
        raise _refusal(remote, what, decision.hint, decision.heading)


def _changed(remote: RemoteSegment, drift: str) -> SegmentError:
    remote.counts.held_because = "changed"
    return _refusal(remote, drift, RUN_AGAIN, Heading.SHARED_SEGMENT)


def _refusal(remote: RemoteSegment, what: str, remedy: str, heading: Heading = Heading.UNPROVEN) -> SegmentError:
    return SegmentError(f"Segment '{remote.id}': {what}. No member was removed. {remedy}", heading=heading)
