"""The programs that are compared, and their commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import this_target
from tests.benchmarks.data import STREAM_MAPS, Shape
from tests.benchmarks.emulated import Project

Command = Callable[[Project, Path, Shape], list[str]]


@dataclass(frozen=True, slots=True)
class Contender:
    """A program that sends events from its input to Statsig.

    Attributes:
        name: Its name in the tables.
        command: Returns its command for a project, a directory to write to, and the shape of the events.
        share: Its share of the records; the slowest one gets fewer, so that it does not take most of the time.
    """

    name: str
    command: Command
    share: float = 1.0


def plain_target(project: Project, folder: Path, shape: Shape) -> list[str]:
    config = {
        "events_url": project.events_url,
        "server_secret_key": project.server_secret_key,
        "tracking": shape is Shape.TRACKING,
        **({"stream_maps": STREAM_MAPS} if shape is Shape.MAPPED else {}),
    }
    path = folder / "plain.json"
    path.write_text(json.dumps(config))
    return [*module("plain_target"), "--config", str(path)]


def rust_sdk(project: Project, *_: object) -> list[str]:
    return [*module("rust_sdk"), project.events_url, project.server_secret_key]


def bare_loop(project: Project, *_: object) -> list[str]:
    return [*module("bare_loop"), project.events_url, project.server_secret_key]


def module(name: str) -> list[str]:
    """Return the command that runs a module of this package."""
    return [sys.executable, "-m", f"tests.benchmarks.{name}"]


THIS = Contender("**target-statsig**", this_target.events_command)

THIS_WITHOUT_DEDUPE = Contender("**target-statsig**, `dedupe: false`", this_target.command_without_dedupe)

RUST_SDK = Contender("a script over Statsig's Rust SDK", rust_sdk)

PLAIN = Contender("a plain singer-sdk target", plain_target, share=0.25)

OTHERS = (
    PLAIN,
    RUST_SDK,
    Contender("a bare loop, gzip, no validation", bare_loop),
)
