"""The `user` of an item, as Statsig's StatsigUser, for all object types whose items have one."""

from __future__ import annotations

from functools import partial
from types import NoneType
from typing import TYPE_CHECKING, Any

from target_statsig.config.choices import PRIVATE_ATTRIBUTES
from target_statsig.errors import RecordError
from target_statsig.events.values import count_long, json_value, labels, objects, text, typed, typed_value
from target_statsig.singer.columns import (
    convert_one,
    find,
    first_of,
    is_full,
    listed,
    overlay,
    parse_bool,
    reads_messages,
    sources_of,
    transposed,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from target_statsig.config.settings import StreamSettings
    from target_statsig.reports.report import MappingWarnings
    from target_statsig.singer.columns import Column, Columns, Faults

STABLE_ID = "stableID"
"""Statsig's ID type for users who are not logged in."""

TEXT_FIELDS = {
    "userID": "user_id",
    "email": "email",
    "ip": "ip",
    "userAgent": "user_agent",
    "locale": "locale",
    "country": "country",
    "appVersion": "app_version",
}
"""The fields that hold a text, each with its destination."""

CONSENT = "marketing_consent"

STATSIG_IDS = "properties.statsigCustomIDs"
STATSIG_TIER = "properties.statsigEnvironment.tier"

_CONSENTS: Mapping[bool, Mapping[str, str]] = {True: {CONSENT: "granted"}, False: {CONSENT: "denied"}}

_BOOLEANS = frozenset({bool, NoneType})


class UserMapper:
    """Maps the users of the records of one stream."""

    def __init__(self, settings: StreamSettings) -> None:
        is_message = reads_messages(settings)
        of = partial(sources_of, field_mapping=settings.field_mapping, of_messages=is_message)
        self._texts = {field: of(destination) for field, destination in TEXT_FIELDS.items()}
        self._anonymous = of("anonymous_id")
        self._given_ids = (STATSIG_IDS,) if is_message else ()
        self._ids = [(id_type, listed(sources)) for id_type, sources in settings.custom_ids.items()]
        self._attributes = [(name, listed(sources)) for name, sources in settings.custom_fields.items()]
        self._custom = of("custom")
        self._read_custom = members_of if is_message else _object
        self._consent = of(CONSENT)
        self._tier = settings.environment_tier
        self._tier_sources = (*listed(settings.environment_tier_field or ()), *((STATSIG_TIER,) if is_message else ()))

    @property
    def sources(self) -> list[tuple[str, ...]]:
        """The sources of each field, the preferred one first."""
        named = [sources for _, sources in (*self._ids, *self._attributes)]
        return [*self._texts.values(), self._anonymous, *named, self._custom, self._consent, self._tier_sources]

    def __call__(self, columns: Columns, faults: Faults, warnings: MappingWarnings) -> tuple[Column, Column]:
        """Return the user of each record, and the environment tier of each, or null.

        A fault is `missing_identifier`: a record with neither a user id nor a custom id.
        """
        user: dict[str, Column] = {
            field: labels(found, faults)
            for field, sources in self._texts.items()
            if (found := find(columns, sources)) is not None
        }
        warnings.long_user_ids += count_long(user.get("userID", ()))
        ids = self._custom_ids(columns, faults)
        identifiers = [user["userID"], *ids.values()] if "userID" in user else [*ids.values()]
        for row in _unidentified(identifiers, len(columns)):
            faults.setdefault(row, RecordError("missing_identifier", "user_id"))
        if ids:
            user["customIDs"] = objects(ids, len(columns))
        customs = self._customs(columns, faults, warnings)
        if any(customs):
            user["custom"] = customs
        tiers: Column = (self._tier,) * len(columns)
        if (named := find(columns, self._tier_sources)) is not None:
            tiers = [(each.strip() if isinstance(each, str) else None) or self._tier for each in named]
            warnings.tier_ignored += sum(not isinstance(each, (str, NoneType)) for each in named)
        if any(tiers):
            environments = {tier: None if tier is None else {"tier": tier} for tier in set(tiers)}
            user["statsigEnvironment"] = [*map(environments.__getitem__, tiers)]
        return objects(user, len(columns)), tiers

    def _custom_ids(self, columns: Columns, faults: Faults) -> dict[str, Column]:
        """Return `user.customIDs` of each record, by ID type."""
        ids: dict[str, Column] = {}
        named = [(id_type, find(columns, sources)) for id_type, sources in self._ids]
        if (given := find(columns, self._given_ids)) is not None:
            named = [*transposed([members_of(value) or {} for value in given]).items(), *named]
        for id_type, column in [(STABLE_ID, find(columns, self._anonymous)), *named]:
            if column is not None:
                found = labels(column, faults)
                ids[id_type] = overlay(ids[id_type], found) if id_type in ids else found
        return ids

    def _customs(self, columns: Columns, faults: Faults, warnings: MappingWarnings) -> Column:
        """Return `user.custom` of each record: the column `custom`, the marketing consent, and `custom_fields`."""

        def attributes(value: object) -> dict[str, Any] | None:
            if value is None:
                return None
            members = self._read_custom(value)
            if members is None:
                warnings.custom_ignored += 1
                return None
            return _attributes(members) or None

        customs = first_of(columns, self._custom)
        if customs.count(None) < len(customs):
            customs = [convert_one(attributes, value, row, faults) for row, value in enumerate(customs)]
        if (given := find(columns, self._consent)) is not None:
            customs = [
                custom if consent is None else {**custom, **_CONSENTS[consent]} if custom else _CONSENTS[consent]
                for custom, consent in zip(customs, _consents(given, warnings), strict=True)
            ]
        found = {name: find(columns, sources) for name, sources in self._attributes}
        named = {name: typed(column, faults) for name, column in found.items() if column is not None}
        if named:
            rows = [
                {name: value for name, value in zip(named, row, strict=True) if value is not None}
                for row in zip(*named.values(), strict=True)
            ]
            customs = [{**(custom or {}), **row} or None for custom, row in zip(customs, rows, strict=True)]
        return customs


def _unidentified(identifiers: Sequence[Column], count: int) -> Iterable[int]:
    if not identifiers:
        return range(count)
    if any(map(is_full, identifiers)):
        return ()
    return [row for row, found in enumerate(zip(*identifiers, strict=True)) if not any(found)]


def _consents(given: Column, warnings: MappingWarnings) -> Column:
    """Return the marketing consent of each record."""
    if set(map(type, given)) <= _BOOLEANS:
        return given
    consents = [*map(parse_bool, given)]
    warnings.consent_ignored += consents.count(None) - given.count(None)
    return consents


def _object(value: object) -> dict[str, Any] | None:
    """Return a value, or the value of a JSON text, if it is an object, and else None."""
    if isinstance(value, str):
        value = json_value(value)
    return value if isinstance(value, dict) else None


def members_of(value: object) -> dict[str, Any] | None:
    """Return an object, a list of alternating names and values, or a JSON text of either as an object; else None."""
    if isinstance(value, str):
        value = json_value(value)
    if isinstance(value, list):
        pairs = zip(value[::2], value[1::2], strict=False)
        return {name: member for name, member in pairs if isinstance(name, str) and name.strip()}
    return value if isinstance(value, dict) else None


def _attributes(members: Mapping[str, object]) -> dict[str, Any]:
    return {
        name: _attribute(value)
        for name, value in members.items()
        if value is not None and name not in PRIVATE_ATTRIBUTES
    }


def _attribute(value: object) -> object:
    """Return a value as `user.custom` accepts it: a text, a number, a boolean or a list of texts."""
    if isinstance(value, list) and all(isinstance(element, str) for element in value):
        return value
    return text(value) if isinstance(value, (dict, list, tuple)) else typed_value(value)
