"""A terminal for what the documentation tells its reader to type: folder and variables last from command to command.

`uv run` is left out: it finds the programs of this checkout, and those of the Python at work come first here anyway.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = Path(sys.executable).parent

PATIENCE = 300
"""Seconds that a command may take: some install a tap first."""

REMEMBER = 'code=$?; env -0 > "$REMEMBERED/variables"; pwd > "$REMEMBERED/folder"; exit $code'


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended."""

    exit_code: int
    output: str


class Terminal:
    """Runs commands one after another, as bash would if they were typed."""

    def __init__(self, folder: Path, memory: Path, **variables: str) -> None:
        """Begin in a folder.

        Args:
            folder: Where.
            memory: A folder of this terminal's own.
            variables: For the environment, over a newcomer's: nothing set for Meltano, taps or the target.
        """
        self.folder = folder
        self._memory = memory
        self.variables = newcomers_environment() | variables | {"REMEMBERED": str(memory)}

    def run(self, command: str) -> Finished:
        """Run a command to its end; what it exports and where it goes stays.

        Args:
            command: As it is typed.
        """
        done = subprocess.run(
            ["bash", "-c", f"{command.replace('uv run ', '')}\n{REMEMBER}"],
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


def newcomers_environment() -> dict[str, str]:
    """Return the environment with nothing set for Meltano, taps or the target, and this Python's programs found."""
    left_out = ("MELTANO_", "TAP_", "TARGET_STATSIG_")
    mine = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return mine | {"PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"}
