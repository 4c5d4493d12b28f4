"""Records as Statsig events, a column at a time: what `mapping` makes of them one by one, in a third of the time.

Pure. Takes records that have the same columns, where each field of an event has one column to be read from, and gives
up where a single one of them cannot become an event: `mapping` takes those, and says why. Refuses to know how columns
are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import repeat
from types import NoneType
from typing import TYPE_CHECKING, Any

import msgspec

from target_statsig.events.notes import count_long
from target_statsig.events.times import CLOCKS_APART_MS, OLD_MS, Times, parse_texts
from target_statsig.events.values import TEXTS, event_value, label
from target_statsig.exceptions import RecordError
from target_statsig.numbers import print_plainly

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from target_statsig.columns import Column, Columns
    from target_statsig.events.names import EventNames
    from target_statsig.events.notes import MappingNotes

_NULL = frozenset({NoneType})
"""What stands in no event."""


@dataclass(frozen=True, slots=True)
class Items:
    """Items of a request, ready to be encoded.

    Attributes:
        items: The items.
        names: The name of each.
    """

    items: Sequence[msgspec.Struct]
    names: Sequence[str]


@dataclass(frozen=True, slots=True)
class EventFields:
    """Which column each field of an event is read from.

    Attributes:
        name: The name's; None where all events have the same one.
        value: The value's, if there is one.
        time: The time's, if there is one.
        texts: Those of the user's fields that hold a text, by Statsig's name of the field.
        ids: Those of the user's custom ids, by ID type.
        metadata: Those of the metadata, by key.
    """

    name: str | None
    value: str | None
    time: str | None
    texts: Mapping[str, str]
    ids: Mapping[str, str]
    metadata: Mapping[str, str]


class ByColumn:
    """Maps records that have the same columns; made once for them."""

    def __init__(
        self, fields: EventFields, *, event_name: str | None, tier: str | None, names: EventNames, times: Times
    ) -> None:
        """Make the types of the objects that are in an event.

        Args:
            fields: Where each field is read from.
            event_name: The name of all events, if they have the same one.
            tier: The environment of all events, if they have one.
            names: Names an event.
            times: Reads a time that is not plain.

        Raises:
            ValueError: A name of a field is none that msgspec can write.
        """
        self._fields = fields
        self._event_name = event_name
        self._tier = None if tier is None else {"tier": tier}
        self._name_of = names
        self._time_of = times
        self._event = _object(("eventName", "value", "time", "user", "metadata"))
        self._user = _object((*fields.texts, "customIDs", "statsigEnvironment"))
        self._custom_ids = _object(fields.ids)
        self._metadata = _object(fields.metadata)

    def __call__(self, columns: Columns, now_ms: int, notes: MappingNotes) -> Items | None:
        """Return the event of each record; None where a record needs a more careful look.

        Args:
            columns: The records.
            now_ms: The present, unix milliseconds.
            notes: Told of what is worth a warning; of no use where None is returned.
        """
        try:
            names = self._names(columns, notes)
            values = repeat(None) if self._fields.value is None else _values(columns.named(self._fields.value), notes)
            times = self._times(columns, now_ms, notes)
            users = self._users(columns, notes)
            texts = [_texts(columns.named(column)) for column in self._fields.metadata.values()]
            events = [*map(self._event, names, values, times, users, _objects(self._metadata, texts))]
        except (RecordError, LookupError, TypeError, ValueError):
            return None
        return Items(events, names)

    def _names(self, columns: Columns, notes: MappingNotes) -> list[str]:
        if self._fields.name is None:
            return [self._name_of(self._event_name, notes)] * len(columns)
        sources = columns.named(self._fields.name)
        if set(map(type, sources)) != {str}:
            # Not by their values: true is 1 to Python, and 1.50 is 1.5.
            return [self._name_of(source, notes) for source in sources]
        names = {source: self._name_of(source, notes) for source in set(sources)}
        return [*map(names.__getitem__, sources)]

    def _times(self, columns: Columns, now_ms: int, notes: MappingNotes) -> list[int]:
        column = () if self._fields.time is None else columns.named(self._fields.time)
        times = parse_texts(column)
        if times and max(times) - CLOCKS_APART_MS <= now_ms <= min(times) + OLD_MS:
            return times
        return [
            self._time_of(time, extracted, now_ms, notes)
            for time, extracted in zip(column or repeat(None), columns.extracted, strict=False)
        ]

    def _users(self, columns: Columns, notes: MappingNotes) -> Iterable[msgspec.Struct]:
        texts = {field: _labels(columns.named(column)) for field, column in self._fields.texts.items()}
        ids = [_labels(columns.named(column)) for column in self._fields.ids.values()]
        notes.long_user_ids += count_long(texts.get("userID", ()))
        identifiers = [texts["userID"], *ids] if "userID" in texts else ids
        if all(None in column for column in identifiers):
            # Not even one of them is in every record; perhaps there is one of them in each all the same.
            known = map(any, zip(*identifiers, strict=True)) if identifiers else (False,)
            if not all(known):
                reason = "missing_identifier"
                raise RecordError(reason)
        return map(self._user, *texts.values(), _objects(self._custom_ids, ids), repeat(self._tier))


def _object(names: Iterable[str]) -> type[msgspec.Struct]:
    """Return a type of objects that have some of these members; a member that is None is left out."""
    fields = {f"f{place}": name for place, name in enumerate(names)}
    members = [(field, Any, None) for field in fields]
    return msgspec.defstruct("Object", members, rename=fields, omit_defaults=True, gc=False)


def _objects(kind: type[msgspec.Struct], columns: Sequence[Column]) -> Iterable[msgspec.Struct | None]:
    """Return an object for each record, None in the place of one that would have no members.

    Args:
        kind: The type of the objects.
        columns: The values of each member, None where an object lacks it.
    """
    if not columns:
        return repeat(None)
    if any(None not in column for column in columns):
        return map(kind, *columns)
    return [kind(*row) if any(member is not None for member in row) else None for row in zip(*columns, strict=True)]


def _values(column: Column, notes: MappingNotes) -> Column:
    """Return values of events, as `event_value` does.

    Raises:
        ValueError: One of them is a number that needs a more careful look.
    """
    kinds = set(map(type, column)) - _NULL
    values = column if kinds <= {int, Decimal} else [value if value is None else event_value(value) for value in column]
    if values is not column:
        notes.add_text_values([value for value in values if type(value) is str])
    decimals = [value for value in values if type(value) is Decimal]
    if not print_plainly(decimals):
        msg = "a number would be written with an exponent"
        raise ValueError(msg)
    return values


def _labels(column: Column) -> Sequence[str | None]:
    """Return identifiers, and other texts of a user, as `label` does."""
    if set(map(type, column)) == {str}:
        stripped = [*map(str.strip, column)]
        return stripped if all(stripped) else [text or None for text in stripped]
    return [*map(label, column)]


def _texts(column: Column) -> Column:
    """Return values as texts, as `text` does; null stays null.

    Raises:
        LookupError: A value has no text.
        ValueError: Likewise.
    """
    kinds = set(map(type, column)) - _NULL
    if kinds <= {str}:
        return column
    if len(kinds) == 1 and None not in column:
        return [*map(TEXTS[kinds.pop()], column)]
    return [value if value is None else TEXTS[type(value)](value) for value in column]
