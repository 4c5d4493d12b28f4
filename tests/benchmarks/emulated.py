"""A Statsig on loopback, in a process of its own so that its work is not the contenders'."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Self

LAST_LINE = "export MELTANO_STATE_BACKEND_URI="
"""Where the emulator's greeting ends; by then it listens."""

COMMAND = [sys.executable, "-m", "target_statsig.emulator", "--keep-events", "counts"]


@dataclass(frozen=True, slots=True)
class Project:
    """What a contender is told of Statsig."""

    events_url: str
    console_url: str
    server_secret_key: str
    console_api_key: str


class EmulatedStatsig:
    """A running emulator that counts events and keeps none."""

    def __init__(self, segments: Mapping[str, Path] | None = None) -> None:
        """Take the segments to begin with: the files that hold their ids, one a line."""
        seeds = (f"--segment={segment_id}={path}" for segment_id, path in (segments or {}).items())
        self._command = [*COMMAND, *seeds]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        variables = {}
        for line in self._process.stdout:
            name, _, value = line.removeprefix("export ").partition("=")
            variables[name.removeprefix("TARGET_STATSIG_").lower()] = "".join(shlex.split(value, comments=True))
            if line.startswith(LAST_LINE):
                break
        else:
            sys.exit("The emulator did not start")
        self.project = Project(**{name: variables[name] for name in Project.__slots__})
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def events(self) -> int:
        """Return how many events Statsig would show by now."""
        return sum(tally["count"] for tally in self._call("GET", "state")["event_counts"])

    def delay(self, milliseconds: int) -> None:
        """Answer everything so late from now on."""
        self._call("DELETE", "faults")
        if milliseconds:
            self._call("POST", "faults", {"path": "/v1/*", "latency": milliseconds / 1000})

    def empty(self, segment_id: str) -> None:
        """Begin anew with a segment that has no members."""
        self._call("POST", "segments", {"id": segment_id, "ids": []})

    def members(self, segment_id: str) -> int:
        """Return how many members a segment has."""
        return self._call("GET", "state")["segments"][segment_id]["count"]

    def _call(self, method: str, name: str, body: object = None) -> Any:
        address = urlsplit(self.project.events_url)
        connection = HTTPConnection(address.hostname, address.port)
        connection.request(method, f"/_emulator/{name}", None if body is None else msgspec.json.encode(body))
        response = connection.getresponse()
        content = response.read()
        connection.close()
        if response.status >= 400:
            sys.exit(f"The emulator answers {method} {name} with {response.status}: {content[:200]!r}")
        return msgspec.json.decode(content)
