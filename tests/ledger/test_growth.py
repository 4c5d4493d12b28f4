"""A store does not grow with the number of runs."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import pytest

from target_statsig.store.ledger import DIGEST_BYTES, UNORDERED, Bookmark
from target_statsig.store.store import Store
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = 86_400

RUNS = 200
TABLE = 500
"""How many rows a full table has."""

NEW = 50
"""How many rows are new in a run."""

BATCH = 100


@dataclass(frozen=True)
class Kind:
    """A kind of stream: the rows that its tap sends in its nth run, and the bookmark that follows."""

    rows: Callable[[int], range]
    bookmark: Callable[[int], Bookmark | None]
    keep_days: int = 0


def incremental(run):
    """Return the last row of the run before, which taps send again, and the new ones."""
    return range(max(0, run * NEW - 1), (run + 1) * NEW)


KINDS = {
    "readable bookmark": Kind(incremental, lambda run: readable((run + 1) * NEW - 1)),
    "readable bookmark, no new rows": Kind(lambda _: range(NEW), lambda _: readable(NEW - 1)),
    "unreadable bookmark": Kind(incremental, lambda run: Bookmark(UNORDERED, f"token {run}")),
    "unreadable bookmark, no new rows": Kind(lambda _: range(NEW), lambda _: Bookmark(UNORDERED, "token")),
    "full table": Kind(lambda _: range(TABLE), lambda _: None),
    "full table, some rows new": Kind(lambda run: range(run * NEW, run * NEW + TABLE), lambda _: None),
    "full table, dedupe_days 7": Kind(lambda _: range(TABLE), lambda _: None, 7),
    "full table, some rows new, dedupe_days 7": Kind(
        lambda run: range(run * NEW, run * NEW + TABLE), lambda _: None, 7
    ),
}


@dataclass(frozen=True)
class Size:
    """What a store holds after a run, and the processor time that the run took in it."""

    batches: int
    digests: int
    bytes: int
    milliseconds: float
    skipped: int


def readable(number):
    return Bookmark("number", f"{number:09}")


def digest(row):
    return blake2b(b"%d" % row, digest_size=DIGEST_BYTES).digest()


def sizes(url, kind, runs=RUNS):
    """Run once a day, and return the store's size after each run."""
    clock, found = FakeClock(), []
    for run in range(runs):
        clock.advance(DAY)
        began = time.process_time()
        skipped = sync(url, clock, kind, run)
        found.append(measured(url, clock, 1000 * (time.process_time() - began), skipped))
    return found


def sync(url, clock, kind, run):
    """Run once: skip what is known, send the rest, write a STATE; return how many rows were skipped."""
    skipped, rows = 0, kind.rows(run)
    is_readable = (bookmark := kind.bookmark(run)) is not None and bookmark.kind != UNORDERED
    with closing(Store(url, clock=clock, project="a project", run_id=f"run {run}")) as store:
        ledger = store.ledger("orders", keep_days=kind.keep_days)
        ledger.begin()
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            highest, digests = readable(batch[-1]) if is_readable else None, [digest(row) for row in batch]
            known = ledger.known(digests, highest=highest, epoch=0)
            skipped += sum(known)
            unsent = [one for one, is_known in zip(digests, known, strict=True) if not is_known]
            if unsent:
                ledger.acknowledge(ledger.intend(b"".join(unsent), highest=highest, epoch=0))
        ledger.state_written(bookmark, epoch=1)
    return skipped


def measured(url, clock, milliseconds, skipped):
    with closing(Store(url, clock=clock, project="a project", run_id="a look")) as store:
        ((batches, length),) = store._quick.run("SELECT count(*), sum(length(digests)) FROM target_statsig_batches")
        pages = store._quick.value("PRAGMA page_count") * store._quick.value("PRAGMA page_size")
    return Size(batches, length // DIGEST_BYTES, pages, milliseconds, skipped)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in KINDS.items()])
def test_a_store_is_no_larger_after_two_hundred_runs_than_after_twenty(tmp_path, kind):
    found = sizes(f"sqlite:///{tmp_path / 'store.db'}", kind)
    twenty = found[19]
    for size in found[20:]:
        assert size.batches <= twenty.batches
        assert size.digests <= twenty.digests
        assert size.bytes <= 1.5 * twenty.bytes
    assert {size.skipped for size in found[1:]} == {len(set(kind.rows(0)) & set(kind.rows(1)))}
