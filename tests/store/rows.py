"""The store's tables and database, used past the store."""

from __future__ import annotations

import sqlalchemy


def known(members):
    """Return the ids of a segment's members, sorted."""
    return sorted(id_ for (id_,) in members._run("SELECT id FROM target_statsig_members WHERE segment = :segment"))


def count_own(members):
    """Return how many of a segment's members this target added."""
    return members._value("SELECT count(*) FROM target_statsig_members WHERE segment = :segment AND ours")


def current_members(audience):
    """Return the ids that end as members, in code-point order."""
    return [id_ for id_, member in last_changes(audience) if member]


def last_changes(audience):
    """Return all ids of an audience in their order, each with whether it ends as a member."""
    return [
        (id_, bool(member)) for id_, member in audience._run(f"SELECT id, member FROM {audience._settle()} ORDER BY id")
    ]


def pending_changes(pending):
    """Return the changes that wait for the next run, in the order in which it gets them."""
    return [change for changes in pending.changes(2) for change in changes.items()]


def count_batches(store):
    """Return how many batches the store remembers."""
    return store._quick.value("SELECT count(*) FROM target_statsig_batches")


def execute(url, *statements):
    """Execute statements on a store's database."""
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sqlalchemy.text(statement))


def break_connections(postgres_url):
    """End all sessions on a PostgreSQL database."""
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    execute(postgres_url, f"{end} AND datname = current_database()")
