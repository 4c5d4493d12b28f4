"""What stands in `TARGET_STATSIG_…` variables and cannot be read, found before singer-sdk trips over it.

singer-sdk reads the variables itself when `--config ENV` is given, but ends with a bare `ValueError` where one of them
holds no number or no JSON.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "TARGET_STATSIG_"

SWITCHES = frozenset({"true", "1", "yes", "on", "false", "0", "no", "off"})
"""What may stand for a boolean, in any case; singer-sdk takes all but the first four for false, a slip too."""


def environment_errors(schema: Mapping[str, Any], environ: Mapping[str, str]) -> list[str]:
    """Return a text for each variable whose value does not fit its setting's type; values are never quoted.

    Args:
        schema: The JSON schema of the configuration.
        environ: The environment.
    """
    errors = []
    for name, declared in schema["properties"].items():
        variable = PREFIX + name.upper()
        text = environ.get(variable)
        kinds = declared.get("type", ())
        if text is None:
            continue
        if "boolean" in kinds and text.lower() not in SWITCHES:
            errors.append(f"`{name}`: the variable {variable} must hold true or false.")
        elif "integer" in kinds:
            try:
                int(text)
            except ValueError:
                errors.append(f"`{name}`: the variable {variable} must hold a whole number.")
        elif "object" in kinds or "array" in kinds:
            try:
                json.loads(text)
            except ValueError:
                wanted = "object" if "object" in kinds else "array"
                errors.append(f"`{name}`: the variable {variable} must hold a JSON {wanted}.")
    return errors
