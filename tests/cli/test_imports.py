"""What a start imports: modules that are not needed yet cost neither time nor memory."""

from __future__ import annotations

import functools
import json
import subprocess
import sys

import pytest

from tests.command import environment
from tests.singer import record, schema, to_lines

pytestmark = pytest.mark.e2e

PRINT_MODULES = "\nimport json, sys\nprint()\nprint(json.dumps(sorted(sys.modules)))"

COMMAND = """
import sys
from target_statsig.__main__ import main
try:
    sys.argv[1:] = {options!r}
    main()
except SystemExit as end:
    assert not end.code
"""

NEEDED = {
    "target_statsig",
    "target_statsig.__main__",
    "target_statsig.commands",
    "target_statsig.commands.command_line",
    "target_statsig.config",
    "target_statsig.config.choices",
    "target_statsig.config.load",
    "target_statsig.errors",
    "target_statsig.config.settings",
    "target_statsig.target",
}


@functools.cache
def modules_after(statements):
    """Return the modules that a fresh Python has imported after some statements."""
    output = subprocess.check_output([sys.executable, "-c", statements + PRINT_MODULES], env=environment(), text=True)
    return set(json.loads(output.splitlines()[-1]))


@pytest.mark.parametrize("option", ["--version", "--about", "--help"])
def test_help_and_version_import_few_modules(option):
    imported = modules_after(COMMAND.format(options=[option])) - modules_after("import singer_sdk")
    assert {name for name in imported if name.startswith("target_statsig")} == NEEDED
    assert not imported & {"difflib", "jsonschema_rs", "msgspec", "pyrate_limiter", "sqlite3", "xxhash"}


def test_imported_objects_are_frozen_before_the_exit():
    statements = COMMAND.format(options=["--version"]) + "import gc\nprint(gc.get_count()[0], gc.get_freeze_count())"
    output = subprocess.check_output([sys.executable, "-c", statements], env=environment(), text=True)
    left, frozen = map(int, output.splitlines()[-1].split())
    assert left < 1_000 < frozen


@pytest.mark.parametrize(
    "module", ["target_statsig.events.delivery", "target_statsig.events.items", "target_statsig.singer.schema"]
)
def test_workers_import_neither_singer_nor_network(module):
    imported = modules_after(f"import {module}")
    assert not imported & {"click", "jsonschema", "pyrate_limiter", "requests", "singer_sdk", "sqlite3", "urllib3"}


def test_a_small_run_imports_no_unused_modules(run_target, tmp_path):
    config, messages = tmp_path / "config.json", tmp_path / "messages.singer"
    config.write_text(json.dumps(run_target.config(object_type="event", dedupe=False, report_path=None)))
    messages.write_bytes(to_lines([schema("orders"), record("orders", {"event": "order", "user_id": "u1"})]))
    imported = modules_after(COMMAND.format(options=["--config", str(config), "--input", str(messages)]))
    assert "target_statsig.events.delivery" in imported
    assert not imported & {
        *("psycopg", "pyarrow", "pyrate_limiter", "sqlite3"),
        *("target_statsig.client.console", "target_statsig.client.rate_limit"),
        *("target_statsig.commands.dry_run", "target_statsig.segments.stream"),
    }
