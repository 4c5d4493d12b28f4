"""For any history of runs, nothing is lost, and nothing that is known is doubled: whole runs, killed anywhere.

A run is killed for real elsewhere (`tests/ledger/test_chaos.py`); here it may die at each single step that anybody else
could see, since a step behind the death has no effect any more.
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

ALSO_IN_A_WORKER = True

pytestmark = pytest.mark.e2e

YES = Response(202, {}, b'{"success": true}')
WRITES = ("BEGIN", "COMMIT", "INSERT", "UPDATE", "DELETE")

NOT_NOW = Response(503, {"retry-after": "7200"}, b'{"success": false}')


class KilledError(BaseException):
    """The process is gone: nothing catches this, and nothing that it does afterwards is seen."""


class Life:
    """A process that dies at a certain step; afterwards each step fails."""

    def __init__(self, steps):
        self._left = steps
        self._lock = threading.Lock()

    def step(self):
        with self._lock:
            self._left -= 1
            if self._left < 0:
                raise KilledError


class Statsig(Transport):
    """Takes events; some of its answers get lost, and some days it has had enough.

    Attributes:
        taken: The ids of all events, as often as they came.
        doubtful: How many of them came in requests whose answer nobody read or wrote down.
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

    def written_down(self):
        self._unwritten.pop(threading.get_ident(), None)

    def send(self, request):
        self._life.step()
        what = self._script(self._random)
        if what == "enough":
            return NOT_NOW
        ids = [event["metadata"]["id"] for event in decode_json(request.body)["events"]]
        self.taken.update(ids)
        if what == "lost":
            self.lost += len(ids)
            msg = "reset"
            raise TransportError(msg, sent=True)
        self._unwritten[threading.get_ident()] = len(ids)
        self._life.step()
        return YES

    def close(self):
        """Nothing is open."""


class Output:
    """Standard output, of which each line is read at once."""

    def __init__(self, life):
        self._life = life
        self.states = []

    def write(self, text):
        self._life.step()
        self.states.append(json.loads(text))

    def flush(self):
        self._life.step()


# What is read


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
    """Goes on behind its bookmark, which cannot be read; so no two of its rows are equal."""

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
    """A table that grows, a tap, whoever saves STATEs, and a Statsig that counts whatever it takes."""

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
        """Run once; where the run died, its last STATE may be lost with whoever should have saved it."""
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
            patched.setattr(Connection, "_execute", written(life, statsig))
            target = TargetStatsig(config=config)
            try:
                exit_code = target.run_to_end(to_lines(self.messages()).splitlines(keepends=True))
            except KilledError:
                exit_code = None
                bury(target)
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


def written(life, statsig):
    """Return a `Connection._execute` around which a run may die: before a statement that writes, or behind it."""
    execute = Connection._execute

    def written(connection, statement, values):
        if not statement.startswith(WRITES):
            return execute(connection, statement, values)
        life.step()
        answer = execute(connection, statement, values)
        statsig.written_down()
        life.step()
        return answer

    return written


def bury(target):
    """Let go of what a dead process would not hold any more."""
    target.run.pool._pool.shutdown()
    if "store" in target.run.__dict__:
        target.run.store._opened.close()


def smoothly(random):
    return "yes"


def roughly(random):
    return random.choices(["yes", "lost", "enough"], [20, 2, 1])[0]


@pytest.mark.parametrize("tap", [Incremental, ByPosition, FullTable])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), lives=st.lists(st.integers(0, 90), max_size=4))
def test_nothing_is_lost_and_nothing_known_is_doubled(tmp_path_factory, tap, seed, lives):
    history = History(tap, tmp_path_factory.mktemp("history"), Random(seed))
    for steps in lives:
        history.grow()
        history.run(Life(steps), roughly)
    for _ in range(2):
        history.grow()
        assert history.run(Life(10_000), smoothly) == 0
    history.check()


@pytest.mark.parametrize("tap", [Incremental, ByPosition, FullTable])
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_without_a_lost_answer_and_a_death_each_row_arrives_once(tmp_path_factory, tap, seed):
    history = History(tap, tmp_path_factory.mktemp("history"), Random(seed))
    for _ in range(4):
        history.grow()
        assert history.run(Life(10_000), smoothly) == 0
    assert history.taken == Counter(row["id"] for row in history.source)
