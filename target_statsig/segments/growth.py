"""What is said of a list before it grows: lines that it crosses, and limits that it must not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from target_statsig.client.console import MAX_IDS
from target_statsig.errors import Heading, SegmentError
from target_statsig.reports.text import counted
from target_statsig.segments.sizes import crossings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from target_statsig.reports.report import SegmentCounts
    from target_statsig.segments.remote import RemoteSegment

logger = logging.getLogger(__name__)


class ProjectRoom:
    """How many ids all lists of the project hold: read when it can first matter, and counted on from there."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._held: int | None = None

    def after(self, remote: RemoteSegment, new: int) -> int:
        """Return how many ids the project would hold with so many more, or 0 where that cannot matter.

        What fits in one request Statsig refuses whole, and nothing was changed; more are not to be half of them there.

        Raises:
            SegmentError: Statsig's lists cannot be read.
        """
        if self._held is None:
            if new <= remote.batch_size:
                return 0
            self._held = remote.ids_in_project()
        return self._held + new

    def take(self, new: int) -> None:
        """Count ids that are added."""
        if self._held is not None:
            self._held += new

    def forget(self) -> None:
        """Read the sum anew when it matters again."""
        self._held = None


class Growth:
    """Watches over the size of one list."""

    def __init__(self, remote: RemoteSegment, room: ProjectRoom, counts: SegmentCounts, limit: int | None) -> None:
        """Take what is watched.

        Args:
            remote: The segment.
            room: What is left in the project.
            counts: The segment's counts in the report, for the warnings.
            limit: The setting `max_segment_size`.
        """
        self._remote = remote
        self._room = room
        self._counts = counts
        self._limit = limit
        self._most = 0

    def begin(self, members: int) -> None:
        """Take how many members the list has."""
        self._most = members

    def foresee(self, before: int, new: int) -> None:
        """Say what is to be said before so many new members are added.

        Args:
            before: Members of the list.
            new: Ids that are added and are no members.

        Raises:
            SegmentError: That is more than `max_segment_size`, or than a project may hold; or it cannot be told.
        """
        after = before + new
        grows = f"would grow from {before:,} to {counted(after, 'member')}"
        if new and self._limit is not None and after > self._limit:
            why = f"{grows}, and `max_segment_size` allows {self._limit:,}"
            raise self._too_large(why, "Narrow the audience, or raise the setting.")
        in_project = self._room.after(self._remote, new)
        if in_project > MAX_IDS:
            why = f"{grows}, and all lists of the project to {in_project:,}; Statsig takes {MAX_IDS:,}"
            raise self._too_large(why, "Narrow the audience, or empty lists that are of no use any more.")
        self._room.take(new)
        self._most = after
        for meaning in crossings(before, after):
            text = f"Segment '{self._remote.id}' grows from {before:,} to {counted(after, 'member')}, {meaning}."
            self._counts.warnings.append(text)
            logger.warning("%s", text)

    def allow(self, ids: int, known: Callable[[Sequence[str]], Collection[str]]) -> None:
        """Say what is to be said before ids are added of whom some may be members; read the list where that matters.

        Args:
            ids: How many.
            known: Returns which of some members are among them.

        Raises:
            SegmentError: As `foresee`.
        """
        most = self._most + ids
        too_many = self._limit is not None and most > self._limit
        if too_many or crossings(self._most, most) or self._room.after(self._remote, ids) > MAX_IDS:
            # Counted on were ids that may have been members before.
            self._room.forget()
            members, among_them = self._remote.count_known(known)
            self.foresee(members, ids - among_them)
        else:
            self._room.take(ids)
            self._most = most

    def _too_large(self, why: str, remedy: str) -> SegmentError:
        changed = "No more" if self._counts.requests else "Nothing"
        msg = f"Segment '{self._remote.id}' {why}. {changed} of it was changed. {remedy}"
        return SegmentError(msg, heading=Heading.SEGMENT_SIZE)
