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
    return [id_ for ids in audience.lists(2, members=True) for id_ in ids]


def last_words(audience):
    """Return all ids of an audience in their order, each with whether it is a member at last."""
    gone = [id_ for ids in audience.lists(2, members=False) for id_ in ids]
    return sorted([*((id_, True) for id_ in current(audience)), *((id_, False) for id_ in gone)])


def kept(pending):
    """Return the changes that are kept, in the order in which they are given."""
    return [change for changes in pending.changes(2) for change in changes.items()]


def count_batches(store):
    """Return how many batches the store remembers."""
    return store._quick.value("SELECT count(*) FROM target_statsig_batches")
