"""The default places of the store and the dead letters, and the owner of stored rows."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from target_statsig.config.settings import Settings

OWN = ".target-statsig"
"""This target's directory within the working directory."""

_SQLITE_URL = re.compile(r"sqlite:///(?!:memory:)(?P<path>[^?]+)(?:\?.*)?")

MOST_CHARACTERS = 100
"""Most characters of a stream's name in a file's name, which may have 255."""

_PLAIN = re.compile(r"(?!.*--)[a-z0-9_][a-z0-9_.-]*")
_UNFIT = re.compile(r"^[.-]|[^A-Za-z0-9_.-]")


def store_url(settings: Settings) -> str:
    """Return the store's URL, in SQLAlchemy's form (no SQLAlchemy is used).

    The embedded store is in Meltano's directory under Meltano, else in the working directory.
    """
    if settings.store_url is not None:
        return settings.store_url
    root = os.environ.get("MELTANO_SYS_DIR_ROOT")  # Meltano's `.meltano`, for the plugins that it runs
    return f"sqlite:///{Path(root) / 'target-statsig' if root else Path.cwd() / OWN}/store.db"


def store_file(url: str) -> Path | None:
    """Return the file of an embedded store; None for another database."""
    found = _SQLITE_URL.fullmatch(url)
    return Path(found["path"]) if found else None


def may_exist(file: Path) -> bool:
    """Return whether a file is there, or may be: where that cannot be seen, opening it says why."""
    try:
        file.stat()  # not `exists`, which is false from Python 3.14 on where it cannot be seen
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def may_make(file: Path) -> bool:
    """Return whether a file, and the directories that it lacks, can be made."""
    nearest = next(folder for folder in file.absolute().parents if folder.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def project_identity(settings: Settings) -> str:
    """Return the identity of the Statsig project in the store: its address, and a digest of a key.

    The key is that of the Console API, which holds the members, or else the server's.
    """
    if settings.console_api_key is not None:
        url, key = settings.console_url, settings.console_api_key
    else:
        url, key = settings.events_url, settings.server_secret_key or ""
    return f"{url.rstrip('/')} {hashlib.sha256(key.encode()).hexdigest()[:32]}"


def dead_letter_path(settings: Settings) -> str:
    """Return the directory of the dead letters: beside the embedded store, if there is one."""
    if settings.dead_letter_path is not None:
        return settings.dead_letter_path
    file = store_file(store_url(settings))
    return str((file.parent if file else Path.cwd() / OWN) / "dead-letters")


def dead_letter_name(stream: str, run_id: str) -> str:
    """Return the stem of a stream's dead-letter file.

    It is unique even on file systems that ignore case: a name that cannot be a file's name gets a digest.
    """
    name = stream
    if len(stream) > MOST_CHARACTERS or not _PLAIN.fullmatch(stream):
        digest = hashlib.sha256(stream.encode(errors="surrogatepass")).hexdigest()[:16]
        name = f"{_UNFIT.sub('_', stream)[:MOST_CHARACTERS]}--{digest}"
    return f"{name}-{run_id}"


def file_system_error(url: str) -> str | None:
    """Return why files of a local path or a URL such as `s3://…` cannot be opened here, else None."""
    if "://" not in url:
        return None
    from fsspec import get_filesystem_class  # noqa: PLC0415 -- most runs name a local path, and need none of it
    from upath import UPath  # noqa: PLC0415

    try:
        get_filesystem_class(UPath(url).protocol)
    except ImportError as error:
        return f"{error} (into the target's environment; under Meltano into its `pip_url`)."
    except ValueError as error:
        return f"{error}."
    return None


def make_private(directory: Path) -> None:
    """Create a directory and its missing parents, for the owner alone, or raise an OSError."""
    if not directory.exists():
        make_private(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)
