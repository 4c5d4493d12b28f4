"""What stands in the store's tables, read past the store."""

from __future__ import annotations


def known(members):
    """Return the ids of a segment's members, sorted."""
    return sorted(id_ for (id_,) in members._run("SELECT id FROM target_statsig_members WHERE segment = :segment"))


def count_own(members):
    """Return how many of a segment's members this target added."""
    return members._value("SELECT count(*) FROM target_statsig_members WHERE segment = :segment AND ours")


def current(audience):
    """Return the ids that are members at last, in the order in which the audience gives them."""
    return [id_ for id_, member in audience.members() if member]


def count_batches(store):
    """Return how many batches the store remembers."""
    return store._quick.value("SELECT count(*) FROM target_statsig_batches")
