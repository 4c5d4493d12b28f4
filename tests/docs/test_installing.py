"""The commands of the page "Install", outside the clone, and those of the README without uv."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.documents import blocks
from tests.tools.plugin_definition import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PAGE = ROOT / "docs" / "installing.md"

LEFT_OUT = frozenset({".venv", ".git", "dist", ".meltano", "plugins", ".target-statsig", "__pycache__", ".site"})


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Copy the repository without generated files."""
    clone = tmp_path_factory.mktemp("clone") / "target-statsig"
    shutil.copytree(ROOT, clone, ignore=lambda _, names: LEFT_OUT & {*names})
    return clone


@pytest.fixture(scope="module")
def run_in_new_environment(tmp_path_factory):
    """Run commands with a new virtual environment and the system's own programs only."""
    environment = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", environment / "venv"], check=True)
    system = f"{environment / 'venv' / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin"
    kept = {name: value for name, value in os.environ.items() if re.match(r"PIP_|UV_.*INDEX|SSL_|.*_PROXY$", name)}
    variables = kept | {
        "PATH": system,
        "HOME": str(environment),
        "UV_CACHE_DIR": str(environment / "cache"),
        "LANG": "C.UTF-8",
    }

    def run(command, folder):
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=580,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    return run


def test_the_two_commands_of_the_readme_work_without_uv(run_in_new_environment, clone):
    first, second = next(block.commands for block in blocks(ROOT / "README.md") if block.kind == "console")
    assert "394 events" in run_in_new_environment(first, clone)
    # Only collected: it would run this test, too.
    assert second == "uv run pytest"
    assert re.search(r"\d+/\d+ tests collected", run_in_new_environment(f"{second} --collect-only --quiet -n 0", clone))


def test_a_new_meltano_project_sends_a_file_to_the_emulator(run_in_new_environment, clone, tmp_path):
    run_in_new_environment("python3 -m pip install --quiet meltano", tmp_path)
    printed = {}
    for block in blocks(PAGE):
        if block.file:
            (tmp_path / block.file).write_text(block.text.replace("/path/to/clone", str(clone)))
        for command in block.commands:
            folder = clone if block.heading == "Into an environment" and not printed else tmp_path
            printed[command] = run_in_new_environment(command.replace("/path/to/clone", str(clone)), folder)
    assert re.search(
        r"purchase +.*\+?3\b", printed["statsig/bin/statsig-emulator meltano run tap-jsonl target-statsig"]
    )
