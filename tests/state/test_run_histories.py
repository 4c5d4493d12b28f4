"""In any history of whole runs that die anywhere, nothing is lost, and no row that is known is sent twice.

Another test kills real processes (`tests/ledger/test_chaos.py`); here a run can die at each step that has an effect
outside, and no later step has one.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from target_statsig.client.answers import decode_json
from target_statsig.client.http import Response, Transport, TransportError
from target_statsig.commands.run import Run
from target_statsig.store.database import Connection
from target_statsig.target import TargetStatsig
from tests.fakes import WaitlessClock
from tests.singer import record, schema, to_lines

pytestmark = pytest.mark.e2e

ACCEPTED = Response(202, {}, b'{"success": true}')
WRITES = ("BEGIN", "COMMIT", "INSERT", "UPDATE", "DELETE")

BUSY = Response(503, {"retry-after": "7200"}, b'{"success": false}')


class KilledError(BaseException):
    """The process is dead: nothing catches this, and later steps have no effect."""


class Life:
    """A process that dies at a certain step; each later step fails, too."""

    def __init__(self, steps):
        self._left = steps
        self._lock = threading.Lock()

    def step(self):
        with self._lock:
            self._left -= 1
            if self._left < 0:
                raise KilledError


class Statsig(Transport):
    """Accepts events, or answers by the script: some answers get lost, and some are 503.

    Attributes:
        taken: The ids of all events, as often as they came.
        doubtful: How many of them came in requests whose answer was not read or not recorded.
    """

    def __init__(self, random, life, script):
        self._random = random
        self._life = life
        self._script = script
        self._unwritten = {}
        self.taken = Counter()
        self.lost = 0

    @property
    def doubtful(self):
        return self.lost + sum(self._unwritten.values())

    def answer_recorded(self):
        self._unwritten.pop(threading.get_ident(), None)

    def send(self, request):
        self._life.step()
        answer = self._script(self._random)
        if answer == "busy":
            return BUSY
        ids = [event["metadata"]["id"] for event in decode_json(request.body)["events"]]
        self.taken.update(ids)
        if answer == "lost":
            self.lost += len(ids)
            msg = "reset"
            raise TransportError(msg, sent=True)
        self._unwritten[threading.get_ident()] = len(ids)
        self._life.step()
        return ACCEPTED

    def close(self):
        """Nothing is open."""


class Output:
    """A standard output whose lines are read at once."""

    def __init__(self, life):
        self._life = life
        self.states = []

    def write(self, text):
        self._life.step()
        self.states.append(json.loads(text))

    def flush(self):
        self._life.step()


# Taps


class Incremental:
    """Sends the rows at its bookmark again (`>=`); the bookmark can be read, and rows may be equal."""

    settings: ClassVar = {}
    schema = schema("orders", bookmark_properties=["at"])
    may_repeat = True

    @staticmethod
    def rows(source, bookmark):
        return [row for row in source if not bookmark or row["at"] >= bookmark["replication_key_value"]]

    @staticmethod
    def bookmark(row, position):
        return {"replication_key": "at", "replication_key_value": row["at"]}


class ByPosition:
    """Continues behind its bookmark, which cannot be read; so no two of its rows are equal."""

    settings: ClassVar = {}
    schema = schema("orders")
    may_repeat = False

    @staticmethod
    def rows(source, bookmark):
        return source[bookmark.get("position", 0) :]

    @staticmethod
    def bookmark(row, position):
        return {"position": position}


class FullTable:
    """Sends everything in every run; its stream is remembered for days."""

    settings: ClassVar = {"dedupe_days": 30}
    schema = schema("orders")
    may_repeat = True

    @staticmethod
    def rows(source, bookmark):
        return list(source)

    @staticmethod
    def bookmark(row, position):
        return {}


@dataclass
class History:
    """A table that grows, a tap, the saved STATE, and a Statsig that counts what it accepts."""

    tap: type
    directory: object
    random: Random
    source: list = field(default_factory=list)
    taken: Counter = field(default_factory=Counter)
    saved: dict = field(default_factory=dict)
    doubtful: int = 0

    def grow(self):
        at = self.source[-1]["at"] if self.source else 0
        for _ in range(self.random.randint(0, 12)):
            at += self.random.randint(0, 2)
            payload = self.random.randrange(2) if self.tap.may_repeat else len(self.source)
            row = {"id": f"{at}/{payload}", "at": at, "event": "order", "user_id": "u", "time": 1_763_600_000}
            self.source.append(row)

    def messages(self):
        states_every = self.random.randint(1, 9)
        rows = self.tap.rows(self.source, self.saved)
        lines = [self.tap.schema]
        for count, row in enumerate(rows, 1):
            lines.append(record("orders", row))
            if count % states_every == 0 or count == len(rows):
                bookmark = self.tap.bookmark(row, len(self.source) - len(rows) + count)
                lines.append({"type": "STATE", "value": {"bookmarks": {"orders": bookmark}}})
        return lines

    def run(self, life, script):
        """Run once; if the run dies, its last STATE may be lost."""
        statsig, output = Statsig(self.random, life, script), Output(life)
        config = {
            "server_secret_key": "secret-0123456789",
            "store_url": f"sqlite:///{self.directory / 'store.db'}",
            "object_type": "event",
            "compression": "none",
            "batch_size_rows": self.random.randint(1, 4),
            "max_parallel_requests": self.random.randint(1, 3),
            "retry_timeout": 60,
            **self.tap.settings,
        }
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Run, "_open_transport", lambda _: statsig)
            patched.setattr("target_statsig.commands.run.RunClock", WaitlessClock)
            patched.setattr("sys.stdout", output)
            patched.setattr(Connection, "_execute", execute_or_die(life, statsig))
            target = TargetStatsig(config=config)
            try:
                exit_code = target.run_to_end(to_lines(self.messages()).splitlines(keepends=True))
            except KilledError:
                exit_code = None
                release(target)
        self.taken += statsig.taken
        self.doubtful += statsig.doubtful
        states = [self.saved, *(state["bookmarks"]["orders"] for state in output.states)]
        unsaved = exit_code != 0 and len(states) > 1 and self.random.random() < 0.5
        self.saved = states[-2 if unsaved else -1]
        return exit_code

    def check(self):
        wanted = Counter(row["id"] for row in self.source)
        assert not wanted - self.taken, "lost"
        assert (self.taken - wanted).total() <= self.doubtful, "doubled though known"


def execute_or_die(life, statsig):
    """Return a `Connection._execute` before and after which a run can die, if the statement writes."""
    execute = Connection._execute

    def execute_step(connection, statement, values):
        if not statement.startswith(WRITES):
            return execute(connection, statement, values)
        life.step()
        answer = execute(connection, statement, values)
        statsig.answer_recorded()
        life.step()
        return answer

    return execute_step


def release(target):
    """Release what a dead process would not hold any more."""
    target.run.pool._pool.shutdown()
    if "store" in target.run.__dict__:
        target.run.store._opened.close()


def accept_all(random):
    return "accepted"


def fail_sometimes(random):
    return random.choices(["accepted", "lost", "busy"], [20, 2, 1])[0]


@pytest.mark.parametrize("tap", [Incremental, ByPosition, FullTable])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), lives=st.lists(st.integers(0, 90), max_size=4))
def test_nothing_is_lost_and_nothing_known_is_doubled(tmp_path_factory, tap, seed, lives):
    history = History(tap, tmp_path_factory.mktemp("history"), Random(seed))
    for steps in lives:
        history.grow()
        history.run(Life(steps), fail_sometimes)
    for _ in range(2):
        history.grow()
        assert history.run(Life(10_000), accept_all) == 0
    history.check()


@pytest.mark.parametrize("tap", [Incremental, ByPosition, FullTable])
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_each_row_arrives_once_if_no_run_fails(tmp_path_factory, tap, seed):
    history = History(tap, tmp_path_factory.mktemp("history"), Random(seed))
    for _ in range(4):
        history.grow()
        assert history.run(Life(10_000), accept_all) == 0
    assert history.taken == Counter(row["id"] for row in history.source)
