"""`--apply-held`: carries out the removals that the last run of each mirrored segment held.

No Singer message says that a tap ended well, but the orchestrator knows: it runs this step only then.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from target_statsig.config.choices import SyncMode
from target_statsig.errors import FatalRunError, Heading, SegmentError
from target_statsig.reports.report import SegmentCounts
from target_statsig.segments.held import RUN_AGAIN, HeldRemovals
from target_statsig.segments.segment import ProjectSize, RemoteSegment
from target_statsig.store.values import HoldState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_statsig.config.settings import StreamSettings
    from target_statsig.run import Run
    from target_statsig.store.values import Hold

logger = logging.getLogger(__name__)

NOTHING = "Nothing is held: there is nobody to remove."


def apply_held(run: Run, segment_id: str | None) -> int:
    """Remove the members that the last run of each segment held, and write the report; errors are kept in the run.

    Args:
        run: The run that does so, which reads no input.
        segment_id: The only segment to do so for; None: all.

    Returns:
        The exit code: 0 where all was applied or nothing was held, 1 where anything was refused or failed, 128 and the
        signal's number when interrupted.
    """
    try:
        _apply(run, segment_id)
    except Exception as error:  # noqa: BLE001 -- whatever fails, the report and the summary say so
        run.fail(error)
    run.conclude()
    return run.exit_code


def _apply(run: Run, segment_id: str | None) -> None:
    if not run.config.mirrors:
        _refuse_segment(segment_id, {})
        logger.info("No stream of this configuration mirrors a segment. %s", NOTHING)
        return
    held = run.store.holds() if run.store_exists else {}
    if segment_id is not None and segment_id not in held:
        known = segment_id in run.config.mirrored_segments or (
            run.store_exists and run.store.facts(segment_id).fed_by is not None
        )
        _refuse_segment(None if known else segment_id, held)
        held = {}
    elif segment_id is not None:
        held = {segment_id: held[segment_id]}
    if not held:
        logger.info(NOTHING)
    for name, hold in held.items():
        try:
            _apply_one(run, name, hold, asked=segment_id is not None)
        except SegmentError as error:
            run.fail(error)


def _apply_one(run: Run, segment_id: str, hold: Hold, *, asked: bool) -> None:
    settings = run.config.mirrored(hold.stream, segment_id)
    if settings is None:
        text = (
            f"Segment '{segment_id}' was mirrored from stream '{hold.stream}', which this configuration does not "
            f"mirror into it. Removed nobody."
        )
        if asked:
            msg = f"{text} Use the configuration that mirrors it"
            raise FatalRunError(msg, heading=Heading.SETTINGS)
        logger.info(text)
        return
    if hold.state is HoldState.OUTDATED:
        logger.info(
            "Segment '%s': the last run did not bring stream '%s', so what an earlier one held stays held. %s",
            segment_id,
            hold.stream,
            RUN_AGAIN,
        )
        return
    counts = SegmentCounts(SyncMode.MIRROR)
    run.report.members(hold.stream).segments[segment_id] = counts
    _held_removals(run, segment_id, settings, counts).apply()


def _held_removals(run: Run, segment_id: str, settings: StreamSettings, counts: SegmentCounts) -> HeldRemovals:
    # A segment that is gone has no members to remove: do not create an empty one.
    settings = replace(settings, create_segment=False)
    size = run.settings.segment_batch_size
    remote = RemoteSegment(segment_id, settings, run.console, counts, run.clock, size, ProjectSize())
    return HeldRemovals(remote, run.store, run.clock)


def _refuse_segment(segment_id: str | None, held: Mapping[str, Hold]) -> None:
    """Refuse an unknown segment, and name those with held removals.

    Raises:
        FatalRunError: There is such a segment.
    """
    if segment_id is not None:
        names = ", ".join(f"'{name}'" for name in held) or "none"
        msg = (
            f"`--segment {segment_id}` names no segment that is mirrored. Held are removals of: {names}. Removed nobody"
        )
        raise FatalRunError(msg, heading=Heading.SETTINGS)
