"""A record of a stream as a Statsig exposure (`POST /v1/log_custom_exposure`).

An exposure says that someone was in a group of an experiment, or met a rule of a gate. Knows which field of it stands
where; the user and the time are mapped as for events. Refuses to know how an exposure is sent.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from target_statsig._compat import override
from target_statsig.answers import answer_of
from target_statsig.events.kind import Mapper
from target_statsig.events.mapping import PLANS_KEPT
from target_statsig.events.times import Times
from target_statsig.events.users import UserMapper, UserPlan
from target_statsig.events.values import label
from target_statsig.exceptions import RecordError
from target_statsig.fields import Reader, Record, places, reader, sources_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_statsig.events.kind import ToItem
    from target_statsig.events.notes import MappingNotes
    from target_statsig.settings import StreamSettings

FIELDS = ("experiment_name", "gate_name", "passes", "rule_id", "group", "event_time")


class _Plan(NamedTuple):
    """Where to look, in records that have the same columns; the readers are in the order of `FIELDS`."""

    readers: tuple[Reader | None, ...]
    user_of: UserPlan


class ExposureMapper(Mapper):
    """Maps the records of one stream.

    Its reasons: `missing_experiment_or_gate`, `both_experiment_and_gate`, `missing_passes`, `invalid_passes`,
    `missing_group_or_rule`, `missing_identifier`, `invalid_time` and `not_encodable`.
    """

    def __init__(self, settings: StreamSettings) -> None:
        """Find out the sources of every field."""
        self._experiment = label(settings.experiment_name)
        self._gate = label(settings.gate_name)
        self._times = Times("event_time", settings.time_unit)
        self._users = UserMapper(settings)
        self._sources = tuple(sources_of(destination, settings.field_mapping) for destination in FIELDS)
        self._columns = frozenset(
            place.column for sources in (*self._sources, *self._users.sources) for place in places(sources)
        )
        self._plan = lru_cache(PLANS_KEPT)(self._plan_for)

    @override
    def for_columns(self, columns: tuple[str, ...]) -> ToItem:
        return partial(self._map, self._plan(self._columns.intersection(columns)))

    def _map(
        self, plan: _Plan, record: Record, time_extracted: str | None, now_ms: int, notes: MappingNotes
    ) -> dict[str, Any]:
        readers, user_of = plan
        experiment, gate, passes, rule, group, time = (read and read(record) for read in readers)
        return {
            **_subject(self._experiment or label(experiment), self._gate or label(gate), passes),
            **_assignment(label(rule), label(group)),
            "time": self._times(time, time_extracted, now_ms, notes),
            "user": user_of(record, notes),
        }

    def _plan_for(self, columns: frozenset[str]) -> _Plan:
        return _Plan(tuple(reader(sources, columns) for sources in self._sources), self._users.plan(columns))


def subject_of(exposure: Mapping[str, Any]) -> str:
    """Return the name of the experiment or of the gate that someone was exposed to."""
    return str(exposure.get("experimentName") or exposure["gateName"])


def _subject(experiment: str | None, gate: str | None, passes: object) -> dict[str, Any]:
    """Return what someone was exposed to: an experiment, or a gate and whether it let them through."""
    if experiment is not None and gate is not None:
        reason = "both_experiment_and_gate"
        raise RecordError(reason)
    if experiment is not None:
        return {"experimentName": experiment}
    if gate is None:
        reason = "missing_experiment_or_gate"
        raise RecordError(reason, "experiment_name")
    passed = answer_of(passes)
    if passed is None:
        reason = "missing_passes" if passes is None else "invalid_passes"
        raise RecordError(reason, "passes")
    return {"gateName": gate, "passes": passed}


def _assignment(rule: str | None, group: str | None) -> dict[str, str]:
    """Return what they were assigned by: Statsig takes exactly one of the two, and the rule's id is the surer."""
    if rule is not None:
        return {"ruleID": rule}
    if group is None:
        reason = "missing_group_or_rule"
        raise RecordError(reason, "group")
    return {"group": group}
