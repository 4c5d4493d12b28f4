"""A dry run reads all that a run would read, reports what the run would do, and changes nothing."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import signal
import stat
import subprocess
import threading

import pytest

from target_statsig.target import TargetStatsig
from tests.command import CANARY, PROGRAM, environment
from tests.items import ITEM_SAMPLES
from tests.singer import activate_version, record, schema, state, to_lines
from tests.tables import table_row

pytestmark = pytest.mark.e2e

EVENT = {"object_type": "event", "environment_tier": "production"}
MIRROR = {"object_type": "segment", "segment_id": "vips", "sync_mode": "mirror"}
ADD = {**MIRROR, "sync_mode": "add"}
BY_FIELD = {"object_type": "segment", "segment_id_field": "s", "sync_mode": "mirror"}
ACTIVATE = activate_version("users")


def orders(*numbers):
    fields = {"event": "bought", "timestamp": "2026-11-01T00:00:00Z"}
    return [record("orders", {**fields, "user_id": f"u{number}", "n": number}) for number in numbers]


def users(*names, **fields):
    return [record("users", {"user_id": name, **fields}, version=1) for name in names]


@pytest.fixture(autouse=True)
def vips(statsig):
    statsig.state.seed_segment("vips", ["a", "b", "c"])


@pytest.fixture
def files_left(run_target):
    """Return the digests of all files in the run's directory but the report."""

    def found():
        files = (path for path in run_target.directory.rglob("*") if path.is_file() and path.name != "report.json")
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    return found


@pytest.fixture
def run_dry(run_target):
    """Run a target dry, and check that it changes nothing."""

    def run(messages, **settings):
        segments = run_target.statsig.state.to_json()["segments"]
        run_target.statsig.state.requests.clear()
        outcome = run_target(messages, dry_run=True, **settings)
        assert {entry.method for entry in run_target.statsig.state.requests} <= {"GET"}
        assert run_target.statsig.state.to_json()["segments"] == segments
        assert outcome.states == []
        assert outcome.report["dry_run"] is True
        return outcome

    return run


def test_nothing_is_sent_stored_or_written(run_dry, files_left, statsig):
    streams = {"orders": EVENT, "users": MIRROR}
    messages = [schema("orders"), *orders(1, 2), record("orders", {"user_id": "nameless"})]
    outcome = run_dry([*messages, schema("users"), *users("a", "d"), ACTIVATE], streams=streams)
    assert outcome.exit_code == 0
    assert files_left() == {}
    assert statsig.state.events == []
    sent = {"records": "3", "delivered": "2", "rejected": "1", "requests": "1", "billed": "2"}
    assert sent.items() <= table_row(outcome.log, "orders").items()
    changes = {"before": "3", "added": "1", "removed": "2", "unchanged": "1", "after": "2", "requests": "2"}
    assert changes.items() <= table_row(outcome.log, "vips").items()
    for line in ("orders: bought 2", "orders: 1 rejected: missing_event_name 1", "A run would end with 0, unless"):
        assert line in outcome.log


def test_an_existing_store_does_not_change(run_target, run_dry, files_left):
    streams = {"orders": EVENT, "users": MIRROR}
    messages = [schema("orders"), *orders(1, 2), record("orders", {}), schema("users"), *users("a", "b", "c"), ACTIVATE]
    assert run_target(messages, streams=streams).exit_code == 0
    before = files_left()
    assert "store.db" in before
    run_dry([*messages[:3], *orders(3), record("orders", {"n": 1}), *messages[4:], *users("d")], streams=streams)
    assert files_left() == before


# The report of a dry run equals that of the run


def earlier_events(run_target, statsig):
    run_target([schema("orders"), *orders(*range(5)), state(orders={})], **EVENT)


def earlier_mirror(run_target, statsig):
    run_target([schema("users"), *users("a", "b", "c", "d"), ACTIVATE], **MIRROR)


def earlier_rows_that_failed(run_target, statsig):
    run_target([schema("users"), *users("kept")], **{**ADD, "segment_id": "later"})
    statsig.state.seed_segment("later", ["x"])


def many_members(run_target, statsig):
    statsig.state.seed_segment("vips", [f"u{number}" for number in range(100)])


def user_store(run_target, statsig):
    statsig.state.seed_segment("vips", ["a", "b", "c"], segment_type="user_store_id_list")


def no_earlier_run(run_target, statsig):
    pass


def change_by_hand(run_target, statsig):
    earlier_mirror(run_target, statsig)
    statsig.state.segments["vips"].change("add", ["by hand"])


@pytest.mark.parametrize(
    ("before", "messages", "settings"),
    [
        pytest.param(no_earlier_run, [schema("orders"), *orders(*range(1200)), state(orders={})], EVENT, id="events"),
        *(
            pytest.param(
                no_earlier_run,
                [
                    schema("orders"),
                    *(record("orders", items.row(n, timestamp=n)) for n in range(700)),
                    state(orders={}),
                ],
                {"object_type": items.object_type},
                id=f"a stream of {items.object_type}s",
            )
            for items in ITEM_SAMPLES[1:]
        ),
        pytest.param(
            no_earlier_run,
            [schema("orders"), *orders(1), *[record("orders", {"user_id": "x"})] * 20],
            EVENT,
            id="too many rejected",
        ),
        pytest.param(
            no_earlier_run,
            [schema("orders"), *orders(1), record("orders", {})],
            {**EVENT, "max_rejected_percent": 0},
            id="none may be rejected",
        ),
        pytest.param(
            earlier_events, [schema("orders"), *orders(*range(3, 9)), state(orders={})], EVENT, id="events sent before"
        ),
        pytest.param(
            no_earlier_run,
            [schema("orders"), *orders(1)],
            {**EVENT, "environment_tier": "staging", "dedupe": False, "compression": "none"},
            id="events that are not billed",
        ),
        pytest.param(no_earlier_run, [schema("users"), *users("a", "d", "e"), ACTIVATE], MIRROR, id="mirror"),
        pytest.param(earlier_mirror, [schema("users"), *users("a", "d"), ACTIVATE], MIRROR, id="mirror with a store"),
        pytest.param(earlier_mirror, [schema("users"), *users("a", "b", "c", "d"), ACTIVATE], MIRROR, id="no changes"),
        pytest.param(
            change_by_hand, [schema("users"), *users("a", "d"), ACTIVATE], MIRROR, id="someone else changed the list"
        ),
        pytest.param(no_earlier_run, [schema("users"), *users("a", "d")], MIRROR, id="unproven"),
        pytest.param(no_earlier_run, [schema("users"), ACTIVATE], MIRROR, id="an empty stream"),
        pytest.param(
            no_earlier_run,
            [schema("users"), *users("d")],
            {**MIRROR, "on_incomplete_stream": "fail"},
            id="unproven fails",
        ),
        pytest.param(many_members, [schema("users"), *users("u1", "new"), ACTIVATE], MIRROR, id="too many removals"),
        pytest.param(
            earlier_mirror,
            [schema("users"), *users("a", "e"), ACTIVATE],
            {**MIRROR, "removal_scope": "own"},
            id="own members only",
        ),
        pytest.param(
            no_earlier_run,
            [schema("users"), *users("a", "d"), ACTIVATE],
            {**MIRROR, "segment_id": "fresh", "create_segment": True},
            id="a segment to be created",
        ),
        pytest.param(
            no_earlier_run,
            [schema("users"), *users("a"), ACTIVATE],
            {**MIRROR, "segment_id": "misspelt"},
            id="a missing segment",
        ),
        pytest.param(
            no_earlier_run,
            [schema("users"), *users("a", "b", active=False), *users("b", "d", active=True)],
            {**ADD, "membership_field": "active"},
            id="rows",
        ),
        pytest.param(
            earlier_rows_that_failed,
            [schema("users"), *users("y")],
            {**ADD, "segment_id": "later"},
            id="unsent rows of an earlier run",
        ),
        pytest.param(
            user_store,
            [schema("users"), *users(*range(2500), "a"), ACTIVATE],
            {**MIRROR, "on_incomplete_stream": "remove"},
            id="a list in the user store",
        ),
        pytest.param(
            no_earlier_run,
            [schema("users"), *users("a", "d", s="vips"), *users("x", s="missing"), ACTIVATE],
            BY_FIELD,
            id="many segments",
        ),
        pytest.param(
            no_earlier_run,
            [schema("users"), *users("a"), state(users={"replication_key": "k", "replication_key_value": "1"})],
            MIRROR,
            id="incremental",
        ),
        pytest.param(no_earlier_run, [schema("users"), *users("a"), b"{\n"], MIRROR, id="a broken line"),
    ],
)
def test_the_run_does_what_the_dry_run_reported(run_target, run_dry, statsig, files_left, before, messages, settings):
    before(run_target, statsig)
    files_before = files_left()
    reported = run_dry(messages, **settings)
    assert files_left() == files_before
    done = run_target(messages, **settings)
    assert (reported.exit_code, comparable(reported.report)) == (done.exit_code, comparable(done.report))


def comparable(report):
    """Return a report as text, without what differs in any two runs."""
    own = {"run_id", "dry_run", "seconds", "dead_letter_files"}
    text = json.dumps({name: value for name, value in report.items() if name not in own}, indent=1)
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:+]+", "(a time)", text)


def test_a_removal_guard_ends_a_dry_run_with_1(run_dry, statsig):
    many_members(None, statsig)
    outcome = run_dry([schema("users"), *users("new"), ACTIVATE], **MIRROR)
    assert outcome.exit_code == 1
    counts = outcome.report["streams"]["users"]["segments"]["vips"]
    assert (counts["before"], counts["added"], counts["removed"], counts["held"]) == (100, 1, 0, 100)
    assert "vips: 100 held" in outcome.log
    assert "(too_many)" in outcome.log
    assert "`max_removal_percent`" in outcome.log
    assert "A run would end with 1:" in outcome.log


def test_rate_limits_are_reported_and_not_waited_for(run_dry):
    limits = {"console_rate_limits": "1/1h", "segment_batch_size": 1}
    outcome = run_dry([schema("users"), *users(*range(4)), ACTIVATE], **ADD, **limits)
    assert outcome.report["seconds"] < 60
    assert "All segments together take about 3 h 4 min" in outcome.log


def test_a_dry_run_ignores_the_lock_of_another_run(run_target, run_dry):
    running = TargetStatsig(config=run_target.config(**MIRROR))
    running.run.store.lock("vips").acquire()
    outcome = run_dry([schema("users"), *users("a"), ACTIVATE], **MIRROR)
    assert outcome.exit_code == 0
    assert running.run.store.lock("vips").locks.holds("segment vips")
    running.run.store.close()


# Without keys


def test_events_need_no_key(run_dry, statsig):
    outcome = run_dry([schema("orders"), *orders(1)], **EVENT, server_secret_key=None, console_api_key=None)
    assert outcome.exit_code == 0
    assert statsig.state.requests == []
    assert outcome.report["streams"]["orders"]["delivered"] == 1
    assert "A run cannot start: these streams need `server_secret_key`, which is not set." in outcome.log


@pytest.mark.parametrize("stream", [pytest.param(MIRROR, id="mirror"), pytest.param(ADD, id="add")])
def test_segments_need_the_console_key(command, statsig, stream):
    done = command([schema("users"), *users("a")], **stream, dry_run=True, console_api_key=None)
    assert done.exit_code == 1
    assert "`console_api_key` is missing: a stream goes to segments" in done.log
    assert statsig.state.requests == []


def test_a_key_of_the_wrong_kind_is_refused(command):
    done = command([], **EVENT, dry_run=True, server_secret_key="console-0123456789")
    assert done.exit_code == 1
    assert "`server_secret_key` holds a Console API Key" in done.log


# The command line


def run_dry_command(command, *arguments, messages, variables=None, **settings):
    path = command.config_file(**settings)
    return command.run("--config", path, "--dry-run", *arguments, messages=messages, **(variables or {}))


def test_the_option_wins_over_the_setting(command, statsig):
    arguments = ("--config", "ENV", "--dry-run-output", command.directory / "requests.jsonl")
    variables = {"TARGET_STATSIG_DRY_RUN": "false"}
    messages = [schema("users"), *users("a", "d"), ACTIVATE]
    done = run_dry_command(command, *arguments, messages=messages, variables=variables, **MIRROR)
    assert (done.exit_code, done.stdout) == (0, "")
    assert statsig.state.ids("vips") == {"a", "b", "c"}
    assert done.report["dry_run"] is True


def test_without_configured_paths_no_file_is_left_behind(command):
    places = {"store_url": None, "dead_letter_path": None, "report_path": None}
    path = command.config_file(streams={"orders": EVENT, "users": MIRROR}, **places)
    messages = [schema("orders"), *orders(1), record("orders", {}), schema("users"), *users("a", "b", "c"), ACTIVATE]
    assert command.run("--config", path, "--dry-run", messages=messages).exit_code == 0
    assert list(command.directory.iterdir()) == [path]


def test_a_variable_asks_for_a_dry_run(command, statsig):
    arguments = ("--config", command.config_file(**EVENT), "--config", "ENV")
    done = command.run(*arguments, messages=[schema("orders"), *orders(1)], TARGET_STATSIG_DRY_RUN="true")
    assert (done.exit_code, done.stdout, statsig.state.requests) == (0, "", [])


def test_requests_are_written_to_a_file_as_they_would_be_sent(command, statsig):
    path = command.directory / "requests.jsonl"
    streams = {"orders": EVENT, "users": MIRROR}
    messages = [schema("orders"), *orders(1, 2), schema("users"), *users("a", "d"), ACTIVATE]
    assert run_dry_command(command, "--dry-run-output", path, messages=messages, streams=streams).exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "secret-" not in path.read_text()
    assert "console-" not in path.read_text()
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert command(messages, streams=streams).exit_code == 0
    sent = [(entry.method, entry.path) for entry in statsig.state.requests if entry.method != "GET"]
    assert [(line["method"], line["path"]) for line in kept] == sent
    assert kept[0]["body"]["events"] == statsig.state.events
    assert [line["body"] for line in kept[1:]] == [{"ids": ["d"]}, {"ids": ["b", "c"]}]


@pytest.mark.parametrize("flag", [["--show-ids"], ["--dry-run-output", "requests.jsonl"]])
def test_dry_run_options_are_refused_without_a_dry_run(command, flag):
    done = command.run("--config", command.config_file(**EVENT), *flag)
    assert done.exit_code == 1
    assert "need `--dry-run`" in done.log
    assert not (command.directory / "requests.jsonl").exists()


def test_a_pipe_in_place_of_the_output_file_stays_as_it_is(command):
    path = command.directory / "pipe"
    os.mkfifo(path)
    path.chmod(0o644)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    done = run_dry_command(command, "--dry-run-output", path, messages=[schema("orders"), *orders(1)], **EVENT)
    assert done.exit_code == 0
    assert b"log_event" in os.read(reader, 4096)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    os.close(reader)


def test_an_unwritable_output_file_ends_the_dry_run_at_the_start(command):
    done = run_dry_command(command, "--dry-run-output", command.directory / "missing" / "file", messages=[], **EVENT)
    assert done.exit_code == 1
    assert re.search(r"`--dry-run-output` \(.*\) cannot be written: No such file or directory", done.log)


def shown_on_a_terminal(command, messages, *options, encoding="utf-8", **settings):
    """Return the lines that a dry run shows on a terminal; the log and the report must hold no value of a record."""
    arguments = [*PROGRAM, "--config", str(command.config_file(**settings)), "--dry-run", *options]
    terminal, end = pty.openpty()
    log = subprocess.PIPE
    done = subprocess.run(
        arguments,
        input=to_lines(messages),
        stdout=end,
        stderr=log,
        env=environment(PYTHONIOENCODING=encoding),
        check=False,
        timeout=60,
    )
    os.close(end)
    shown = os.read(terminal, 10_000).decode()
    os.close(terminal)
    assert done.returncode == 0
    assert CANARY not in done.stderr.decode() + (command.directory / "report.json").read_text()
    return [line for line in shown.splitlines() if line]


def test_a_terminal_shows_the_first_record_and_its_columns(command):
    rows = [{"customer": None, "at": "x"}, {"customer": {"id": CANARY}, "at": "2026-11-01", "plan": "gold"}]
    mapping = {"user_id": ["user_id", "customer.id"], "event_time": "at"}
    settings = {**EVENT, "event_name": "order", "field_mapping": mapping, "custom_fields": {"plan": "plan"}}
    lines = shown_on_a_terminal(command, [schema("orders"), *(record("orders", row) for row in rows)], **settings)
    title, *item = lines[: lines.index("  }") + 1]
    assert title == "First record of stream 'orders', as it would be sent:"
    user = {"userID": CANARY, "custom": {"plan": "gold"}, "statsigEnvironment": {"tier": "production"}}
    sent = {"eventName": "order", "time": 1793491200000, "user": user}
    shown = json.loads("".join(item))
    assert {name: shown[name] for name in sent} == sent
    assert lines[len(item) + 1 :] == [
        "  user_id \N{LEFTWARDS ARROW} customer.id",
        "  event_time \N{LEFTWARDS ARROW} at",
        "  plan \N{LEFTWARDS ARROW} plan",
    ]


def test_a_pipe_shows_no_record(command):
    rows = [record("orders", {"user_id": f"{CANARY}-1", "event": "order", "timestamp": "2026-11-01"})]
    done = run_dry_command(command, messages=[schema("orders"), *rows], **EVENT)
    assert (done.exit_code, done.stdout) == (0, "")
    assert CANARY not in done.log


def test_a_terminal_shows_some_ids(command):
    messages = [schema("users"), *users(*(f"{CANARY}-{number}" for number in range(7)), "a", "b"), ACTIVATE]
    assert shown_on_a_terminal(command, messages, "--show-ids", **MIRROR) == [
        "First record of stream 'users', as it would be sent:",
        f"  add {CANARY}-0 (vips)",
        "  user_id \N{LEFTWARDS ARROW} user_id",
        "vips: +7 \N{MINUS SIGN}1",
        *(f"  + {CANARY}-{number}" for number in range(5)),
        "  + … and 2 more",
        "  \N{MINUS SIGN} c",
    ]


def test_characters_the_terminal_lacks_are_escaped(command):
    shown = shown_on_a_terminal(command, [schema("users"), *users(CANARY), ACTIVATE], encoding="latin-1", **MIRROR)
    assert shown[-1] == r"  user_id \u2190 user_id"


def test_a_pipe_shows_no_ids(command):
    messages = [schema("users"), *users("a", "b", "c", f"{CANARY}-d"), ACTIVATE]
    done = run_dry_command(command, "--show-ids", messages=messages, **MIRROR)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "`--show-ids` shows ids only on a terminal" in done.log


def test_a_stopped_dry_run_is_reported_as_incomplete(command, statsig):
    segment_read = threading.Event()
    statsig.faults.add(method="GET", path="*/segments/vips", when=lambda _: segment_read.set())
    scratch = command.directory / "scratch"
    scratch.mkdir()
    running = command.start("--config", command.config_file(dry_run=True, **MIRROR), TMPDIR=str(scratch))
    running.write([schema("users"), *users("a")])
    assert segment_read.wait(60)
    assert len(list(scratch.iterdir())) == 1
    running.signal(signal.SIGTERM)
    done = running.finish()
    assert (done.exit_code, done.stdout) == (143, "")
    assert "the members to remove are not known" in done.log
    assert "The dry run was stopped early" in done.log
    assert list(scratch.iterdir()) == []


def test_a_dry_run_of_a_replay_keeps_the_dead_letters(run_target, run_dry, files_left):
    run_target([schema("orders"), *orders(1), record("orders", {"user_id": "u9", "n": 9})], **EVENT)
    before = files_left()
    target = TargetStatsig(config=run_target.config(dry_run=True, event_name="fixed", **EVENT))
    assert target.replay() == 0
    assert files_left() == before
