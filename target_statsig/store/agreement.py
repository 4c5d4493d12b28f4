"""When MEMBERS was last found equal to an audience, and to which: whoever sees that audience again need not compare.

Owns the memory of it, and that it ends with the first change to MEMBERS. Refuses to know how the two are compared
(`audience`).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from target_statsig.store.fingerprint import Fingerprint
from target_statsig.store.tables import SEGMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from target_statsig.store.engine import Lane

_COLUMNS = (SEGMENTS.c.agreed_key, SEGMENTS.c.agreed_count, SEGMENTS.c.agreed_sum)

_NOTHING = dict.fromkeys((column.name for column in _COLUMNS), None)


@contextlib.contextmanager
def changing_members(lane: Lane, segment: int) -> Iterator[Connection]:
    """Give a transaction that may change a segment's members: the only way to do so.

    What was agreed is forgotten in the same transaction, so that it never speaks of another list.

    Args:
        lane: The connection to use.
        segment: The segment's number in the store.

    Raises:
        StoreError: The database failed; nothing was changed, and nothing forgotten.
    """
    with lane.writing() as connection:
        # Of every segment, whether anything was agreed or not: PostgreSQL then lets nobody else agree meanwhile.
        connection.execute(update(SEGMENTS).where(SEGMENTS.c.segment == segment).values(_NOTHING))
        yield connection


def agree(connection: Connection, segment: int, audience: Fingerprint) -> None:
    """Remember that the members are an audience, within a transaction of `changing_members` that found them so.

    Args:
        connection: The caller's.
        segment: The segment's number in the store.
        audience: Its fingerprint; each id was taken once.
    """
    agreed = {"agreed_key": audience.key, "agreed_count": audience.count, "agreed_sum": audience.sum}
    connection.execute(update(SEGMENTS).where(SEGMENTS.c.segment == segment).values(agreed))


def agreed(lane: Lane, segment: int) -> Fingerprint | None:
    """Return the fingerprint of the audience that the members are known to be; None where that is not known.

    Args:
        lane: The connection to use.
        segment: The segment's number in the store.

    Raises:
        StoreError: The database failed.
    """
    with lane.reading() as connection:
        # Some members that were added or removed are no list.
        row = connection.execute(select(*_COLUMNS).where(SEGMENTS.c.segment == segment, SEGMENTS.c.known)).one_or_none()
    return None if row is None or row.agreed_sum is None else Fingerprint(*row)
