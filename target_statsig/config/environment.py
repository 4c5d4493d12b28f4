"""What stands in the environment and stands in the way, found before anything is sent.

singer-sdk reads the variables itself when `--config ENV` is given, but ends with a bare `ValueError` where one of them
holds no number or no JSON.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from target_statsig.loopback import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_statsig.settings import Settings

PREFIX = "TARGET_STATSIG_"

TRIAL = "STATSIG_EMULATOR_URL"
"""The variable that `statsig-emulator` sets for what runs beside it: the emulator's address."""

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


def trial_errors(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """Return why this must not run beside an emulator: it has a key for a Statsig elsewhere.

    Args:
        settings: The run's settings.
        environ: The environment.
    """
    if not environ.get(TRIAL):
        return []
    urls = {"events_url": settings.server_secret_key, "console_url": settings.console_api_key}
    strays = [
        f"`{name}`" for name, key in urls.items() if key and not is_loopback(getattr(settings, name).partition("//")[2])
    ]
    msg = (
        f"This runs beside statsig-emulator ({TRIAL} is set), but {' and '.join(strays)} would send it to a Statsig "
        f"elsewhere. Add `--config ENV` to the command, which takes the emulator's addresses and keys from the "
        f"environment; or, where it is meant for Statsig, run it without the emulator and with {TRIAL} unset."
    )
    return [msg] if strays else []
