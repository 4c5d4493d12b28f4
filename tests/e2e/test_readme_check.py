"""The README's check: its command as it stands there, and what it says that one sees."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import environment

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parent.parent.parent


def test_the_check_of_the_readme_shows_what_the_readme_shows(tmp_path):
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Check first\n")[2]
    command, shown = re.findall(r"```\w*\n(.*?)```", section, re.DOTALL)[:2]
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", command.removeprefix("$ ")],
        cwd=tmp_path,
        env=environment(PATH=programs, PYTHONUTF8="1", COLUMNS="80"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout
