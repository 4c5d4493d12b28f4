"""The `user` of an item: who did it, as Statsig's StatsigUser.

Serves any object type whose items have a user. `privateAttributes` are for evaluation only and are never sent
(https://docs.statsig.com/server/concepts/user).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from target_statsig.answers import answer_of
from target_statsig.events.notes import LONGEST
from target_statsig.events.values import label, number, text
from target_statsig.exceptions import RecordError
from target_statsig.fields import Reader, Record, only_column, reader, sources_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from target_statsig.events.notes import MappingNotes
    from target_statsig.settings import StreamSettings

STABLE_ID = "stableID"
"""Statsig's ID type for who is not logged in."""

TEXT_FIELDS = {
    "userID": "user_id",
    "email": "email",
    "ip": "ip",
    "userAgent": "user_agent",
    "locale": "locale",
    "country": "country",
    "appVersion": "app_version",
}
"""Statsig's fields that hold a text, and the destinations that fill them."""

PRIVATE_ATTRIBUTES = frozenset({"privateAttributes", "private_attributes"})

CONSENT = "marketing_consent"

_decode = msgspec.json.Decoder(float_hook=Decimal).decode


class UserMapper:
    """Maps the user of the records of one stream.

    Attributes:
        tier: The environment of all of them, if they have one.
    """

    def __init__(self, settings: StreamSettings) -> None:
        """Find out the sources of every field."""
        mapping = settings.field_mapping
        self._texts = {field: sources_of(destination, mapping) for field, destination in TEXT_FIELDS.items()}
        self._ids = [
            (STABLE_ID, sources_of("anonymous_id", mapping)),
            *((id_type, (source,)) for id_type, source in settings.custom_ids.items()),
        ]
        self._custom = sources_of("custom", mapping)
        self._consent = sources_of("marketing_consent", mapping)
        self.tier = None if settings.environment_tier is None else str(settings.environment_tier)

    @property
    def sources(self) -> list[tuple[str, ...]]:
        """The sources of every field, each in the order of preference."""
        return [*self._texts.values(), *(sources for _, sources in self._ids), self._custom, self._consent]

    def columns(self, present: Collection[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Return the columns of the fields that hold a text, by field, and those of custom ids, by ID type.

        Args:
            present: The columns of every record that will be read.

        Raises:
            LookupError: The user of a record cannot be read from these columns alone.
        """
        if reader(self._custom, present) or reader(self._consent, present):
            msg = "custom attributes are looked at one by one"
            raise LookupError(msg)
        return _columns(self._texts.items(), present), _columns(self._ids, present)

    def plan(self, columns: Collection[str]) -> UserPlan:
        """Return what maps the user of records that have just these columns, as far as the sources name any."""
        return UserPlan(
            texts=_readers(self._texts.items(), columns),
            ids=_readers(self._ids, columns),
            custom=reader(self._custom, columns),
            consent=reader(self._consent, columns),
            tier=self.tier,
        )


def _readers(fields: Iterable[tuple[str, tuple[str, ...]]], columns: Collection[str]) -> tuple[tuple[str, Reader], ...]:
    found = ((field, reader(sources, columns)) for field, sources in fields)
    return tuple((field, read) for field, read in found if read is not None)


def _columns(fields: Iterable[tuple[str, tuple[str, ...]]], present: Collection[str]) -> dict[str, str]:
    found = [(field, column) for field, sources in fields if (column := only_column(sources, present)) is not None]
    columns = dict(found)
    if len(columns) < len(found):
        msg = "two columns may hold the same id"
        raise LookupError(msg)
    return columns


@dataclass(frozen=True, slots=True)
class UserPlan:
    """The mapping of a user, for records that have the same columns."""

    texts: tuple[tuple[str, Reader], ...]
    ids: tuple[tuple[str, Reader], ...]
    custom: Reader | None
    consent: Reader | None
    tier: str | None

    @property
    def user_id(self) -> Reader | None:
        """Return what reads the user's id, where nothing else can be in any user."""
        more = self.ids or self.custom or self.consent or self.tier
        return self.texts[0][1] if not more and [field for field, _ in self.texts] == ["userID"] else None

    def __call__(self, record: Record, notes: MappingNotes) -> dict[str, Any]:
        """Return the user.

        Args:
            record: A record with the columns that the plan is for.
            notes: Told of what was left out, and of what is long.

        Raises:
            RecordError: `missing_identifier`: there is neither a user id nor a custom id.
        """
        user: dict[str, Any] = {}
        for field, read in self.texts:
            found = read(record)
            # As `label` does, without a call for nearly all of them.
            found = found.strip() if type(found) is str else label(found)
            if found:
                user[field] = found
        if len(user.get("userID", "")) > LONGEST:
            notes.long_user_ids += 1
        ids: dict[str, str] = {}
        for id_type, read in self.ids:
            if unit := label(read(record)):
                ids[id_type] = unit
        if ids:
            user["customIDs"] = ids
        elif "userID" not in user:
            reason = "missing_identifier"
            raise RecordError(reason, "user_id")
        if self.custom is not None or self.consent is not None:
            self._add_custom(user, record, notes)
        if self.tier is not None:
            user["statsigEnvironment"] = {"tier": self.tier}
        return user

    def _add_custom(self, user: dict[str, Any], record: Record, notes: MappingNotes) -> None:
        custom: dict[str, Any] = {}
        if self.custom is not None and (value := self.custom(record)) is not None:
            members = _object(value)
            if members is None:
                notes.custom_ignored += 1
            else:
                custom = _attributes(members)
        if self.consent is not None and (value := self.consent(record)) is not None:
            consent = answer_of(value)
            if consent is None:
                notes.consent_ignored += 1
            else:
                custom[CONSENT] = "granted" if consent else "denied"
        if custom:
            user["custom"] = custom


def _object(value: object) -> dict[str, object] | None:
    """Return the object that a value is, or holds as text; None where there is none."""
    if isinstance(value, str):
        try:
            value = _decode(value)
        except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


def _attributes(members: Mapping[str, object]) -> dict[str, Any]:
    return {
        name: _attribute(value)
        for name, value in members.items()
        if value is not None and name not in PRIVATE_ATTRIBUTES
    }


def _attribute(value: object) -> object:
    """Return a value as `user.custom` may hold it: a text, a number, a boolean or a list of texts."""
    if isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, float, Decimal)):
        return number(value)
    if isinstance(value, list) and all(isinstance(element, str) for element in value):
        return value
    return text(value)
