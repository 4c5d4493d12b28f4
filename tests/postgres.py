"""A private PostgreSQL for the session; without the server's programs the tests are skipped.

`postgres_url` is an empty database for a test, `warehouse_url` a database with a readable log for a file of tests.
A conftest imports the fixtures by name.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import pytest

PASSWORD = "only-on-loopback"

_numbers = itertools.count(1)


def _programs() -> Path | None:
    """Return the directory of the newest server's programs."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    found = str(versions[-1]) if versions else shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def _user() -> str | None:
    """Return the user to run the server as, since PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _stop_server_with_this_process(programs: Path, home: Path, user: str | None) -> None:
    """Start a process that stops the server when this process ends, even if it is killed."""
    stop_and_remove = 'read _; "$0" stop -D "$1/data" -m immediate; rm -rf "$1"'
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", stop_and_remove, programs / "pg_ctl", home],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=user,
        cwd="/",
        start_new_session=True,
    )
    # Its input is closed when this process ends.
    atexit.register(watcher.communicate)


@functools.cache
def _server() -> str | None:
    """Start the server once in a session and return the URL of its first database, or None if it is not installed."""
    programs = _programs()
    if programs is None:
        return None
    home = Path(tempfile.mkdtemp(prefix="target-statsig-pg-"))
    user = _user()
    if user is not None:
        shutil.chown(home, user)
    _stop_server_with_this_process(programs, home, user)
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
    # No data outlives the session, so none needs to reach the disk.
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={home} -c fsync=off"
    # For taps that read the log.
    options += " -c wal_level=logical"
    run("pg_ctl", "start", "-w", "-l", str(home / "log"), "-o", options)
    return f"postgresql://tester:{PASSWORD}@127.0.0.1:{port}/postgres"


def _new_database(name: str, locale: str = "") -> str:
    """Create a database and return its URL."""
    server = _server()
    if server is None:
        pytest.skip("no PostgreSQL server (initdb) is installed here")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 {locale}")
    return server.removesuffix("postgres") + name


def _own_collation() -> str:
    """Return the options for a collation that is not by code point, if the server has one."""
    server = _server()
    if server is None:
        return ""
    with psycopg.connect(server, autocommit=True) as connection:
        has_icu = connection.execute("SELECT 1 FROM pg_collation WHERE collprovider = 'i' LIMIT 1").fetchone()
        return "LOCALE_PROVIDER icu ICU_LOCALE 'en-US'" if has_icu and connection.info.server_version >= 150_000 else ""


@functools.cache
def _store_database() -> str:
    """Return the URL of a database for all stores of the session, whose collation is not by code point."""
    return _new_database("stores", _own_collation())


@pytest.fixture
def postgres_url():
    """Give the URL of an empty database without connections.

    The same database is emptied each time, which takes a tenth of the time of a new one.
    """
    url = _store_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        # As in a new database.
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public AUTHORIZATION pg_database_owner")
        connection.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
    return url.replace("postgresql:", "postgresql+psycopg:")


@pytest.fixture
def connection(postgres_url):
    """Give a connection to the database of `postgres_url`, in autocommit mode."""
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


def _allow_wal2json(connection: psycopg.Connection) -> None:
    """Allow the plugin on servers that require it (15.19 and later), as the guide says."""
    if connection.execute("SELECT 1 FROM pg_settings WHERE name = 'output_plugin_libraries'").fetchone():
        connection.execute("ALTER SYSTEM SET output_plugin_libraries = pgoutput, test_decoding, wal2json")
        connection.execute("SELECT pg_reload_conf()")
        while "wal2json" not in connection.execute("SHOW output_plugin_libraries").fetchone()[0]:
            time.sleep(0.01)


@pytest.fixture(scope="module")
def warehouse_url():
    """Give the URL of a new database with a log that taps can read, for all tests of a file."""
    url = _new_database(f"warehouse_{next(_numbers)}")
    with psycopg.connect(url, autocommit=True) as connection:
        _allow_wal2json(connection)
        try:
            connection.execute("SELECT pg_create_logical_replication_slot('trial', 'wal2json')")
        except psycopg.errors.UndefinedFile:
            pytest.skip("PostgreSQL's plugin wal2json is not installed here")
        connection.execute("SELECT pg_drop_replication_slot('trial')")
        yield url
        connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()"
        )
