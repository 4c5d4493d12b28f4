"""Who is a member: records become changes of members, and two sorted lists of ids become what differs.

Pure. Refuses to know where members are kept and whether a missing one may be removed (`guards`).
"""

from __future__ import annotations

import enum
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from target_statsig.answers import answer_of
from target_statsig.exceptions import RecordError
from target_statsig.fields import Reader, id_destination, is_deleted, reader, sources_of
from target_statsig.numbers import plain_text
from target_statsig.segment_ids import is_segment_id
from target_statsig.settings import SyncMode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from target_statsig.settings import StreamSettings

MISSING_IDENTIFIER = "missing_identifier"
INVALID_IDENTIFIER = "invalid_identifier"
INVALID_MEMBERSHIP = "invalid_membership"
MISSING_SEGMENT_ID = "missing_segment_id"
INVALID_SEGMENT_ID = "invalid_segment_id"

UNSENDABLE = re.compile("[,\r\n\0\ud800-\udfff]")
"""What no id may hold. Statsig's published example of `GET /segments/{id}/id_list` has several ids in one string, with
commas between them, so lists are split there when they are read: an id with a comma would come back as two strangers.
Line breaks part ids where lists are uploaded; a NUL and half a surrogate pair pass neither JSON nor a database."""


# A tuple, since one is made for every record and a frozen dataclass takes twice as long to make.
class MemberChange(NamedTuple):
    """What one record says of one member.

    Attributes:
        id: The member, as Statsig keeps it.
        member: Whether it is to be a member, or not to be one.
        segment_id: The segment; None where the stream's settings name it.
    """

    id: str
    member: bool
    segment_id: str | None = None


class MemberMapper:
    """Turns the records of one stream into changes of members; made once for the stream."""

    def __init__(self, settings: StreamSettings) -> None:
        """Find out where the stream's members are read from."""
        sources = sources_of(id_destination(settings), settings.field_mapping)
        self._id_field = sources[0]
        self._read_id = reader(sources)
        self._segment_field = settings.segment_id_field
        self._read_segment = _column_reader(settings.segment_id_field)
        self._membership_field = settings.membership_field
        self._read_membership = _column_reader(settings.membership_field)
        self._joins = settings.sync_mode is not SyncMode.REMOVE

    def __call__(self, record: Mapping[str, Any]) -> MemberChange:
        """Return what a record says.

        A row that was deleted at its source says "not a member" in every `sync_mode`. In `remove` that repeats what
        the row said while it was there: taking someone off a list of removals does not add them again.

        Raises:
            RecordError: `missing_identifier`, `invalid_identifier`, `invalid_membership`, `missing_segment_id`,
                `invalid_segment_id`.
        """
        return MemberChange(self._id(record), self._is_member(record), self._segment_id(record))

    def _id(self, record: Mapping[str, Any]) -> str:
        try:
            return normalise_id(None if self._read_id is None else self._read_id(record))
        except RecordError as error:
            raise RecordError(error.reason, self._id_field) from None

    def _is_member(self, record: Mapping[str, Any]) -> bool:
        # First, since a deleted row may have no other column.
        if is_deleted(record):
            return False
        if self._read_membership is None:
            return self._joins
        answer = answer_of(self._read_membership(record))
        if answer is None:
            raise RecordError(INVALID_MEMBERSHIP, self._membership_field)
        return answer

    def _segment_id(self, record: Mapping[str, Any]) -> str | None:
        if self._read_segment is None:
            return None
        value = self._read_segment(record)
        if value is None:
            raise RecordError(MISSING_SEGMENT_ID, self._segment_field)
        segment_id = value.strip() if isinstance(value, str) else ""
        if not is_segment_id(segment_id):
            raise RecordError(INVALID_SEGMENT_ID, self._segment_field)
        return segment_id


def to_member(record: Mapping[str, Any], settings: StreamSettings) -> MemberChange:
    """Return what one record says; for many records of a stream, make one `MemberMapper`.

    Raises:
        RecordError: As for `MemberMapper`.
    """
    return MemberMapper(settings)(record)


def normalise_id(value: object) -> str:
    """Return an id as Statsig keeps it: a string, surrounding blanks cut, a number in plain digits.

    Raises:
        RecordError: `missing_identifier` for null and blanks; `invalid_identifier` for what is no string or number, for
            a number that is not finite or beyond a double, and for what no id may hold (`UNSENDABLE`).
    """
    if isinstance(value, str):
        text = value.strip()
    elif value is None:
        text = ""
    elif isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise RecordError(INVALID_IDENTIFIER)
    else:
        try:
            text = plain_text(value)
        except ValueError:
            raise RecordError(INVALID_IDENTIFIER) from None
    if not text:
        raise RecordError(MISSING_IDENTIFIER)
    if UNSENDABLE.search(text):
        raise RecordError(INVALID_IDENTIFIER)
    return text


class ChangeKind(enum.Enum):
    """What became of an id between two lists."""

    ADD = enum.auto()
    REMOVE = enum.auto()
    KEEP = enum.auto()


class Change(NamedTuple):
    """One id of either list, once."""

    kind: ChangeKind
    id: str


def diff(previous: Iterator[str], current: Iterator[str]) -> Iterator[Change]:
    """Yield what became of every id, in the order of the ids; neither list is held in memory.

    Args:
        previous: Ids sorted by code point; they may repeat.
        current: Likewise.

    Raises:
        ValueError: A list is not sorted by code point: a database sorts so with the collation "C".
    """
    before, now = _distinct(previous), _distinct(current)
    old, new = next(before, None), next(now, None)
    while old is not None and new is not None:
        if old < new:
            yield Change(ChangeKind.REMOVE, old)
            old = next(before, None)
        elif new < old:
            yield Change(ChangeKind.ADD, new)
            new = next(now, None)
        else:
            yield Change(ChangeKind.KEEP, old)
            old, new = next(before, None), next(now, None)
    while old is not None:
        yield Change(ChangeKind.REMOVE, old)
        old = next(before, None)
    while new is not None:
        yield Change(ChangeKind.ADD, new)
        new = next(now, None)


def _distinct(ids: Iterator[str]) -> Iterator[str]:
    last: str | None = None
    for member in ids:
        if last is not None and member <= last:
            if member == last:
                continue
            # Out of order, an id that both lists hold would look removed.
            msg = "the ids are not sorted by code point"
            raise ValueError(msg)
        yield member
        last = member


def _column_reader(source: str | None) -> Reader | None:
    return None if source is None else reader((source,))
