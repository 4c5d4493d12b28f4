"""The program `statsig-emulator`: its command, signals and exit codes."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from target_statsig.emulator.__main__ import main
from tests.singer import record, schema, to_lines

pytestmark = pytest.mark.e2e

SEND = """
import json, os, urllib.request
def call(base, path, body, key):
    url = os.environ[f"TARGET_STATSIG_{base}_URL"] + path
    headers = {"statsig-api-key": os.environ[f"TARGET_STATSIG_{key}"], "content-type": "application/json"}
    method = "PATCH" if base == "CONSOLE" else "POST"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)
    urllib.request.urlopen(request, timeout=10).close()
call("EVENTS", "/log_event", {"events": [{"eventName": "ping", "user": {"userID": "u1"}}]}, "SERVER_SECRET_KEY")
call("CONSOLE", "/segments/vip_users/id_list", {"ids": ["b", "c"]}, "CONSOLE_API_KEY")
"""


def program(*arguments):
    return [sys.executable, "-m", "target_statsig.emulator", *map(str, arguments)]


@pytest.fixture
def run(capfd):
    """Run the program within this process, and catch what it and its command print."""

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main([*map(str, arguments)])
        return subprocess.CompletedProcess(arguments, end.value.code, *capfd.readouterr())

    return run


@pytest.fixture
def start_program():
    """Start the program with pipes; it is killed after the test if it still runs."""
    processes = []

    def start(*arguments):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(program(*arguments), text=True, **pipes)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_items_are_shown_and_the_exit_code_is_that_of_the_command(run, tmp_path):
    ids, out = tmp_path / "ids.txt", tmp_path / "out.json"
    ids.write_text("a\nb\n", encoding="utf-8")

    done = run(f"--segment=vip_users={ids}", "--json", out, sys.executable, "-c", SEND + "raise SystemExit(3)")

    rows = [line.split() for line in done.stdout.splitlines()]
    assert done.returncode == 3
    assert ["ping", "-", "1", "1"] in rows
    assert ["vip_users", "id_list", "userID", "2", "+1", "-", "3"] in rows
    written = json.loads(out.read_text(encoding="utf-8"))
    assert written["segments"]["vip_users"]["ids"] == ["a", "b", "c"]
    assert written["exit_code"] == 3


def test_an_unwritable_output_file_is_an_error_before_the_command_runs(run, tmp_path):
    done = run("--json", tmp_path / "missing" / "out.json", "echo", "ran")

    assert (done.returncode, done.stdout) == (2, "")
    assert "No such file or directory" in done.stderr


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        pytest.param([], "samples", id="default"),
        pytest.param(["--json", "{out}"], "all", id="json"),
        pytest.param(["--json", "{out}", "--keep-events=counts"], "counts", id="keep-events"),
    ],
)
def test_all_events_are_kept_only_when_they_are_written(run, tmp_path, options, kept):
    script = "import os, urllib.request as u; print(u.urlopen(os.environ['STATSIG_EMULATOR_URL'] + %r).read().decode())"
    options = [option.format(out=tmp_path / "out.json") for option in options]

    done = run(*options, sys.executable, "-c", script % "/_emulator/page.json")

    assert json.loads(done.stdout.splitlines()[0])["keeps"] == kept


def test_a_single_argument_with_blanks_is_run_by_the_shell(run):
    done = run("echo one | tr o 0; exit 4")

    assert done.returncode == 4
    assert done.stdout.startswith("0ne\n")


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        pytest.param(0, "Nothing arrived. Did the target start, without a dry run?", id="command-succeeded"),
        pytest.param(1, "Nothing arrived, because the command failed.", id="command-failed"),
    ],
)
def test_a_hint_explains_why_nothing_arrived(run, code, hint):
    assert hint in run(f"exit {code}").stdout


def test_the_files_of_a_target_are_in_a_temporary_folder(run):
    script = "import os; print(*(os.environ[name] for name in %r), sep='\\n')"
    names = ["TARGET_STATSIG_STORE_URL", "TARGET_STATSIG_DEAD_LETTER_PATH", "MELTANO_STATE_BACKEND_URI"]

    store, dead_letters, state = run("--", sys.executable, "-c", script % names).stdout.splitlines()[:3]

    folder = Path(dead_letters).parent
    assert store == f"sqlite:///{folder}/store.db"
    assert state == f"file://{folder}/state"
    assert not folder.exists()


MESSAGES = to_lines([schema("orders"), record("orders", {"event": "order", "user_id": "u1"})])
REAL_KEYS = {"server_secret_key": "secret-of-a-real-project", "console_api_key": "console-of-a-real-project"}


@pytest.fixture
def run_target_with_own_settings(run, tmp_path, monkeypatch):
    """Run a target under the emulator, with a configuration file for Statsig itself."""
    monkeypatch.chdir(tmp_path)

    def run_target_with_own_settings(*more, **settings):
        config = {"object_type": "event", "retry_timeout": 0, **REAL_KEYS, **settings}
        Path("config.json").write_text(json.dumps(config), encoding="utf-8")
        Path("messages.singer").write_bytes(MESSAGES)
        target = shlex.join([sys.executable, "-m", "target_statsig", "--config", "config.json", *more])
        done = run("--json", "out.json", f"{target} < messages.singer")
        return done, json.loads(Path("out.json").read_text(encoding="utf-8"))

    return run_target_with_own_settings


@pytest.mark.parametrize("option", [[], ["--check"], ["--dry-run"], ["--replay"]])
def test_a_target_with_statsig_s_addresses_sends_nothing(run_target_with_own_settings, option):
    elsewhere = {"events_url": "https://statsig.invalid/v1", "console_url": "https://statsig.invalid/console/v1"}
    done, received = run_target_with_own_settings(*option, **elsewhere)

    log = done.stderr
    assert done.returncode == 1
    assert "`events_url` and `console_url`" in log
    assert "`--config ENV`" in log
    assert "STATSIG_EMULATOR_URL" in log
    assert "statsig.invalid" not in log
    assert received["requests"] == []


def test_a_target_with_statsig_s_console_address_is_an_error(run_target_with_own_settings):
    done, _ = run_target_with_own_settings(events_url="http://localhost:1/v1")

    assert done.returncode == 1
    assert "but `console_url` would send" in done.stderr


def test_a_target_with_the_emulator_s_variables_sends_to_it(run_target_with_own_settings):
    done, received = run_target_with_own_settings("--config", "ENV")

    assert done.returncode == 0
    assert [event["eventName"] for event in received["events"]] == ["order"]


def test_only_dead_letters_stay_after_the_emulator_ends(run, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    line = shlex.quote('{"type": "RECORD", "reason": "missing_identifier"}')
    path = "$TARGET_STATSIG_DEAD_LETTER_PATH"

    done = run("sh", "-c", f"mkdir {path}; echo {line} >{path}/a.singer; cd {path}/..; touch store.db; mkdir state")

    assert "1  dead-lettered: missing_identifier" in done.stdout
    (letters,) = tmp_path.rglob("a.singer")
    assert str(letters.parent) in done.stderr
    assert [*letters.parent.parent.iterdir()] == [letters.parent]


@pytest.mark.parametrize("command", ["no-such-command", "/no/such/command"])
def test_a_missing_command_ends_with_127(run, command):
    done = run(command)

    assert (done.returncode, done.stdout) == (127, "")
    assert done.stderr == f"statsig-emulator: {command}: command not found\n"


def test_a_command_that_cannot_be_run_ends_with_126(run, tmp_path):
    done = run(tmp_path)

    assert (done.returncode, done.stderr) == (126, f"statsig-emulator: {tmp_path}: Permission denied\n")


def test_a_command_ended_by_a_signal_ends_with_128_plus_its_number(run):
    assert run("sh", "-c", "kill -KILL $$").returncode == 137


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_to_the_whole_pipeline(start_program, number):
    # A signal just before a `read` would wait until it ends; `sleep` is in the process group, and ends at once.
    process = start_program("sh", "-c", "trap 'exit 9' TERM INT; echo ready; while sleep 1; do :; done")
    assert process.stdout.readline() == "ready\n"

    process.send_signal(number)

    assert process.wait(timeout=30) == 9
    assert "Statsig emulator" in process.stdout.read()


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "], ids=["ends on SIGTERM", "must be killed"])
def test_processes_of_the_command_are_ended(start_program, trap):
    process = start_program("sh", "-c", f"{trap}sleep 1000 & echo started")

    # The sleeping process holds the output open, so that reading to its end waits for the process.
    rest, _ = process.communicate(timeout=30)

    assert rest.startswith("started\n")


def test_without_a_command_it_serves_until_interrupted(start_program):
    process = start_program()
    lines = [process.stdout.readline() for _ in range(10)]
    variables = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines[3:])

    subprocess.run([sys.executable, "-c", "import sys;" + SEND.rpartition("call(")[0]], env=variables, check=True)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=30)

    assert process.returncode == 0
    assert "ping" in rest
    assert errors == ""


def test_keep_serves_after_the_command(start_program):
    process = start_program("--keep", "echo", "done")
    assert "shows what arrives" in process.stderr.readline()
    assert process.stdout.readline() == "done\n"
    while not process.stdout.readline().startswith("export MELTANO_STATE_BACKEND_URI"):
        assert process.poll() is None

    process.send_signal(signal.SIGTERM)

    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Statsig emulator" not in rest  # nothing has arrived since the report


def test_keep_does_not_serve_after_a_signal(start_program):
    process = start_program("--keep", "sh", "-c", "kill -KILL $$")

    assert process.wait(timeout=30) == 137


def test_a_port_in_use_is_an_error(run, statsig):
    port = statsig.url.rpartition(":")[2]

    done = run("--port", port, "true")

    assert done.returncode == 1
    assert f"cannot listen on port {port}" in done.stderr


def test_without_rich_the_error_says_what_to_install(tmp_path):
    (tmp_path / "rich.py").write_text("raise ModuleNotFoundError(name='rich')", encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}

    done = subprocess.run(program("true"), env=environment, capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install 'target-statsig[emulator]'" in done.stderr


def test_the_report_is_printed_without_unicode():
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}

    done = subprocess.run(program("true"), env=environment, capture_output=True, text=True, timeout=30, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert "Statsig emulator" in done.stdout


def test_a_closed_output_is_no_error():
    line = shlex.join(program("echo", "one")) + " | head -n 1"

    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=30, check=False)

    assert (done.stdout, done.stderr) == ("one\n", "")
