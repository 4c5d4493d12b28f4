"""Records of a stream as Statsig exposures (`POST /v1/log_custom_exposure`).

An exposure says that someone was in a group of an experiment, or met a rule of a gate. The user and the time are mapped
as for events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from target_statsig.errors import RecordError
from target_statsig.events.times import event_times
from target_statsig.events.user import UserMapper
from target_statsig.events.values import Items, Mapper, labels, objects
from target_statsig.singer.fields import first_of, parse_bool, sources_of

if TYPE_CHECKING:
    from target_statsig.config.settings import StreamSettings
    from target_statsig.reports.report import MappingWarnings
    from target_statsig.singer.columns import Column, Columns
    from target_statsig.singer.fields import Faults

GATE_MARK = "gate:"
"""The prefix of gates where names are counted, because an experiment may have the same name."""


class ExposureMapper(Mapper):
    """Maps the records of one stream.

    Its faults: `missing_experiment_or_gate`, `both_experiment_and_gate`, `missing_passes`, `invalid_passes`,
    `missing_group_or_rule`, `missing_identifier`, `invalid_time` and `not_encodable`.
    """

    def __init__(self, settings: StreamSettings) -> None:
        self._static = {"experiment_name": settings.experiment_name, "gate_name": settings.gate_name}
        fields = ("experiment_name", "gate_name", "passes", "rule_id", "group", "event_time")
        self._sources = {field: sources_of(field, settings.field_mapping) for field in fields}
        self._time_unit = settings.time_unit
        self._users = UserMapper(settings)

    @override
    def __call__(self, columns: Columns, now_ms: int, warnings: MappingWarnings, faults: Faults) -> Items:
        found = {
            field: (static,) * len(columns) if (static := self._static.get(field)) else first_of(columns, sources)
            for field, sources in self._sources.items()
        }
        experiments, gates = labels(found["experiment_name"], faults), labels(found["gate_name"], faults)
        passed = _passes(experiments, gates, found["passes"], faults)
        rules, groups = labels(found["rule_id"], faults), labels(found["group"], faults)
        for row, (rule, group) in enumerate(zip(rules, groups, strict=True)):
            if rule is None and group is None:
                faults.setdefault(row, RecordError("missing_group_or_rule", "group"))
        users, tiers = self._users(columns, faults, warnings)
        exposure = {
            "experimentName": experiments,
            "gateName": gates,
            "passes": passed,
            "ruleID": rules,
            # Statsig accepts exactly one of the two. The rule's id is the more specific.
            "group": [group if rule is None else None for rule, group in zip(rules, groups, strict=True)],
            "time": event_times(found["event_time"], columns.extracted, self._time_unit, now_ms, warnings, faults),
            "user": users,
        }
        names = [
            experiment if gate is None else f"{GATE_MARK}{gate}"
            for experiment, gate in zip(experiments, gates, strict=True)
        ]
        return Items(objects(exposure, len(columns)), names, tiers)


def _passes(experiments: Column, gates: Column, passes: Column, faults: Faults) -> Column:
    """Return whether each gate passed; null for experiments. A record must name an experiment or a gate, not both."""
    passed: list[bool | None] = []
    for row, (experiment, gate, value) in enumerate(zip(experiments, gates, passes, strict=True)):
        passed.append(None if gate is None or value is None else parse_bool(value))
        if experiment is not None and gate is not None:
            faults.setdefault(row, RecordError("both_experiment_and_gate"))
        elif experiment is None and gate is None:
            faults.setdefault(row, RecordError("missing_experiment_or_gate", "experiment_name"))
        elif gate is not None and passed[-1] is None:
            faults.setdefault(row, RecordError("missing_passes" if value is None else "invalid_passes", "passes"))
    return passed
