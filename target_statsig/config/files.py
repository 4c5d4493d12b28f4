"""Configuration files: read one after the other, later ones over earlier ones.

Refuses to know what settings there are. An error names the file and quotes nothing of it: a key may stand there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from target_statsig.exceptions import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable


def read_config_files(paths: Iterable[str]) -> dict[str, Any]:
    """Return the settings of all files in one.

    Raises:
        SettingsError: With a text for each file that cannot be used.
    """
    settings: dict[str, Any] = {}
    errors = []
    for path in paths:
        try:
            content = json.loads(Path(path).read_bytes())
        except OSError as error:
            errors.append(f"The configuration file {path} cannot be read: {error.strerror}.")
        except json.JSONDecodeError as error:
            errors.append(
                f"The configuration file {path} is not valid JSON: see line {error.lineno}, column {error.colno}."
            )
        except UnicodeDecodeError:
            errors.append(f"The configuration file {path} is not valid UTF-8.")
        else:
            if isinstance(content, dict):
                settings |= content
            else:
                errors.append(f"The configuration file {path} must hold a JSON object.")
    if errors:
        raise SettingsError(errors)
    return settings
