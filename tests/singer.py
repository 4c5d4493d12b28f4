"""Singer messages for tests, and runs of the target on them within this process."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from target_statsig.config.parse import parse_config
from target_statsig.config.settings import config_schema
from target_statsig.errors import Heading
from target_statsig.target import TargetStatsig

ANYTHING = {"type": "object", "properties": {}, "additionalProperties": True}


def schema(stream, properties=None, key_properties=(), **extra):
    body = ANYTHING if properties is None else {"type": "object", "properties": properties}
    return {"type": "SCHEMA", "stream": stream, "schema": body, "key_properties": list(key_properties), **extra}


def record(stream, fields, **extra):
    return {"type": "RECORD", "stream": stream, "record": fields, **extra}


def activate_version(stream, version=1):
    return {"type": "ACTIVATE_VERSION", "stream": stream, "version": version}


def state(**bookmarks):
    return {"type": "STATE", "value": {"bookmarks": bookmarks}}


def to_lines(messages):
    return b"".join(
        message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n" for message in messages
    )


def assert_headed(errors):
    """Check that each error begins with a heading, which the page "Troubleshooting" explains."""
    for error in errors:
        assert error.startswith(tuple(f"{heading.value}: " for heading in Heading if heading is not Heading.FAULT)), (
            error
        )


@dataclass
class Outcome:
    """The result of a run."""

    exit_code: int
    states: list[Any] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)
    log: str = ""

    def __post_init__(self):
        assert_headed(self.report["errors"])

    @property
    def errors(self):
        return "\n".join(self.report["errors"])


class Blocks(list):
    """Input as a list of blocks of lines."""


class TargetRunner:
    """Runs targets against an emulator, with the same store and dead letters in all runs."""

    def __init__(self, statsig, directory, capsys, caplog):
        self.statsig = statsig
        self.directory = directory
        self._capsys = capsys
        self._caplog = caplog

    @property
    def dead_letters(self):
        lines = []
        for path in sorted((self.directory / "dead").glob("*.singer")):
            lines += [json.loads(line, parse_float=Decimal) for line in path.read_text().splitlines()]
        return lines

    def config(self, **settings):
        return {
            "events_url": self.statsig.events_url,
            "console_url": self.statsig.console_url,
            "server_secret_key": self.statsig.server_secret_key,
            "console_api_key": self.statsig.console_api_key,
            "store_url": f"sqlite:///{self.directory / 'store.db'}",
            "dead_letter_path": str(self.directory / "dead"),
            "report_path": str(self.directory / "report.json"),
            "retry_timeout": 0,
            **settings,
        }

    def parsed_config(self, **settings):
        return parse_config(self.config(**settings), config_schema())

    def __call__(self, messages, **settings):
        source = messages
        if not (isinstance(messages, Blocks) or hasattr(messages, "read")):
            # One block, like a pipe with all that a tap wrote at once.
            source = Blocks([to_lines(messages)])
        return self._run(lambda target: target.run_to_end(source), settings)

    def send(self, table, **settings):
        """Send a table of prepared requests."""
        from target_statsig.engine.send import send_table  # noqa: PLC0415 -- few tests need pyarrow

        return self._run(lambda target: send_table(target.run, str(table)), settings)

    def replay(self, **settings):
        """Send the dead letters again."""
        return self._run(lambda target: target.replay(), settings)

    def _run(self, run, settings):
        self._caplog.clear()
        self._capsys.readouterr()
        exit_code = run(TargetStatsig(config=self.config(**settings)))
        return Outcome(
            exit_code,
            [json.loads(line) for line in self._capsys.readouterr().out.splitlines()],
            json.loads((self.directory / "report.json").read_text()),
            self._caplog.text,
        )
