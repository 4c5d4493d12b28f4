"""`store_url`: which database it names, how messages name that, and what the database's errors mean."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from target_statsig.config.paths import store_file
from target_statsig.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_POSTGRES_URL = re.compile(
    r"postgres(?:ql)?(?:\+psycopg)?://(?:(?P<user>[^:/?]*)(?::(?P<password>[^@]*))?@)?"
    r"(?:\[(?P<ipv6>[^/?]+)\]|(?P<host>[^/:?]*))(?::(?P<port>[^/?]*))?(?:/(?P<dbname>[^?]*))?(?:\?(?P<query>.*))?"
)

_MOVE_ASIDE = (
    "move the file away and run again. The run then reads the members of segments from Statsig again; recent events "
    "may be sent twice"
)

_LET_WRITE = "let this user write the file and its directory, or change `store_url`"

DAMAGED = f"is damaged; {_MOVE_ASIDE}"

_SQLITE_CAUSES: Mapping[int, str] = {
    sqlite3.SQLITE_NOTADB: f"is not a SQLite database; set `store_url` to another file, or {_MOVE_ASIDE}",
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    **dict.fromkeys(
        (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED),
        "is locked by another run; wait for that run, or give this job its own `store_url`",
    ),
    sqlite3.SQLITE_READONLY: f"cannot be written; {_LET_WRITE}",
    sqlite3.SQLITE_CANTOPEN: f"cannot be opened; {_LET_WRITE}",
    sqlite3.SQLITE_FULL: (
        "has no room left on its disk, or on the disk for temporary files; free some room, set `store_url` to another "
        "disk, or SQLITE_TMPDIR to another directory"
    ),
    sqlite3.SQLITE_IOERR: "cannot be read or written (disk I/O error); check the disk, or change `store_url`",
}
"""What SQLite's errors mean here, by `sqlite_code`."""


def sqlite_code(error: Exception) -> int | None:
    """Return the primary code of an error of SQLite (https://sqlite.org/rescode.html); None if it has none."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """A `store_url` that was understood.

    Attributes:
        place: The URL without password and query.
        path: SQLite's file; None for PostgreSQL.
        parameters: What PostgreSQL's driver is given.
    """

    place: str
    path: Path | None
    parameters: dict[str, str]

    @classmethod
    def parse(cls, url: str) -> StoreUrl:
        """Parse a `store_url`.

        Raises:
            StoreError: It names no database that could be a store.
        """
        # None of a database in memory: it would forget everything, and each connection would have one of its own.
        if (path := store_file(url)) is not None:
            return cls(url.partition("?")[0], path, {})
        if found := _POSTGRES_URL.fullmatch(url):
            given = {name: value for name, value in found.groupdict().items() if value and name != "query"}
            # By place and not by what is there: a password may hold a question mark, too.
            place = url if found["query"] is None else url[: found.start("query") - 1]
            if password := given.get("password"):
                place = f"{place[: found.start('password')]}***{place[found.end('password') :]}"
                given["password"] = unquote(password)
            if "user" in given:
                given["user"] = unquote(given["user"])
            if "ipv6" in given:
                given["host"] = given.pop("ipv6")
            return cls(place, None, given | _parameters(found["query"] or ""))
        msg = "`store_url` must be sqlite:///path/to/store.db or postgresql+psycopg://user:password@host/database"
        raise StoreError(msg)

    @property
    def named(self) -> str:
        """How a message names the store."""
        return f"the store of `store_url` ({self.place})"

    def explain(self, error: Exception) -> StoreError:
        """Return what to raise instead of an error of the database or the system: one sentence with the remedy.

        It quotes neither a statement nor a value: a driver's message only where it is about the database and not rows.
        """
        if isinstance(error, OSError):
            reason = error.strerror or type(error).__name__
            return StoreError(
                f"{self.named} cannot be opened ({reason}); let this user read and write there, or change `store_url`"
            )
        if (cause := _SQLITE_CAUSES.get(sqlite_code(error) or 0)) is not None:
            return StoreError(f"{self.named} {cause}")
        # These are about connections, disks and permissions; messages of other errors may hold the row at fault.
        if {"OperationalError", "ProgrammingError"} & {kind.__name__ for kind in type(error).__mro__}:
            message, *_ = str(error).strip().splitlines() or [""]
            return StoreError(
                f"{self.named} cannot be used: {message}; check `store_url`, that the database is up, and that its "
                "user may create and write tables"
            )
        state = getattr(error, "sqlstate", None)
        return StoreError(
            f"{self.named} failed ({type(error).__name__}{f', SQLSTATE {state}' if state else ''}); check the "
            "database's log, or set `store_url` to another store"
        )


def _parameters(query: str) -> dict[str, str]:
    """Return the parameters of a query.

    Raises:
        StoreError: One is given more than once.
    """
    pairs = parse_qsl(query)
    parameters = dict(pairs)
    if len(parameters) < len(pairs):
        repeated = next(name for name in parameters if [name for name, _ in pairs].count(name) > 1)
        msg = f"store_url gives `{repeated}` more than once; give it once (of several hosts as `host=first,second`)"
        raise StoreError(msg)
    return parameters
