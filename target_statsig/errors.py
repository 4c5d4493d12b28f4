"""The errors of this target, a class for each thing to do about one, and the headings of errors that fail a run.

No message holds a value from a record or a key: counts, reasons, names of fields and segments, sizes.
"""

from __future__ import annotations

import enum
import traceback
from pathlib import Path
from typing import Self

REST_COMES_NEXT = "The next run sends what Statsig did not acknowledge."
"""The aftermath of most errors that end a run."""

NO_STATE_PASSES = "No STATE passes it, so the next run sends what was not delivered."
"""The aftermath of an error in the input."""

SCHEMA_VIOLATION = "schema_violation"
"""The reason of a record that breaks its stream's SCHEMA. The field of such an error is a column."""


class Heading(enum.Enum):
    """The kinds of errors that fail a run, in the order of the troubleshooting page.

    The value is the beginning of the error's text, and a heading of that page. The code is the name in `error_codes` of
    the report, which never changes.
    """

    code: str

    def __new__(cls, code: str, text: str) -> Self:
        """Take the text as the value."""
        member = object.__new__(cls)
        member._value_ = text
        member.code = code
        return member

    SETTINGS = "invalid_settings", "The configuration cannot be used"
    KEY = "key_not_accepted", "Statsig does not accept the key"
    UNREACHABLE = "statsig_unreachable", "Statsig cannot be reached"
    STORE = "store_unusable", "The store cannot be used"
    SHARED_STREAM = "stream_in_use", "Another run is sending the stream"
    INPUT = "invalid_input", "The input cannot be used"
    NO_SEGMENT = "segment_not_found", "The segment does not exist"
    SEGMENT_TYPE = "segment_not_id_list", "The segment is not an ID list"
    ID_TYPE = "segment_id_type_mismatch", "The segment has another ID type"
    SHARED_SEGMENT = "segment_in_use", "Someone else is changing the segment"
    SEGMENT_SIZE = "segment_too_large", "The segment would grow too large"
    REVIEW = "review_required", "Statsig asks for a review"
    REJECTIONS = "too_many_rejected", "Too many records were rejected"
    REFUSED = "refused_by_statsig", "Statsig refuses the request"
    UNPROVEN = "mirror_unproven", "The mirrored stream is not proven complete"
    INCREMENTAL = "mirror_incremental", "The mirrored stream is incremental"
    TOO_MANY_REMOVALS = "too_many_removals", "The mirror would remove too many members"
    LATER = "statsig_busy", "Statsig accepts no more requests for now"
    DEAD_LETTERS = "dead_letters_not_written", "The dead letters cannot be written"
    OUTPUT = "state_not_written", "The STATE cannot be written"
    REPORT = "report_not_written", "The report cannot be written"
    FAULT = "internal_error", "This is a bug in target-statsig"


class TargetStatsigError(Exception):
    """Base class of every error of this target.

    Attributes:
        heading: The beginning of its text in the log.
        aftermath: A sentence about what was sent, if the text has none; may be empty.
        maybe_taken: Whether it ended a request that Statsig may have accepted, because no response denies it.
    """

    heading = Heading.FAULT
    aftermath = ""
    maybe_taken = False

    def __init__(self, text: str, *, heading: Heading | None = None) -> None:
        super().__init__(text)
        if heading is not None:
            self.heading = heading

    @property
    def full_text(self) -> str:
        """The text for the log and the report: heading, what happened, what was sent, what to do."""
        text = str(self)
        full_stop = "" if text.endswith((".", "?")) else "."
        return f"{self.heading.value}: {text}{full_stop} {self.aftermath}".rstrip()


class SettingsError(TargetStatsigError):
    """The configuration cannot be used; `errors` has one text for each thing to fix."""

    heading = Heading.SETTINGS
    aftermath = "Nothing of this stream was sent. What came before it was delivered, or the next run sends it."

    def __init__(self, errors: list[str]) -> None:
        super().__init__(" ".join(errors))
        self.errors = errors


class RecordError(TargetStatsigError):
    """A record cannot become an item or a member. It is counted and kept out, and the run goes on.

    Attributes:
        reason: The name in snake_case under which the record is counted.
        field: The name of the field at fault, never its value.
    """

    def __init__(self, reason: str, field: str | None = None) -> None:
        super().__init__(reason if field is None else f"{reason} ({field})")
        self.reason = reason
        self.field = field


class SegmentError(TargetStatsigError):
    """One segment cannot be synced. It is left as it is, the other streams go on, and the run ends with 1."""


class RequestError(TargetStatsigError):
    """A request did not succeed.

    Attributes:
        status: The HTTP status of the last response, or None if there was none.
        message: Statsig's message, shortened; may be empty.
    """

    heading = Heading.REFUSED
    aftermath = REST_COMES_NEXT

    def __init__(
        self, text: str, *, status: int | None = None, message: str = "", heading: Heading | None = None
    ) -> None:
        super().__init__(text, heading=heading)
        self.status = status
        self.message = message


class RefusedError(RequestError):
    """Statsig will never take this body (400, 404, 405, 422, 501, ...): it is split, or given up."""


class TooLargeError(RequestError):
    """Statsig will not take a body of this size (413): it is halved."""


class NotNowError(RequestError):
    """Retries are used up, or Statsig asked to come back later than `retry_timeout` allows."""

    heading = Heading.LATER


class FatalRunError(TargetStatsigError):
    """The run ends. The next run sends what was not acknowledged."""


class AuthenticationError(FatalRunError):
    """A key is missing, wrong, or of the wrong kind (401, 403)."""

    heading = Heading.KEY
    aftermath = REST_COMES_NEXT


class InputError(FatalRunError):
    """A line of the input cannot be used as a Singer message."""

    heading = Heading.INPUT


class RejectionsError(FatalRunError):
    """More records of a stream were rejected than `max_rejected_percent` allows."""

    heading = Heading.REJECTIONS


class StoreError(FatalRunError):
    """The store cannot be opened, read or written."""

    heading = Heading.STORE
    aftermath = REST_COMES_NEXT


class InterruptedRunError(TargetStatsigError):
    """SIGTERM or SIGINT asked the run to end."""


def text_of(error: BaseException) -> str:
    """Return the text of an error for the log and the report.

    For an unexpected error, it gives the place in the code instead of the error's own text, which may quote a record.
    """
    if isinstance(error, TargetStatsigError):
        return error.full_text
    frames = traceback.extract_tb(error.__traceback__)
    where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames[-4:]))
    cause = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
    what = f"unexpected {type(error).__name__}{cause} at {where}"
    return f"{Heading.FAULT.value}: {what}. {REST_COMES_NEXT} Please report it with this line."
