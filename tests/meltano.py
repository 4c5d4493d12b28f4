"""Meltano projects with the target of this repository, run against an emulator."""

from __future__ import annotations

import json
import os
import subprocess

import yaml

from tests.command import environment
from tests.terminal import PROGRAMS
from tests.tools.plugin_definition import ROOT


def write_project(folder, extractor, **config):
    """Write a project with a tap, and with the same settings for the target and its utility."""
    plugins = yaml.safe_load((ROOT / "meltano.yml").read_text(encoding="utf-8"))["plugins"]
    loader = next(plugin for plugin in plugins["loaders"] if plugin["name"] == "target-statsig")
    utility = next(plugin for plugin in plugins["utilities"] if plugin["name"] == "statsig")
    loader["config"] = utility["config"] = config
    content = {
        "default_environment": "dev",
        "environments": [{"name": "dev"}],
        "project_id": "tests",
        "send_anonymous_usage_stats": False,
        "plugins": {"extractors": [extractor], "loaders": [loader], "utilities": [utility]},
    }
    (folder / "meltano.yml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def run_meltano(folder, statsig, *blocks, **variables):
    """Run a pipeline; return the process and the streams of the report."""
    done = subprocess.run(
        ["meltano", "run", *blocks],
        cwd=folder,
        env=environment(
            PATH=f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            PYTHONPATH=str(ROOT),
            TARGET_STATSIG_EVENTS_URL=statsig.events_url,
            TARGET_STATSIG_CONSOLE_URL=statsig.console_url,
            TARGET_STATSIG_SERVER_SECRET_KEY=statsig.server_secret_key,
            TARGET_STATSIG_CONSOLE_API_KEY=statsig.console_api_key,
            TARGET_STATSIG_REPORT_PATH=str(folder / "report.json"),
            **variables,
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert (folder / "report.json").exists(), done.stdout
    return done, json.loads((folder / "report.json").read_text(encoding="utf-8"))["streams"]
