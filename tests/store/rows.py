"""What stands in the store's tables, read past the store."""

from __future__ import annotations


def known(members):
    """Return the ids of a segment's members, sorted."""
    return sorted(id_ for (id_,) in members._run("SELECT id FROM target_statsig_members WHERE segment = :segment"))


def count_own(members):
    """Return how many of a segment's members this target added."""
    return members._value("SELECT count(*) FROM target_statsig_members WHERE segment = :segment AND ours")


def current(audience):
    """Return the ids that are members at last, in code-point order."""
    return [id_ for id_, member in last_words(audience) if member]


def last_words(audience):
    """Return all ids of an audience in their order, each with whether it is a member at last."""
    return [
        (id_, bool(member)) for id_, member in audience._run(f"SELECT id, member FROM {audience._settle()} ORDER BY id")
    ]


def kept(pending):
    """Return the changes that are kept, in the order in which they are given."""
    return [change for changes in pending.changes(2) for change in changes.items()]


def count_batches(store):
    """Return how many batches the store remembers."""
    return store._quick.value("SELECT count(*) FROM target_statsig_batches")
