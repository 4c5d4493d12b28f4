"""Reading and writing what the last run of each mirrored segment left undone (`hold`).

Owns the statements. Who is held is marked in MEMBERS (`members`). Refuses to know when anyone may be removed.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, select, update

from target_statsig.store.dialects import insert_into
from target_statsig.store.hold import Hold, HoldState
from target_statsig.store.tables import HOLDS, SEGMENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_statsig.store.engine import Lane

_COLUMNS = [HOLDS.c[field.name] for field in fields(Hold)]


def read_hold(lane: Lane, segment: int) -> Hold | None:
    """Return what the last run left of a segment, given its number in the store; None where it left nothing to do."""
    with lane.reading() as connection:
        row = connection.execute(select(*_COLUMNS).where(HOLDS.c.segment == segment)).one_or_none()
    return None if row is None else _hold(row)


def read_holds(lane: Lane, project: int) -> dict[str, Hold]:
    """Return what is held in a project, by Statsig id."""
    query = select(SEGMENTS.c.name, *_COLUMNS).join(HOLDS, HOLDS.c.segment == SEGMENTS.c.segment)
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
    values: Mapping[str, Any] = dict(zip((column.name for column in _COLUMNS), row, strict=True))
    return Hold(**{**values, "state": HoldState(values["state"])})
