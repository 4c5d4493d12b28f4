"""What is said of changes that rows asked for and that this run leaves to the next one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from target_statsig.reports.text import counted

if TYPE_CHECKING:
    from target_statsig.reports.report import SegmentCounts
    from target_statsig.store.members import Pending

logger = logging.getLogger(__name__)


def tell_kept(segment_id: str, pending: Pending | None, counts: SegmentCounts) -> None:
    """Count what is kept at the end of a run, and say so.

    Args:
        segment_id: The segment.
        pending: What is kept; None where nothing ever was.
        counts: The segment's counts in the report.

    Raises:
        StoreError: The store cannot be read.
    """
    counts.kept = 0 if pending is None else pending.count()
    if counts.kept:
        changes = counted(counts.kept, "change is kept", "changes are kept")
        logger.warning("Segment '%s': %s in the store; the next run sends them first.", segment_id, changes)
