"""How the batches that all earlier runs left become one answer for each record.

Owns the arithmetic. Every run writes down what it sends and what it skips; so the run that had to do with a record most
often tells how often that record is in Statsig: the maximum over runs, and not their sum. A batch whose answer nobody
read counts as delivered for the doubtful, and not for the known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Boolean, Column, Integer, cast, delete, exists, func, insert, literal, select

from target_statsig.ledger import DIGEST_BYTES
from target_statsig.store.dialects import list_parameter, listed
from target_statsig.store.recall import EmptyRecall, Recall, RecallInMemory, RecallOnDisk
from target_statsig.store.tables import BATCHES, CODE_POINT_TEXT
from target_statsig.store.temporary import count, drop, sorted_table, temporary_table, walk

if TYPE_CHECKING:
    from sqlalchemy import Table

    from target_statsig.store.engine import Lane

IN_MEMORY = 500_000
"""Records that are held in memory, which takes some 15 MB; more of them stay in a temporary table."""

_BATCHES = 100
"""Batches read at a time: a megabyte or so."""

_DIGITS = 2 * DIGEST_BYTES


def recollect(lane: Lane, stream: int, run_id: str) -> Recall:
    """Work out what all runs but one have left of a stream; strike out the runs that say nothing new.

    Args:
        lane: The connection to use.
        stream: The stream's number in the store.
        run_id: The run that asks: what it wrote itself does not count.

    Raises:
        StoreError: The database failed.
    """
    runs = _earlier_runs(lane, stream, run_id)
    if not runs:
        return EmptyRecall()
    heap = _unpack(lane, stream, runs)
    counted = _count(lane, heap)
    drop(lane, heap)
    if len(runs) > 1:
        _strike_out_superseded(lane, stream, runs, counted)
    columns = counted.c
    summary = sorted_table(
        lane,
        "remembered",
        select(
            columns.digest,
            func.max(columns.known).label("known"),
            (func.max(columns.possible) - func.max(columns.known)).label("doubtful"),
        )
        .group_by(columns.digest)
        .order_by(columns.digest),
    )
    drop(lane, counted)
    size = count(lane, summary)
    if size > IN_MEMORY:
        return RecallOnDisk(lane, summary)
    recall = RecallInMemory(size)
    for page in walk(lane, select(summary)):
        for digest, known, doubtful in page:
            recall.known.add(bytes.fromhex(digest), known)
            recall.doubtful.add(bytes.fromhex(digest), doubtful)
    drop(lane, summary)
    return recall


def _earlier_runs(lane: Lane, stream: int, run_id: str) -> dict[str, int]:
    """Return all runs but one that left batches, numbered from the oldest."""
    query = select(BATCHES.c.run_id).where(BATCHES.c.stream == stream, BATCHES.c.run_id != run_id)
    with lane.reading() as connection:
        runs = connection.execute(query.group_by(BATCHES.c.run_id).order_by(func.max(BATCHES.c.batch))).scalars()
        return {run: number for number, run in enumerate(runs)}


def _unpack(lane: Lane, stream: int, runs: dict[str, int]) -> Table:
    """Give every digest of the runs' batches a row of its own."""
    heap = temporary_table(
        "heap", Column("digest", CODE_POINT_TEXT), Column("run", Integer), Column("acknowledged", Integer)
    )
    with lane.reading() as connection:
        heap.create(connection)
    batches = select(BATCHES.c.batch, BATCHES.c.run_id, BATCHES.c.acknowledged, BATCHES.c.digests)
    for page in walk(lane, batches.where(BATCHES.c.stream == stream, BATCHES.c.run_id.in_(runs)), _BATCHES):
        with lane.reading() as connection:
            for _, run_id, acknowledged, digests in page:
                digits = bytes(digests).hex()
                names = [digits[start : start + _DIGITS] for start in range(0, len(digits), _DIGITS)]
                rows = select(listed(connection).id, literal(runs[run_id]), literal(int(acknowledged)))
                unpacked = insert(heap).from_select(["digest", "run", "acknowledged"], rows)
                connection.execute(unpacked, list_parameter(names))
    return heap


def _count(lane: Lane, heap: Table) -> Table:
    """Count how often each run knows to have delivered a record, and how often it may have."""
    counted = temporary_table(
        "counted",
        Column("digest", CODE_POINT_TEXT, primary_key=True),
        Column("run", Integer, primary_key=True, autoincrement=False),
        Column("known", Integer),
        Column("possible", Integer),
        keyed=lane.is_sqlite,
    )
    each = (heap.c.digest, heap.c.run)
    numbers = (
        select(*each, cast(func.sum(heap.c.acknowledged), BigInteger), func.count()).group_by(*each).order_by(*each)
    )
    with lane.reading() as connection:
        counted.create(connection)
        connection.execute(insert(counted).from_select(["digest", "run", "known", "possible"], numbers))
    return counted


def _strike_out_superseded(lane: Lane, stream: int, runs: dict[str, int], counted: Table) -> None:
    """Delete the batches of runs all of whose records later runs know as often.

    Without it a stream whose bookmark stands still, or that has none, would leave its batches anew with every run.
    """
    later = counted.alias()
    covered = exists().where(
        later.c.digest == counted.c.digest, later.c.run > counted.c.run, later.c.known >= counted.c.possible
    )
    with lane.writing() as connection:
        needed = set(connection.execute(select(counted.c.run).where(~covered).distinct()).scalars())
        superseded = [run_id for run_id, number in runs.items() if number not in needed]
        gone = BATCHES.c.run_id.in_(superseded)
        connection.execute(delete(BATCHES).where(BATCHES.c.stream == stream, gone))
