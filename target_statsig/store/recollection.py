"""How the batches that all earlier runs left become one answer for each record.

Owns the arithmetic. Every run writes down what it sends and what it skips; so the run that had to do with a record most
often tells how often that record is in Statsig: the maximum over runs, and not their sum. A batch whose answer nobody
read counts as delivered for the doubtful, and not for the known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Integer, bindparam, cast, delete, exists, func, insert, select

from target_statsig.store.dialects import list_parameter, listed
from target_statsig.store.frontier import BATCHES_AT_A_TIME, Frontier, names_of
from target_statsig.store.recall import EmptyRecall, Recall, RecallInMemory, RecallOnDisk
from target_statsig.store.tables import BATCHES, CODE_POINT_TEXT
from target_statsig.store.temporary import count, drop, sorted_table, temporary_table, walk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Table

    from target_statsig.store.engine import Lane

IN_MEMORY = 1_000_000
"""Records that are held in memory, which takes some 30 MB; more of them stay in a temporary table."""

_NUMBER = bindparam("number", type_=Integer)
_EPOCH = bindparam("of_epoch", type_=BigInteger)
_ACKNOWLEDGED = bindparam("is_acknowledged", type_=Integer)


@dataclass(frozen=True, slots=True)
class Recollection:
    """What earlier runs left: the answers, and how far this run has come in it; None where nobody needs to know."""

    recall: Recall
    frontier: Frontier | None = None


def recollect(lane: Lane, stream: int, run_id: str, *, follow: bool) -> Recollection:
    """Work out what all runs but one have left of a stream; strike out the runs that say nothing new.

    Args:
        lane: The connection to use.
        stream: The stream's number in the store.
        run_id: The run that asks: what it wrote itself does not count.
        follow: Whether to follow how far the run comes in what was left; it takes disk space.

    Raises:
        StoreError: The database failed.
    """
    runs = _earlier_runs(lane, stream, run_id)
    if not runs:
        return Recollection(EmptyRecall())
    heap = _unpack(lane, stream, runs)
    counted = _count(lane, heap)
    drop(lane, heap)
    if len(runs) > 1:
        _strike_out_superseded(lane, stream, runs, counted)
    recall = _summarise(lane, counted)
    if follow:
        return Recollection(recall, Frontier(lane, stream, run_id, left=counted, runs=runs))
    drop(lane, counted)
    return Recollection(recall)


def _earlier_runs(lane: Lane, stream: int, run_id: str) -> Sequence[str]:
    """Return all runs but one that left batches, the oldest first."""
    query = select(BATCHES.c.run_id).where(BATCHES.c.stream == stream, BATCHES.c.run_id != run_id)
    with lane.reading() as connection:
        oldest_first = query.group_by(BATCHES.c.run_id).order_by(func.max(BATCHES.c.batch))
        return connection.execute(oldest_first).scalars().all()


def _unpack(lane: Lane, stream: int, runs: Sequence[str]) -> Table:
    """Give every digest of the runs' batches a row of its own."""
    heap = temporary_table(
        "heap",
        Column("digest", CODE_POINT_TEXT),
        Column("run", Integer),
        Column("epoch", BigInteger),
        Column("acknowledged", Integer),
    )
    with lane.reading() as connection:
        heap.create(connection)
    numbers = {run_id: number for number, run_id in enumerate(runs)}
    batches = select(BATCHES.c.batch, BATCHES.c.run_id, BATCHES.c.epoch, BATCHES.c.acknowledged, BATCHES.c.digests)
    for page in walk(lane, batches.where(BATCHES.c.stream == stream, BATCHES.c.run_id.in_(runs)), BATCHES_AT_A_TIME):
        with lane.reading() as connection:
            rows = select(listed(connection).id, _NUMBER, _EPOCH, _ACKNOWLEDGED)
            unpacked = insert(heap).from_select(["digest", "run", "epoch", "acknowledged"], rows)
            for _, run_id, epoch, acknowledged, digests in page:
                facts = {"number": numbers[run_id], "of_epoch": epoch, "is_acknowledged": int(acknowledged)}
                connection.execute(unpacked, {**list_parameter([*names_of(digests)]), **facts})
    return heap


def _count(lane: Lane, heap: Table) -> Table:
    """Count how often each run knows to have delivered a record, and how often it may have."""
    counted = temporary_table(
        "counted",
        Column("digest", CODE_POINT_TEXT, primary_key=True),
        Column("run", Integer, primary_key=True, autoincrement=False),
        Column("epoch", BigInteger),
        Column("known", Integer),
        Column("possible", Integer),
        keyed=lane.is_sqlite,
    )
    each = (heap.c.digest, heap.c.run)
    known = cast(func.sum(heap.c.acknowledged), Integer)
    numbers = select(*each, func.min(heap.c.epoch), known, func.count()).group_by(*each).order_by(*each)
    with lane.reading() as connection:
        counted.create(connection)
        connection.execute(insert(counted).from_select(list(counted.c.keys()), numbers))
    return counted


def _strike_out_superseded(lane: Lane, stream: int, runs: Sequence[str], counted: Table) -> None:
    """Delete the batches of runs all of whose records later runs know as often.

    Without it a stream whose bookmark stands still, or that has none, would leave its batches anew with every run.
    """
    later = counted.alias()
    covered = exists().where(
        later.c.digest == counted.c.digest, later.c.run > counted.c.run, later.c.known >= counted.c.possible
    )
    with lane.writing() as connection:
        needed = set(connection.execute(select(counted.c.run).where(~covered).distinct()).scalars())
        superseded = [run_id for number, run_id in enumerate(runs) if number not in needed]
        gone = BATCHES.c.run_id.in_(superseded)
        connection.execute(delete(BATCHES).where(BATCHES.c.stream == stream, gone))


def _summarise(lane: Lane, counted: Table) -> Recall:
    """Let the run that had to do with a record most often speak for all of them."""
    known, possible = func.max(counted.c.known), func.max(counted.c.possible)
    query = select(counted.c.digest, known.label("known"), (possible - known).label("doubtful"))
    summary = sorted_table(lane, "remembered", query.group_by(counted.c.digest).order_by(counted.c.digest))
    size = count(lane, summary)
    if size > IN_MEMORY:
        return RecallOnDisk(lane, summary)
    recall = RecallInMemory(size)
    for page in walk(lane, select(summary)):
        for digest, times, doubtful in page:
            recall.known.add(bytes.fromhex(digest), times)
            if doubtful:
                recall.doubtful.add(bytes.fromhex(digest), doubtful)
    drop(lane, summary)
    return recall
