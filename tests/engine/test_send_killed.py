"""The real command, killed while it sends a table and started again: what arrives, and what it says of it."""

from __future__ import annotations

import contextlib
import itertools
import random
import signal
import sqlite3
import subprocess
import threading
from collections import Counter

import pytest

from tests.command import PATIENCE, PROGRAM, environment, read_report
from tests.engine.tables import write_table

ROWS = 4_000
PARTS = 4
REQUESTS = 80
SETTINGS = {
    "object_type": "event",
    "batch_size_rows": 50,
    "field_mapping": {"event_time": "at"},
    "console_api_key": None,
    "retry_timeout": 60,
}
POISON = frozenset({777, 1_999, 3_333})

pytestmark = pytest.mark.e2e


def row(number):
    name = "poison" if number in POISON else "order"
    return {"id": number, "event": name, "user_id": f"u{number % 97}", "at": 1_795_000_000 + number}


def arrived(statsig):
    return Counter(int(event["metadata"]["id"]) for event in statsig.state.events)


def kill_after(statsig, process, requests, *, taken):
    """Kill a process when so many requests have come: before the last of them took effect, or after."""
    seen = 0

    def count(arrival):
        nonlocal seen
        seen += 1
        if seen == requests:
            process().kill()
            return True
        return False

    return statsig.faults.add(path="/v1/log_event", drop=True, taken=taken, when=count)


def start(config, url, directory):
    return subprocess.Popen(
        [*PROGRAM, "--config", str(config), "--send", str(url)],
        cwd=directory,
        env=environment(TARGET_STATSIG_LOGLEVEL="WARNING"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def in_doubt(store):
    """Return how many requests were sent, or about to be, when the last run died."""
    with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        query = (
            "SELECT count(*) FROM target_statsig_batches b JOIN target_statsig_streams s ON b.stream = s.stream "
            "WHERE NOT acknowledged AND s.name LIKE 'requests of %'"
        )
        return connection.execute(query).fetchone()[0]


def killed_and_finished(command, statsig, url, requests, *, taken):
    """Kill the command after so many requests, run it again, and return its report."""
    config = command.config_file(**SETTINGS)
    process = None
    fault = kill_after(statsig, lambda: process, requests, taken=taken)
    statsig.faults.add(path="/v1/log_event", event="poison", status=400)
    statsig.faults.add(path="/v1/log_event", latency=0.005, probability=0.5)
    process = start(config, url, command.directory)
    process.communicate(timeout=60)
    assert process.returncode == -9
    assert fault.hits
    again = command.run("--config", config, "--send", url)
    assert again.exit_code == 0, again.log
    return read_report(command.directory)


@pytest.mark.slow
@pytest.mark.parametrize("instant", range(10))
def test_a_killed_send_goes_on_and_doubles_only_what_it_says(command, statsig, tmp_path, instant):
    dice = random.Random(instant)
    url = write_table(tmp_path / "table", SETTINGS, *([row(n) for n in range(p, ROWS, PARTS)] for p in range(PARTS)))
    report = killed_and_finished(command, statsig, url, dice.randint(1, REQUESTS), taken=instant % 2 == 0)
    once = Counter(range(ROWS))
    came = arrived(statsig)
    assert not once - Counter(POISON) - came
    # The request that kills may be taken with its poison, which then came once.
    doubled = sum((came - once).values())
    counts = report["streams"]["orders"]
    assert doubled <= counts["maybe_duplicated"]
    # As much was under way, or about to be, as may be.
    assert counts["maybe_duplicated"] <= 12 * SETTINGS["batch_size_rows"]
    letters = {line["record"]["id"] for line in command.target.dead_letters if line["type"] == "RECORD"}
    assert letters == POISON
    assert command.run("--config", command.config_file(**SETTINGS), "--send", url).exit_code == 0
    assert arrived(statsig) == came
    statsig.faults.clear()
    replayed = command.run("--config", command.config_file(**SETTINGS), "--replay")
    assert replayed.exit_code == 0
    assert arrived(statsig) == came + Counter(POISON)


@pytest.mark.parametrize("taken", [False, True])
def test_a_request_that_was_under_way_is_the_only_one_in_doubt(command, statsig, tmp_path, taken):
    settings = {**SETTINGS, "max_parallel_requests": 1}
    url = write_table(tmp_path / "table", SETTINGS, [row(number) for number in range(500)])
    config = command.config_file(**settings)
    process = None
    kill_after(statsig, lambda: process, 5, taken=taken)
    process = start(config, url, command.directory)
    process.communicate(timeout=60)
    assert in_doubt(tmp_path / "store.db") == 1
    counts = command.run("--config", config, "--send", url).report["streams"]["orders"]
    assert counts["maybe_duplicated"] == 50
    assert sum((arrived(statsig) - Counter(range(500))).values()) == (50 if taken else 0)
    assert not Counter(range(500)) - arrived(statsig)


def test_what_statsig_took_without_an_answer_is_doubled_and_reported_exactly(command, statsig, tmp_path):
    settings = {**SETTINGS, "max_parallel_requests": 4}
    url = write_table(tmp_path / "table", SETTINGS, [row(number) for number in range(1_000)])
    config = command.config_file(**settings)
    under_way, all_under_way = itertools.count(1), threading.Event()

    def note(arrival):
        if next(under_way) == 8 + 4:
            all_under_way.set()
        return True

    statsig.faults.add(path="/v1/log_event", hang=True, taken=True, skip=8, when=note)
    process = start(config, url, command.directory)
    assert all_under_way.wait(PATIENCE)
    process.kill()
    process.communicate(timeout=60)
    statsig.faults.clear()
    assert in_doubt(tmp_path / "store.db") == 4
    counts = command.run("--config", config, "--send", url).report["streams"]["orders"]
    doubled = arrived(statsig) - Counter(range(1_000))
    assert sum(doubled.values()) == counts["maybe_duplicated"] == 4 * 50
    assert not Counter(range(1_000)) - arrived(statsig)


def test_senders_of_disjoint_files_work_at_once(command, statsig, tmp_path):
    # The same rows in every file: twins, whoever sends them.
    url = write_table(tmp_path / "table", SETTINGS, *([row(number) for number in range(300)] for _ in range(4)))
    config = command.config_file(**SETTINGS)
    senders = [start(config, f"{url}/part-0000{part}*", command.directory) for part in ("[01]", "[23]")]
    for sender in senders:
        output, _ = sender.communicate(timeout=60)
        assert sender.returncode == 0, output
    assert arrived(statsig) == Counter(dict.fromkeys(range(300), 4))


@pytest.mark.usefixtures("waits_take_no_time")
def test_two_senders_of_the_same_table_do_not_meet(command, statsig, tmp_path):
    url = write_table(tmp_path / "table", SETTINGS, [row(number) for number in range(500)])
    sending = threading.Event()
    statsig.faults.add(path="/v1/log_event", hang=True, when=lambda _: sending.set() or True)
    command.start("--config", command.config_file(**SETTINGS), "--send", url)
    assert sending.wait(PATIENCE)
    second = command.run("--config", command.config_file(**SETTINGS), "--send", url)
    assert second.exit_code == 1
    assert "Another run is sending the stream" in second.log


def test_sigterm_ends_a_send_and_the_next_one_goes_on(command, statsig, tmp_path):
    url = write_table(tmp_path / "table", SETTINGS, [row(number) for number in range(500)])
    config = command.config_file(**{**SETTINGS, "max_parallel_requests": 1})
    process = None
    statsig.faults.add(
        path="/v1/log_event", latency=0.01, when=lambda _: len(statsig.state.requests) == 3 and stop(process)
    )

    def stop(running):
        running.send_signal(signal.SIGTERM)
        return False

    process = start(config, url, command.directory)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output
    assert read_report(command.directory)["status"] == "interrupted"
    assert 0 < sum(arrived(statsig).values()) < 500
    assert command.run("--config", config, "--send", url).exit_code == 0
    assert arrived(statsig) == Counter(range(500))


def test_a_check_says_whether_a_table_can_be_sent(command, tmp_path):
    url = write_table(tmp_path / "table", SETTINGS, [row(number) for number in range(120)])
    config = command.config_file(**SETTINGS)
    good = command.run("--config", config, "--check", "--send", url)
    assert good.exit_code == 0
    assert "120 records of stream 'orders' in 3 requests, 0 rejected" in " ".join(good.stdout.split())
    (url / "part-00000.parquet").unlink()
    bad = command.run("--config", config, "--check", "--send", url)
    assert bad.exit_code == 1
    assert "has no Parquet files" in " ".join(bad.stdout.split())


@pytest.mark.parametrize("other", ["--replay", "--apply-held"])
def test_send_goes_with_no_other_command(command, other):
    done = command.run("--config", command.config_file(**SETTINGS), "--send", "table", other)
    assert done.exit_code == 1
    assert "`--send` goes with `--check` and `--dry-run` only" in done.log
