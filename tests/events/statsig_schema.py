"""What Statsig accepts: `StatsigEvent` and `ExposureEvent` of its OpenAPI schema, closed, with the rules of its guides.

No schema of a metric's value is published; it is as https://docs.statsig.com/metrics/precomputed-metrics shows it.
"""

from __future__ import annotations

TEXT = {"type": "string", "minLength": 1}

NUMBER = {"type": "number"}

USER = {
    "type": "object",
    "additionalProperties": False,
    "anyOf": [{"required": ["userID"]}, {"required": ["customIDs"]}],
    "properties": {
        **dict.fromkeys(("userID", "email", "ip", "userAgent", "country", "locale", "appVersion"), TEXT),
        "custom": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": ["string", "number", "boolean", "array"], "items": {"type": "string"}},
        },
        "customIDs": {"type": "object", "minProperties": 1, "additionalProperties": TEXT},
        "statsigEnvironment": {
            "type": "object",
            "additionalProperties": False,
            "required": ["tier"],
            "properties": {"tier": {"enum": ["production", "staging", "development"]}},
        },
    },
}

TIME = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}

EVENT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["eventName", "time", "user"],
    "properties": {
        "eventName": {
            "type": "string",
            "minLength": 1,
            "maxLength": 128,
            "pattern": r'^[^\\\[\]{}<>#=;&$%|"\x00\r\n]+$',
        },
        "value": {"type": ["string", "number"]},
        "time": TIME,
        "user": USER,
        "metadata": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": "string"},
            "propertyNames": {"pattern": r"^[^.]*$"},
        },
    },
}

ASSIGNMENT = [{"required": ["group"]}, {"required": ["ruleID"]}]

EXPERIMENT_EXPOSURE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["experimentName", "time", "user"],
    "oneOf": ASSIGNMENT,
    "properties": {"experimentName": TEXT, "group": TEXT, "ruleID": TEXT, "time": TIME, "user": USER},
}

GATE_EXPOSURE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["gateName", "passes", "time", "user"],
    "oneOf": ASSIGNMENT,
    "properties": {
        "gateName": TEXT,
        "passes": {"type": "boolean"},
        "group": TEXT,
        "ruleID": TEXT,
        "time": TIME,
        "user": USER,
    },
}

EXPOSURE = {"oneOf": [EXPERIMENT_EXPOSURE, GATE_EXPOSURE]}

METRIC = {
    "type": "object",
    "additionalProperties": False,
    "required": ["user_id", "id_type", "metric_name"],
    "oneOf": [{"required": ["metric_value"]}, {"required": ["numerator", "denominator"]}],
    "properties": {
        **dict.fromkeys(("user_id", "id_type", "metric_name"), TEXT),
        **dict.fromkeys(("metric_value", "numerator", "denominator"), NUMBER),
    },
}

METADATA = {"type": "object", "properties": dict.fromkeys(("sdkType", "sdkVersion"), TEXT)}


def body(items, item, **members):
    """Return the schema of a request's body, without other members."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [items],
        "properties": {items: {"type": "array", "minItems": 1, "items": item}, **members},
    }


BODIES = {
    "log_event": body("events", EVENT, statsigMetadata=METADATA),
    "log_custom_exposure": body("exposures", EXPOSURE, statsigMetadata=METADATA),
    "log_custom_metric": body("metrics", METRIC, isTest={"type": "boolean"}),
}
"""The body of a request, by the last part of its path."""
