"""An emulator in a process of its own, so that its work does not count as that of a contender."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import dataclass
from http.client import HTTPConnection
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Self

LAST_LINE = "export MELTANO_STATE_BACKEND_URI="
"""The beginning of the last line that the emulator prints when it starts to listen."""

COMMAND = [sys.executable, "-m", "target_statsig.emulator", "--keep-events", "counts"]


@dataclass(frozen=True, slots=True)
class Project:
    """The addresses and keys of a Statsig project."""

    events_url: str
    console_url: str
    server_secret_key: str
    console_api_key: str


class EmulatedStatsig:
    """A running emulator that only counts events."""

    def __init__(self, segments: Mapping[str, Path] | None = None, *, latency_ms: int = 0) -> None:
        """Set the initial segments, each with a file of its ids, and the latency of every response."""
        seeds = (f"--segment={segment_id}={path}" for segment_id, path in (segments or {}).items())
        self._command = [*COMMAND, *seeds]
        self._latency_fault = {"path": "/v1/*", "latency": latency_ms / 1000}

    def __enter__(self) -> Self:
        with NamedTemporaryFile("w", suffix=".json") as faults:
            json.dump(self._latency_fault, faults)
            faults.flush()
            command = [*self._command, "--faults", faults.name]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            self.project = self._read_variables()
        return self

    def _read_variables(self) -> Project:
        """Read the variables that the emulator prints when it starts to listen."""
        variables = {}
        for line in self._process.stdout:
            name, _, value = line.removeprefix("export ").partition("=")
            variables[name.removeprefix("TARGET_STATSIG_").lower()] = "".join(shlex.split(value, comments=True))
            if line.startswith(LAST_LINE):
                break
        else:
            sys.exit("The emulator did not start")
        return Project(**{name: variables[name] for name in Project.__slots__})

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def events(self) -> int:
        """Return the number of events received."""
        return sum(tally["count"] for tally in self._state()["event_counts"])

    def members(self, segment_id: str) -> int:
        """Return the number of members of a segment."""
        return self._state()["segments"][segment_id]["count"]

    def _state(self) -> Any:
        address = urlsplit(self.project.events_url)
        connection = HTTPConnection(address.hostname, address.port)
        connection.request("GET", "/_emulator/state")
        response = connection.getresponse()
        content = response.read()
        connection.close()
        if response.status >= 400:
            sys.exit(f"The emulator answers with {response.status}: {content[:200]!r}")
        return msgspec.json.decode(content)
