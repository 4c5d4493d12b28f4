"""A mirror in any history of complete and broken runs, and of changes by others."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from target_statsig.commands.apply_held import apply_held
from target_statsig.emulator import Options, StatsigEmulator
from target_statsig.target import TargetStatsig
from tests.singer import activate_version, record, schema, to_lines

SLOW_ON_POSTGRESQL = True

pytestmark = pytest.mark.e2e

NAMES = [f"u{number:02}" for number in range(9)]
MEMBERS = st.sets(st.sampled_from(NAMES))
COMPLETE = activate_version("users")
SCHEMA = schema("users", {"user_id": {"type": ["string", "null"]}})
OTHER_SCHEMA = schema("users", {"user_id": {"type": ["string", "null"]}, "plan": {"type": "string"}})


class MirroredAudience(RuleBasedStateMachine):
    """A source table, a segment that mirrors it, and what can go wrong between them."""

    def __init__(self, store_url):
        super().__init__()
        # All examples share one store: each has its own Statsig, and so its own rows.
        self.store_url = store_url

    @initialize(members=MEMBERS, table=MEMBERS)
    def begin(self, members, table):
        self.directory = tempfile.TemporaryDirectory()
        self.statsig = StatsigEmulator(Options(id_list_windows=(), mutation_windows=()))
        self.statsig.start()
        self.statsig.state.seed_segment("vips", sorted(members))
        self.table = table
        self.clean_runs = 0
        self.removed_before = 0
        self.finished = False
        self.last_table = set()

    def teardown(self):
        if hasattr(self, "statsig"):
            self.statsig.close()
            self.directory.cleanup()

    @property
    def segment(self):
        return self.statsig.state.segments["vips"]

    def members(self):
        return set(self.statsig.state.ids("vips"))

    def rows(self):
        return [record("users", {"user_id": name}, version=1) for name in sorted(self.table)]

    def config(self, **extra):
        place = Path(self.directory.name)
        return {
            "console_url": self.statsig.console_url,
            "console_api_key": self.statsig.console_api_key,
            "store_url": self.store_url,
            "dead_letter_path": str(place / "dead"),
            "retry_timeout": 0,
            "console_rate_limits": "1000/1s",
            "segment_batch_size": 3,
            "object_type": "segment",
            "segment_id": "vips",
            "sync_mode": "mirror",
            "allow_empty_segment": True,
            "max_removal_percent": 100,
            "max_rejected_percent": 100,
            **extra,
        }

    def run(self, messages, *, whole=False, finished=True, **extra):
        """Run the target once.

        Args:
            messages: Of the tap, or the lines themselves.
            whole: Whether they are the whole table.
            finished: Whether the tap ended well.
            extra: Settings.
        """
        self.removed_before = len(self.segment.history)
        if whole:
            self.last_table = set(self.table)
        lines = messages if isinstance(messages, bytes) else to_lines(messages)
        exit_code = TargetStatsig(config=self.config(**extra)).run_to_end(io.BytesIO(lines))
        self.finished = finished and exit_code == 0
        return exit_code

    def removed_now(self):
        changes = self.segment.history[self.removed_before :]
        return {name for change in changes for name in change.removed_ids}

    def apply_held(self):
        """Run `--apply-held`, and check whom it removes."""
        self.removed_before = len(self.segment.history)
        exit_code = apply_held(TargetStatsig(config=self.config()).run)
        assert not self.removed_now() & self.last_table
        return exit_code

    def nobody_was_removed(self):
        self.clean_runs = 0
        assert self.removed_now() == set()

    @rule(table=MEMBERS)
    def source_changes(self, table):
        self.table = table
        self.clean_runs = 0

    @rule(added=MEMBERS, removed=MEMBERS)
    def someone_else_changes_the_segment(self, added, removed):
        before = self.members()
        after = (before | added) - removed
        self.segment.version += after != before
        self.statsig.state.seed_segment("vips", sorted(after))
        self.clean_runs = 0

    @rule()
    def complete_run(self):
        assert self.run([SCHEMA, *self.rows(), COMPLETE], whole=True) == 0
        assert not self.removed_now() & self.table
        # No message proves that a table without rows was read to its end.
        self.clean_runs += bool(self.table)

    @precondition(lambda self: self.table)
    @rule(data=st.data())
    def complete_run_and_the_same_in_another_order(self, data):
        self.complete_run()
        assert self.run([SCHEMA, *data.draw(st.permutations(self.rows())), COMPLETE], whole=True) == 0
        assert len(self.segment.history) == self.removed_before
        self.clean_runs += 1

    @rule()
    def complete_run_in_which_the_schema_changes(self):
        rows = self.rows()
        half = len(rows) // 2
        self.run([SCHEMA, *rows[:half], OTHER_SCHEMA, *rows[half:], COMPLETE], whole=True)
        self.nobody_was_removed()
        assert self.table <= self.members()

    @rule(data=st.data())
    def truncated_run(self, data):
        rows = self.rows()
        cut = data.draw(st.integers(0, len(rows)))
        self.run([SCHEMA, *rows[:cut]], finished=False)
        self.nobody_was_removed()

    @rule()
    def complete_run_without_proof_and_apply_held(self):
        assert self.run([SCHEMA, *self.rows()], whole=True) == 0
        self.nobody_was_removed()
        assert self.apply_held() == 0
        assert self.members() == self.table

    @rule()
    def complete_run_without_proof(self):
        assert self.run([SCHEMA, *self.rows()], whole=True) == 0
        self.nobody_was_removed()

    @rule()
    def run_without_the_stream(self):
        streams = {"users": {}, "others": {"sync_mode": "add", "segment_id": "others"}}
        self.statsig.state.seed_segment("others", [])
        assert self.run([schema("others"), record("others", {"user_id": "x"})], streams=streams) == 0
        self.nobody_was_removed()

    @precondition(lambda self: self.finished)
    @rule()
    def apply_held_after_a_finished_run(self):
        self.apply_held()
        self.clean_runs = 0

    @precondition(lambda self: self.finished)
    @rule(skip=st.integers(0, 6), taken=st.booleans())
    def apply_held_that_breaks_at_a_request(self, skip, taken):
        self.statsig.faults.add(path="/console/*", skip=skip, drop=True, taken=taken)
        self.apply_held()
        self.statsig.faults.clear()
        self.clean_runs = 0

    @rule()
    def run_without_any_row(self):
        self.run([SCHEMA], finished=False)
        self.nobody_was_removed()

    @rule(data=st.data())
    def tap_that_dies_inside_a_child(self, data):
        rows = self.rows()
        cut = data.draw(st.integers(0, len(rows)))
        child = [record("children", {"user_id": "x"})]
        streams = {"users": {}, "children": {"sync_mode": "add", "segment_id": "children"}}
        self.statsig.state.seed_segment("children", [])
        interleaved = [message for row in rows[:cut] for message in (row, *child)]
        self.run([SCHEMA, schema("children"), *interleaved], streams=streams, finished=False)
        self.nobody_was_removed()

    @rule()
    def run_with_a_rejected_row(self):
        self.run([SCHEMA, *self.rows(), record("users", {"user_id": None}, version=1), COMPLETE], whole=True)
        self.nobody_was_removed()

    @rule(skip=st.integers(0, 6), taken=st.booleans())
    def run_that_breaks_at_a_request(self, skip, taken):
        self.statsig.faults.add(path="/console/*", skip=skip, drop=True, taken=taken)
        self.run([SCHEMA, *self.rows(), COMPLETE], whole=True)
        self.statsig.faults.clear()
        self.clean_runs = 0
        assert not self.removed_now() & self.table

    @precondition(lambda self: any((Path(self.directory.name) / "dead").glob("*.singer")))
    @rule()
    def dead_letters_are_piped_back_in(self):
        letters = b"".join(path.read_bytes() for path in (Path(self.directory.name) / "dead").glob("*.singer"))
        fixed = letters.replace(json.dumps({"user_id": None}, separators=(",", ":")).encode(), b'{"user_id":"u00"}')
        self.run(fixed)
        self.nobody_was_removed()

    @invariant()
    def two_clean_runs_make_statsig_equal_the_source(self):
        if getattr(self, "clean_runs", 0) >= 2:
            assert self.members() == self.table


def test_no_history_removes_a_member_of_the_last_complete_table(store_url):
    run_state_machine_as_test(
        lambda: MirroredAudience(store_url),
        settings=settings(
            max_examples=15, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
