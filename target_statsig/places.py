"""Where a run keeps things when the configuration does not say.

Pure: the environment and the working directory are passed in.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_statsig.settings import Settings

MELTANO_DIRECTORY = "MELTANO_SYS_DIR_ROOT"
"""Meltano exports its `.meltano` directory under this name to the plugins that it runs."""

STORE_FILE = "store.db"
DEAD_LETTERS = "dead-letters"


def home(environ: Mapping[str, str], working_directory: Path) -> Path:
    """Return the directory of the embedded store: Meltano's, where Meltano runs this, else the working directory's."""
    root = environ.get(MELTANO_DIRECTORY)
    return Path(root) / "target-statsig" if root else working_directory / ".target-statsig"


def store_url(settings: Settings, environ: Mapping[str, str], working_directory: Path) -> str:
    """Return the store's SQLAlchemy URL."""
    return settings.store_url or f"sqlite:///{home(environ, working_directory) / STORE_FILE}"


def dead_letter_path(settings: Settings, environ: Mapping[str, str], working_directory: Path) -> str:
    """Return the directory of the dead letters: beside the embedded store, where there is one."""
    if settings.dead_letter_path is not None:
        return settings.dead_letter_path
    if settings.store_url is None:
        return str(home(environ, working_directory) / DEAD_LETTERS)
    if settings.store_url.startswith("sqlite:///"):
        return str(Path(settings.store_url.removeprefix("sqlite:///")).parent / DEAD_LETTERS)
    return str(working_directory / ".target-statsig" / DEAD_LETTERS)
