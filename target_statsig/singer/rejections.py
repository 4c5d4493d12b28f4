"""Rejected records: each is counted, written to the dead letters, and counted against `max_rejected_percent`."""

from __future__ import annotations

import logging
from itertools import islice
from typing import TYPE_CHECKING

from target_statsig.config.load import command_for
from target_statsig.errors import RecordError, RejectionsError
from target_statsig.reports.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_statsig.reports.report import ItemCounts, MemberCounts, RunReport
    from target_statsig.singer.dead_letters import DeadLetters
    from target_statsig.singer.message import Message

logger = logging.getLogger(__name__)

FEW = 10
"""Rejected records that are always tolerated, so that a small stream does not fail for one of them."""

ALL = 100
"""The value of `max_rejected_percent` that allows all records to be rejected."""

SHOWN_FIELDS = 3
"""The most fields whose sources the message names."""


def too_many(records: int, rejected: int, max_percent: int) -> bool:
    """Return whether more than `FEW` records of a stream, and more than `max_percent`, were rejected."""
    return rejected > FEW and rejected * 100 > records * max_percent


def whereabouts(letters: DeadLetters, environ: Mapping[str, str]) -> str:
    """Return a text that says where the dead letters of a run are, and how to send them again."""
    records = counted(letters.count, "rejected record is", "rejected records are")
    return (
        f"{records} in {letters.directory}. After you fix the cause, send them again with the same configuration: "
        f"{command_for('replay', environ)}"
    )


class Rejections:
    """The rejected records of one stream."""

    def __init__(
        self,
        stream: str,
        max_percent: int,
        counts: ItemCounts | MemberCounts,
        report: RunReport,
        dead_letters: DeadLetters,
        where: Callable[[str], str],
    ) -> None:
        """Start with none.

        Args:
            stream: The stream's name.
            max_percent: The setting `max_rejected_percent`.
            counts: The stream's counts in the report.
            report: The report of the run.
            dead_letters: The dead letters of the run.
            where: Returns a sentence that says where a field is read from.
        """
        self._stream = stream
        self._max_percent = max_percent
        self._counts = counts
        self._report = report
        self._dead_letters = dead_letters
        self._where = where
        self._fields: dict[str, None] = {}

    @property
    def allows_none(self) -> bool:
        """Whether the first rejected record ends the run."""
        return self._max_percent == 0

    @property
    def count(self) -> int:
        """The number of rejected records so far."""
        return self._counts.rejected

    def add(self, line: bytes, schema: Message, error: RecordError, *, message: str = "") -> None:
        """Count a rejected record and write it to the dead letters.

        Args:
            line: The RECORD message as the tap sent it.
            schema: The SCHEMA message as the tap sent it.
            error: Why it was rejected.
            message: Statsig's message, if Statsig refused it.

        Raises:
            RejectionsError: No record of this stream may be rejected.
            FatalRunError: The dead letters cannot be written.
        """
        self._dead_letters.put(line, schema, error, message)
        with self._report.lock:
            self._counts.rejected += 1
            self._counts.reasons[error.reason] += 1
            if error.field is not None:
                self._fields[error.field] = None
        if self.allows_none:
            raise self._error_at_first(error)

    def check_reject_limit(self) -> None:
        """Log the number of rejected records at the end of the run, and compare it with the limit.

        Raises:
            RejectionsError: Too many records of the stream, or all of them, were rejected.
        """
        counts = self._counts
        if not counts.rejected or self.allows_none:
            return  # `add` has raised an error already
        worst = ", ".join(f"{reason} {count:,}" for reason, count in counts.reasons.most_common(3))
        share = f"{counts.rejected:,} of {counted(counts.records, 'record')}"
        were_rejected = f"{'was' if counts.records == 1 else 'were'} rejected ({worst})"
        where = "".join(f" {self._where(name)}" for name in islice(self._fields, SHOWN_FIELDS))
        if not counts.accepted and self._max_percent < ALL:
            msg = (
                f"Stream '{self._stream}': {share} {were_rejected}, so nothing of the stream was delivered.{where} "
                f"{self._aftermath}"
            )
            raise RejectionsError(msg)
        if too_many(counts.records, counts.rejected, self._max_percent):
            msg = (
                f"Stream '{self._stream}': {share} {were_rejected}, more than `max_rejected_percent` allows "
                f"({self._max_percent}).{where} The other records were sent. {self._aftermath}"
            )
            raise RejectionsError(msg)
        percent = counts.rejected * 100 / counts.records
        rate = f"{percent:.1f} %" if percent >= 0.1 else "under 0.1 %"  # noqa: PLR2004 -- what one decimal can show
        logger.warning("Stream '%s': %s (%s) %s.%s", self._stream, share, rate, were_rejected, where)

    @property
    def _aftermath(self) -> str:
        if self._dead_letters.lost:
            return "Fix the mapping or the tap."
        return (
            f"The rejected records are in {self._dead_letters.directory}. Fix the mapping or the tap, then send them "
            "again from there."
        )

    def _error_at_first(self, error: RecordError) -> RejectionsError:
        self._dead_letters.flush()
        where = f" The record is in {self._dead_letters.directory}." if not self._dead_letters.lost else ""
        kind = _missing_key_rejection if error.reason == "missing_key_property" else RejectionsError
        return kind(
            f"Stream '{self._stream}': a record was rejected ({error}), and `max_rejected_percent` is 0, so the run "
            f"stops.{where} Fix the record at its source, or raise `max_rejected_percent`."
        )


def _missing_key_rejection(text: str) -> RejectionsError:
    """Return the error for a record without a key property, which is also singer-sdk's `MissingKeyPropertiesError`."""
    from singer_sdk.exceptions import MissingKeyPropertiesError  # slow to import, and not needed to prepare

    class MissingKeyRejectionError(RejectionsError, MissingKeyPropertiesError):
        pass

    return MissingKeyRejectionError(text)
