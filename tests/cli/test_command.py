"""The command: its output, exit codes and signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from target_statsig import __version__
from tests.client.socket_server import TRICKLED_BODY, SocketServer, trickle
from tests.command import CANARY, PATIENCE, PROGRAM, Finished, environment
from tests.singer import activate_version, record, schema, state, to_lines

pytestmark = pytest.mark.e2e

EVENT = {"object_type": "event"}
ADD = {"object_type": "segment", "segment_id": "vips", "sync_mode": "add"}
MIRROR = {**ADD, "sync_mode": "mirror"}

SIGNALS = [pytest.param(signal.SIGINT, 130, id="SIGINT"), pytest.param(signal.SIGTERM, 143, id="SIGTERM")]


@pytest.fixture
def arrival_of(statsig):
    """Return a function that adds a fault for a path, and returns one that waits for a request to it."""

    def of(path, method="*", **fault):
        arrived = threading.Event()
        statsig.faults.add(method=method, path=path, when=lambda _: arrived.set() or bool(fault), **fault)
        return lambda: arrived.wait(60) or pytest.fail(f"no {method} {path} came")

    return of


def orders(*numbers, stream="orders"):
    fields = {"event": f"{CANARY} bought", "timestamp": "2026-11-01T00:00:00Z", "email": f"{CANARY}@example.com"}
    return [record(stream, {"user_id": f"{CANARY}-{number}", **fields}) for number in numbers]


def members(*names, stream="users"):
    return [record(stream, {"user_id": f"{CANARY}-{name}"}) for name in names]


def users_of(statsig):
    return sorted(event["user"]["userID"].removeprefix(f"{CANARY}-") for event in statsig.state.events)


def removals(statsig):
    return [entry for entry in statsig.state.requests if entry.method == "DELETE" or entry.path.endswith("remove_ids")]


@pytest.fixture
def run_without_directory(command, monkeypatch):
    """Run the command in a deleted directory, with one valid record and one invalid."""
    gone = command.directory / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    messages = [schema("users"), *members("new"), record("users", {"user_id": []})]
    return lambda *options, **settings: command.run(
        "--config", command.config_file(**settings), *options, messages=messages
    )


# Version and --about


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(PROGRAM, id="module"),
        pytest.param([Path(sys.executable).parent / "target-statsig"], id="script"),
    ],
)
def test_version_prints_the_version(program):
    done = subprocess.run([*program, "--version"], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"target-statsig v{__version__}, ")
    assert done.stderr == ""


def test_the_emulator_is_a_command():
    program = Path(sys.executable).parent / "statsig-emulator"
    help_text = subprocess.check_output([program, "--help"], env=environment(), text=True)
    assert "TARGET_STATSIG_EVENTS_URL" in help_text


def test_about_prints_text(command):
    about = command.run("--about").stdout
    assert about.startswith("Name: target-statsig\n")
    assert "server_secret_key" in about


def test_about_prints_json(command):
    about = json.loads(command.run("--about", "--format=json").stdout)
    assert about["name"] == "target-statsig"
    assert about["settings"]["properties"]["server_secret_key"]["secret"] is True
    assert "load_method" not in about["settings"]["properties"]


def test_about_prints_markdown(command):
    about = command.run("--about", "--format=markdown").stdout
    assert "# `target-statsig`" in about
    assert "| segment_id" in about


# Configuration


def test_all_configuration_errors_are_reported_at_once(command):
    settings = {
        **EVENT,
        "server_secret_key": "client-0123456789",
        "console_api_key": None,
        "evnets_url": "https://example.com",
        "batch_size_rows": 0,
        "streams": {"a": {"object_type": "segment", "sync_mode": "mirror"}, "b": {"event_preset": "shop"}},
    }
    done = command(orders(1), **settings)
    assert done.exit_code == 1
    assert done.errors[0] == "The configuration cannot be used. Nothing was read or sent."
    text = "\n".join(done.errors[1:])
    for part in (
        "did you mean `events_url`?",
        "`batch_size_rows` must be at least 1",
        "streams.b: `event_preset` must be one of none, default, retail",
        "streams.a: `segment_id` or `segment_id_field`",
        "`server_secret_key` holds a Client SDK Key (client-…, ends in 6789)",
        "`console_api_key` is missing",
    ):
        assert part in text
    assert "0123456789" not in done.log
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "cannot be read", id="missing"),
        pytest.param("{", "is not valid JSON", id="invalid JSON"),
        pytest.param("[1]", "must hold a JSON object", id="a list"),
    ],
)
def test_an_unusable_configuration_file_is_named(command, content, message):
    path = command.directory / "wrong.json"
    if content is not None:
        path.write_text(content)
    done = command.run("--config", path)
    assert done.exit_code == 1
    assert done.errors[0] == "The configuration cannot be used. Nothing was read or sent."
    assert str(path) in done.errors[1]
    assert message in done.errors[1]


@pytest.mark.parametrize("settings", [pytest.param(ADD, id="added"), pytest.param(MIRROR, id="mirrored")])
def test_absolute_paths_need_no_working_directory(run_without_directory, command, statsig, settings):
    statsig.state.seed_segment("vips", [])
    finished = run_without_directory(**settings)
    assert finished.exit_code == 0
    assert statsig.state.ids("vips") == {f"{CANARY}-new"}
    assert len(command.target.dead_letters) == 2
    assert run_without_directory("--check", **settings).exit_code == 0


def test_settings_are_read_from_the_environment(command, statsig):
    settings = {name: value for name, value in command.target.config().items() if name != "report_path"}
    variables = {f"TARGET_STATSIG_{name.upper()}": str(value) for name, value in settings.items()}
    streams = {"orders": {**EVENT, "event_name_mapping": {f"{CANARY} bought": "Bought v2.0"}}}
    variables |= {"TARGET_STATSIG_STREAMS": json.dumps(streams), "TARGET_STATSIG_BATCH_SIZE_ROWS": "1"}
    done = command.run("--config", "ENV", messages=[schema("orders"), *orders(1, 2), state(orders={})], **variables)
    assert done.exit_code == 0
    assert done.states == [{"bookmarks": {"orders": {}}}]
    assert [event["eventName"] for event in statsig.state.events] == ["Bought v2.0"] * 2
    assert [entry.items for entry in statsig.state.requests] == [1, 1]


def test_the_environment_wins_over_a_file(command, statsig):
    arguments = ("--config", command.config_file(**EVENT, event_name="From File"), "--config", "ENV")
    command.run(*arguments, messages=[schema("orders"), *orders(1)], TARGET_STATSIG_EVENT_NAME="From Environment")
    assert [event["eventName"] for event in statsig.state.events] == ["From Environment"]


def test_a_key_in_an_ignored_variable_is_mentioned(command, statsig):
    arguments = ("--config", command.config_file(**EVENT, server_secret_key=None))
    variables = {"TARGET_STATSIG_SERVER_SECRET_KEY": f"secret-{CANARY}"}
    done = command.run(*arguments, messages=[schema("orders"), *orders(1)], **variables)
    assert done.exit_code == 1
    assert "`server_secret_key` is missing" in done.log
    assert "TARGET_STATSIG_SERVER_SECRET_KEY is set, but variables are read only with `--config ENV`" in done.log
    assert "TARGET_STATSIG_CONSOLE_API_KEY" not in done.log
    assert not statsig.state.requests


@pytest.mark.parametrize(
    ("value", "options", "exit_code", "sent"),
    [
        pytest.param("true", [], 1, 0, id="ignored"),
        pytest.param("false", [], 0, 1, id="off"),
        pytest.param("true", ["--dry-run"], 0, 0, id="asked for twice"),
        pytest.param("true", ["--config", "ENV"], 0, 0, id="read"),
    ],
)
def test_no_run_ignores_a_variable_that_asks_for_a_dry_run(command, statsig, value, options, exit_code, sent):
    arguments = ("--config", command.config_file(**EVENT, event_name="order"), *options)
    done = command.run(*arguments, messages=[schema("orders"), *orders(1)], TARGET_STATSIG_DRY_RUN=value)
    assert (done.exit_code, len(statsig.state.events)) == (exit_code, sent)
    unread = "TARGET_STATSIG_DRY_RUN is set, but variables are read only with `--config ENV`. Add it."
    assert (unread in done.log) is (exit_code == 1)


def test_a_run_without_configuration_names_the_missing_setting(command):
    done = command.run(messages=[schema("orders"), *orders(1)])
    assert done.exit_code == 1
    assert "stream 'orders': `object_type` is missing, and so is every other setting. Give `--config`" in done.log


@pytest.mark.parametrize("options", [(), ("--check",), ("--dry-run",), ("--replay",)])
@pytest.mark.parametrize(
    ("url", "message"),
    [
        pytest.param("hdfs3a://bucket/dead", "Unsupported filesystem", id="unknown file system"),
        pytest.param("gs://bucket/dead", "Please install gcsfs", id="missing package"),
    ],
)
def test_an_unusable_dead_letter_path_is_refused_at_the_start(command, statsig, options, url, message):
    config = command.config_file(**EVENT, dead_letter_path=url)
    done = command.run("--config", config, *options, messages=[schema("orders"), *orders(1)])
    assert done.exit_code == 1
    assert "The configuration cannot be used. Nothing was read or sent." in done.log
    assert "`dead_letter_path` cannot be used:" in done.log
    assert message in done.log
    assert not statsig.state.requests


def test_all_unreadable_variables_are_reported_at_once(command):
    variables = {
        "BATCH_SIZE_ROWS": "many",
        "STREAMS": "{",
        "DEDUPE": "ture",
        "STREAM_MAPS": "[",
        "FLATTENING_MAX_DEPTH": "",
    }
    done = command.run("--config", "ENV", **{f"TARGET_STATSIG_{name}": text for name, text in variables.items()})
    assert done.exit_code == 1
    for name in variables:
        assert f"`{name.lower()}` must be " in done.log


# Exit codes


def test_a_complete_run_ends_with_0(command, statsig):
    messages = [schema("orders"), *orders(1, 2), state(orders={})]
    done = command.process("--config", command.config_file(**EVENT), messages=messages)
    assert done.exit_code == 0
    assert done.states == [{"bookmarks": {"orders": {}}}]
    assert done.report["status"] == "complete"
    assert users_of(statsig) == ["1", "2"]


def test_a_wrong_key_ends_with_1_and_shows_4_characters(command):
    key = "secret-0123456789abcdef"
    done = command([schema("orders"), *orders(1), state(orders={})], **EVENT, server_secret_key=key)
    assert done.exit_code == 1
    assert done.states == []
    assert "cdef" in done.errors[0]
    assert "abcdef" not in done.log + json.dumps(done.report)


def test_an_invalid_json_line_ends_the_run_after_sending_the_rest(command, statsig):
    lines = [schema("orders"), *orders(1), state(orders={}), f'{{"{CANARY}"\n'.encode(), *orders(2)]
    done = command(lines, **EVENT)
    assert done.exit_code == 1
    assert len(done.errors) == 1
    assert done.errors[0].startswith(
        f"The input cannot be used: Line 4 of the input ({len(CANARY) + 3} bytes) is not valid JSON."
    )
    assert users_of(statsig) == ["1"]
    assert done.states == [{"bookmarks": {"orders": {}}}]


@pytest.mark.parametrize("from_file", [False, True], ids=["pipe", "file"])
def test_an_invalid_utf_8_line_ends_the_run_after_sending_the_rest(command, statsig, from_file):
    wrong = b'{"type": "RECORD", "stream": "orders", "record": {"user_id": "canary-bird\xff"}}\n'
    lines = [schema("orders"), *orders(1), state(orders={}), wrong]
    if from_file:
        path = command.directory / "input.singer"
        path.write_bytes(to_lines(lines))
        done = command.run("--config", command.config_file(**EVENT), "--input", path)
    else:
        done = command.process("--config", command.config_file(**EVENT), messages=lines)
    assert done.exit_code == 1
    (error,) = done.errors
    assert error.startswith("The input cannot be used: Line 4 of the input is not valid UTF-8. No STATE passes it")
    assert users_of(statsig) == ["1"]
    assert done.states == [{"bookmarks": {"orders": {}}}]


def test_a_record_with_a_nan_is_rejected_alone(command, statsig):
    nan = record("orders", {"user_id": f"{CANARY}-nan", "event": "bought", "value": float("nan")})
    done = command([schema("orders"), *orders(1), nan, *orders(2), state(orders={})], **EVENT)
    assert done.exit_code == 0
    assert users_of(statsig) == ["1", "2"]
    assert done.report["streams"]["orders"]["rejected"] == 1
    assert len(command.target.dead_letters) == 2
    assert done.states == [{"bookmarks": {"orders": {}}}]


def test_a_record_of_50_mb_is_rejected_alone(command, statsig):
    large = record("orders", {"user_id": f"{CANARY}-large", "event": "bought", "note": CANARY * 5_000_000})
    done = command([schema("orders"), *orders(1), large, *orders(2), state(orders={})], **EVENT)
    assert done.exit_code == 0
    assert users_of(statsig) == ["1", "2"]
    assert done.report["streams"]["orders"]["reasons"] == {"event_too_large": 1}
    assert done.states == [{"bookmarks": {"orders": {}}}]


def test_a_closed_reader_of_states_ends_the_run(command):
    arguments = [*PROGRAM, "--config", command.config_file(**EVENT, batch_size_rows=1)]
    lines = to_lines([schema("orders"), *orders(1), state(orders={"n": 1}), *orders(2), state(orders={"n": 2})])
    read_end, write_end = os.pipe()
    os.close(read_end)
    log = subprocess.PIPE
    done = subprocess.run(arguments, input=lines, stdout=write_end, stderr=log, env=environment(), check=False)
    os.close(write_end)
    finished = Finished(done.returncode, "", done.stderr.decode(), {})
    assert finished.exit_code == 1
    assert [error[:54] for error in finished.errors] == ["The STATE cannot be written: Standard output is closed"]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"server_secret_key": "client-key"}, id="a wrong configuration"),
        pytest.param({"server_secret_key": "secret-0123456789"}, id="a wrong key"),
    ],
)
def test_a_tap_may_finish_writing_after_the_target_has_failed(command, settings):
    running = command.start_with(**EVENT, **settings)
    running.write([schema("orders"), *orders(1) * 20_000])
    running.log.wait_for("| ERROR ")
    running.write(orders(1) * 20_000)
    running.end_input()
    assert running.finish().exit_code == 1


def test_a_closed_input_is_an_error(command):
    done = command.shell(f"{command.line(**EVENT)} <&-")
    assert done.exit_code == 1
    assert [error[:51] for error in done.errors] == ["The input cannot be used: Standard input is closed,"]


def test_a_state_stays_json_where_the_output_is_ascii(command):
    messages = [schema("orders"), *orders(1), state(müşteri={"replication_key_value": 1.5})]
    done = command.process("--config", command.config_file(**EVENT), messages=messages, PYTHONIOENCODING="ascii")
    assert done.states == [{"bookmarks": {"müşteri": {"replication_key_value": 1.5}}}]


@pytest.mark.parametrize(
    ("redirection", "cause"), [(">&-", "it is closed"), ("> /dev/full", "No space left on device")]
)
@pytest.mark.parametrize("option", ["--check", "--status", "--suggest"])
def test_a_command_with_unwritable_output_is_an_error(command, option, redirection, cause):
    (command.directory / "messages").write_bytes(to_lines([schema("orders", {"user_id": {"type": "string"}})]))
    done = command.shell(f"{command.line(**EVENT)} {option} {redirection} < {command.directory / 'messages'}")
    assert (done.exit_code, done.errors) == (1, [f"Standard output cannot be written: {cause}."])


def test_characters_the_output_lacks_are_escaped(command):
    done = command.process("--config", command.config_file(**EVENT), "--check", PYTHONIOENCODING="latin-1")
    assert done.exit_code == 0
    assert r"ends in \u2026" in done.stdout


def test_suggest_with_a_closed_input_is_an_error(command):
    done = command.shell(f"{command.line(**EVENT)} --suggest <&-")
    assert done.exit_code == 1
    assert [error[:25] for error in done.errors] == ["Standard input is closed,"]


# Signals


@pytest.mark.parametrize(("number", "exit_code"), SIGNALS)
def test_a_signal_sends_the_records_read_and_removes_nobody(command, statsig, arrival_of, number, exit_code):
    statsig.state.seed_segment("vips", ["a", "b"])
    arrived = arrival_of("*/log_event")
    running = command.start_with(streams={"users": MIRROR, "*": EVENT}, batch_size_rows=2)
    early = [schema("users"), *members("a"), schema("early"), *orders(1, stream="early"), state(early={"n": 1})]
    # A request for the full batch shows that everything before it was read. The last line stays incomplete.
    late = [schema("late"), *orders(2, 3, stream="late"), b'{"type": "RECORD", "stream": "late", "rec']
    running.write([*early, *late])
    arrived()
    running.signal(number)
    done = running.finish()
    assert done.exit_code == exit_code
    assert users_of(statsig) == ["1", "2", "3"]
    assert done.states == [{"bookmarks": {"early": {"n": 1}}}]
    assert statsig.state.ids("vips") == {"a", "b"}
    assert done.report["status"] == "interrupted"
    assert done.report["errors"] == done.errors == []
    assert done.report["streams"]["users"]["segments"]["vips"]["held"] is None
    assert f"Asked to stop ({signal.Signals(number).name})" in done.log


def test_a_signal_during_a_hanging_request_waits_for_its_timeout(command, arrival_of):
    arrived = arrival_of("*/log_event", hang=True)
    running = command.start_with(**EVENT, batch_size_rows=1, request_timeout=1, retry_timeout=3600)
    running.write([schema("orders"), *orders(1), state(orders={"n": 1})])
    arrived()
    running.signal(signal.SIGTERM)
    done = running.finish()
    assert done.exit_code == 143
    assert done.states == []
    assert done.report["status"] == "interrupted"
    assert done.report["streams"]["orders"]["delivered"] == 0


def test_a_signal_during_a_slow_response_waits_for_its_timeout(command):
    with SocketServer(trickle(TRICKLED_BODY, b"a", drops=1_000)) as server:
        settings = {"batch_size_rows": 1, "events_url": server.url, "request_timeout": 1, "retry_timeout": 3600}
        running = command.start_with(**EVENT, **settings)
        running.write([schema("orders"), *orders(1), state(orders={"n": 1})])
        server.reached.wait(60)
        running.signal(signal.SIGTERM)
        done = running.finish()
    assert done.exit_code == 143
    assert done.states == []
    assert len(server.received) == 1


def test_a_signal_ends_a_check_that_waits_for_statsig(command, arrival_of):
    arrived = arrival_of("/console/*", status=503)
    running = command.start("--config", command.config_file(**ADD, retry_timeout=3600), "--check")
    arrived()
    running.signal(signal.SIGTERM)
    done = running.finish()
    assert done.exit_code == 143
    assert done.stdout == ""


def test_a_second_signal_ends_at_once(command, arrival_of):
    arrived = arrival_of("*/log_event", hang=True)
    running = command.start_with(**EVENT, batch_size_rows=1, request_timeout=3600)
    running.write([schema("orders"), *orders(1), state(orders={"n": 1})])
    arrived()
    running.signal(signal.SIGTERM)
    running.log.wait_for("Asked to stop")
    running.signal(signal.SIGTERM)
    done = running.finish()
    assert done.exit_code == -signal.SIGTERM
    assert done.states == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_target_starts_ends_it_at_once(command, number):
    script = (
        "import signal; from target_statsig.target import TargetStatsig;"
        f"TargetStatsig._new_run = lambda *_, **options: signal.raise_signal({number:d}); TargetStatsig.cli()"
    )
    line = [sys.executable, "-c", script, "--config", command.config_file(**EVENT)]
    done = subprocess.run(line, env=environment(), capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == -number
    assert b"Traceback" not in done.stderr


def test_a_signal_while_all_requests_are_busy_ends_the_run(command, arrival_of):
    arrived = arrival_of("*/log_event", hang=True)
    settings = {**EVENT, "batch_size_rows": 1, "max_parallel_requests": 1, "request_timeout": 1, "retry_timeout": 3600}
    running = command.start_with(**settings)
    running.write([schema("orders"), *orders(*range(100)), state(orders={"n": 1})])
    arrived()
    running.signal(signal.SIGTERM)
    done = running.finish()
    assert done.exit_code == 143
    assert done.states == []


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 429, "retry_after": 600}, id="Retry-After"),
        pytest.param({"status": 503}, id="backoff"),
        pytest.param({"drop": True}, id="lost connection"),
    ],
)
def test_a_signal_ends_the_wait_for_the_next_try(command, statsig, fault):
    statsig.faults.add(path="*/log_event", **fault)
    running = command.start_with(**EVENT, batch_size_rows=1, retry_timeout=3600)
    running.write([schema("orders"), *orders(1), state(orders={"n": 1})])
    running.log.wait_for("Next try in")
    running.signal(signal.SIGTERM)
    done = running.finish()
    assert done.exit_code == 143
    assert done.states == []
    assert done.report["streams"]["orders"]["delivered"] == 0


@pytest.mark.parametrize("settings", [pytest.param(ADD, id="add"), pytest.param(MIRROR, id="mirror")])
def test_a_signal_ends_the_wait_for_the_rate_window(command, statsig, arrival_of, settings):
    statsig.state.seed_segment("vips", ["a", "b"])
    arrived = arrival_of("*/id_list", "PATCH")
    limits = {"console_rate_limits": "1/1h", "segment_batch_size": 1}
    running = command.start_with(**settings, **limits)
    running.write([schema("users"), *members("a", "c", "d"), state(users={})])
    running.end_input()
    arrived()
    running.signal(signal.SIGTERM)
    done = running.finish()
    assert done.exit_code == 143
    assert done.report["status"] == "interrupted"
    assert removals(statsig) == []
    assert len(statsig.state.ids("vips")) == 3


def test_a_signal_between_removals_removes_nobody_else(command, statsig, arrival_of):
    statsig.state.seed_segment("vips", ["a", "b", "c", f"{CANARY}-d"])
    arrived = arrival_of("*/id_list", "DELETE")
    running = command.start_with(**MIRROR, console_rate_limits="1/1h", segment_batch_size=1)
    running.write([schema("users"), {**members("d")[0], "version": 1}, activate_version("users")])
    running.end_input()
    arrived()
    running.signal(signal.SIGTERM)
    assert running.finish().exit_code == 143
    assert [entry.items for entry in removals(statsig)] == [1]


def test_a_signal_ends_the_reading_of_a_long_list(command, statsig, arrival_of):
    statsig.state.seed_segment("vips", map(str, range(500_000)))
    arrived = arrival_of("*/id_list", "GET")
    running = command.start_with(**MIRROR)
    running.write([schema("users"), *members("a"), state(users={})])
    running.end_input()
    arrived()
    running.signal(signal.SIGTERM)
    assert running.finish().exit_code == 143
    assert len(statsig.state.requests) < 500


def test_changes_left_unsent_by_a_signal_go_with_the_next_run(command, statsig, arrival_of):
    statsig.state.seed_segment("vips")
    arrived = arrival_of("*/id_list", "PATCH")
    running = command.start_with(**ADD, console_rate_limits="1/1h", segment_batch_size=1)
    running.write([schema("users"), *members("a", "b"), state(users={"n": 1})])
    running.end_input()
    arrived()
    running.signal(signal.SIGTERM)
    assert running.finish().states == [{"bookmarks": {"users": {"n": 1}}}]
    assert command([schema("users"), state(users={"n": 1})], **ADD).exit_code == 0
    assert statsig.state.ids("vips") == {f"{CANARY}-a", f"{CANARY}-b"}
