"""What stands in the store's tables, read past the store."""

from __future__ import annotations

from sqlalchemy import func, select

from target_statsig.store.tables import BATCHES, MEMBERS


def known(members):
    """Return the ids of a segment's members, sorted."""
    with members._lane.reading() as connection:
        return sorted(connection.execute(select(MEMBERS.c.id).where(members._here)).scalars())


def count_own(members):
    """Return how many of a segment's members this target added."""
    with members._lane.reading() as connection:
        own = select(func.count()).select_from(MEMBERS).where(members._here, MEMBERS.c.ours)
        return connection.execute(own).scalar_one()


def current(audience):
    """Return the ids that are members by their last word, in the order in which the audience gives them."""
    return [id_ for id_, member in audience.words() if member]


def count_batches(store):
    """Return how many batches the store remembers."""
    with store._quick.reading() as connection:
        return connection.execute(select(func.count()).select_from(BATCHES)).scalar_one()
