"""The ledger that remembers nothing."""

from __future__ import annotations

import pickle

from target_statsig.store.ledger import DIGEST_BYTES, Bookmark, NoLedger

RECORDS = [bytes(DIGEST_BYTES), bytes(DIGEST_BYTES)]


def test_no_ledger_remembers_nothing():
    ledger = NoLedger()
    batch = ledger.intend(b"".join(RECORDS), highest=Bookmark("number", "1"), epoch=0)
    ledger.acknowledge(batch)
    ledger.withdraw(batch)
    ledger.state_written(None, epoch=1)
    assert ledger.known(RECORDS, highest=None, epoch=0) == [False, False]
    assert ledger.in_doubt(b"".join(RECORDS)) == 0


def test_no_ledger_can_be_pickled():
    assert pickle.loads(pickle.dumps(NoLedger())).known(RECORDS, highest=None, epoch=0) == [False, False]
