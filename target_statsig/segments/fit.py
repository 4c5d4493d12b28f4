"""Whether a segment is one that a stream may change; if not, what is wrong with it and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from target_statsig.client.console import ID_LIST, USER_STORE_LIST
from target_statsig.config.settings import IdType
from target_statsig.errors import Heading

if TYPE_CHECKING:
    from target_statsig.client.console import Segment
    from target_statsig.config.settings import StreamSettings

STATSIG_ID_TYPES = {IdType.USER_ID: "userID", IdType.STABLE_ID: "stableID"}


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a segment cannot be changed.

    Attributes:
        heading: What an error about it begins with.
        what: The reason; `segment '…'` and this make a sentence.
        remedy: What to do, in a sentence.
    """

    heading: Heading
    what: str
    remedy: str


def statsig_id_type(settings: StreamSettings) -> str:
    """Return Statsig's name for the ID type of a stream's segments."""
    return STATSIG_ID_TYPES.get(settings.id_type) or settings.custom_id_type or ""


def misfit(segment: Segment, settings: StreamSettings) -> Misfit | None:
    """Return why a stream cannot change a segment, or None where it can."""
    if segment.type not in {ID_LIST, USER_STORE_LIST}:
        return Misfit(
            Heading.SEGMENT_TYPE,
            f"is of type {segment.type}; it must be an ID list ({ID_LIST})",
            "Create an ID list segment in the Statsig console and name it in `segment_id`.",
        )
    wanted = statsig_id_type(settings)
    if segment.id_type != wanted:
        return Misfit(
            Heading.ID_TYPE,
            f"holds ids of type {segment.id_type}, and the stream is configured for {wanted}",
            "Set `id_type` (and `custom_id_type`) to what the segment holds, or name a segment of the right ID type "
            "in `segment_id`.",
        )
    return None


def missing(settings: StreamSettings, message: str) -> Misfit:
    """Return why a segment that does not exist cannot be changed.

    Args:
        settings: The settings of the stream that feeds it.
        message: Statsig's own.
    """
    return Misfit(
        Heading.NO_SEGMENT,
        f"does not exist in this Statsig project (404, Statsig says: {message})",
        f"Look for a misspelt `segment_id`, create an ID list of ID type {statsig_id_type(settings)} in the console, "
        "or set `create_segment` to true.",
    )
