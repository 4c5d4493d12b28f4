"""What Statsig takes for an event: `StatsigEvent` of its OpenAPI schema, closed, with the rules of its guides."""

from __future__ import annotations

TEXT = {"type": "string", "minLength": 1}

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
        "time": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
        "user": USER,
        "metadata": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": "string"},
            "propertyNames": {"pattern": r"^[^.]*$"},
        },
    },
}
