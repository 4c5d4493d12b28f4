"""One segment in Statsig: whether a stream may change it, what its size means, and its ids.

Turns Statsig's answers into errors that name the segment and the remedy.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from target_statsig.client.console import ID_LIST, MAX_IDS, USER_STORE_LIST
from target_statsig.clock import iso_time
from target_statsig.config.choices import IdType
from target_statsig.errors import Heading, RefusedError, RequestError, SegmentError
from target_statsig.reports.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from target_statsig.client.console import ListState, Segment
    from target_statsig.commands.run import Run
    from target_statsig.config.settings import StreamSettings
    from target_statsig.reports.report import SegmentCounts
    from target_statsig.store.tables import SegmentFacts

logger = logging.getLogger(__name__)

STATSIG_ID_TYPES = {IdType.USER_ID: "userID", IdType.STABLE_ID: "stableID"}

USER_STORE_BATCH = 1_000
"""Most ids in a request for a list in the user store: https://docs.statsig.com/console-api/segments."""

UPDATE_POLLS = 5
UPDATE_POLL_SECONDS = 2.0
"""How often and how long to wait for Statsig to finish an update before the count is read back."""

READ_BETWEEN_CHECKS = 1_000
"""Ids to read between checks for a signal."""

SLOWER_FROM = 1_000
"""A list of up to this many members travels with the gates; a longer one reaches SDKs by a slower path, for good:
https://docs.statsig.com/segments/add-id-list."""

SLOWEST_FROM = 10_000
"""From this many members that path is slower still, and missing on some plans."""

MEANINGS = {
    SLOWER_FROM: (
        f"over {SLOWER_FROM:,}. This cannot be undone: Statsig moves the list to its ID-list service, and removing "
        "ids does not move it back. An SDK sees such a list only with `enableIDLists: true`; without it nobody is in "
        "the segment. Some plans do not have the service. `max_segment_size` keeps a segment small"
    ),
    SLOWEST_FROM: f"over {SLOWEST_FROM:,}. Its changes reach SDKs later, and on some plans not at all",
}
"""What growing over a size means: the end of a sentence, without its full stop."""

DAY = 86_400

FORGOTTEN = 7 * DAY
"""Seconds after its last sync until a stream no longer counts as the segment's feeder."""


def size_class(members: int) -> str:
    """Return what a list's size means, as text."""
    if members <= SLOWER_FROM:
        return "small: it travels with the gates"
    if members <= SLOWEST_FROM:
        return f"over {SLOWER_FROM:,}: it reaches SDKs by a slower path"
    return f"over {SLOWEST_FROM:,}: it reaches SDKs by the slowest path, and not on every plan"


def crossings(before: int, after: int) -> list[str]:
    """Return a text of `MEANINGS` for each size that a list crosses as it grows."""
    return [text for size, text in MEANINGS.items() if before <= size < after]


class Misfit(NamedTuple):
    """Why a stream cannot change a segment: the end of a sentence after `segment '…'`, and what to do, a sentence."""

    heading: Heading
    what: str
    remedy: str


def statsig_id_type(settings: StreamSettings) -> str:
    """Return Statsig's name for the ID type of a stream's segments."""
    return STATSIG_ID_TYPES.get(settings.id_type) or settings.custom_id_type or ""


def misfit(segment: Segment, settings: StreamSettings) -> Misfit | None:
    """Return why a stream cannot change a segment, or None if it can."""
    if segment.type not in {ID_LIST, USER_STORE_LIST}:
        return Misfit(
            Heading.SEGMENT_TYPE,
            f"is of type {segment.type}, but must be an ID list ({ID_LIST})",
            "Create an ID list segment in the Statsig console and name it in `segment_id`.",
        )
    wanted = statsig_id_type(settings)
    if segment.id_type != wanted:
        return Misfit(
            Heading.ID_TYPE,
            f"holds ids of type {segment.id_type}, but the stream is configured for {wanted}",
            "Set `id_type` (and `custom_id_type`) to the segment's ID type, or name another segment in `segment_id`.",
        )
    return None


def missing(settings: StreamSettings, message: str) -> Misfit:
    """Return why a segment that does not exist cannot be changed; `message` is Statsig's own."""
    return Misfit(
        Heading.NO_SEGMENT,
        f"does not exist in this Statsig project (404: {message})",
        f"Check `segment_id` for a typo, create an ID list of ID type {statsig_id_type(settings)} in the console, or "
        "set `create_segment` to true.",
    )


def other_feeder(facts: SegmentFacts, stream: str, now: float) -> Misfit | None:
    """Return why a stream cannot be mirrored into a segment: another one is. None if none is.

    `stream` is a name, or a glob that the other's name may match; `now` is in seconds since 1970.
    """
    if facts.fed_by is None or facts.last_sync_at is None or now - facts.last_sync_at > FORGOTTEN:
        return None
    if facts.fed_by == stream or fnmatchcase(facts.fed_by, stream):
        return None
    return Misfit(
        Heading.SHARED_SEGMENT,
        f"is mirrored from stream '{facts.fed_by}' (last on {iso_time(facts.last_sync_at)})",
        "Each would remove the members that the other added. Give each stream its own segment, or unite them in one "
        f"stream. If you renamed the stream, wait until {FORGOTTEN // DAY} days after the last sync, or move the store "
        "away: the next run then reads the members from Statsig, but may send recent events twice.",
    )


class RemoteSegment:
    """One ID list in Statsig. Each method that asks Statsig raises SegmentError if that fails.

    Attributes:
        counts: Its counts in the report.
        read: Ids read so far while the list is read, else None.
    """

    def __init__(self, segment_id: str, settings: StreamSettings, counts: SegmentCounts, run: Run) -> None:
        self.id = segment_id
        self.settings = settings
        self.counts = counts
        self.read: int | None = None
        self._run = run
        self._type = ID_LIST
        self._most = 0
        """Upper bound of the list's members: the last count plus all ids added since."""

    @property
    def batch_size(self) -> int:
        """The most ids in a request for this segment."""
        size = self._run.settings.segment_batch_size
        return min(size, USER_STORE_BATCH) if self._type == USER_STORE_LIST else size

    def check(self) -> Segment:
        """Return the segment; raise SegmentError if it does not exist, is no ID list, or has another ID type."""
        with self._failing("read"):
            try:
                segment = self._run.console.segment(self.id)
            except RefusedError as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                segment = self._create(error)
        if (unfit := misfit(segment, self.settings)) is not None:
            raise self.unfit(unfit)
        self._type, self._most = segment.type, segment.count
        if self.counts.before is None:
            self.counts.before = segment.count
        return segment

    def ids(self) -> Iterator[str]:
        """Yield all ids of the list; one may come more than once.

        Raises:
            InterruptedRunError: The run was asked to stop.
        """
        with self._failing("read"):
            self.read = 0
            try:
                for number, member in enumerate(self._run.console.ids(self.id)):
                    if not number % READ_BETWEEN_CHECKS:
                        self.read = number
                        self._run.clock.sleep(0)  # raises where a signal came
                    yield member
            finally:
                self.read = None

    def list_state(self) -> ListState:
        """Return the list's version, and whether Statsig is still updating it."""
        with self._failing("read"):
            return self._run.console.list_state(self.id)

    def settled(self) -> tuple[Segment, ListState]:
        """Return the segment and its list after Statsig has finished updating it, or has taken too long."""
        state = self.list_state()
        for _ in range(UPDATE_POLLS):
            if not state.updating:
                break
            self._run.clock.sleep(UPDATE_POLL_SECONDS)
            state = self.list_state()
        return self.check(), state

    def add(self, ids: Sequence[str]) -> None:
        """Add ids, in one request."""
        with self._failing("added to"):
            self.counts.requests += self._run.console.add_ids(self.id, ids, segment_type=self._type).tries
        self.counts.added += len(ids)

    def remove(self, ids: Sequence[str]) -> None:
        """Remove ids, in one request."""
        with self._failing("removed from"):
            self.counts.requests += self._run.console.remove_ids(self.id, ids, segment_type=self._type).tries
        self.counts.removed += len(ids)

    def check_growth(self, before: int, new: int) -> None:
        """Warn if `new` more members make the list cross a size, and refuse too many.

        Raises:
            SegmentError: The list would exceed `max_segment_size`, or the project's limit.
        """
        after = before + new
        grows = f"would grow from {before:,} to {counted(after, 'member')}"
        limit = self.settings.max_segment_size
        if new and limit is not None and after > limit:
            why = f"{grows}, but `max_segment_size` allows {limit:,}"
            raise self._too_large(why, "Narrow the audience, or raise the setting.")
        in_project = self._project_size_with(new)
        if in_project > MAX_IDS:
            why = f"{grows}, and all lists of the project together to {in_project:,}, but Statsig takes {MAX_IDS:,}"
            raise self._too_large(why, "Narrow the audience, or empty lists that you no longer use.")
        self._most = after
        for meaning in crossings(before, after):
            self.warn(f"Segment '{self.id}' grows from {before:,} to {counted(after, 'member')}, {meaning}.")

    def check_additions(self, changes: Mapping[str, bool]) -> None:
        """Do as `check_growth` for ids that join and may be members already; read the list only if that matters."""
        new = sum(changes.values())
        most, limit = self._most + new, self.settings.max_segment_size
        too_many = limit is not None and most > limit and new > 0
        if too_many or crossings(self._most, most) or self._project_size_with(new) > MAX_IDS:
            members = self.check().count
            are_members = {member for member in self.ids() if changes.get(member)}
            self.check_growth(members, new - len(are_members))
        else:
            self._most = most

    def unfit(self, unfit: Misfit) -> SegmentError:
        """Return the error of a stream that cannot change this segment."""
        msg = f"Segment '{self.id}' {unfit.what}. Nothing in it was changed. {unfit.remedy}"
        return SegmentError(msg, heading=unfit.heading)

    def warn(self, text: str) -> None:
        """Put a warning into the report and the log."""
        self.counts.warnings.append(text)
        logger.warning("%s", text)

    def _project_size_with(self, new: int) -> int:
        """Return how many ids the project would hold with `new` more, or 0 if one request takes them.

        Of several requests some could succeed. Statsig refuses a single one whole.
        """
        if new <= self.batch_size:
            return 0
        with self._failing("measured against the project's limit"):
            return self._run.console.count_ids() + new

    def _create(self, error: RefusedError) -> Segment:
        if not self.settings.create_segment:
            raise self.unfit(missing(self.settings, error.message)) from error
        with self._failing("created"):
            return self._run.console.create_segment(
                self.id,
                id_type=statsig_id_type(self.settings),
                description=self.settings.segment_description,
                tags=self.settings.segment_tags,
            )

    @contextmanager
    def _failing(self, doing: str) -> Iterator[None]:
        """Turn a failed request into a SegmentError; `doing` is a participle."""
        try:
            yield
        except RequestError as error:
            done = f"{self.counts.added:,} added and {self.counts.removed:,} removed so far; the other streams go on"
            msg = f"Segment '{self.id}' could not be {doing} ({done}). {error} {error.aftermath}"
            raise SegmentError(msg, heading=error.heading) from error

    def _too_large(self, why: str, remedy: str) -> SegmentError:
        changed = "No more" if self.counts.requests else "Nothing"
        msg = f"Segment '{self.id}' {why}. {changed} in it was changed. {remedy}"
        return SegmentError(msg, heading=Heading.SEGMENT_SIZE)
