"""The command, run within this process or in a process of its own, as a shell or Meltano starts it.

A process takes a third of a second, so only tests of signals, pipes and the end of the interpreter start one.

After every run the log and the report are searched for `CANARY`, which tests put into records. Standard output is not,
since the STATEs of a tap may hold anything.
"""

from __future__ import annotations

import gc
import io
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from target_statsig.__main__ import main
from tests.singer import TargetRunner, to_lines

PROGRAM = (sys.executable, "-m", "target_statsig")

CANARY = "canary-bird"

PATIENCE = 60
"""Seconds after which a wait fails; only a failing test waits that long."""


def environment(**variables):
    """Return the environment without settings of Meltano and the target, and with the log level DEBUG."""
    left_out = ("MELTANO_", "TARGET_STATSIG_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return {**clean, "TARGET_STATSIG_LOGLEVEL": "DEBUG", **variables}


@contextmanager
def restored_process():
    """Restore what the command changes in its process: logging, garbage collection and signal handlers."""
    root, factory = logging.getLogger(), logging.getLogRecordFactory()
    level, thresholds = root.level, gc.get_threshold()
    on_signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        root.setLevel(level)
        logging.setLogRecordFactory(factory)
        gc.set_threshold(*thresholds)
        gc.enable()
        for number, handler in on_signals.items():
            signal.signal(number, handler)


def read_report(directory):
    path = directory / "report.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


@dataclass(frozen=True)
class Finished:
    """The result of the command; `report` is empty if it wrote none."""

    exit_code: int
    stdout: str
    log: str
    report: dict[str, Any]

    def __post_init__(self):
        assert CANARY not in self.log + json.dumps(self.report)
        assert "Traceback" not in self.log
        assert "Exception ignored" not in self.log

    @property
    def states(self):
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def errors(self):
        return [line.split(" | ", 3)[3] for line in self.log.splitlines() if "| ERROR " in line]


class Output:
    """Reads a pipe to its end, so that it never fills up, and lets a test wait for a text."""

    def __init__(self, pipe):
        self._pipe = pipe
        self._text = ""
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, text):
        with self._changed:
            assert self._changed.wait_for(lambda: text in self._text, PATIENCE), self._text

    def whole(self):
        """Return the whole text, once the command has ended."""
        self._reader.join(PATIENCE)
        self._pipe.close()
        return self._text

    def _read(self):
        for line in self._pipe:
            with self._changed:
                self._text += line
                self._changed.notify_all()


class Running:
    """The running command, with its input open."""

    def __init__(self, arguments, directory, **variables):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self._process = subprocess.Popen(
            [*PROGRAM, *map(str, arguments)],
            cwd=directory,
            env=environment(**variables),
            text=True,
            encoding="utf-8",
            **pipes,
        )
        self._directory = directory
        self.pid = self._process.pid
        self.stdout = Output(self._process.stdout)
        self.log = Output(self._process.stderr)

    def write(self, messages):
        self._process.stdin.buffer.write(to_lines(messages))
        self._process.stdin.flush()

    def end_input(self):
        self._process.stdin.close()

    def signal(self, number):
        self._process.send_signal(number)

    def finish(self):
        """Wait for the command to end by itself."""
        exit_code = self._process.wait(PATIENCE)
        return Finished(exit_code, self.stdout.whole(), self.log.whole(), read_report(self._directory))

    def kill(self):
        self._process.kill()
        self._process.wait(PATIENCE)
        self._process.stdin.close()
        self.stdout.whole()
        self.log.whole()


class Command:
    """Runs the command against an emulator, with the same store and dead letters in all runs."""

    def __init__(self, statsig, directory):
        self.directory = directory
        self.target = TargetRunner(statsig, directory, capsys=None, caplog=None)
        self._running = []

    def config_file(self, **settings):
        path = self.directory / "config.json"
        path.write_text(json.dumps(self.target.config(**settings)))
        return path

    def start(self, *arguments, **variables):
        self._running.append(Running(arguments, self.directory, **variables))
        return self._running[-1]

    def start_with(self, **settings):
        return self.start("--config", self.config_file(**settings))

    def run(self, *arguments, messages=(), **variables):
        """Run the command line within this process, with a file as its input."""
        stdout, log = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
        with restored_process(), tempfile.TemporaryFile("w+") as source, pytest.MonkeyPatch.context() as patch:
            source.buffer.write(to_lines(messages))
            source.seek(0)
            variables = environment(**variables)
            for name in os.environ.keys() - variables.keys():
                patch.delenv(name)
            for name, value in variables.items():
                patch.setenv(name, value)
            patch.setattr(logging.getLogger(), "handlers", [])
            patch.setattr(gc, "freeze", lambda: None)  # it would keep the objects of this run
            patch.setattr(sys, "argv", ["target-statsig", *map(str, arguments)])
            patch.setattr(sys, "stdin", source)
            patch.setattr(sys, "stdout", stdout)
            patch.setattr(sys, "stderr", log)
            with pytest.raises(SystemExit) as end:
                main()
        stdout.flush()
        return Finished(
            end.value.code or 0, stdout.buffer.getvalue().decode(), log.getvalue(), read_report(self.directory)
        )

    def __call__(self, messages, **settings):
        return self.run("--config", self.config_file(**settings), messages=messages)

    def process(self, *arguments, messages=(), **variables):
        """Run the command line in a process of its own."""
        running = self.start(*arguments, **variables)
        running.write(messages)
        running.end_input()
        return running.finish()

    def line(self, **settings):
        """Return the command as a line for a shell."""
        return shlex.join([*PROGRAM, "--config", str(self.config_file(**settings))])

    def shell(self, line, **variables):
        """Run a line in a shell."""
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=self.directory,
            env=environment(**variables),
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr, read_report(self.directory))

    def close(self):
        for running in self._running:
            running.kill()
