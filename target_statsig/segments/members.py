"""Turns records into changes of members, column by column."""

from __future__ import annotations

import re
from collections import defaultdict
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from target_statsig.config.choices import SyncMode, is_segment_id
from target_statsig.errors import RecordError
from target_statsig.singer.columns import (
    convert,
    deleted_rows,
    first_of,
    id_destination,
    parse_bool,
    plain_text,
    sources_of,
)

if TYPE_CHECKING:
    from target_statsig.config.settings import StreamSettings
    from target_statsig.singer.columns import Column, Columns, Faults

MISSING_IDENTIFIER = "missing_identifier"
INVALID_IDENTIFIER = "invalid_identifier"

UNSENDABLE = re.compile("[,\r\n\0\ud800-\udfff]")
"""What no id may hold. Statsig's published example of `GET /segments/{id}/id_list` has several ids in one string, with
commas between them, so lists are split there when they are read: an id with a comma would come back as two others.
Line breaks separate ids where lists are uploaded; neither JSON nor a database takes a NUL or half a surrogate pair."""

Changes = dict[str, bool]
"""Ids with whether each becomes a member; a later change of an id replaces an earlier one."""


class MemberMapper:
    """Turns the records of one stream into changes of members."""

    def __init__(self, settings: StreamSettings) -> None:
        """Read the sources of ids from the settings."""
        self._sources = sources_of(id_destination(settings), settings.field_mapping)
        self._segment_id = settings.segment_id or ""
        self._segment_field = settings.segment_id_field
        self._membership_field = settings.membership_field
        self._joins = settings.sync_mode is not SyncMode.REMOVE

    def changes(self, columns: Columns, faults: Faults) -> dict[str, Changes]:
        """Return the changes that records ask for, by segment; `faults` gets why a record asks for none.

        A row that was deleted at its source means "not a member" in every `sync_mode`. In `remove` it meant the same
        while it was there: taking someone off a list of removals does not add them again.
        """
        ids = self._ids(first_of(columns, self._sources), faults)
        deleted = deleted_rows(columns)
        if ids and not (faults or deleted or self._membership_field or self._segment_field):
            return {self._segment_id: dict.fromkeys(ids, self._joins)}
        members = self._members(columns, {*deleted}, faults)
        changes: defaultdict[str, Changes] = defaultdict(dict)
        for row, (segment_id, member) in enumerate(zip(self._segments(columns, faults), ids, strict=True)):
            if row not in faults:
                changes[segment_id][member] = members[row]
        return changes

    def _ids(self, values: Column, faults: Faults) -> Column:
        kinds = set(map(type, values))
        if kinds == {int}:
            with suppress(ValueError):  # of thousands of digits
                return [*map(str, values)]
        if kinds == {str}:
            ids = [*map(str.strip, values)]
            # One search over all ids: starting a search is the slow part.
            if all(ids) and not UNSENDABLE.search("".join(ids)):
                return ids
        return convert(partial(normalise_id, field=self._sources[0]), values, faults)

    def _members(self, columns: Columns, deleted: set[int], faults: Faults) -> Column:
        if self._membership_field is None:
            return [row not in deleted and self._joins for row in range(len(columns))]
        members = [*map(parse_bool, first_of(columns, (self._membership_field,)))]
        for row, member in enumerate(members):
            # A deleted row may have no other column.
            if row in deleted:
                members[row] = False
            elif member is None:
                faults.setdefault(row, RecordError("invalid_membership", self._membership_field))
        return members

    def _segments(self, columns: Columns, faults: Faults) -> Column:
        if self._segment_field is None:
            return (self._segment_id,) * len(columns)
        named = first_of(columns, (self._segment_field,))
        segments = [each.strip() if type(each) is str else "" for each in named]
        if not all(map(is_segment_id, set(segments))):
            for row, (value, segment_id) in enumerate(zip(named, segments, strict=True)):
                if not is_segment_id(segment_id):
                    reason = "missing_segment_id" if value is None else "invalid_segment_id"
                    faults.setdefault(row, RecordError(reason, self._segment_field))
        return segments


def normalise_id(value: object, field: str | None = None) -> str:
    """Return an id as Statsig keeps it: a string, surrounding blanks cut, a number in plain digits.

    Raises:
        RecordError: `missing_identifier` for null and blanks; `invalid_identifier` for other types, for a number that
            is not finite or beyond a double, and for `UNSENDABLE` characters.
    """
    if isinstance(value, str):
        text = value.strip()
    elif value is None:
        text = ""
    elif isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise RecordError(INVALID_IDENTIFIER, field)
    else:
        try:
            text = plain_text(value)
        except ValueError:
            raise RecordError(INVALID_IDENTIFIER, field) from None
    if not text:
        raise RecordError(MISSING_IDENTIFIER, field)
    if UNSENDABLE.search(text):
        raise RecordError(INVALID_IDENTIFIER, field)
    return text
