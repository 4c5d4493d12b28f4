"""A mirror that is killed at any of its requests: the next run finishes it, and no member is lost meanwhile."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal

import pytest

from tests.singer import TargetRunner, activate_version, record, schema, to_lines

SLOW_ON_POSTGRESQL = True

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

AUDIENCE = {f"u{number:02}" for number in range(25)}
BEFORE = {f"u{number:02}" for number in range(15)} | {f"gone{number:02}" for number in range(15)}
MESSAGES = to_lines(
    [
        schema("users"),
        *(record("users", {"user_id": name}, version=1) for name in sorted(AUDIENCE)),
        activate_version("users"),
    ]
)
SETTINGS = {
    "object_type": "segment",
    "segment_id": "vips",
    "sync_mode": "mirror",
    "segment_batch_size": 5,
    "max_removal_percent": 100,
    "console_rate_limits": "1000/1s",
}

HELD = to_lines(
    [schema("users"), *(record("users", {"user_id": name}, version=1) for name in sorted(AUDIENCE))],
)

REQUESTS_TO_APPLY = 8
"""How many requests `--apply-held` makes after `HELD`: checks, 3 removals, and checks."""

REQUESTS = 13
"""How many requests a whole mirror makes: checks, the list, 2 additions, 3 removals, and checks."""


def mirror(config):
    """Run the target in its own process, which may be killed."""
    from target_statsig.target import TargetStatsig  # noqa: PLC0415 -- imported in the process that runs it

    os._exit(TargetStatsig(config=config).run_to_end(io.BytesIO(MESSAGES)))


def mirror_without_proof(config):
    """Run the target in its own process on messages that do not prove that the tap finished."""
    from target_statsig.target import TargetStatsig  # noqa: PLC0415 -- as above

    os._exit(TargetStatsig(config=config).run_to_end(io.BytesIO(HELD)))


def apply_held(config):
    """Run `--apply-held` in its own process."""
    from target_statsig.commands import apply_held  # noqa: PLC0415 -- as above
    from target_statsig.target import TargetStatsig  # noqa: PLC0415 -- as above

    os._exit(apply_held.apply_held(TargetStatsig(config=config).run))


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["target_statsig.commands.run", "target_statsig.target", "target_statsig.store.store"]
    )
    return context


@pytest.fixture
def statsig(statsig_factory):
    emulator = statsig_factory(id_list_windows=(), mutation_windows=())
    emulator.state.seed_segment("vips", sorted(BEFORE))
    return emulator


@pytest.fixture
def run_mirror(processes, statsig, store_url, tmp_path, capsys, caplog):
    """Run the mirror in a process; with `die_at`, kill it when its request of that number arrives."""
    config = TargetRunner(statsig, tmp_path, capsys, caplog).config(**SETTINGS, store_url=store_url)

    def run(target=mirror, *, die_at=None, taken=False):
        process = processes.Process(target=target, args=(config,))
        arrived = iter(range(1_000))

        def is_the_last(_):
            if next(arrived) != die_at:
                return False
            process.kill()
            return True

        statsig.faults.clear()
        statsig.faults.add(path="/console/*", when=is_the_last, drop=True, taken=taken)
        process.start()
        process.join()
        return process.exitcode

    return run


def changes(statsig):
    return [entry.method for entry in statsig.state.requests if entry.method in {"PATCH", "DELETE"} and entry.taken]


def test_a_whole_mirror_takes_the_expected_requests(run_mirror, statsig):
    assert run_mirror() == 0
    assert set(statsig.state.ids("vips")) == AUDIENCE
    assert len(statsig.state.requests) == REQUESTS
    assert changes(statsig) == ["PATCH"] * 2 + ["DELETE"] * 3


@pytest.mark.parametrize("taken", [pytest.param(False, id="before it is taken"), pytest.param(True, id="after")])
@pytest.mark.parametrize("request_number", range(REQUESTS))
def test_a_mirror_killed_at_any_request_is_finished_by_the_next_run(run_mirror, statsig, request_number, taken):
    assert run_mirror(die_at=request_number, taken=taken) == -signal.SIGKILL
    assert set(statsig.state.ids("vips")) >= AUDIENCE & BEFORE
    assert run_mirror() == 0
    assert set(statsig.state.ids("vips")) == AUDIENCE
    history = statsig.state.segments["vips"].history
    assert sum(change.added for change in history) == 10
    assert sum(change.removed for change in history) == 15
    # Only a change that was accepted and not recorded is requested again.
    assert 5 <= len(changes(statsig)) <= 6


def test_apply_held_takes_the_expected_requests(run_mirror, statsig):
    assert run_mirror(mirror_without_proof) == 0
    statsig.state.requests.clear()
    assert run_mirror(apply_held) == 0
    assert len(statsig.state.requests) == REQUESTS_TO_APPLY
    assert changes(statsig) == ["DELETE"] * 3


@pytest.mark.parametrize("taken", [pytest.param(False, id="before it is taken"), pytest.param(True, id="after")])
@pytest.mark.parametrize("request_number", range(REQUESTS_TO_APPLY))
def test_apply_held_killed_at_any_request_is_finished_by_the_next(run_mirror, statsig, request_number, taken):
    assert run_mirror(mirror_without_proof) == 0
    assert run_mirror(apply_held, die_at=request_number, taken=taken) == -signal.SIGKILL
    assert set(statsig.state.ids("vips")) >= AUDIENCE
    assert run_mirror(apply_held) == 0
    assert set(statsig.state.ids("vips")) == AUDIENCE
    assert sum(change.removed for change in statsig.state.segments["vips"].history) == 15
