"""The `user` of an item, as Statsig's StatsigUser, for all object types whose items have one."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache, partial
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple

from target_statsig.config.sources import PRIVATE_ATTRIBUTES
from target_statsig.errors import RecordError
from target_statsig.events.tracking import STATSIG_IDS, STATSIG_TIER, members_of
from target_statsig.events.values import count_long, json_value, labels, number, objects, printable, text, typed
from target_statsig.singer.columns import transposed
from target_statsig.singer.fields import (
    convert_one,
    first_of,
    listed,
    overlay,
    parse_bool,
    places,
    reads_messages,
    sources_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from target_statsig.config.settings import StreamSettings
    from target_statsig.reports.report import MappingWarnings
    from target_statsig.singer.columns import Column, Columns
    from target_statsig.singer.fields import Faults, Place

    _ReadsObject = Callable[[object], dict[str, Any] | None]

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

_CONSENTS: Mapping[bool, Mapping[str, str]] = {True: {CONSENT: "granted"}, False: {CONSENT: "denied"}}

_FEW_VALUES = frozenset({bool, NoneType})
"""Types with few values. Consents of these types are parsed once per value; texts may all differ."""

SHAPES_KEPT = 512
"""Sets of columns whose places are remembered; a stream seldom has ten."""


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
        self._plan = lru_cache(SHAPES_KEPT)(self._plan_for)

    @property
    def sources(self) -> list[tuple[str, ...]]:
        """The sources of each field, the preferred one first."""
        named = [sources for _, sources in (*self._ids, *self._attributes)]
        return [*self._texts.values(), self._anonymous, *named, self._custom, self._consent, self._tier_sources]

    def __call__(self, columns: Columns, faults: Faults, warnings: MappingWarnings) -> Users:
        """Return the user of each record.

        Args:
            columns: The records.
            faults: Receives `missing_identifier` for records with neither a user id nor a custom id.
            warnings: Counts ignored values, and long user ids.
        """
        plan = self._plan(columns.names)
        user: dict[str, Column] = {
            field: labels(first_of(columns, candidates), faults) for field, candidates in plan.texts
        }
        warnings.long_user_ids += count_long(user.get("userID", ()))
        ids: dict[str, Column] = {}
        if plan.anonymous:
            ids[STABLE_ID] = labels(first_of(columns, plan.anonymous), faults)
        named = [(id_type, first_of(columns, candidates)) for id_type, candidates in plan.ids]
        if plan.given_ids:
            given = transposed([members_of(value) or {} for value in first_of(columns, plan.given_ids)])
            named = [*given.items(), *named]
        for id_type, column in named:
            found = labels(column, faults)
            ids[id_type] = overlay(ids[id_type], found) if id_type in ids else found
        identifiers = [user["userID"], *ids.values()] if "userID" in user else [*ids.values()]
        for row in _unidentified(identifiers, len(columns)):
            faults.setdefault(row, RecordError("missing_identifier", "user_id"))
        if ids:
            user["customIDs"] = objects(ids, len(columns))
        if plan.custom or plan.consent or plan.attributes:
            user["custom"] = _customs(columns, plan, self._read_custom, faults, warnings)
        tiers: Column = (self._tier,) * len(columns)
        if plan.tier:
            tiers = _tiers(first_of(columns, plan.tier), self._tier, warnings)
        if plan.tier or self._tier is not None:
            environments = {tier: None if tier is None else {"tier": tier} for tier in set(tiers)}
            user["statsigEnvironment"] = [*map(environments.__getitem__, tiers)]
        return Users(objects(user, len(columns)), tiers)

    def _plan_for(self, names: tuple[str, ...]) -> _Plan:
        return _Plan(
            texts=[(field, found) for field, sources in self._texts.items() if (found := [*places(sources, names)])],
            ids=[(id_type, found) for id_type, sources in self._ids if (found := [*places(sources, names)])],
            anonymous=[*places(self._anonymous, names)],
            given_ids=[*places(self._given_ids, names)],
            custom=[*places(self._custom, names)],
            consent=[*places(self._consent, names)],
            attributes=[(name, found) for name, sources in self._attributes if (found := [*places(sources, names)])],
            tier=[*places(self._tier_sources, names)],
        )


class Users(NamedTuple):
    """The users of some records.

    Attributes:
        users: The user of each record.
        tiers: The environment tier of each record, or null.
    """

    users: Column
    tiers: Column


class _Plan(NamedTuple):
    """The places of a user's fields, in records with certain columns."""

    texts: Sequence[tuple[str, Sequence[Place]]]
    ids: Sequence[tuple[str, Sequence[Place]]]
    anonymous: Sequence[Place]
    given_ids: Sequence[Place]
    custom: Sequence[Place]
    consent: Sequence[Place]
    attributes: Sequence[tuple[str, Sequence[Place]]]
    tier: Sequence[Place]


def _unidentified(identifiers: Sequence[Column], count: int) -> Iterable[int]:
    if not identifiers:
        return range(count)
    if any(None not in column for column in identifiers):
        return ()
    return [row for row, found in enumerate(zip(*identifiers, strict=True)) if not any(found)]


def _tiers(named: Column, otherwise: str | None, warnings: MappingWarnings) -> Column:
    """Return the tier of each record: its own text, or else `otherwise`."""
    texts = {value: value.strip() or otherwise for value in {*filter(_is_text, named)}}
    warnings.tier_ignored += sum(value is not None and not _is_text(value) for value in named)
    return [texts[value] if _is_text(value) else otherwise for value in named]


def _is_text(value: object) -> bool:
    return type(value) is str


def _customs(columns: Columns, plan: _Plan, read: _ReadsObject, faults: Faults, warnings: MappingWarnings) -> Column:
    """Return `user.custom` of each record."""
    customs = _with_consent(columns, plan, read, faults, warnings)
    if not plan.attributes:
        return customs
    named = [name for name, _ in plan.attributes]
    values = [typed(first_of(columns, candidates), faults) for _, candidates in plan.attributes]
    rows = [
        {name: value for name, value in zip(named, row, strict=True) if value is not None}
        for row in zip(*values, strict=True)
    ]
    return [{**(custom or {}), **row} or None for custom, row in zip(customs, rows, strict=True)]


def _with_consent(
    columns: Columns, plan: _Plan, read: _ReadsObject, faults: Faults, warnings: MappingWarnings
) -> Column:
    """Return the attributes that no setting names, and the marketing consent, of each record."""

    def attributes(value: object) -> dict[str, Any] | None:
        if value is None:
            return None
        members = read(value)
        if members is None:
            warnings.custom_ignored += 1
            return None
        return _attributes(members)

    customs = first_of(columns, plan.custom)
    if customs.count(None) < len(customs):
        customs = [convert_one(attributes, value, row, faults) for row, value in enumerate(customs)]
    if not plan.consent:
        return [custom or None for custom in customs]
    given = first_of(columns, plan.consent)
    parse: Callable[[Any], bool | None] = parse_bool
    if set(map(type, given)) <= _FEW_VALUES:
        parse = {value: parse_bool(value) for value in set(given)}.__getitem__
    consents = [*map(parse, given)]
    warnings.consent_ignored += consents.count(None) - given.count(None)
    return [
        custom or None if consent is None else {**custom, **_CONSENTS[consent]} if custom else _CONSENTS[consent]
        for custom, consent in zip(customs, consents, strict=True)
    ]


def _object(value: object) -> dict[str, Any] | None:
    """Return a value, or the value of a JSON text, if it is an object, and else None."""
    if isinstance(value, str):
        value = json_value(value)
    return value if isinstance(value, dict) else None


def _attributes(members: Mapping[str, object]) -> dict[str, Any]:
    return {
        name: _attribute(value)
        for name, value in members.items()
        if value is not None and name not in PRIVATE_ATTRIBUTES
    }


def _attribute(value: object) -> object:
    """Return a value as `user.custom` accepts it: a text, a number, a boolean or a list of texts."""
    if isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, float, Decimal)):
        return printable(number(value))
    if isinstance(value, list) and all(isinstance(element, str) for element in value):
        return value
    return text(value)
