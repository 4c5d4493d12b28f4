"""What went wrong with the store, in one sentence that says what to do.

Owns the texts. They name the store without password and never quote a statement or a value: a driver's own words
are quoted only where they speak of the database and not of rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from target_statsig.exceptions import StoreError

if TYPE_CHECKING:
    from sqlalchemy import URL
    from sqlalchemy.exc import SQLAlchemyError

_MOVE_ASIDE = (
    "move the file aside and run again: memberships are read from Statsig anew, though events sent lately may be "
    "sent a second time"
)

_DAMAGED = f"is damaged; {_MOVE_ASIDE}"

_FULL = (
    "has no room left on its disk, or on that of temporary files; make room, point store_url at another disk, or "
    "SQLITE_TMPDIR at another directory"
)

_SQLITE_CAUSES = (
    ("not a database", f"is not a SQLite database; point store_url at another file, or {_MOVE_ASIDE}"),
    ("malformed", _DAMAGED),
    ("locked", "is kept busy by another run; let it end, or give this job a store_url of its own"),
    ("readonly", "cannot be written; let this user write the file and its directory, or change store_url"),
    ("unable to open", "cannot be opened; let this user write the file and its directory, or change store_url"),
    ("full", _FULL),
    ("disk i/o", "cannot be read or written (disk I/O error); check the disk, or change store_url"),
)
"""What SQLite says, in part, and what that means here."""


def named(url: URL) -> str:
    """Return how a message names the store: by its URL without password and query."""
    return f"the store of store_url ({url.set(query={}).render_as_string(hide_password=True)})"


def explain(error: SQLAlchemyError, url: URL) -> StoreError:
    """Return what to raise instead of an error of the database.

    Args:
        error: What SQLAlchemy raised.
        url: The store's URL.
    """
    words = str(error.orig).strip() if isinstance(error, DBAPIError) else ""
    if url.get_backend_name() == "sqlite":
        for sign, cause in _SQLITE_CAUSES:
            if sign in words.lower():
                return StoreError(f"{named(url)} {cause}")
    if isinstance(error, (OperationalError, ProgrammingError)):
        # These speak of connections, disks and permissions; those of other errors may hold the row at fault.
        first_line = words.partition("\n")[0]
        return StoreError(
            f"{named(url)} cannot be used: {first_line}; "
            "check store_url, that the database is up, and that its user may create and write tables"
        )
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    return StoreError(
        f"{named(url)} failed ({type(error).__name__}{f', SQLSTATE {state}' if state else ''}); "
        "check the database's own log, or point store_url at another store"
    )


def unusable(url: URL, error: OSError) -> StoreError:
    """Return what to raise when the store's file or directory cannot be made.

    Args:
        url: The store's URL.
        error: What the operating system said.
    """
    return StoreError(
        f"{named(url)} cannot be opened ({error.strerror or type(error).__name__}); "
        "let this user write there, or change store_url"
    )


def damaged(url: URL) -> StoreError:
    """Return what to raise when a check finds a SQLite file damaged.

    Args:
        url: The store's URL.
    """
    return StoreError(f"{named(url)} {_DAMAGED}")
