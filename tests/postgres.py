"""A private PostgreSQL for the session, where the server's programs are installed.

`postgres_url` gives a test an empty database of its own, `warehouse_url` one to a file of tests, whose log can be read;
without the programs the test is skipped and says so. A conftest imports the fixtures by name.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = "only-on-loopback"

_numbers = itertools.count(1)


def _programs() -> Path | None:
    """Return the directory of the newest server's programs."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    found = str(versions[-1]) if versions else shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def _user() -> str | None:
    """Return whom to run the server as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _clear_up_behind_this_process(programs: Path, home: Path, user: str | None) -> None:
    """Leave the server to a process that stops it when this one is gone: killed tests shall leave no server behind."""
    clear_up = 'read _; "$0" stop -D "$1/data" -m immediate; rm -rf "$1"'
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", clear_up, programs / "pg_ctl", home],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=user,
        cwd="/",
        start_new_session=True,
    )
    # Its input ends with this process, and before that only in an orderly exit.
    atexit.register(watcher.communicate)


@functools.cache
def _server() -> str | None:
    """Start the server once a session and return the URL of its first database; None where there is no server."""
    programs = _programs()
    if programs is None:
        return None
    home = Path(tempfile.mkdtemp(prefix="target-statsig-pg-"))
    user = _user()
    if user is not None:
        shutil.chown(home, user)
    _clear_up_behind_this_process(programs, home, user)
    (home / "password").write_text(PASSWORD)

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [programs / program, "-D", home / "data", *arguments],
            check=True,
            user=user,
            cwd=home,
            stdout=subprocess.DEVNULL,
        )

    run(
        "initdb",
        "--username=tester",
        "--auth=scram-sha-256",
        f"--pwfile={home / 'password'}",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
    )
    port = _free_port()
    # Nothing here outlives the session, so nothing needs to reach the disk.
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={home} -c fsync=off"
    # For taps that read the log; it costs the others nothing to speak of.
    options += " -c wal_level=logical"
    run("pg_ctl", "start", "-w", "-l", str(home / "log"), "-o", options)
    return f"postgresql://tester:{PASSWORD}@127.0.0.1:{port}/postgres"


@contextlib.contextmanager
def _new_database(name: str, locale: str = "") -> Iterator[str]:
    """Give the URL of a new database, and drop it afterwards with its replication slots."""
    server = _server()
    if server is None:
        pytest.skip("no PostgreSQL server (initdb) is installed here")
    url = server.removesuffix("postgres") + name
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 {locale}")
    yield url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()"
        )
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _own_collation() -> str:
    """Return what gives a database a collation that does not go by code point, where the server has one."""
    server = _server()
    if server is None:
        return ""
    with psycopg.connect(server, autocommit=True) as connection:
        has_icu = connection.execute("SELECT 1 FROM pg_collation WHERE collprovider = 'i' LIMIT 1").fetchone()
        return "LOCALE_PROVIDER icu ICU_LOCALE 'en-US'" if has_icu and connection.info.server_version >= 150_000 else ""


@pytest.fixture
def postgres_url():
    """Give the SQLAlchemy URL of a new database, one whose own collation does not go by code point."""
    with _new_database(f"store_{next(_numbers)}", _own_collation()) as url:
        yield url.replace("postgresql:", "postgresql+psycopg:")


@pytest.fixture
def connection(postgres_url):
    """Give a connection to the database of `postgres_url`, on which each statement is committed."""
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def warehouse_url():
    """Give the URL of a new database whose log a tap can read, for all tests of a file."""
    with _new_database(f"warehouse_{next(_numbers)}") as url:
        with psycopg.connect(url, autocommit=True) as connection:
            try:
                connection.execute("SELECT pg_create_logical_replication_slot('trial', 'wal2json')")
            except psycopg.errors.UndefinedFile:
                pytest.skip("PostgreSQL's plugin wal2json is not installed here")
            connection.execute("SELECT pg_drop_replication_slot('trial')")
        yield url
