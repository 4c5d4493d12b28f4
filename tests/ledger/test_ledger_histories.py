"""In any history of runs and crashes, nothing is lost and no known row is sent twice; on both databases."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from target_statsig.store.ledger import DIGEST_BYTES, Bookmark
from target_statsig.store.store import Store
from tests.fakes import FakeClock

SLOW_ON_POSTGRESQL = True

_projects = itertools.count()


class KilledError(Exception):
    """The run dies here."""


@dataclass(frozen=True)
class Row:
    """A row of the source; equal rows are two rows."""

    value: int
    payload: int

    @property
    def digest(self):
        return hashlib.blake2b(repr(self).encode(), digest_size=DIGEST_BYTES).digest()


@dataclass(frozen=True)
class State:
    """A STATE: where the tap continues."""

    value: int
    position: int


class Incremental:
    """Sends the rows at its bookmark again (`>=`); the bookmark can be read."""

    keep_days = 0
    payloads = 2

    @staticmethod
    def rows(source, state):
        return [row for row in source if state is None or row.value >= state.value]

    @staticmethod
    def bookmark(value):
        return Bookmark("number", f"{value:09}")

    highest = bookmark


class ByPosition:
    """Continues behind its bookmark, which cannot be read, though its rows have values; no two of them are equal."""

    keep_days = 0
    payloads = None

    @staticmethod
    def rows(source, state):
        return source[0 if state is None else state.position :]

    @staticmethod
    def bookmark(value):
        return None

    @staticmethod
    def highest(value):
        return Bookmark("number", f"{value:09}") if value % 3 else None


class FullTable:
    """Sends everything in every run; its stream is remembered for days."""

    keep_days = 365
    payloads = 2

    @staticmethod
    def rows(source, state):
        return list(source)

    @staticmethod
    def bookmark(value):
        return None

    highest = bookmark


@dataclass
class History:
    """A source, a tap, a Meltano that saves STATEs, and a Statsig that counts what it accepts."""

    tap: type
    url: str
    random: Random
    source: list = field(default_factory=list)
    taken: Counter = field(default_factory=Counter)
    saved: State | None = None
    counted_doubtful: int = 0
    unanswered: int = 0

    def __post_init__(self):
        self.project = f"project {next(_projects)}"

    def grow(self):
        value = self.source[-1].value if self.source else 0
        for _ in range(self.random.randint(0, 8)):
            value += self.random.randint(0, 2)
            payload = len(self.source) if self.tap.payloads is None else self.random.randrange(self.tap.payloads)
            self.source.append(Row(value, payload))

    def run(self, number, *, steps_to_live):
        """Run once; the run is killed after so many steps, and Meltano may not save its last STATE."""
        self.steps_left = steps_to_live
        self.written = [self.saved]
        store = Store(self.url, clock=FakeClock(), project=self.project, run_id=f"run {number}")
        try:
            self.deliver(store.ledger("orders", keep_days=self.tap.keep_days))
        except KilledError:
            store._opened.close()
            self.saved = self.written[-1 - (len(self.written) > 1 and self.random.random() < 0.5)]
        else:
            store.close()
            self.saved = self.written[-1]

    def step(self):
        """Count one step, and die where it was the last."""
        self.steps_left -= 1
        if self.steps_left < 0:
            raise KilledError

    def deliver(self, ledger):
        epoch = 0
        batch_size, states_every = self.random.randint(1, 4), self.random.randint(1, 9)
        batch, in_flight = [], []
        if self.saved and self.random.random() < 0.3:
            epoch = self.write(ledger, self.saved, epoch)  # some taps first repeat the STATE that they were given
        position = len(self.source) - len(rows := self.tap.rows(self.source, self.saved))
        for count, row in enumerate(rows, 1):
            position += 1
            self.step()
            if not ledger.known([row.digest], highest=self.tap.highest(row.value), epoch=epoch)[0]:
                batch.append(row)
            if len(batch) == batch_size or count % states_every == 0 or count == len(rows):
                in_flight += self.intend(ledger, batch, epoch)
                batch = []
            while len(in_flight) > 2:
                self.answer(ledger, in_flight.pop(self.random.randrange(len(in_flight))), epoch)
            if count % states_every == 0 or count == len(rows):
                while in_flight:
                    self.answer(ledger, in_flight.pop(self.random.randrange(len(in_flight))), epoch)
                epoch = self.write(ledger, State(row.value, position), epoch)

    def write(self, ledger, state, epoch):
        self.step()
        self.written.append(state)
        self.step()
        ledger.state_written(self.tap.bookmark(state.value), epoch=epoch + 1)
        return epoch + 1

    def intend(self, ledger, rows, epoch):
        if not rows:
            return []
        digests = [row.digest for row in rows]
        self.counted_doubtful += ledger.in_doubt(b"".join(digests))
        highest = self.tap.highest(max(row.value for row in rows))
        self.step()
        return [(ledger.intend(b"".join(digests), highest=highest, epoch=epoch), rows)]

    def answer(self, ledger, batch, epoch):
        """Let Statsig accept a batch, or refuse it and accept its halves."""
        number, rows = batch
        self.step()
        if len(rows) > 1 and self.random.random() < 0.2:
            ledger.withdraw(number)
            for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
                for smaller in self.intend(ledger, half, epoch):
                    self.answer(ledger, smaller, epoch)
            return
        self.taken.update(rows)
        self.unanswered += len(rows)
        self.step()
        ledger.acknowledge(number)
        self.unanswered -= len(rows)

    def check(self):
        wanted = Counter(self.source)
        assert not wanted - self.taken, "lost"
        doubled = (self.taken - wanted).total()
        assert doubled <= self.unanswered, "doubled though known"
        assert doubled <= self.counted_doubtful, "doubled, but not counted"


def check_history(tap, url, seed, lives):
    history = History(tap, url, Random(seed))
    with pytest.MonkeyPatch.context() as constants:
        # Let STATEs forget at once, after some batches, or only at the end of a run.
        constants.setattr("target_statsig.store.deliveries._FORGET_EVERY", Random(seed).choice([0, 3, 100]))
        for number, steps_to_live in enumerate([*lives, 10_000, 10_000]):
            history.grow()
            history.run(number, steps_to_live=steps_to_live)
    history.check()


any_history = given(seed=st.integers(0, 2**32), lives=st.lists(st.integers(0, 60), max_size=5))
any_tap = pytest.mark.parametrize("tap", [Incremental, ByPosition, FullTable])
on_one_store = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@any_tap
@settings(on_one_store, max_examples=12)
@any_history
def test_nothing_is_lost_and_nothing_known_is_doubled(store_url, tap, seed, lives):
    check_history(tap, store_url, seed, lives)


@pytest.mark.slow
@any_tap
@settings(on_one_store, max_examples=100)
@any_history
def test_nothing_is_lost_and_nothing_known_is_doubled_in_many_histories(tmp_path, tap, seed, lives):
    check_history(tap, f"sqlite:///{tmp_path}/store.db", seed, lives)
