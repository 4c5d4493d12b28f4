"""A terminal for the commands of the documentation, which keeps folder and variables between commands.

As in a clone, only `uv run` finds the programs of this Python.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = Path(sys.executable).parent

PATIENCE = 300
"""Seconds that a command may take; some install a tap."""

UV = f'uv() {{ shift; env PATH="{PROGRAMS}:$PATH" "$@"; }}; uvx() {{ uv run uvx "$@"; }}'

SAVE_VARIABLES = 'code=$?; env -0 > "$REMEMBERED/variables"; pwd > "$REMEMBERED/folder"; exit $code'


@dataclass(frozen=True, slots=True)
class Finished:
    """The result of a command."""

    exit_code: int
    output: str


class Terminal:
    """Runs commands one after another in bash."""

    def __init__(self, folder: Path, memory: Path, **variables: str) -> None:
        """Start in a folder.

        Args:
            folder: The working directory of the first command.
            memory: A folder for the files of this terminal.
            variables: Added to `clean_environment()`.
        """
        self.folder = folder
        self._memory = memory
        folders = [each for each in os.environ["PATH"].split(os.pathsep) if Path(each) != PROGRAMS]
        path = os.pathsep.join(folders)
        self.variables = clean_environment() | variables | {"PATH": path, "REMEMBERED": str(memory)}

    def run(self, command: str) -> Finished:
        """Run a command to its end, and keep its exports and its working directory."""
        done = subprocess.run(
            ["bash", "-c", f"{UV}\n{command}\n{SAVE_VARIABLES}"],
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        pairs = (self._memory / "variables").read_text().split("\0")
        self.variables = dict(pair.split("=", 1) for pair in pairs if pair)
        self.folder = Path((self._memory / "folder").read_text().rstrip("\n"))
        return Finished(done.returncode, done.stdout)


def clean_environment() -> dict[str, str]:
    """Return the environment without variables of Meltano, taps or the target, and with this Python's programs."""
    left_out = ("MELTANO_", "TAP_", "TARGET_STATSIG_")
    mine = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return mine | {"PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"}
