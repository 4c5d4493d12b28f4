"""One segment as Statsig has it: checked before the first change, changed in full requests, read back.

Turns what Statsig says into an error that a person can act on.
"""

from __future__ import annotations

import itertools
from http import HTTPStatus
from typing import TYPE_CHECKING

from target_statsig.client.console import ID_LIST, USER_STORE_LIST
from target_statsig.errors import RefusedError, RequestError, SegmentError
from target_statsig.segments.fit import misfit, missing, statsig_id_type

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from target_statsig.client.console import ConsoleClient, ListState, Segment
    from target_statsig.clock import Clock
    from target_statsig.config.settings import StreamSettings
    from target_statsig.reports.report import SegmentCounts
    from target_statsig.segments.fit import Misfit

USER_STORE_BATCH = 1_000
"""Ids that one request about a list in the user store takes at most: https://docs.statsig.com/console-api/segments."""

UPDATE_POLLS = 5
UPDATE_POLL_SECONDS = 2.0
"""How often and how long to wait for Statsig to finish an update before its count is read back."""

READ_BETWEEN_LOOKS = 1_000
"""Ids read before it is looked again whether the run was asked to stop."""


class RemoteSegment:
    """One ID list in Statsig.

    Attributes:
        id: The segment's id.
    """

    def __init__(
        self,
        segment_id: str,
        settings: StreamSettings,
        console: ConsoleClient,
        counts: SegmentCounts,
        clock: Clock,
        batch_size: int,
    ) -> None:
        """Ask nothing yet.

        Args:
            segment_id: The segment's id.
            settings: The settings of the stream that feeds it.
            console: The Console API.
            counts: The segment's counts in the report.
            clock: For short waits.
            batch_size: Ids a request at most.
        """
        self.id = segment_id
        self._settings = settings
        self._console = console
        self._counts = counts
        self._clock = clock
        self._batch_size = batch_size
        self._type = ID_LIST

    @property
    def batch_size(self) -> int:
        """Return how many ids a request about this segment takes."""
        return min(self._batch_size, USER_STORE_BATCH) if self._type == USER_STORE_LIST else self._batch_size

    def requests_for(self, ids: int) -> int:
        """Return how many requests so many ids take."""
        return -(-ids // self.batch_size)

    def check(self) -> Segment:
        """Return the segment, once it is sure that its ids may be changed.

        Raises:
            SegmentError: It does not exist, is no ID list, or holds another type of id.
        """
        try:
            segment = self._console.segment(self.id)
        except RefusedError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise self._failed(error, "read") from error
            segment = self._create(error)
        except RequestError as error:
            raise self._failed(error, "read") from error
        unfit = misfit(segment, self._settings)
        if unfit is not None:
            raise self._unfit(unfit)
        self._type = segment.type
        if self._counts.before is None:
            self._counts.before = segment.count
        return segment

    def ids(self) -> Iterator[str]:
        """Yield all ids of the list; one may come more than once.

        Raises:
            SegmentError: It cannot be read.
            InterruptedRunError: The run was asked to stop.
        """
        try:
            for number, member in enumerate(self._console.ids(self.id)):
                if not number % READ_BETWEEN_LOOKS:
                    # A signal ends the reading: of a long list it takes minutes.
                    self._clock.sleep(0)
                yield member
        except RequestError as error:
            raise self._failed(error, "read") from error

    def count_known(self, known: Callable[[Sequence[str]], Collection[str]]) -> tuple[int, int]:
        """Read the list, and return how many members it has, and how many of them are known.

        Args:
            known: Returns which of some ids are.

        Raises:
            SegmentError: It cannot be read.
            InterruptedRunError: The run was asked to stop.
        """
        members, ids = self.check().count, self.ids()
        found: set[str] = set()
        while page := list(itertools.islice(ids, READ_BETWEEN_LOOKS)):
            found.update(known(page))
        return members, len(found)

    def ids_in_project(self) -> int:
        """Return how many ids all lists of the project hold.

        Raises:
            SegmentError: They cannot be read.
        """
        try:
            return self._console.count_ids()
        except RequestError as error:
            raise self._failed(error, "measured against the limit of the project") from error

    def list_state(self) -> ListState:
        """Return the list's version, and whether Statsig is still updating it.

        Raises:
            SegmentError: It cannot be read.
        """
        try:
            return self._console.list_state(self.id)
        except RequestError as error:
            raise self._failed(error, "read") from error

    def add(self, ids: Sequence[str]) -> None:
        """Add ids, in one request.

        Raises:
            SegmentError: Statsig did not take them.
        """
        try:
            answer = self._console.add_ids(self.id, ids, segment_type=self._type)
        except RequestError as error:
            raise self._failed(error, "added to") from error
        self._counts.requests += answer.requests
        self._counts.added += len(ids)

    def remove(self, ids: Sequence[str]) -> None:
        """Remove ids, in one request.

        Raises:
            SegmentError: Statsig did not take them.
        """
        try:
            answer = self._console.remove_ids(self.id, ids, segment_type=self._type)
        except RequestError as error:
            raise self._failed(error, "removed from") from error
        self._counts.requests += answer.requests
        self._counts.removed += len(ids)

    def settled(self) -> tuple[Segment, ListState]:
        """Return the segment and its list once Statsig has finished updating it, or has taken too long.

        Raises:
            SegmentError: It cannot be read.
        """
        state = self.list_state()
        for _ in range(UPDATE_POLLS):
            if not state.updating:
                break
            self._clock.sleep(UPDATE_POLL_SECONDS)
            state = self.list_state()
        return self.check(), state

    def _create(self, error: RefusedError) -> Segment:
        if not self._settings.create_segment:
            raise self._unfit(missing(self._settings, error.message)) from error
        try:
            return self._console.create_segment(self.id, id_type=statsig_id_type(self._settings))
        except RequestError as refusal:
            raise self._failed(refusal, "created as") from refusal

    def _unfit(self, unfit: Misfit) -> SegmentError:
        msg = f"Segment '{self.id}' {unfit.what}. Nothing of it was changed. {unfit.remedy}"
        return SegmentError(msg, heading=unfit.heading)

    def _failed(self, error: RequestError, doing: str) -> SegmentError:
        done = f"{self._counts.added:,} added and {self._counts.removed:,} removed so far"
        msg = f"Segment '{self.id}' could not be {doing} ({done}; the other streams go on). {error} {error.aftermath}"
        return SegmentError(msg, heading=error.heading)
