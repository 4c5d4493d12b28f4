"""What many records say at once: for each segment, the last word on each id.

Pure. Reads column by column where all records hold the plainest values. Refuses to say what is wrong with the others:
`membership` reads those one by one.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from itertools import repeat
from typing import TYPE_CHECKING, Any

from target_statsig.answers import answer_of
from target_statsig.fields import any_deleted, id_destination, sources_of
from target_statsig.segment_ids import is_segment_id
from target_statsig.segments.membership import UNSENDABLE
from target_statsig.settings import SyncMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from target_statsig.settings import StreamSettings

Words = dict[str, bool]
"""Ids, each with the last word on whether it is a member."""


class PlainWords:
    """Reads the records of one stream; made once for the stream."""

    def __init__(self, settings: StreamSettings) -> None:
        """Find out which columns there are to read."""
        # A column of the very name of the preferred source comes before every other place of an id.
        self._id_column = sources_of(id_destination(settings), settings.field_mapping)[0]
        self._membership_column = settings.membership_field
        self._segment_column = settings.segment_id_field
        self._segment_id = settings.segment_id or ""
        self._joins = settings.sync_mode is not SyncMode.REMOVE

    def __call__(self, column: Callable[[str], Sequence[Any]]) -> dict[str, Words] | None:
        """Return what some records say, by segment; None where one of them needs a careful look.

        Args:
            column: Returns what the records have in a column, in the order of the input, None where they lack it.
        """
        if any_deleted(column):
            return None
        ids = _plain_ids(column(self._id_column))
        if ids is None:
            return None
        if self._membership_column is None and self._segment_column is None:
            return {self._segment_id: dict.fromkeys(ids, self._joins)}
        return self._sorted_out(ids, column)

    def _sorted_out(self, ids: Sequence[str], column: Callable[[str], Sequence[Any]]) -> dict[str, Words] | None:
        members: Iterable[bool | None] = repeat(self._joins, len(ids))
        if self._membership_column is not None:
            members = map(answer_of, column(self._membership_column))
        segments: Iterable[str] = repeat(self._segment_id, len(ids))
        if self._segment_column is not None:
            segments = (named.strip() if type(named) is str else "" for named in column(self._segment_column))
        words: defaultdict[str, Words] = defaultdict(dict)
        for id_, member, segment_id in zip(ids, members, segments, strict=True):
            if member is None:
                return None
            words[segment_id][id_] = member
        return words if all(map(is_segment_id, words)) else None


def _plain_ids(values: Sequence[Any]) -> list[str] | None:
    """Return values as ids, if all are strings, or all are integers, and none of them holds what no id may hold."""
    kinds = set(map(type, values))
    if kinds == {int}:
        with suppress(ValueError):  # of thousands of digits
            return list(map(str, values))
    if kinds != {str}:
        return None
    ids = [*map(str.strip, values)]
    # In one go: a search takes longer to begin than to end.
    return ids if all(ids) and not UNSENDABLE.search("".join(ids)) else None
