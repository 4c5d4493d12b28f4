"""What became of some records: counts that add up, and the records that were kept out.

Everything here pickles.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from target_statsig.events.mapper import COUNTS, RENAMED_LISTED, MappingWarnings

if TYPE_CHECKING:
    from target_statsig.errors import TargetStatsigError
    from target_statsig.reports.report import ItemCounts


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record that was kept out, as the line that it came in, and why."""

    line: bytes
    reason: str
    field: str | None = None
    message: str = ""


@dataclass(slots=True)
class BatchResult:
    """What became of the records of one unit of work.

    `records` is the sum of `delivered`, `skipped_duplicates`, `deleted_row`, the rejections and `undelivered`.

    Attributes:
        unreadable: The line in the batch that is no RECORD message, and what is wrong with it; neither it nor those
            behind it were looked at.
        deleted_row: Records of deleted rows, which are not sent.
        undelivered: Records not known to be delivered, because of `failure`; the next run sends them again.
        failure: What ended the work before its end, if anything did.
        names: Delivered items by name.
        maybe_duplicated: Delivered records that an earlier attempt, whose answer was lost or does not deny it, may have
            delivered too.
        billable: Delivered items that Statsig bills.
        bytes_sent: Bytes of bodies on the wire, all attempts counted.
    """

    records: int
    delivered: int = 0
    skipped_duplicates: int = 0
    deleted_row: int = 0
    undelivered: int = 0
    unreadable: tuple[int, str] | None = None
    rejections: list[Rejection] = field(default_factory=list)
    maybe_duplicated: int = 0
    requests: int = 0
    retries: int = 0
    bytes_sent: int = 0
    billable: int = 0
    notes: MappingWarnings = field(default_factory=MappingWarnings)
    failure: TargetStatsigError | None = None
    names: Counter[str] = field(default_factory=Counter)

    def fail(self, error: TargetStatsigError, undelivered: int) -> None:
        """Note what ended the work, and how many records are not known to be delivered because of it."""
        self.failure = error
        self.undelivered += undelivered

    def add_to(self, counts: ItemCounts) -> None:
        """Add what was sent to a stream's counts; its rejections are counted where they are kept."""
        if self.unreadable is not None:
            counts.records -= 1
        counts.delivered += self.delivered
        counts.skipped_duplicates += self.skipped_duplicates
        counts.deleted_row += self.deleted_row
        counts.maybe_duplicated += self.maybe_duplicated
        for name in COUNTS:
            setattr(counts, name, getattr(counts, name) + getattr(self.notes, name))
        counts.requests += self.requests
        counts.retries += self.retries
        counts.bytes_sent += self.bytes_sent
        counts.billable += self.billable
        # As many as one batch may list: where every record has a name of its own, the report stays short.
        counts.renamed = dict(islice((counts.renamed | self.notes.renamed).items(), RENAMED_LISTED))
        counts.count_names(self.names)
