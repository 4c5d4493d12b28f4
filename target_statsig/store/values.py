"""What is remembered of a segment besides its members, each attribute a column of the table; and what of a run."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from target_statsig.config.choices import Choice


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """Facts about a segment; None stands for what was never recorded.

    Attributes:
        fed_by: The stream that feeds it.
        list_version: The list's version in Statsig after the last change that was seen through.
        expected_count: How many members Statsig should count.
        last_sync_at: When the last sync ended, in seconds since 1970.
        last_status: How it ended, in a word.
        last_added: How many members it added.
        last_removed: How many members it removed.
        list_read_at: When the whole list was last read from Statsig, in seconds since 1970.
    """

    fed_by: str | None = None
    list_version: int | None = None
    expected_count: int | None = None
    last_sync_at: float | None = None
    last_status: str | None = None
    last_added: int | None = None
    last_removed: int | None = None
    list_read_at: float | None = None


class HoldState(Choice):
    """How far a segment's last run, and what it held, have come."""

    BEGUN = "begun"
    """A run began to mirror the segment, and did not end it well up to now."""
    HELD = "held"
    """It ended, and holds removals."""
    APPLYING = "applying"
    """They are being carried out."""
    OUTDATED = "outdated"
    """A run came after it that could have mirrored the segment and did not."""


@dataclass(frozen=True, slots=True)
class Hold:
    """What the last run of a segment left; the counts are its own.

    Attributes:
        stream: The stream that feeds the segment.
        state: How far it has come.
        before: Members before the run.
        members: Members after it.
        removals: Members that it held.
        current: Members in the audience that the stream showed.
        rejected: Records of the stream that were rejected.
        doubt: Why no operator may vouch for the missing proof; empty where one may.
    """

    stream: str
    state: HoldState = HoldState.BEGUN
    before: int = 0
    members: int = 0
    removals: int = 0
    current: int = 0
    rejected: int = 0
    doubt: str = ""


class Command(Choice):
    """What a run was started for."""

    RUN = "run"
    REPLAY = "replay"
    APPLY_HELD = "apply-held"
    SEND = "send"


@dataclass(frozen=True, slots=True)
class SentItems:
    """The events and exposures that a run delivered; names come from records.

    Attributes:
        names: How many events of each name.
        span: The earliest and the latest time of an event, unix milliseconds; None where that is not known.
        exposures: How many exposures of each experiment, and of each gate, as they are counted.
    """

    names: dict[str, int]
    span: tuple[int, int] | None
    exposures: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PastRun:
    """What is remembered of a run.

    Attributes:
        ended_at: When it ended, in seconds since 1970.
        command: What it was started for.
        report: Its report, without what is 0 or empty.
        sent: What it delivered, by name; None where that was nothing, and of all but the last run that did.
    """

    ended_at: float
    command: Command
    report: dict[str, Any]
    sent: SentItems | None = None


def columns(kind: type[SegmentFacts | Hold]) -> str:
    """Return the columns of the values, in their order, as a query names them."""
    return ", ".join(f'"{each.name}"' for each in fields(kind))
