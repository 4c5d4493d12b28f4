"""What is remembered of a segment besides its members: which stream feeds it, and how the last sync ended.

Owns reading and writing these facts. Refuses to know what follows from them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from target_statsig.store.tables import PROJECTS, SEGMENTS

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from target_statsig.store.engine import Lane


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """Facts about a segment; None stands for what was never recorded.

    Attributes:
        fed_by: The stream that feeds it.
        list_version: The list's version in Statsig after the last change that was seen through.
        expected_count: How many members Statsig should count.
        last_sync_at: When the last sync ended, in seconds since 1970.
        last_status: How it ended, in a word.
        last_added: How many members it added.
        last_removed: How many members it removed.
    """

    fed_by: str | None = None
    list_version: int | None = None
    expected_count: int | None = None
    last_sync_at: float | None = None
    last_status: str | None = None
    last_added: int | None = None
    last_removed: int | None = None


_COLUMNS = [SEGMENTS.c[field.name] for field in fields(SegmentFacts)]


def read_facts(lane: Lane, segment: int) -> SegmentFacts:
    """Return what is remembered of a segment, given its number in the store."""
    with lane.reading() as connection:
        row = connection.execute(select(*_COLUMNS).where(SEGMENTS.c.segment == segment)).one()
    return SegmentFacts(*row)


def all_facts(connection: Connection, identity: str) -> dict[str, SegmentFacts]:
    """Return what is remembered of a project's segments, by Statsig id.

    Args:
        connection: A connection within a transaction.
        identity: The identity of the project.
    """
    project = select(PROJECTS.c.project).where(PROJECTS.c.identity == identity).scalar_subquery()
    rows = connection.execute(select(SEGMENTS.c.name, *_COLUMNS).where(SEGMENTS.c.project == project))
    return {name: SegmentFacts(*facts) for name, *facts in rows}


def write_facts(lane: Lane, segment: int, facts: SegmentFacts) -> None:
    """Replace what is remembered of a segment, given its number in the store."""
    with lane.writing() as connection:
        connection.execute(update(SEGMENTS).where(SEGMENTS.c.segment == segment).values(asdict(facts)))


def segments_fed_by(lane: Lane, project: int, stream: str) -> list[str]:
    """Return the ids of a project's segments that a stream fed before, in code-point order."""
    with lane.reading() as connection:
        query = select(SEGMENTS.c.name).where(SEGMENTS.c.project == project, SEGMENTS.c.fed_by == stream)
        return sorted(connection.execute(query).scalars())
