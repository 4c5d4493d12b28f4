"""What a start imports: what nobody needs yet costs no time, and no memory."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.command import environment

TELL = "; import json, sys; print(json.dumps(sorted(sys.modules)))"


def modules_after(statements):
    """Return the modules that a fresh Python has imported after some statements."""
    output = subprocess.check_output([sys.executable, "-c", statements + TELL], env=environment(), text=True)
    return set(json.loads(output.splitlines()[-1]))


@pytest.mark.parametrize(
    "module", ["target_statsig.events.delivery", "target_statsig.object_types", "target_statsig.validation"]
)
def test_a_process_that_only_prepares_records_does_without_singer_and_network(module):
    imported = modules_after(f"import {module}")
    assert not imported & {"click", "jsonschema", "pyrate_limiter", "requests", "singer_sdk", "sqlalchemy", "urllib3"}
