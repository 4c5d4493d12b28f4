"""Reading and writing what is remembered of a segment besides its members: its facts, and what its last run left."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, select, update

from target_statsig.store.dialects import insert_into
from target_statsig.store.tables import HOLDS, PROJECTS, SEGMENTS
from target_statsig.store.values import Hold, HoldState, SegmentFacts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from target_statsig.store.database import Lane

_FACTS = [SEGMENTS.c[field.name] for field in fields(SegmentFacts)]

_HOLD = [HOLDS.c[field.name] for field in fields(Hold)]


def read_facts(lane: Lane, segment: int) -> SegmentFacts:
    """Return what is remembered of a segment, given its number in the store."""
    with lane.reading() as connection:
        row = connection.execute(select(*_FACTS).where(SEGMENTS.c.segment == segment)).one()
    return SegmentFacts(*row)


def all_facts(connection: Connection, identity: str) -> dict[str, SegmentFacts]:
    """Return what is remembered of a project's segments, by Statsig id.

    Args:
        connection: A connection within a transaction.
        identity: The identity of the project.
    """
    project = select(PROJECTS.c.project).where(PROJECTS.c.identity == identity).scalar_subquery()
    rows = connection.execute(select(SEGMENTS.c.name, *_FACTS).where(SEGMENTS.c.project == project))
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


def read_hold(lane: Lane, segment: int) -> Hold | None:
    """Return what the last run left of a segment, given its number in the store; None where it left nothing to do."""
    with lane.reading() as connection:
        row = connection.execute(select(*_HOLD).where(HOLDS.c.segment == segment)).one_or_none()
    return None if row is None else _hold(row)


def read_holds(lane: Lane, project: int) -> dict[str, Hold]:
    """Return what is held in a project, by Statsig id."""
    query = select(SEGMENTS.c.name, *_HOLD).join(HOLDS, HOLDS.c.segment == SEGMENTS.c.segment)
    with lane.reading() as connection:
        rows = connection.execute(query.where(SEGMENTS.c.project == project).order_by(SEGMENTS.c.name)).all()
    return {name: _hold(row) for name, *row in rows}


def write_hold(lane: Lane, segment: int, hold: Hold, *, run_id: str) -> None:
    """Replace what the last run left of a segment, given its number in the store and the run."""
    values = asdict(hold) | {"state": hold.state.value, "run_id": run_id}
    with lane.writing() as connection:
        statement = insert_into(connection, HOLDS).values(segment=segment, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=["segment"], set_=values))


def end_hold(lane: Lane, segment: int) -> None:
    """Remember that nothing of a segment is held, given its number in the store."""
    with lane.writing() as connection:
        connection.execute(delete(HOLDS).where(HOLDS.c.segment == segment))


def outdate_hold(lane: Lane, segment: int, *, run_id: str) -> None:
    """Remember that a run came after that which held, unless it is the same run."""
    earlier = and_(HOLDS.c.segment == segment, HOLDS.c.run_id != run_id)
    with lane.writing() as connection:
        connection.execute(update(HOLDS).where(earlier).values(state=HoldState.OUTDATED.value))


def _hold(row: Any) -> Hold:
    values: Mapping[str, Any] = dict(zip((column.name for column in _HOLD), row, strict=True))
    return Hold(**{**values, "state": HoldState(values["state"])})
