"""Fifty thousand events through the real command, while Statsig and the network fail and the command is killed.

The tap is a file that is written again from the last STATE that the command wrote.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import sqlite3
import subprocess
from collections import Counter

import msgspec
import pytest

from target_statsig.events.remembered import digest
from target_statsig.store.ledger import DIGEST_BYTES
from tests.command import PROGRAM, environment
from tests.singer import TargetRunner, record, schema, state

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

ROWS = 50_000
STATE_EVERY = 1_000
SEED = 20261122
KILLS = 3

EVENT = {
    "object_type": "event",
    "batch_size_rows": 100,
    "retry_timeout": 300,
    "field_mapping": {"event_time": "at"},
    "console_api_key": None,
}

LOST = re.compile(r"to (\d+) events? of stream 'orders', but the change may have been made")


def row(number):
    """Return a row; three rows share each value of the replication key."""
    return {"id": number, "event": "order", "user_id": f"u{number % 977}", "at": 1_790_000_000 + number // 3}


def messages(bookmark):
    """Return what an incremental tap sends from a bookmark on, with the rows at the bookmark again."""
    yield schema("orders", bookmark_properties=["at"])
    first = 0 if bookmark is None else (bookmark - row(0)["at"]) * 3
    for number in range(first, ROWS):
        yield record("orders", row(number))
        if (number + 1) % STATE_EVERY == 0:
            at = {"replication_key": "at", "replication_key_value": row(number)["at"]}
            yield state(orders=at)


class Chaos:
    """The faults on the way, and which events may have come twice because of them."""

    def __init__(self, statsig, seed):
        self._random = random.Random(seed)
        self._arrivals = 0
        self._kill_at = None
        self._kill = None
        self.unanswered = Counter()
        path = "/v1/log_event"
        statsig.faults.add(path=path, when=self._count)
        statsig.faults.add(path=path, drop=True, taken=True, when=self._lose)
        for seed_of_fault, effect in enumerate(
            [{"drop": True}, {"status": 429}, {"status": 429, "retry_after": 0}, {"status": 500}, {"status": 503}]
        ):
            statsig.faults.add(path=path, probability=0.03, seed=seed + seed_of_fault, **effect)
        statsig.faults.add(path=path, probability=0.5, seed=seed, latency=0.01)

    def kill_at(self, arrivals, kill):
        """Call `kill` when so many more requests have come, while others are under way."""
        self._kill_at, self._kill = self._arrivals + arrivals, kill

    def _count(self, arrival):
        self._arrivals += 1
        if self._arrivals == self._kill_at:
            self._kill()
        return False

    def _lose(self, arrival):
        if self._random.random() >= 0.03:
            return False
        self.unanswered.update(ids_of(arrival.body))
        return True


def ids_of(body):
    return [int(event["metadata"]["id"]) for event in msgspec.json.decode(body)["events"]]


def run(config, directory, bookmark, started):
    """Run the command over what the tap sends, and return its exit code, its STATEs and its log."""
    source = directory / "input.singer"
    source.write_bytes(b"".join(msgspec.json.encode(message) + b"\n" for message in messages(bookmark)))
    states, log = directory / "states", directory / "log"
    with source.open("rb") as stdin, states.open("wb") as stdout, log.open("wb") as stderr:
        process = subprocess.Popen(
            [*PROGRAM, "--config", config],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=directory,
            env=environment(TARGET_STATSIG_LOGLEVEL="WARNING"),
        )
        started(process)
        exit_code = process.wait(timeout=300)
    lines = map(json.loads, states.read_text().splitlines())
    values = [line["bookmarks"]["orders"]["replication_key_value"] for line in lines]
    return exit_code, values, log.read_text()


def left_in_doubt(store, names):
    """Return which rows of the last run the ledger does not know to be delivered: the run died while sending them."""
    with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        batches = connection.execute(
            "SELECT digests FROM target_statsig_batches WHERE NOT acknowledged AND run_id ="
            " (SELECT run_id FROM target_statsig_batches ORDER BY batch DESC LIMIT 1)"
        ).fetchall()
    return Counter(
        names[digests[start : start + DIGEST_BYTES]]
        for (digests,) in batches
        for start in range(0, len(digests), DIGEST_BYTES)
    )


def test_every_event_arrives_and_all_doubled_ones_are_counted(statsig, tmp_path):
    rng = random.Random(SEED)
    chaos = Chaos(statsig, SEED)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(TargetRunner(statsig, tmp_path, None, None).config(**EVENT)))
    names = {digest(row(number)): number for number in range(ROWS)}
    bookmark, states, admitted, killed = None, [], 0, 0
    while True:
        arrivals = rng.randint(60, 180) if killed < KILLS else ROWS
        exit_code, values, log = run(config, tmp_path, bookmark, lambda p, n=arrivals: chaos.kill_at(n, p.kill))
        states += values
        bookmark = values[-1] if values else bookmark
        if exit_code == 0:
            break
        assert exit_code == -9, log
        killed += 1
        in_doubt = left_in_doubt(tmp_path / "store.db", names)
        chaos.unanswered += in_doubt
        # A killed run leaves no report: its log counts what it sent again, its ledger what the next run may repeat.
        admitted += in_doubt.total() + sum(int(number) for number in LOST.findall(log))

    assert killed == KILLS
    report = json.loads((tmp_path / "report.json").read_text())
    counts = report["streams"]["orders"]
    assert counts["records"] == counts["delivered"] + counts["skipped_duplicates"]
    assert states == sorted(states)

    arrived = Counter(int(event["metadata"]["id"]) for event in statsig.state.events)
    assert arrived.keys() == set(range(ROWS)), "lost"
    doubled = arrived - Counter(range(ROWS))
    assert doubled <= chaos.unanswered, "doubled although its answer was read"
    assert 0 < doubled.total() <= admitted + counts["maybe_duplicated"], "doubled, but not counted"

    exit_code, values, _ = run(config, tmp_path, bookmark, lambda _: None)
    again = json.loads((tmp_path / "report.json").read_text())["streams"]["orders"]
    assert (exit_code, again["delivered"]) == (0, 0)
    assert again["skipped_duplicates"] == again["records"] > 0
